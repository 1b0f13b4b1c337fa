"""Runs the operator as a process and starts it again whenever it ends, as a kubelet does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import yaml

from tests.faults.ground import HELM

PAUSE = 0.2


class Supervisor:
    """The operator of one namespace. `kill` is a planned end; every other end while it runs is a surprise."""

    def __init__(self, namespace: str, directory: Path, settings: dict[str, str] | None = None) -> None:
        self.log = directory / "operator.log"
        self.scratch = directory / "scratch"
        self.kills = 0
        self.surprises: list[int] = []
        self._kubeconfig = directory / "kubeconfig"
        self._namespace = namespace
        self._settings = settings or {}
        self._process: asyncio.subprocess.Process | None = None
        self._planned = False
        self._stopping = False

    async def start(self, url: str) -> None:
        """Start it against the API server at that URL, and keep it running until `stop`."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        self._kubeconfig.write_text(kubeconfig(url))
        self._process = await self._spawn()
        self._task = asyncio.create_task(self._keep_running())

    def kill(self) -> None:
        """SIGKILL, now. Its helm processes die with it."""
        if self._process and self._process.returncode is None and not self._planned:
            self._planned = True
            self.kills += 1
            self._process.kill()

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
        if self._process and self._process.returncode is None:
            self._process.kill()
        await self._task

    def bugs(self) -> list[str]:
        """What the operator itself calls a bug, from its log."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                if "Traceback" in line:
                    found.append(line)
                continue
            if entry["level"] == "critical" or entry["message"].startswith("a bug"):
                found.append(f"{entry['message']}: {entry.get('error', '').strip().splitlines()[-1:]}")
        return found

    async def _spawn(self) -> asyncio.subprocess.Process:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            msg = "setpriv (package util-linux) is missing"
            raise FileNotFoundError(msg)
        environment = {
            "KUBECONFIG": str(self._kubeconfig),
            "PILOTAGE_NAMESPACE": self._namespace,
            "PILOTAGE_SCRATCH": str(self.scratch),
            "PILOTAGE_HELM": str(HELM),
            "PILOTAGE_HEALTH_PORT": "0",
            "PILOTAGE_METRICS_PORT": "0",
            "PILOTAGE_LEADER_ELECTION": "false",
        }
        with self.log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                setpriv, "--pdeathsig", "KILL", sys.executable, "-m", "pilotage.operator",
                env=os.environ | environment | self._settings, stdout=output, stderr=output,
                stdin=asyncio.subprocess.DEVNULL,
            )  # fmt: skip

    async def _keep_running(self) -> None:
        while self._process is not None:
            code = await self._process.wait()
            if self._stopping:
                return
            if not self._planned:
                self.surprises.append(code)
            await asyncio.sleep(PAUSE)
            if self._stopping:
                return
            self._process, self._planned = await self._spawn(), False
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
