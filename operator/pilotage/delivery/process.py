"""Runs one helm process: its own group, no inherited secrets, dead with its parent, bounded in time and output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_OUTPUT = 4 * 1024 * 1024
# Of its data, which is what a template can make grow. Twice what a chart of a megabyte of manifests was seen to need.
MEMORY = 384 * 1024 * 1024
GO_CRASHED = 2
# How Go's runtime says, in whichever of its parts notices first, that it gets no more memory.
OUT_OF_MEMORY = re.compile(r"^fatal error: .*(memory|alloc|arena|pages|stack overflow)", re.MULTILINE)


@dataclass(frozen=True)
class Ended:
    """How a process ended. `code` is negative when a signal ended it; `late` when its time was up, `flooded` when it
    said more than anybody reads.
    """

    code: int
    output: bytes
    errors: str
    late: bool = False
    flooded: bool = False

    @property
    def exceeded(self) -> str:
        """The limit that ended it, empty when none did."""
        if self.late:
            return "time"
        if self.flooded:
            return "output"
        return "memory" if self.code == GO_CRASHED and OUT_OF_MEMORY.search(self.errors) else ""


def child_environment(scratch: Path) -> dict[str, str]:
    """The whole environment of a helm process: its directories, a lazy garbage collector, the user's proxies."""
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
    kept = {name: os.environ[name] for name in (*proxies, "SSL_CERT_FILE") if name in os.environ}
    return kept | {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(scratch),
        "HELM_CACHE_HOME": str(scratch / "cache"),
        "HELM_CONFIG_HOME": str(scratch / "config"),
        "HELM_DATA_HOME": str(scratch / "data"),
        "HELM_NO_PLUGINS": "1",
        "GOGC": "400",
        "GOMEMLIMIT": "256MiB",
        # What it says when it breaks down becomes a message, not a page of its insides.
        "GOTRACEBACK": "none",
    }


async def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    stdin: bytes = b"",
    timeout: float,
    cpu_seconds: int | None = None,
) -> Ended:
    """Run the command and wait for its end. A cancelled caller kills it, and so does the end of this process.

    It may hold MEMORY bytes of data and say MAX_OUTPUT bytes on either of its outputs.
    """
    setpriv, prlimit = shutil.which("setpriv"), shutil.which("prlimit")
    if setpriv is None or prlimit is None:
        msg = "setpriv or prlimit (package util-linux) is missing: a helm process would outlive the operator, unbounded"
        raise FileNotFoundError(msg)
    limits = [f"--data={MEMORY}", *([f"--cpu={cpu_seconds}"] if cpu_seconds is not None else [])]
    process = await asyncio.create_subprocess_exec(
        prlimit,
        *limits,
        setpriv,
        "--pdeathsig",
        "KILL",
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environment),
        start_new_session=True,
    )
    late = False
    conversation = asyncio.gather(
        _tell(process, stdin), _hear(process, process.stdout), _hear(process, process.stderr), process.wait()
    )
    try:
        async with asyncio.timeout(timeout):
            _, output, errors, code = await asyncio.shield(conversation)
    except TimeoutError:
        late = True
        _kill(process)
        _, output, errors, code = await conversation
    except BaseException:
        _kill(process)
        conversation.cancel()
        await process.wait()
        raise
    flooded = max(len(output), len(errors)) > MAX_OUTPUT
    return Ended(code, output, errors.decode("utf-8", errors="replace"), late, flooded)


async def _tell(process: asyncio.subprocess.Process, stdin: bytes) -> None:
    if process.stdin is None:
        return
    # It may end, or be killed, before it has read everything.
    with contextlib.suppress(ConnectionError):
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()


async def _hear(process: asyncio.subprocess.Process, stream: asyncio.StreamReader | None) -> bytes:
    """What comes out of it; the process is killed when that is more than MAX_OUTPUT."""
    heard = bytearray()
    # Also to the end of what is thrown away: with something unread in its pipes a process is never seen to end.
    while stream and (part := await stream.read(65536)):
        if len(heard) <= MAX_OUTPUT:
            heard += part
        if len(heard) > MAX_OUTPUT:
            _kill(process)
    return bytes(heard)


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
