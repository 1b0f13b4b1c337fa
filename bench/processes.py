"""The operator and its peer as processes, and what the kernel and their metrics say about them."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

from e2e.cluster.ports import ReservedPort

TICKS = os.sysconf("SC_CLK_TCK")
LONGEST_START = 1800.0


class Measured:
    """One child process with its log; resident memory in MiB, processor time in seconds."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(command, env=os.environ | environment, stdout=output, stderr=output)

    @property
    def resident(self) -> float:
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", text)
        return int(found[1]) / 1024 if found else 0.0

    @property
    def processor(self) -> tuple[float, float]:
        """Seconds of its own, and of its children that have ended."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        own, children = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
        return own / TICKS, children / TICKS

    async def at_rest(self) -> None:
        """Wait until it used no processor time for half a second. Asking its metrics would cost what is measured."""
        before: tuple[float, float] | None = None
        while before != (before := self.processor):  # noqa: ASYNC110 (the kernel tells nobody when a process rests)
            await asyncio.sleep(0.5)

    def require_alive(self) -> None:
        if self._process.poll() is not None:
            words = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise SystemExit(f"a measured process ended with {self._process.returncode}:\n{words}")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Operator(Measured):
    """`python -m pilotage.operator` against a kubeconfig, without the Lease: its renewals would count as writes."""

    def __init__(self, kubeconfig: Path, helm: Path, directory: Path) -> None:
        self._ports = ReservedPort(), ReservedPort()
        scratch = directory / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        environment = {
            "KUBECONFIG": str(kubeconfig),
            "PILOTAGE_SCRATCH": str(scratch),
            "PILOTAGE_HELM": str(helm),
            "PILOTAGE_HEALTH_PORT": str(self._ports[0].number),
            "PILOTAGE_METRICS_PORT": str(self._ports[1].number),
            "PILOTAGE_LEADER_ELECTION": "false",
        }
        super().__init__([sys.executable, "-m", "pilotage.operator"], environment, directory / "operator.log")

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name that carry these labels."""
        lines = self._scrape() or []
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        samples = [line for line in lines if line.startswith((f"{name}{{", f"{name} "))]
        return sum(float(line.rpartition(" ")[2]) for line in samples if all(part in line for part in wanted))

    def _scrape(self) -> list[str] | None:
        address = f"http://127.0.0.1:{self._ports[1].number}/metrics"
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return list(answer.read().decode().splitlines())
        except OSError:
            return None

    async def settled(self, passes: int) -> bool:
        """Wait until so many passes over Implementations ended and none waits; False when that took too long."""
        loop = asyncio.get_running_loop()
        deadline, calm = loop.time() + LONGEST_START, 0
        while loop.time() < deadline:
            self.require_alive()
            done = self.metric("controller_runtime_reconcile_total", controller="implementations")
            depth = self.metric("workqueue_depth") + self.metric("workqueue_unfinished_work_seconds")
            calm = calm + 1 if self._scrape() and done >= passes and depth == 0 else 0
            if calm == 2:
                return True
            await asyncio.sleep(0.1)
        return False

    def stop(self) -> None:
        super().stop()
        for port in self._ports:
            port.release()


class BareKopf(Measured):
    """kopf with the operator's watches and a handler that does nothing: what the event source alone costs."""

    def __init__(self, kubeconfig: Path, directory: Path) -> None:
        environment = {"KUBECONFIG": str(kubeconfig)}
        super().__init__([sys.executable, "-m", "bench.bare_kopf"], environment, directory / "kopf.log")
