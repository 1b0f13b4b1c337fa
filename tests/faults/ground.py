"""The ground that all plans share: one light cluster, its history, its kubelet; and the namespace of each plan."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml

from bench.seed import CLUSTER_ROLES, ROLE_BINDINGS
from e2e.charts import pack
from e2e.cluster.light import LightCluster
from e2e.cluster.places import BINARIES, REPOSITORY
from e2e.postgresql import PostgreSQL
from pilotage.kube.client import NotFound, Unavailable
from pilotage.kube.official import connect
from pilotage.kube.resources import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    NAMESPACES,
    NODES,
    SERVICE_ACCOUNTS,
    Resource,
)
from pilotage.operator import OWN_KINDS
from tests.faults.history import History
from tests.faults.jobs import SimulatedJobs
from tests.faults.kubelet import SimulatedKubelet
from tests.faults.nursery import Nursery
from tests.faults.proxy import Upstream

DEPLOYER = "pilotage-deployer"
REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False)
TEMPLATES = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ .Release.Name }}"}
spec:
  replicas: 1
  selector: {matchLabels: {application: "{{ .Release.Name }}"}}
  template:
    metadata: {labels: {application: "{{ .Release.Name }}"}}
    spec: {containers: [{name: application, image: "example.invalid/application:{{ .Values.tag }}"}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}-settings"}
data: {tag: "{{ .Values.tag }}"}
{{- if eq .Values.tag "v1" }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}-of-the-first-version"}
{{- end }}
"""
CHART = pack(
    [
        ("small/Chart.yaml", b"apiVersion: v2\nname: small\nversion: 1.0.0\n"),
        ("small/values.yaml", b"tag: v1\n"),
        ("small/templates/all.yaml", TEMPLATES.encode()),
    ]
)


