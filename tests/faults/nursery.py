"""Starts operators by forking a process that has imported everything: a start costs milliseconds, not two seconds.

Run as a program it reads one order in a line of JSON, answers with the child's pid, and tells of every end.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import select
import shutil
import signal
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes.aio.config import kube_config

from e2e.cluster.places import REPOSITORY

PR_SET_PDEATHSIG = 1
LONGEST_ORDER = 65536


@dataclass(frozen=True)
class Offspring:
    """One running operator. `ended` becomes its exit code, negative when a signal ended it."""

    pid: int
    ended: asyncio.Future[int]

    def kill(self) -> None:
        """SIGKILL, if it has not ended."""
        if not self.ended.done():
            os.kill(self.pid, signal.SIGKILL)


class Nursery:
    """The nursery as the runs see it."""

    async def start(self, environment: dict[str, str] | None = None) -> None:
        """Add variables to the environment of all that it bears.

        Raises FileNotFoundError without setpriv, which ends the nursery with this process.
        """
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            msg = "setpriv (package util-linux) is missing"
            raise FileNotFoundError(msg)
        self._process = await asyncio.create_subprocess_exec(
            setpriv, "--pdeathsig", "KILL", sys.executable, "-m", "tests.faults.nursery",
            cwd=REPOSITORY, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env=os.environ | (environment or {}),
        )  # fmt: skip
        self._ends: dict[int, asyncio.Future[int]] = defaultdict(asyncio.get_running_loop().create_future)
        self._born: asyncio.Queue[int] = asyncio.Queue()
        self._orders = asyncio.Lock()
        self._reader = asyncio.create_task(self._read())

    async def spawn(self, environment: dict[str, str], log: Path) -> Offspring:
        """An operator with these variables added to ours, and its output at the end of the log."""
        order = json.dumps({"environment": environment, "log": str(log)}).encode() + b"\n"
        async with self._orders:
            if self._process.stdin is None:
                raise BrokenPipeError
            self._process.stdin.write(order)
            pid = await self._born.get()
        return Offspring(pid, self._ends[pid])

    async def stop(self) -> None:
        """End it, and all that it started."""
        self._process.kill()
        await self._process.wait()
        await self._reader

    async def _read(self) -> None:
        if self._process.stdout is None:
            return
        async for line in self._process.stdout:
            told = json.loads(line)
            if "born" in told:
                # A pid may come again, long after its end.
                if self._ends[told["born"]].done():
                    del self._ends[told["born"]]
                self._born.put_nowait(told["born"])
            else:
                self._ends[told["ended"]].set_result(told["code"])


def main() -> int:
    """Fork for every order, and tell of every end, until the orders end."""
    import pilotage.operator  # noqa: F401 (what the children need is imported once, here)

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    waiting = b""
    while True:
        readable, _, _ = select.select([0, reader], [], [])
        if reader in readable:
            os.read(reader, 4096)
            tell_ends()
        if 0 in readable:
            read = os.read(0, LONGEST_ORDER)
            if not read:
                return 0
            *orders, waiting = (waiting + read).split(b"\n")
            for order in orders:
                tell(born=bear(json.loads(order), (reader, writer)))


def bear(order: dict[str, Any], pipe: tuple[int, int]) -> int:
    """Fork, and be the operator in the child."""
    pid = os.fork()
    if pid:
        return pid
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for descriptor in pipe:
        os.close(descriptor)
    output = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for given, standard in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(given, standard)
    os.environ.update(order["environment"])
    # The library looks where the kubeconfig is when it is imported.
    kube_config.KUBE_CONFIG_DEFAULT_LOCATION = order["environment"]["KUBECONFIG"]
    os._exit(operate())


def operate() -> int:
    """The operator's exit code. What it does not catch is told as the interpreter would."""
    from pilotage.operator import main as operator

    try:
        return operator()
    except BaseException:  # noqa: BLE001 (this is the child's last frame)
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()


def tell_ends() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        tell(ended=pid, code=os.waitstatus_to_exitcode(status))


def tell(**what: int) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
