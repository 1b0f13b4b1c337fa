"""The helm engine on a real API server: what it does to releases, as whom, and after it was killed."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.cluster.light import LightCluster
from e2e.cluster.places import BINARIES, REPOSITORY
from pilotage.api.v1alpha1.implementation import ChartSource
from pilotage.delivery.archive import ChartError
from pilotage.delivery.factory import build_delivery
from pilotage.delivery.helm import HelmAction
from pilotage.kube.client import Forbidden, NotFound
from pilotage.kube.official import connect
from pilotage.kube.resources import CONFIG_MAPS, SECRETS, SERVICES
from pilotage.plan.delivery import INPUT_LABEL, ReleaseState, release_state
from tests.unit.delivery.builders import chart

pytestmark = [pytest.mark.light, pytest.mark.timeout(180)]

DEPLOYER = "pilotage-deployer"
SCHEMA = {"type": "object", "properties": {"replicas": {"type": "integer"}}}
SETTINGS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: {{ .Release.Namespace }}}
data: {text: {{ .Values.text | quote }}}
"""
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "localhost/web:dev"}]}
"""
# A hook that never ends, for there is no kubelet: helm waits for it until it is killed.
HOOK = """
{{- if .Values.hook }}
apiVersion: batch/v1
kind: Job
metadata: {name: hook, annotations: {helm.sh/hook: "pre-install,pre-upgrade,pre-rollback"}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: "localhost/a:dev"}]}}}
{{- end }}
"""
FAULT = """
{{- if .Values.fault }}
apiVersion: v1
kind: Service
metadata: {name: fault}
spec: {ports: [{port: 99999}]}
{{- end }}
"""
ROLE = """
{{- if .Values.role }}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: taken-over}
rules: [{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}]
{{- end }}
"""
EXTRA = """
{{- if .Values.extra }}
apiVersion: v1
kind: Service
metadata: {name: extra, annotations: {{ .Values.extra | toJson }}}
spec: {ports: [{port: 80}]}
{{- end }}
"""
CHART = chart(
    {
        "values.yaml": "text: hello\nreplicas: 1\nhook: false\nfault: false\nrole: false\nextra: null\n",
        "values.schema.json": json.dumps(SCHEMA),
        "templates/settings.yaml": SETTINGS,
        "templates/web.yaml": WEB,
        "templates/hook.yaml": HOOK,
        "templates/fault.yaml": FAULT,
        "templates/role.yaml": ROLE,
        "templates/extra.yaml": EXTRA,
    }
)


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    with LightCluster(tmp_path_factory.mktemp("helm")) as cluster:
        deployer = cluster.directory / "deployer.yaml"
        rules = subprocess.run(
            [str(BINARIES / "helm"), "template", "pilotage", str(REPOSITORY / "charts/pilotage"),
             "--show-only", "templates/customer-roles.yaml"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        deployer.write_text(rules)
        kubectl(cluster, "apply", "-f", str(deployer))
        yield cluster


def kubectl(cluster: LightCluster, *arguments: str) -> str:
    command = [str(BINARIES / "kubectl"), f"--kubeconfig={cluster.kubeconfig}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def helm(cluster: LightCluster, *arguments: str) -> str:
    command = [str(BINARIES / "helm"), f"--kubeconfig={cluster.kubeconfig}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


class Tenant:
    """One customer's namespace, the engine, and the release `core` in it."""

    def __init__(self, light: LightCluster, namespace: str, cluster, engine, charts) -> None:
        self.light, self.namespace, self.cluster, self.engine, self.charts = light, namespace, cluster, engine, charts
        self.account = f"system:serviceaccount:{namespace}:{DEPLOYER}"
        self.chart = None

    async def prepare(self, *, bound: bool = True) -> None:
        kubectl(self.light, "create", "namespace", self.namespace)
        kubectl(self.light, "-n", self.namespace, "create", "serviceaccount", DEPLOYER)
        if bound:
            self._bind()
        archive = base64.b64encode(CHART).decode()
        await self.cluster.create(
            CONFIG_MAPS,
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "core-chart", "namespace": self.namespace},
                "binaryData": {"chart.tgz": archive},
            },
        )
        if bound:
            await until(self._is_readable)
            self.chart = await self.charts.fetch(source("core-chart"), self.namespace, self.account)

    async def _is_readable(self) -> bool:
        # The API server learns of a new binding a moment after it is written.
        try:
            await self.charts.fetch(source("core-chart"), self.namespace, self.account)
        except ChartError:
            return False
        return True

    def action(self, kind: str = "Upgrade", wanted: str = "a", **fields) -> HelmAction:
        return HelmAction(
            kind=kind, namespace=self.namespace, release="core", account=self.account, chart=self.chart,
            input=wanted * 40, implementation="erp", module="core", timeout=60, **fields,
        )  # fmt: skip

    async def act(self, kind: str = "Upgrade", wanted: str = "a", **fields) -> None:
        ended = asyncio.Event()
        self.engine.start(self.action(kind, wanted, **fields), ended.set)
        async with asyncio.timeout(90):
            await ended.wait()

    async def state(self, wanted: str = "a") -> ReleaseState:
        return release_state(await self.facts(), wanted * 40, "0")

    async def facts(self):
        return await self.engine.facts(self.namespace, "core", self.account)

    async def statuses(self) -> list[tuple[int, str]]:
        return [(found.revision, found.status) for found in (await self.facts()).revisions]

    def error(self, wanted: str = "a"):
        return self.engine.last_error(self.namespace, "core", wanted * 40, "0")

    async def begin_and_kill(self, kind: str = "Upgrade", wanted: str = "a", **fields) -> None:
        """Start an action, wait until its record is pending and its hook is there, and kill helm with SIGKILL."""
        ended = asyncio.Event()
        self.engine.start(self.action(kind, wanted, **fields), ended.set)
        await until(self._hook_is_there)
        for process in helm_processes(self.namespace):
            os.kill(process, signal.SIGKILL)
        async with asyncio.timeout(60):
            await ended.wait()

    async def _hook_is_there(self) -> bool:
        return "job.batch/hook" in kubectl(self.light, "-n", self.namespace, "get", "jobs", "-o", "name")

    async def blind(self) -> None:
        """From now on the tenant may do all that it does, but for reading a Service."""
        kubectl(self.light, "-n", self.namespace, "create", "role", "partial", "--verb=*",
                "--resource=configmaps,secrets,deployments.apps,jobs.batch")  # fmt: skip
        kubectl(self.light, "-n", self.namespace, "create", "rolebinding", "partial", "--role=partial",
                f"--serviceaccount={self.namespace}:{DEPLOYER}")  # fmt: skip
        kubectl(self.light, "-n", self.namespace, "delete", "rolebinding", DEPLOYER)
        await until(lambda: self._sees(services=False))

    async def see(self) -> None:
        self._bind()
        await until(lambda: self._sees(services=True))

    async def _sees(self, *, services: bool) -> bool:
        for resource, name, wanted in ((CONFIG_MAPS, "core-chart", True), (SERVICES, "extra", services)):
            try:
                await self.cluster.get(resource, self.namespace, name, acting_as=self.account)
            except Forbidden:
                if wanted:
                    return False
            except NotFound:
                pass
            else:
                if not wanted:
                    return False
        return True

    def _bind(self) -> None:
        kubectl(
            self.light, "-n", self.namespace, "create", "rolebinding", DEPLOYER, f"--clusterrole={DEPLOYER}",
            f"--serviceaccount={self.namespace}:{DEPLOYER}",
        )  # fmt: skip

    async def unlock(self) -> None:
        kubectl(self.light, "-n", self.namespace, "delete", "job", "hook")
        await self.engine.unlock(self.namespace, "core", self.account)