class Ground:
    """Enter it to get a running cluster; leave it and nothing is left but the directory with the logs.

    audit: whether the API server writes its audit log.
    """

    def __init__(self, directory: Path | None = None, *, audit: bool = False) -> None:
        self._temporary = None if directory else tempfile.TemporaryDirectory(prefix="pilotage-faults-")
        self.directory = directory or Path(self._temporary.name if self._temporary else "")
        self.pods = self.directory / "pods"
        self.light = LightCluster(self.directory / "cluster", audit=audit)
        # In a place of its own, for it belongs to another user.
        self._server_folder = tempfile.TemporaryDirectory(prefix="pilotage-postgresql-")
        self._server: PostgreSQL | None = None
        self._one_server = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.light.start)
        # Its controllers would rewrite what the simulated kubelet reports.
        await asyncio.to_thread(self.light.stop_controllers)
        self.cluster = await connect(str(self.light.kubeconfig))
        self.upstream = Upstream(self.light.url, self._session())
        await self._install()
        self.history = History(self.upstream)
        await self.history.start()
        self._kubelet = SimulatedKubelet(self.upstream, self.history)
        self._jobs = SimulatedJobs(self.upstream, self.history, self.pods)
        self.nursery = Nursery()
        await self.nursery.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.nursery.stop()
        await self._jobs.stop()
        await self.history.stop()
        await self.upstream.session.close()
        await self.cluster.close()
        await asyncio.to_thread(self.light.stop)
        if self._server:
            await asyncio.to_thread(self._server.stop, "immediate")
            await asyncio.to_thread(self._server_folder.cleanup)
        if self._temporary:
            self._temporary.cleanup()

    def _session(self) -> aiohttp.ClientSession:
        document = yaml.safe_load(self.light.kubeconfig.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        client = self.directory / "client.pem"
        client.write_bytes(
            base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"])
        )
        tls.load_cert_chain(client)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=0),
            auto_decompress=False,
            read_bufsize=8 * 1024 * 1024,
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def _install(self) -> None:
        """Our kinds, the roles of the operator's chart, and a node for the preflight."""
        for file in sorted((REPOSITORY / "crds").glob("*.yaml")):
            await self.cluster.apply(CUSTOM_RESOURCE_DEFINITIONS, yaml.safe_load(file.read_text()))
        command = [str(BINARIES / "helm"), "template", "pilotage", str(REPOSITORY / "charts" / "pilotage")]
        rendered = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
        for document in yaml.safe_load_all(rendered.stdout):
            if document and document["kind"] == "ClusterRole":
                await self.cluster.apply(CLUSTER_ROLES, document)
        node = await self.cluster.create(NODES, {"metadata": {"name": "node"}})
        room = {"cpu": "100k", "memory": "1Pi", "pods": "1M"}
        await self.cluster.replace_status(NODES, node | {"status": {"capacity": room, "allocatable": room}})
        async with asyncio.timeout(60):
            while not await self._served():  # noqa: ASYNC110 (the other side is a server)
                await asyncio.sleep(0.1)

    async def _served(self) -> bool:
        try:
            for kind in OWN_KINDS:
                await self.cluster.list(kind)
        except (NotFound, Unavailable):
            return False
        return True

    async def database(self) -> PostgreSQL:
        """A server for all customers' databases, started when the first one asks for it."""
        async with self._one_server:
            if self._server is None:
                self._server = await asyncio.to_thread(
                    PostgreSQL, Path(self._server_folder.name), "shared_buffers=32MB"
                )
        return self._server

    async def restart_api_server(self) -> None:
        """Kill the API server, let the store forget what was before, and start the server again.

        A watch that was open before is told 410: the store no longer has what it asks for, nor the new server's cache.
        """
        await asyncio.to_thread(self.light.kill_api_server)
        store = aiohttp.UnixConnector(path=str(self.light.etcd_socket))
        async with aiohttp.ClientSession("http://localhost", connector=store) as session:
            async with session.post("/v3/kv/range", json={"key": "AA=="}) as answer:
                revision = (await answer.json(content_type=None))["header"]["revision"]
            async with session.post("/v3/kv/compaction", json={"revision": revision, "physical": True}) as answer:
                answer.raise_for_status()
        await asyncio.to_thread(self.light.restart_api_server)

    async def make_namespace(self, namespace: str) -> None:
        """Namespace, account, rights and chart of one customer; returns when the rights hold."""
        await self.cluster.create(NAMESPACES, {"metadata": {"name": namespace}})
        place = {"namespace": namespace}
        # The second is what pods run as; the controller that makes it does not run here.
        for account in (DEPLOYER, "default"):
            await self.cluster.create(SERVICE_ACCOUNTS, {"metadata": {"name": account, **place}})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": DEPLOYER}
        subject = {"kind": "ServiceAccount", "name": DEPLOYER, **place}
        await self.cluster.create(
            ROLE_BINDINGS, {"metadata": {"name": DEPLOYER, **place}, "roleRef": role, "subjects": [subject]}
        )
        packed = {"chart.tgz": base64.b64encode(CHART).decode()}
        await self.cluster.create(CONFIG_MAPS, {"metadata": {"name": "chart", **place}, "binaryData": packed})
        question = {
            "apiVersion": REVIEWS.api_version,
            "kind": REVIEWS.kind,
            "spec": {
                "user": f"system:serviceaccount:{namespace}:{DEPLOYER}",
                "resourceAttributes": {"namespace": namespace, "verb": "create", "resource": "secrets"},
            },
        }
        # The API server learns of a new binding a moment after it is written.
        async with asyncio.timeout(60):
            while not await self._allowed(question):  # noqa: ASYNC110 (the other side is a server)
                await asyncio.sleep(0.05)

    async def _allowed(self, question: dict[str, Any]) -> bool:
        address = self.upstream.url + REVIEWS.path()
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        async with self.upstream.session.post(address, data=json.dumps(question), headers=headers) as answer:
            return bool(json.loads(await answer.read())["status"]["allowed"])
