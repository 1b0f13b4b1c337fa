"""Customers for the benchmark: one is rolled out for real, the others are copies of what that left behind."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
import subprocess
import tarfile
from collections.abc import Awaitable, Iterable
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster.places import REPOSITORY
from pilotage.delivery.records import decode_record, encode_record
from pilotage.kube.client import ApiError
from pilotage.kube.official import OfficialCluster
from pilotage.kube.resources import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    IMPLEMENTATIONS,
    NAMESPACES,
    NODES,
    SECRETS,
    SERVICE_ACCOUNTS,
    STATEFUL_SETS,
    Resource,
)

ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
AT_ONCE = 16
STATEFUL_SET = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: "{{ .Release.Name }}"}
spec:
  replicas: 1
  serviceName: "{{ .Release.Name }}"
  selector: {matchLabels: {application: "{{ .Release.Name }}"}}
  template:
    metadata: {labels: {application: "{{ .Release.Name }}"}}
    spec:
      containers:
        - name: application
          image: "example.invalid/application:{{ .Values.tag }}"
          resources: {requests: {cpu: 10m, memory: 16Mi}}
"""


def namespace_of(number: int) -> str:
    return f"customer-{number:04d}"


def chart_archive() -> bytes:
    """A packaged chart with one StatefulSet, the same bytes each time: its digest is part of what a release is."""
    files = {
        "bench/Chart.yaml": "apiVersion: v2\nname: bench\nversion: 1.0.0\n",
        "bench/values.yaml": 'tag: ""\n',
        "bench/templates/application.yaml": STATEFUL_SET,
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(packed.getvalue(), mtime=0)


def implementation(number: int, modules: int) -> dict[str, Any]:
    return {
        "apiVersion": IMPLEMENTATIONS.api_version,
        "kind": IMPLEMENTATIONS.kind,
        "metadata": {"name": "erp", "namespace": namespace_of(number)},
        "spec": {
            "customer": {"code": f"c{number}", "name": f"Customer {number}"},
            "rollout": {"maxParallel": modules},
            "modules": [
                {
                    "name": f"module-{place}",
                    "chart": {"configMapRef": {"name": "chart"}},
                    "values": {"tag": f"[[ 'v' ~ {place} ]]"},
                    "timeout": "2h",
                }
                for place in range(modules)
            ],
        },
    }


async def together(tasks: Iterable[Awaitable[Any]]) -> list[Any]:
    """All results, a few at a time."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(task: Awaitable[Any]) -> Any:
        async with slots:
            return await task

    return list(await asyncio.gather(*(one(task) for task in tasks)))


async def install_kinds(cluster: OfficialCluster, helm: Path) -> None:
    """Our kinds, of the operator's chart what a customer's accounts are bound to, and a node for the preflight."""
    for file in sorted((REPOSITORY / "crds").glob("*.yaml")):
        await cluster.apply(CUSTOM_RESOURCE_DEFINITIONS, yaml.safe_load(file.read_text()))
    chart = str(REPOSITORY / "charts" / "pilotage")
    command = [str(helm), "template", "pilotage", chart, "--namespace", "pilotage-system"]
    rendered = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    for document in yaml.safe_load_all(rendered.stdout):
        if document and document["kind"] == "ClusterRole":
            await cluster.apply(CLUSTER_ROLES, document)
    await cluster.create(NAMESPACES, {"metadata": {"name": "pilotage-system"}})
    node = await cluster.create(NODES, {"metadata": {"name": "bench"}})
    room = {"cpu": "100k", "memory": "1Pi", "pods": "1M"}
    await cluster.replace_status(NODES, node | {"status": {"capacity": room, "allocatable": room}})


async def prepare_namespace(cluster: OfficialCluster, number: int, archive: bytes) -> None:
    """Namespace, account, rights and chart of one customer."""
    namespace = namespace_of(number)
    await cluster.create(NAMESPACES, {"metadata": {"name": namespace}})
    place = {"namespace": namespace}
    await cluster.create(SERVICE_ACCOUNTS, {"metadata": {"name": "pilotage-deployer", **place}})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "pilotage-deployer"}
    subject = {"kind": "ServiceAccount", "name": "pilotage-deployer", **place}
    binding = {"metadata": {"name": "pilotage-deployer", **place}, "roleRef": role, "subjects": [subject]}
    await cluster.create(ROLE_BINDINGS, binding)
    packed = {"chart.tgz": base64.b64encode(archive).decode()}
    await cluster.create(CONFIG_MAPS, {"metadata": {"name": "chart", **place}, "binaryData": packed})


class Original:
    """What the rolled-out customer left: its Implementation, its release records and its workloads."""

    def __init__(self, body: dict[str, Any], records: list[dict[str, Any]], workloads: list[dict[str, Any]]) -> None:
        self.body = body
        self.records = records
        self.workloads = workloads

    @staticmethod
    async def read(cluster: OfficialCluster) -> Original:
        namespace = namespace_of(0)
        body = await cluster.get(IMPLEMENTATIONS, namespace, "erp")
        records = await cluster.list(SECRETS, namespace, labels="owner=helm")
        return Original(body, records, await cluster.list(STATEFUL_SETS, namespace))

    async def copy_to(self, cluster: OfficialCluster, number: int) -> None:
        """The same customer in another namespace, in the same state."""
        namespace = namespace_of(number)
        for workload in self.workloads:
            await cluster.create(STATEFUL_SETS, _moved(workload, namespace))
        for record in self.records:
            document = decode_record(record) | {"namespace": namespace}
            moved = _moved(record, namespace)
            await cluster.create(
                SECRETS, moved | {"data": {"release": encode_record(document)}, "type": record["type"]}
            )
        wanted = implementation(number, len(self.body["spec"]["modules"]))
        wanted["metadata"]["finalizers"] = list(self.body["metadata"].get("finalizers") or [])
        made = await cluster.create(IMPLEMENTATIONS, wanted)
        await cluster.replace_status(IMPLEMENTATIONS, made | {"status": _renamed(self.body["status"], namespace)})


def _moved(body: dict[str, Any], namespace: str) -> dict[str, Any]:
    kept = {key: body["metadata"][key] for key in ("name", "labels", "annotations") if key in body["metadata"]}
    if "annotations" in kept:
        kept["annotations"] = _renamed(kept["annotations"], namespace)
    parts = {key: value for key, value in body.items() if key not in {"metadata", "status"}}
    return parts | {"metadata": kept | {"namespace": namespace}}


def _renamed(tree: dict[str, Any], namespace: str) -> dict[str, Any]:
    """The tree with the first customer's namespace replaced wherever it is named."""
    return dict(json.loads(json.dumps(tree).replace(namespace_of(0), namespace)))


async def make_ready(cluster: OfficialCluster, namespace: str, name: str) -> None:
    """Write the workload's status as its controller would once the pod is ready."""
    for _ in range(3):
        body = await cluster.get(STATEFUL_SETS, namespace, name)
        counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), 1)
        status = {"observedGeneration": body["metadata"]["generation"], **counts}
        try:
            await cluster.replace_status(STATEFUL_SETS, body | {"status": status})
        except ApiError as error:
            if error.status != 409:
                raise
        else:
            return
