"""Runs the operator as a process and starts it again whenever it ends, as a kubelet does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path

import yaml

from e2e.cluster.places import BINARIES
from tests.faults.nursery import Nursery, Offspring

PAUSE = 0.2
GRACE = 30.0
HELM = BINARIES / "helm"


class Supervisor:
    """The operator of one namespace. `kill` is a planned end; every other end while it runs is a surprise."""

    def __init__(
        self, nursery: Nursery, namespace: str, directory: Path, settings: dict[str, str] | None = None
    ) -> None:
        self.log = directory / "operator.log"
        self.scratch = directory / "scratch"
        self.kills = 0
        self.surprises: list[int] = []
        self._nursery = nursery
        self._kubeconfig = directory / "kubeconfig"
        self._namespace = namespace
        self._settings = settings or {}
        self._process: Offspring | None = None
        self._planned = False
        self._asked = False
        self._stopping = False

    async def start(self, url: str) -> None:
        """Start it against the API server at that URL, and keep it running until `stop`."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        self._kubeconfig.write_text(kubeconfig(url))
        self._stopping = False
        self._process = await self._spawn()
        self._task = asyncio.create_task(self._keep_running())

    def kill(self) -> None:
        """SIGKILL, now. Its helm processes die with it."""
        if self._process and not self._process.ended.done() and not self._planned:
            self._planned = True
            self.kills += 1
            self._process.kill()

    def terminate(self) -> None:
        """SIGTERM: it is to end by itself, in good order, within the time that a kubelet gives it."""
        if self._process and not self._process.ended.done() and not self._planned:
            self._planned = self._asked = True
            self.kills += 1
            self._signal(signal.SIGTERM)
            asyncio.get_running_loop().call_later(GRACE, self._process.kill)

    def freeze(self) -> None:
        """SIGSTOP: it stands still, and its connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on as if no time had passed."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process and not self._process.ended.done():
            os.kill(self._process.pid, number)

    def kill_helm(self) -> None:
        """SIGKILL to the helm processes of the operator, which lives on."""
        if self._process is None:
            return
        for child in children_of(self._process.pid):
            if Path(f"/proc/{child}/comm").read_text().strip() == "helm":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)

    async def stop(self) -> None:
        """End it with SIGKILL and start it no more."""
        self._stopping = True
        if self._process:
            self._process.kill()
        await self._task

    def words(self) -> str:
        """All that it logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def bugs(self) -> list[str]:
        """What the operator itself calls a bug, from its log."""
        found = []
        for line in self.words().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                if "Traceback" in line:
                    found.append(line)
                continue
            if entry["level"] == "critical" or entry["message"].startswith("a bug"):
                found.append(f"{entry['message']}: {entry.get('error', '').strip().splitlines()[-1:]}")
        return found

    async def _spawn(self) -> Offspring:
        environment = {
            "KUBECONFIG": str(self._kubeconfig),
            "PILOTAGE_NAMESPACE": self._namespace,
            "PILOTAGE_SCRATCH": str(self.scratch),
            "PILOTAGE_HELM": str(HELM),
            "PILOTAGE_HEALTH_PORT": "0",
            "PILOTAGE_METRICS_PORT": "0",
            "PILOTAGE_LEADER_ELECTION": "false",
        }
        return await self._nursery.spawn(environment | self._settings, self.log)

    async def _keep_running(self) -> None:
        while self._process is not None:
            code = await self._process.ended
            if self._stopping:
                return
            if not self._planned or (self._asked and code != 0):
                self.surprises.append(code)
            await asyncio.sleep(PAUSE)
            if self._stopping:
                return
            self._process, self._planned, self._asked = await self._spawn(), False, False
            if self._stopping:
                self._process.kill()


def kubeconfig(url: str) -> str:
    """A kubeconfig without credentials: the proxy has them."""
    context = {"cluster": "proxy", "user": "operator"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "proxy", "cluster": {"server": url}}],
        "users": [{"name": "operator", "user": {}}],
        "contexts": [{"name": "proxy", "context": context}],
        "current-context": "proxy",
    }
    return yaml.safe_dump(document)


def children_of(process: int) -> list[int]:
    """The process's children, by any of its threads."""
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(word) for word in (task / "children").read_text().split()]
    return found
