"""Runs one helm process: its own group, no inherited secrets, dead with its parent, bounded in time and output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_OUTPUT = 4 * 1024 * 1024


@dataclass(frozen=True)
class Ended:
    """How a process ended. `code` is negative when a signal ended it; `late` when its time was up."""

    code: int
    output: bytes
    errors: str
    late: bool = False


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
        "GOMEMLIMIT": "512MiB",
    }


async def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    stdin: bytes = b"",
    timeout: float,
    cpu_seconds: int | None = None,
) -> Ended:
    """Run the command and wait for its end. A cancelled caller kills it, and so does the end of this process."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        msg = "setpriv (package util-linux) is missing: without it a helm process would outlive the operator"
        raise FileNotFoundError(msg)
    process = await asyncio.create_subprocess_exec(
        setpriv,
        "--pdeathsig",
        "KILL",
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environment),
        start_new_session=True,
        limit=MAX_OUTPUT,
    )
    if cpu_seconds is not None:
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    late = False
    try:
        async with asyncio.timeout(timeout):
            output, errors = await process.communicate(stdin)
    except TimeoutError:
        late = True
        _kill(process)
        output, errors = await process.communicate()
    except BaseException:
        _kill(process)
        await process.wait()
        raise
    code = process.returncode if process.returncode is not None else -1
    return Ended(code, output[:MAX_OUTPUT], errors[-MAX_OUTPUT:].decode("utf-8", errors="replace"), late)


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
