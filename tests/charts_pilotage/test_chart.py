"""The operator's chart: what it renders, and what a real API server lets its accounts do."""

from __future__ import annotations

import os
import subprocess
from dataclasses import fields
from typing import Any

import pytest
import yaml

from e2e.cluster.light import LightCluster
from e2e.cluster.places import BINARIES, REPOSITORY
from e2e.cluster.probe import wait_until
from pilotage.api.v1alpha1.project import Profile
from pilotage.cli.opening import Opening, manifests, parse_contact, parse_module
from pilotage.reconcile.installation import KEY_SECRET
from pilotage.reconcile.settings import Settings

pytestmark = pytest.mark.light

CHART = REPOSITORY / "charts/pilotage"
OPERATOR = "system:serviceaccount:pilotage-system:pilotage"
DEPLOYER = "system:serviceaccount:huasheng:pilotage-deployer"


@pytest.fixture(scope="module")
def helm(tmp_path_factory):
    """Runs helm with folders of its own, against whatever cluster the arguments name."""
    home = tmp_path_factory.mktemp("helm")
    folders = {name: str(home) for name in ("HELM_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_DATA_HOME")}

    def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(BINARIES / "helm"), *arguments]
        return subprocess.run(
            command, env={**os.environ, **folders}, capture_output=True, text=True, check=False, timeout=120
        )

    return helm


@pytest.fixture(scope="module")
def render(helm):
    """The chart's objects under these settings."""

    def render(*settings: str) -> list[dict[str, Any]]:
        arguments = [argument for setting in settings for argument in ("--set", setting)]
        finished = helm("template", "pilotage", str(CHART), "--namespace", "pilotage-system", *arguments)
        assert finished.returncode == 0, finished.stderr
        return [document for document in yaml.safe_load_all(finished.stdout) if document]

    return render


def one(objects: list[dict[str, Any]], kind: str, name: str = "pilotage") -> dict[str, Any]:
    (found,) = (item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name)
    return found