def source(name: str, **fields) -> ChartSource:
    return ChartSource.model_validate({"configMapRef": {"name": name}, **fields})


def helm_processes(namespace: str) -> list[int]:
    """Our own children that run helm for that namespace."""
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = status.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == str(BINARIES / "helm").encode() and namespace.encode() in words:
            found.append(int(status.parent.name))
    return found


async def until(condition, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 (the condition is the cluster's, which signals nothing)
            await asyncio.sleep(0.1)


@pytest.fixture
async def make_tenant(light, tmp_path):
    cluster = await connect(str(light.kubeconfig))
    engine, charts = build_delivery(cluster, helm=str(BINARIES / "helm"), scratch=tmp_path / "scratch", processes=2)
    number = iter(range(9))

    async def make(**fields) -> Tenant:
        tenant = Tenant(light, f"customer-{os.urandom(3).hex()}-{next(number)}", cluster, engine, charts)
        await tenant.prepare(**fields)
        return tenant

    yield make
    await engine.close()
    await cluster.close()


@pytest.fixture
async def tenant(make_tenant):
    return await make_tenant()


async def test_an_install_is_in_sync_and_an_ordinary_helm_release(tenant):
    assert await tenant.state() is ReleaseState.ABSENT
    await tenant.act("Install", values={"text": "你好"})
    assert tenant.error() is None
    assert await tenant.state() is ReleaseState.IN_SYNC
    assert (await tenant.facts()).revisions[0].workloads == [("Deployment", "web")]
    settings = await tenant.cluster.get(CONFIG_MAPS, tenant.namespace, "settings")
    assert settings["data"] == {"text": "你好"}
    assert helm(tenant.light, "list", "--namespace", tenant.namespace, "--short").split() == ["core"]
    assert await tenant.engine.releases_of(tenant.namespace, "erp", tenant.account) == ["core"]


async def test_an_upgrade_makes_the_new_input_the_deployed_one(tenant):
    await tenant.act("Install")
    assert await tenant.state("b") is ReleaseState.OUT_OF_DATE
    await tenant.act("Upgrade", "b", values={"text": "new"})
    assert await tenant.state("b") is ReleaseState.IN_SYNC
    assert await tenant.statuses() == [(1, "superseded"), (2, "deployed")]


async def test_an_upgrade_does_not_keep_values_of_the_last_one(tenant):
    await tenant.act("Install", values={"text": "once"})
    await tenant.act("Upgrade", "b")
    assert (await tenant.cluster.get(CONFIG_MAPS, tenant.namespace, "settings"))["data"] == {"text": "hello"}


async def test_a_failed_upgrade_is_failed_and_rolled_back_to_the_last_good_one(tenant):
    await tenant.act("Install")
    await tenant.act("Upgrade", "b", values={"fault": True})
    assert await tenant.state("b") is ReleaseState.FAILED
    assert "99999" in tenant.error("b").message
    await tenant.act("Rollback", "b", revision=1)
    assert await tenant.state("b") is ReleaseState.ROLLED_BACK
    assert await tenant.state("a") is ReleaseState.IN_SYNC


async def test_a_field_that_somebody_else_took_is_taken_back(tenant):
    await tenant.act("Install")
    kubectl(tenant.light, "-n", tenant.namespace, "patch", "configmap", "settings", "-p", '{"data":{"text":"mine"}}')
    await tenant.act("Upgrade", "b", values={"text": "ours"})
    assert await tenant.state("b") is ReleaseState.IN_SYNC


async def test_an_uninstall_leaves_nothing(tenant):
    await tenant.act("Install")
    await tenant.act("Uninstall")
    assert await tenant.state() is ReleaseState.ABSENT
    assert "settings" not in kubectl(tenant.light, "-n", tenant.namespace, "get", "configmaps", "-o", "name")


async def test_an_uninstall_that_helm_calls_a_success_keeps_the_records_until_nothing_is_left(tenant):
    await tenant.act("Install", values={"extra": {"a": "b"}})
    await tenant.blind()
    await tenant.act("Uninstall")
    assert tenant.error().reason == "Forbidden"
    assert await tenant.statuses() == [(1, "uninstalled")]
    await tenant.see()
    await tenant.act("Uninstall")
    assert tenant.error() is None
    assert await tenant.statuses() == []
    assert "extra" not in kubectl(tenant.light, "-n", tenant.namespace, "get", "services", "-o", "name")


async def test_what_an_upgrade_drops_and_helm_could_not_read_goes_with_the_next_action(tenant):
    await tenant.act("Install", values={"extra": {"a": "b"}})
    await tenant.blind()
    await tenant.act("Upgrade", "b")
    assert await tenant.state("b") is ReleaseState.IN_SYNC
    assert tenant.error("b").reason == "Forbidden"
    await tenant.see()
    assert "extra" in kubectl(tenant.light, "-n", tenant.namespace, "get", "services", "-o", "name")
    await tenant.act("Upgrade", "c", values={"text": "new"})
    assert "extra" not in kubectl(tenant.light, "-n", tenant.namespace, "get", "services", "-o", "name")


@pytest.mark.parametrize("kept", [{"helm.sh/resource-policy": "keep"}, {"meta.helm.sh/release-name": "another"}])
async def test_what_is_to_be_kept_or_was_taken_over_by_another_release_stays(tenant, kept):
    await tenant.act("Install", values={"extra": {"a": "b"}})
    words = [f"{key}={value}" for key, value in kept.items()]
    kubectl(tenant.light, "-n", tenant.namespace, "annotate", "--overwrite", "service", "extra", *words)
    await tenant.blind()
    await tenant.act("Upgrade", "b")
    await tenant.see()
    await tenant.act("Upgrade", "c")
    await tenant.act("Uninstall")
    assert await tenant.statuses() == []
    assert "extra" in kubectl(tenant.light, "-n", tenant.namespace, "get", "services", "-o", "name")


async def test_a_killed_install_is_locked_and_goes_on_once_it_is_unlocked(tenant):
    await tenant.begin_and_kill("Install", values={"hook": True})
    assert await tenant.state() is ReleaseState.LOCKED
    assert tenant.error().reason == "HelmKilled"
    await tenant.unlock()
    assert await tenant.statuses() == [(1, "failed")]
    assert await tenant.state() is ReleaseState.OUT_OF_DATE
    await tenant.act("Upgrade")
    # Helm calls what it replaces superseded, even if it never ran.
    assert await tenant.statuses() == [(1, "superseded"), (2, "deployed")]
    assert await tenant.state() is ReleaseState.IN_SYNC


async def test_after_a_killed_upgrade_the_input_before_it_is_deployed_anew_when_it_is_wanted_again(tenant):
    await tenant.act("Install", values={"text": "before"})
    await tenant.begin_and_kill("Upgrade", "b", values={"hook": True})
    assert await tenant.statuses() == [(1, "deployed"), (2, "pending-upgrade")]
    await tenant.unlock()
    assert await tenant.state("b") is ReleaseState.OUT_OF_DATE
    assert await tenant.state("a") is ReleaseState.OUT_OF_DATE
    await tenant.act("Upgrade", "b")
    assert await tenant.statuses() == [(1, "superseded"), (2, "failed"), (3, "deployed")]


async def test_a_killed_rollback_is_taken_again_and_never_for_the_input_that_it_was_to_undo(tenant):
    await tenant.act("Install")
    await tenant.act("Upgrade", "b", values={"text": "bad"})
    await tenant.act("Rollback", "b", revision=1)
    records = await tenant.cluster.list(SECRETS, tenant.namespace, labels="owner=helm,version=3")
    await pretend(tenant, records[0], "pending-rollback", wanted="a")
    assert await tenant.state("b") is ReleaseState.LOCKED
    await tenant.engine.unlock(tenant.namespace, "core", tenant.account)
    assert await tenant.state("b") is ReleaseState.FAILED
    await tenant.act("Rollback", "b", revision=1)
    assert await tenant.state("b") is ReleaseState.ROLLED_BACK
    assert await tenant.statuses() == [(1, "superseded"), (2, "superseded"), (3, "failed"), (4, "deployed")]


async def test_a_killed_uninstall_goes_on_and_is_no_failed_attempt(tenant):
    await tenant.act("Install")
    records = await tenant.cluster.list(SECRETS, tenant.namespace, labels="owner=helm")
    await pretend(tenant, records[0], "uninstalling", wanted="a")
    assert await tenant.state() is ReleaseState.LOCKED
    await tenant.engine.unlock(tenant.namespace, "core", tenant.account)
    assert await tenant.state() is ReleaseState.OUT_OF_DATE
    await tenant.act("Uninstall")
    assert await tenant.state() is ReleaseState.ABSENT
    assert "settings" not in kubectl(tenant.light, "-n", tenant.namespace, "get", "configmaps", "-o", "name")


async def pretend(tenant: Tenant, secret: dict, status: str, *, wanted: str) -> None:
    """Leave the record as a helm that was killed in the midst of that action leaves it.

    That of a rollback carries the labels of the revision it returns to.
    """
    from pilotage.delivery.records import decode_record, encode_record

    document = decode_record(secret)
    document["info"]["status"] = status
    labels = {**secret["metadata"]["labels"], "status": status, INPUT_LABEL: wanted * 40}
    body = {
        **secret,
        "metadata": {**secret["metadata"], "labels": labels},
        "data": {"release": encode_record(document)},
    }
    await tenant.cluster.replace(SECRETS, body)


async def test_closing_the_engine_leaves_no_helm_behind(tenant):
    tenant.engine.start(tenant.action("Install", values={"hook": True}), lambda: None)
    await until(tenant._hook_is_there)
    assert helm_processes(tenant.namespace)
    await tenant.engine.close()
    assert not helm_processes(tenant.namespace)
    assert await tenant.state() is ReleaseState.LOCKED


async def test_a_release_that_is_acted_on_is_not_acted_on_twice_nor_unlocked(tenant):
    tenant.engine.start(tenant.action("Install", values={"hook": True}), lambda: None)
    await until(tenant._hook_is_there)
    tenant.engine.start(tenant.action("Uninstall"), lambda: pytest.fail("a second action was started"))
    await tenant.engine.unlock(tenant.namespace, "core", tenant.account)
    assert await tenant.statuses() == [(1, "pending-install")]
    assert len(helm_processes(tenant.namespace)) == 1


async def test_every_change_is_the_tenants_own(tenant):
    await tenant.act("Install")
    entries = [json.loads(line) for line in tenant.light.audit_log.read_text().splitlines()]
    writes = [
        entry
        for entry in entries
        if entry.get("objectRef", {}).get("namespace") == tenant.namespace
        and entry["verb"] in {"create", "update", "patch", "delete"}
        and entry["userAgent"].startswith(("Helm", "helm"))
    ]
    assert {entry["objectRef"]["resource"] for entry in writes} == {"configmaps", "deployments", "secrets"}
    assert {entry["impersonatedUser"]["username"] for entry in writes} == {tenant.account}


async def test_an_account_without_rights_is_refused_and_nothing_is_written(make_tenant):
    tenant, other = await make_tenant(bound=False), await make_tenant()
    tenant.chart = other.chart
    await tenant.act("Install")
    error = tenant.error()
    assert (error.reason, tenant.account in error.message) == ("Forbidden", True)
    assert not await tenant.cluster.list(SECRETS, tenant.namespace)


async def test_an_account_of_another_namespace_is_never_taken(make_tenant):
    tenant, other = await make_tenant(), await make_tenant()
    for account in ("", "system:admin", other.account):
        tenant.engine.start(replace(tenant.action("Install"), account=account), lambda: None)
        await until(lambda: _idle(tenant))
        assert "is not a service account of namespace" in tenant.error().message
    assert not await tenant.cluster.list(SECRETS, tenant.namespace)


async def _idle(tenant: Tenant) -> bool:
    return not tenant.engine.acting(tenant.namespace, "core")


async def test_a_cluster_scoped_object_is_refused_before_anything_is_written(tenant):
    await tenant.act("Install", values={"role": True})
    assert "clusterroles" in tenant.error().message
    assert await tenant.state() is ReleaseState.ABSENT
    assert "settings" not in kubectl(tenant.light, "-n", tenant.namespace, "get", "configmaps", "-o", "name")


async def test_values_that_the_schema_refuses_are_told_without_a_cluster(tenant):
    with pytest.raises(ChartError, match="replicas") as caught:
        await tenant.engine.template(tenant.chart, {"replicas": "many"}, "core", tenant.namespace)
    assert caught.value.reason == "ValuesInvalid"


async def test_secrets_are_taken_out_of_what_helm_says(tenant):
    def redact(text: str) -> str:
        return text.replace("hunter2", "***")

    with pytest.raises(ChartError) as caught:
        await tenant.engine.template(tenant.chart, {"replicas": "hunter2"}, "core", tenant.namespace, redact)
    assert "hunter2" not in caught.value.message


async def test_a_chart_renders_without_a_cluster(tenant):
    found = await tenant.engine.template(tenant.chart, {"replicas": 2}, "core", tenant.namespace)
    assert {one["kind"]: one["metadata"]["name"] for one in found} == {"ConfigMap": "settings", "Deployment": "web"}


async def test_a_template_without_end_is_stopped(tenant, tmp_path):
    endless = chart({"templates/a.yaml": "{{ range until 100000 }}{{ range until 100000 }}a{{ end }}{{ end }}"})
    path = tmp_path / "endless.tgz"
    path.write_bytes(endless)
    with pytest.raises(ChartError) as caught:
        await tenant.engine.template(replace(tenant.chart, path=path), {}, "core", tenant.namespace)
    assert caught.value.reason == "ChartLimit"


@pytest.mark.parametrize(
    ("wanted", "reason", "message"),
    [
        (source("nothing"), "ChartMissing", "create it with the packaged chart"),
        (source("kube-root-ca.crt"), "ChartMissing", "no binaryData key chart.tgz"),
        (source("core-chart", digest="sha256:" + "0" * 64), "ChartDigestMismatch", "set the one you reviewed"),
        (source("core-chart", version="9.9.9"), "ChartVersionMismatch", "holds version 1.2.3"),
    ],
)
async def test_a_chart_that_is_not_as_it_should_be_is_refused_with_the_remedy(tenant, wanted, reason, message):
    with pytest.raises(ChartError, match=message) as caught:
        await tenant.charts.fetch(wanted, tenant.namespace, tenant.account)
    assert caught.value.reason == reason


async def test_a_registry_that_does_not_answer_is_told(tenant):
    unreachable = ChartSource.model_validate({"oci": "oci://127.0.0.1:1/core", "version": "1.2.3"})
    with pytest.raises(ChartError, match="cannot be pulled from oci"):
        await tenant.charts.fetch(unreachable, tenant.namespace, tenant.account)
