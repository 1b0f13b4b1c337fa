"""S11 to S17 and S38 with the real Helm, and where it acts, as the tenant on a real API server."""

from __future__ import annotations

import asyncio
import base64
import http.server
import json
import os
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.places import BINARIES
from pilotage.api.v1alpha1.implementation import ChartSource
from pilotage.delivery.archive import ChartError
from pilotage.delivery.chart import ChartFetcher
from pilotage.delivery.factory import build_delivery
from pilotage.delivery.helm import HelmAction, HelmEngine
from pilotage.kube.official import OfficialCluster, connect
from pilotage.kube.resources import CONFIG_MAPS
from tests.attacks.archives import hidden_schemas
from tests.attacks.conftest import DEPLOYER, NEIGHBOUR, TENANT
from tests.attacks.test_documents import BOMB
from tests.unit.delivery.builders import CHART_YAML, chart

pytestmark = [pytest.mark.light, pytest.mark.timeout(180)]

NOWHERE = {"apiVersion": "v1", "kind": "ConfigMap"}


class Rig:
    def __init__(self, cluster: OfficialCluster, engine: HelmEngine, charts: ChartFetcher) -> None:
        self.cluster, self.engine, self.charts = cluster, engine, charts

    async def fetch(self, data: bytes, **source: Any):
        name = f"chart-{os.urandom(4).hex()}"
        packed = {"chart.tgz": base64.b64encode(data).decode()}
        body = NOWHERE | {"metadata": {"name": name, "namespace": TENANT}, "binaryData": packed}
        await self.cluster.create(CONFIG_MAPS, body)
        chosen = ChartSource.model_validate({"configMapRef": {"name": name}, **source})
        return await self.charts.fetch(chosen, TENANT, DEPLOYER)

    async def render(self, data: bytes, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        return await self.engine.template(await self.fetch(data), values or {}, "erp-core", TENANT)

    async def install(self, data: bytes, release: str = "erp-core", **values: Any) -> str:
        """What came of it: empty when it succeeded."""
        ended = asyncio.Event()
        taken = await self.fetch(data)
        wanted = os.urandom(20).hex()
        action = HelmAction(
            kind="Install",
            namespace=TENANT,
            release=release,
            account=DEPLOYER,
            chart=taken,
            values=values,
            input=wanted,
            implementation="erp",
            module="core",
            timeout=20,
        )
        self.engine.start(action, ended.set)
        async with asyncio.timeout(90):
            await ended.wait()
        error = self.engine.last_error(TENANT, release, wanted, "0")
        return error.message if error else ""


@pytest.fixture
async def rig(ground, tmp_path):
    cluster = await connect(str(ground.light.kubeconfig))
    engine, charts = build_delivery(cluster, helm=str(BINARIES / "helm"), scratch=tmp_path / "scratch", processes=2)
    yield Rig(cluster, engine, charts)
    await engine.close()
    await cluster.close()


@contextmanager
def listening():
    """An address on this machine, and what it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()


@pytest.mark.parametrize("name", hidden_schemas())
async def test_s12_helm_asks_nobody_for_a_schema_wherever_it_is_hidden(rig, name):
    with listening() as (url, asked):
        with suppress(ChartError):
            await rig.render(hidden_schemas(f"{url}/latest/meta-data")[name])
        assert asked == []


async def test_s12_nor_for_a_dependency(rig):
    with listening() as (url, asked):
        wanted = f"{CHART_YAML}dependencies: [{{name: a, version: 1.0.0, repository: '{url}'}}]\n"
        with pytest.raises(ChartError):
            await rig.render(chart({"Chart.yaml": wanted}))
        assert asked == []


READING = {
    "a file of the host": '{{ .Files.Get "/etc/passwd" }}',
    "a file beside the chart": '{{ .Files.Get "../../../../etc/passwd" }}',
    "all files": '{{ range $p, $_ := .Files.Glob "/**" }}{{ $p }}{{ end }}{{ .Files.Get "/proc/self/environ" }}',
    "lines of a file": '{{ range .Files.Lines "/etc/passwd" }}{{ . }}{{ end }}',
    "the environment": '{{ env "HOME" }}',
    "the environment expanded": '{{ expandenv "$HOME" }}',
    "the name service": '{{ getHostByName "localhost" }}',
    "the cluster": '{{ (lookup "v1" "Secret" "kube-system" "").items }}',
    "all that is known": "{{ .Capabilities.APIVersions }}{{ .Template.BasePath }}{{ .Chart.Name }}",
}


@pytest.mark.parametrize("name", READING)
async def test_s11_a_template_reads_nothing_of_the_host_or_the_cluster(rig, name):
    template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  text: |-\n    " + READING[name] + "\n"
    try:
        (found,) = await rig.render(chart({"templates/a.yaml": template}))
    except ChartError:
        return
    text = found["data"]["text"]
    assert "root:" not in text
    assert "127.0.0.1" not in text
    assert "/scratch" not in text
    assert "map[" not in text


BOMBS = {
    "a list without end": "{{ range until 2000000000 }}a{{ end }}",
    "a long text": '{{ repeat 2000000000 "a" }}',
    "a text that doubles": '{{ $s := "aaaaaaaaaaaaaaaa" }}{{ range until 40 }}{{ $s = print $s $s }}{{ end }}{{ $s }}',
    "output without end": '{{ range until 100000 }}{{ repeat 1000 "a" }}{{ end }}',
    "a template in a template": '{{ define "a" }}{{ include "a" . }}{{ end }}{{ include "a" . }}',
    "a template made of text": '{{ tpl (repeat 100 "{{ repeat 10000000 \\"b\\" }}") . }}',
    "keys without end": '{{ range until 100000 }}{{ genPrivateKey "rsa" }}{{ end }}',
    "a list in a list": "{{ $l := list }}{{ range until 100000 }}{{ $l = append $l (until 10000) }}{{ end }}",
    "YAML that multiplies": BOMB,
    "deep YAML": "a: " + "[" * 100_000,
    "4 MiB of objects": (
        "{{ range until 5000 }}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a{{ . }}}\n"
        'data: {a: "{{ repeat 900 "b" }}"}\n{{ end }}'
    ),
}


@pytest.mark.parametrize("name", BOMBS)
async def test_s13_a_template_without_end_is_stopped_and_costs_us_no_memory(rig, name):
    begun, before = time.monotonic(), own_memory()
    with pytest.raises(ChartError) as caught:
        await rig.render(chart({"templates/a.yaml": BOMBS[name]}))
    assert caught.value.reason in {"ChartLimit", "ChartInvalid"}
    assert time.monotonic() - begun < 30
    assert own_memory() - before < 64 << 20
    assert len(caught.value.message) <= 1000


def own_memory() -> int:
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def role(kind: str, **metadata: Any) -> dict[str, Any]:
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": "a", **metadata},
        "rules": rules,
    }


def binding(kind: str, role_kind: str = "ClusterRole", name: str = "cluster-admin") -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": "a"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "pilotage-deployer", "namespace": TENANT}],
    }


def settings(**metadata: Any) -> dict[str, Any]:
    return NOWHERE | {"metadata": {"name": "brought", **metadata}}


HOOK = {"annotations": {"helm.sh/hook": "pre-install"}}
WEBHOOK = {
    "name": "a.example.org",
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
    "clientConfig": {"url": "https://a"},
}
BROUGHT: dict[str, dict[str, Any]] = {
    "a ClusterRole": role("ClusterRole"),
    "a Role": role("Role"),
    "a ClusterRoleBinding": binding("ClusterRoleBinding"),
    "a RoleBinding": binding("RoleBinding"),
    "a RoleBinding to the impersonator": binding("RoleBinding", name="pilotage-impersonator"),
    "an object in kube-system": settings(namespace="kube-system"),
    "an object beside the operator": settings(namespace="pilotage-system"),
    "an object of a neighbour": settings(namespace=NEIGHBOUR),
    "a hook in kube-system": settings(namespace="kube-system", **HOOK),
    "a hook that is a ClusterRole": role("ClusterRole", **HOOK),
    "a namespace": {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "brought"}},
    "a pod": {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    },
    "a volume of the host": {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "a"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/"}},
    },
    "a webhook": {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "a"},
        "webhooks": [WEBHOOK],
    },
    "a service of the API": {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1.a.example.org"},
        "spec": {"group": "a.example.org", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1},
    },
    "a class of storage": {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "a"},
        "provisioner": "a",
    },
    "a class of priority": {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "a"},
        "value": 1,
    },
    "an endpoint by hand": {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "a", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}],
        "ports": [{"port": 443}],
    },
    "an object of ours": {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "Implementation",
        "metadata": {"name": "again"},
        "spec": {
            "customer": {"code": "a", "name": "a"},
            "modules": [{"name": "a", "chart": {"configMapRef": {"name": "a"}}}],
        },
    },
    "a certificate request": {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": "a"},
        "spec": {"request": "YQ==", "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]},
    },
    "a node": {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}},
}


@pytest.mark.parametrize("name", BROUGHT)
async def test_s15_a_chart_brings_nothing_that_its_account_may_not_make(ground, rig, name):
    release = f"brought-{list(BROUGHT).index(name)}"
    said = await rig.install(chart({"templates/a.yaml": json.dumps(BROUGHT[name])}), release)
    assert "forbidden" in said, said
    made = ground.kubectl("get", "clusterrole/a", "clusterrolebinding/a", "namespace/brought", "-o", "name").stdout
    assert made == ""


async def test_s15_nor_does_it_bring_a_kind(ground, rig):
    kind = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.a.example.org"},
        "spec": {
            "group": "a.example.org",
            "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
        },
    }
    said = await rig.install(chart({"crds/a.yaml": json.dumps(kind)}), "kinds")
    assert "forbidden" in said
    assert ground.kubectl("get", "crd", "things.a.example.org").returncode != 0


async def test_s14_a_template_that_looks_up_a_secret_of_another_namespace_fails(rig):
    text = '{{ if .Release.IsInstall }}{{ $s := lookup "v1" "Secret" "kube-system" "" }}{{ end }}\n' + json.dumps(
        settings()
    )
    assert "forbidden" in await rig.install(chart({"templates/a.yaml": text}), "lookup")


async def test_s16_a_hook_that_never_ends_is_given_up(rig):
    pod = {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}
    hook = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "endless", **HOOK},
        "spec": {"template": {"spec": pod}},
    }
    begun = time.monotonic()
    assert await rig.install(chart({"templates/a.yaml": json.dumps(hook)}), "endless")
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"labels": {"app.kubernetes.io/managed-by": "Helm"}},
        {
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"meta.helm.sh/release-name": "other", "meta.helm.sh/release-namespace": TENANT},
        },
    ],
    ids=["unmarked", "marked", "of another release"],
)
async def test_s17_an_object_that_is_there_already_is_not_taken_over(ground, rig, metadata):
    name = f"taken-{len(json.dumps(metadata))}"
    there = NOWHERE | {"metadata": {"name": name, "namespace": TENANT, **metadata}, "data": {"mine": "yes"}}
    ground.done("create", "-f", "-", body=there)
    brought = NOWHERE | {"metadata": {"name": name}, "data": {"mine": "no"}}
    assert "cannot be imported" in await rig.install(chart({"templates/a.yaml": json.dumps(brought)}), f"take-{name}")
    assert ground.done("-n", TENANT, "get", "configmap", name, "-o", "jsonpath={.data.mine}") == "yes"


async def test_s38_another_archive_than_the_one_reviewed_is_refused(rig):
    with pytest.raises(ChartError) as caught:
        await rig.fetch(chart(), digest=f"sha256:{'a' * 64}")
    assert caught.value.reason == "ChartDigestMismatch"


async def test_s38_another_version_than_the_one_named_is_refused(rig):
    with pytest.raises(ChartError) as caught:
        await rig.fetch(chart(), version="9.9.9")
    assert caught.value.reason == "ChartVersionMismatch"