def test_declared_endpoints_reach_the_operator(render):
    objects = render(
        "endpoints[0].name=metrics", "endpoints[0].url=http://metrics.monitoring.svc", "endpoints[0].namespaces={a,b}"
    )
    (container,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    settings = Settings.from_environment({found["name"]: found.get("value", "1") for found in container["env"]})
    assert str(settings.endpoints.find("metrics", "b").url) == "http://metrics.monitoring.svc"


def test_helm_has_nothing_against_it(helm):
    finished = helm("lint", "--strict", str(CHART), "--set", "customerNamespaces={huasheng}")
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize(
    "setting",
    [
        "replicas=2",
        "workers=0",
        "image.digest=sha256:1",
        "logLevel=LOUD",
        "customerNamespaces={Hua Sheng}",
        "endpoints[0].url=file:///x",
    ],
)
def test_a_wrong_value_is_refused(helm, setting):
    finished = helm("template", "pilotage", str(CHART), "--set", setting)
    assert finished.returncode != 0
    assert "values don't meet the specifications" in finished.stderr


def test_every_variable_of_the_pod_is_a_setting(render):
    (container,) = one(render(), "Deployment")["spec"]["template"]["spec"]["containers"]
    settings = {f"PILOTAGE_{field.name.upper()}" for field in fields(Settings)}
    assert {entry["name"] for entry in container["env"]} <= settings | {"PILOTAGE_POD_IP", "PILOTAGE_LOG_LEVEL"}


def test_a_digest_names_the_image_for_good(render):
    digest = f"sha256:{'a' * 64}"
    (container,) = one(render(f"image.digest={digest}"), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"localhost/pilotage/operator@{digest}"


def test_one_operator_at_a_time(render):
    spec = one(render(), "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_the_operator_s_own_rights_hold_no_key_to_other_rights(render):
    rules = one(render(), "ClusterRole")["rules"]
    resources = {resource for rule in rules for resource in rule["resources"]}
    verbs = {verb for rule in rules for verb in rule["verbs"]}
    assert not resources & {"*", "secrets", "pods/exec", "clusterroles", "roles", "rolebindings"}
    assert {tuple(rule["verbs"]) for rule in rules if "serviceaccounts" in rule["resources"]} == {("get",)}
    assert not verbs & {"*", "impersonate", "escalate", "bind", "delete", "deletecollection"}
    own_kinds = {"implementations", "migrationjobs", "acceptancechecks", "events"}
    changeable = {
        resource.partition("/")[0]
        for rule in rules
        if {"create", "update", "patch"} & set(rule["verbs"])
        for resource in rule["resources"]
    }
    assert changeable == own_kinds


def test_the_service_monitor_is_made_when_asked_for(render):
    assert not [item for item in render() if item["kind"] == "ServiceMonitor"]
    made = one(render("serviceMonitor.enabled=true", "serviceMonitor.labels.team=erp"), "ServiceMonitor")
    assert made["metadata"]["labels"]["team"] == "erp"


def test_the_kinds_can_be_left_to_somebody_else(render):
    assert len([item for item in render() if item["kind"] == "CustomResourceDefinition"]) == 5
    assert not [item for item in render("crds.install=false") if item["kind"] == "CustomResourceDefinition"]


class Installed:
    """A cluster on which the chart is installed, with two customers' namespaces."""

    def __init__(self, cluster: LightCluster, helm: Any) -> None:
        self._kubeconfig = str(cluster.kubeconfig)
        self._helm = helm

    def kubectl(self, *arguments: str, body: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(BINARIES / "kubectl"), f"--kubeconfig={self._kubeconfig}", *arguments]
        return subprocess.run(command, input=body, capture_output=True, text=True, check=False, timeout=60)

    def helm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._helm(*arguments, "--kubeconfig", self._kubeconfig, "--namespace", "pilotage-system")

    def may(self, user: str, verb: str, resource: str, *where: str) -> bool:
        return self.kubectl("auth", "can-i", verb, resource, f"--as={user}", *where).stdout.strip() == "yes"


@pytest.fixture(scope="module")
def installed(tmp_path_factory, helm):
    with LightCluster(tmp_path_factory.mktemp("chart"), audit=False) as cluster:
        installed = Installed(cluster, helm)
        for namespace in ("pilotage-system", "huasheng", "stranger"):
            assert installed.kubectl("create", "namespace", namespace).returncode == 0
        strict = "pod-security.kubernetes.io/enforce=restricted"
        assert installed.kubectl("label", "namespace", "pilotage-system", strict).returncode == 0
        arguments = ("pilotage", str(CHART), "--set", "customerNamespaces={huasheng}")
        finished = installed.helm("install", *arguments)
        assert finished.returncode == 0, finished.stderr
        # The authorizer learns of new bindings a moment after they are written.
        assert wait_until(lambda: installed.may(OPERATOR, "list", "implementations.pilotage.dev", "-A"), 30)
        assert wait_until(lambda: installed.may(DEPLOYER, "create", "secrets", "-n", "huasheng"), 30)
        yield installed


@pytest.mark.parametrize(
    ("verb", "resource", "where"),
    [
        ("watch", "implementations.pilotage.dev", ["-A"]),
        ("update", "migrationjobs.pilotage.dev", ["-n", "huasheng", "--subresource=status"]),
        ("watch", "signoffs.pilotage.dev", ["-A"]),
        ("watch", "attestations.pilotage.dev", ["-A"]),
        ("watch", "deployments.apps", ["-A"]),
        ("watch", "jobs.batch", ["-A"]),
        ("watch", "pods", ["-A"]),
        ("list", "nodes", []),
        ("list", "storageclasses.storage.k8s.io", []),
        ("get", "namespaces", []),
        ("get", "serviceaccounts", ["-n", "huasheng"]),
        ("create", "events", ["-n", "huasheng"]),
        ("create", "leases.coordination.k8s.io", ["-n", "pilotage-system"]),
        ("update", "leases.coordination.k8s.io/pilotage", ["-n", "pilotage-system"]),
        ("create", "secrets", ["-n", "pilotage-system"]),
        ("get", f"secrets/{KEY_SECRET}", ["-n", "pilotage-system"]),
        ("impersonate", "serviceaccounts/pilotage-deployer", ["-n", "huasheng"]),
    ],
)
def test_the_operator_may_do_its_work(installed, verb, resource, where):
    assert installed.may(OPERATOR, verb, resource, *where)


@pytest.mark.parametrize(
    ("verb", "resource", "where"),
    [
        ("get", "secrets", ["-n", "huasheng"]),
        ("create", "signoffs.pilotage.dev", ["-n", "huasheng"]),
        ("create", "attestations.pilotage.dev", ["-n", "huasheng"]),
        ("list", "secrets", ["-n", "pilotage-system"]),
        ("create", "jobs.batch", ["-n", "huasheng"]),
        ("delete", "pods", ["-n", "huasheng"]),
        ("get", "pods", ["-n", "huasheng", "--subresource=log"]),
        ("delete", "implementations.pilotage.dev", ["-n", "huasheng"]),
        ("create", "serviceaccounts", ["-n", "huasheng"]),
        ("impersonate", "serviceaccounts/default", ["-n", "huasheng"]),
        ("impersonate", "serviceaccounts/pilotage-deployer", ["-n", "stranger"]),
        ("impersonate", "users", ["-A"]),
        ("update", "leases.coordination.k8s.io/pilotage", ["-n", "huasheng"]),
    ],
)
def test_the_operator_may_do_nothing_else(installed, verb, resource, where):
    assert not installed.may(OPERATOR, verb, resource, *where)


def test_the_customer_s_account_works_in_its_namespace_alone(installed):
    assert installed.may(DEPLOYER, "update", "secrets", "-n", "huasheng")
    assert installed.may(DEPLOYER, "get", "pods", "-n", "huasheng", "--subresource=log")
    assert not installed.may(DEPLOYER, "list", "secrets", "-n", "stranger")
    assert not installed.may(DEPLOYER, "create", "rolebindings.rbac.authorization.k8s.io", "-n", "huasheng")
    assert not installed.may(DEPLOYER, "create", "pods", "-n", "huasheng", "--subresource=exec")


def test_the_three_lines_of_the_notes_open_a_namespace(installed):
    assert installed.kubectl("create", "namespace", "opened").returncode == 0
    notes = installed.helm("get", "notes", "pilotage").stdout
    lines = [
        line.split() for line in notes.splitlines() if "create serviceaccount" in line or "create rolebinding" in line
    ]
    assert len(lines) == 3
    for line in lines:
        words = [word.replace("NS", "opened") for word in line[1:]]
        finished = installed.kubectl(*words)
        assert finished.returncode == 0, finished.stderr
    where = ("serviceaccounts/pilotage-deployer", "-n", "opened")
    assert wait_until(lambda: installed.may(OPERATOR, "impersonate", *where), 30)


def test_what_pilotage_init_writes_opens_a_namespace_and_begins_a_project(installed):
    opening = Opening(
        code="beihai",
        customer="北海机械",
        namespace="beihai",
        name="erp",
        modules=[parse_module("core=oci://registry.example/core:1.0.0"), parse_module("sales@2=configmap/sales")],
        contacts=[parse_contact("CustomerLead:sun:孙立:sun"), parse_contact("Tester:qian:钱进:qian")],
        profile=Profile.STANDARD,
    )
    written = yaml.safe_dump_all(manifests(opening), allow_unicode=True)
    applied = installed.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", body=written)
    assert applied.returncode == 0, applied.stderr
    where = ("serviceaccounts/pilotage-deployer", "-n", "beihai")
    assert wait_until(lambda: installed.may(OPERATOR, "impersonate", *where), 30)
    deployer = DEPLOYER.replace("huasheng", "beihai")
    assert wait_until(lambda: installed.may(deployer, "create", "secrets", "-n", "beihai"), 30)
    assert wait_until(lambda: installed.may("sun", "create", "signoffs.pilotage.dev", "-n", "beihai"), 30)
    assert installed.may("qian", "get", "implementations.pilotage.dev", "-n", "beihai")
    assert not installed.may("qian", "create", "signoffs.pilotage.dev", "-n", "beihai")


def test_whoever_edits_a_namespace_edits_its_projects(installed):
    binding = ("create", "rolebinding", "li", "--clusterrole=edit", "--user=li")
    assert installed.kubectl("-n", "huasheng", *binding).returncode == 0
    assert wait_until(lambda: installed.may("li", "patch", "implementations.pilotage.dev", "-n", "huasheng"), 30)
    assert not installed.may("li", "update", "implementations.pilotage.dev", "-n", "huasheng", "--subresource=status")


def test_the_pod_satisfies_pod_security_restricted(installed, render):
    # The controllers make the pod; admission under `restricted` either let it in or said why not in an event.
    def pods() -> str:
        return installed.kubectl("-n", "pilotage-system", "get", "pods", "-o", "name").stdout

    assert wait_until(lambda: "pod/pilotage-" in pods(), 30), installed.kubectl("get", "events", "-A").stdout


def test_taking_the_operator_away_keeps_kinds_and_projects(installed):
    project = (REPOSITORY / "manifests/examples/implementation.yaml").read_text()
    applied = installed.kubectl("apply", "--server-side", "-f", "-", body=project)
    assert applied.returncode == 0, applied.stderr
    assert installed.helm("upgrade", "pilotage", str(CHART), "--set", "workers=4").returncode == 0
    assert installed.helm("uninstall", "pilotage").returncode == 0
    assert installed.kubectl("-n", "huasheng", "get", "impl", "erp").returncode == 0
    again = installed.helm("install", "pilotage", str(CHART))
    assert again.returncode == 0, again.stderr
