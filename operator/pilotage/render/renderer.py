"""Renders the values of all modules of an Implementation in one killable child process."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

WALL_SECONDS: Final = 5.0
MAX_REQUEST: Final = 4 * 1024 * 1024
MAX_ANSWER: Final = 1024 * 1024
CACHED: Final = 2048


@dataclass(frozen=True)
class ModuleTemplate:
    """One module's expressions: its outputs, and trees by the path that error messages name."""

    name: str
    context: Mapping[str, Any]
    outputs: Mapping[str, str]
    trees: Mapping[str, Any]


@dataclass(frozen=True)
class RenderError:
    """Why a module's values cannot be rendered; `path` names the leaf."""

    reason: str
    path: str
    message: str


@dataclass(frozen=True)
class Rendered:
    """Rendered trees by module and path, and the errors of the modules that have none."""

    trees: Mapping[str, Mapping[str, Any]]
    errors: Mapping[str, RenderError]


class Renderer:
    """Renders requests, and remembers the last answers by their digest: an unchanged spec costs nothing."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, Rendered] = OrderedDict()

    async def render(self, modules: Sequence[ModuleTemplate]) -> Rendered:
        """All modules' trees. Outputs are rendered in the given order, so dependencies come first.

        Without any expression nothing is untrusted and no child is needed.
        A child that takes too long, allocates too much or says too much concerns every module of the request.
        """
        request = json.dumps({"modules": [vars(module) for module in modules]}, sort_keys=True, default=dict).encode()
        if b"[[" not in request:
            return Rendered({module.name: module.trees for module in modules}, {})
        digest = hashlib.sha256(request).hexdigest()
        if digest in self._answers:
            self._answers.move_to_end(digest)
            return self._answers[digest]
        if len(request) > MAX_REQUEST:
            return _for_all(modules, f"the values are larger than {MAX_REQUEST} bytes")
        found = await _ask_child(modules, request)
        self._answers[digest] = found
        while len(self._answers) > CACHED:
            self._answers.popitem(last=False)
        return found


def _for_all(modules: Sequence[ModuleTemplate], message: str) -> Rendered:
    return Rendered({}, {module.name: RenderError("RenderLimit", "spec.modules", message) for module in modules})


async def _ask_child(modules: Sequence[ModuleTemplate], request: bytes) -> Rendered:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-m",
        "pilotage.render.child",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(WALL_SECONDS):
            output = await _converse(process, request)
    except TimeoutError:
        return _for_all(modules, f"the templates were stopped after {WALL_SECONDS:g} s: look for an endless expression")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if output is None:
        return _for_all(modules, f"the rendered values are larger than {MAX_ANSWER} bytes")
    if process.returncode != 0:
        message = "the templates were stopped: too much memory or processor time; look for a huge expression"
        return _for_all(modules, message)
    document = json.loads(output)
    errors = {name: RenderError(*parts) for name, parts in document["errors"].items()}
    return Rendered(document["rendered"], errors)


async def _converse(process: asyncio.subprocess.Process, request: bytes) -> bytes | None:
    if process.stdin is None or process.stdout is None:
        msg = "the child has its pipes"
        raise AssertionError(msg)
    with contextlib.suppress(ConnectionError):
        process.stdin.write(request)
        await process.stdin.drain()
        process.stdin.close()
    parts, size = [], 0
    while part := await process.stdout.read(65536):
        size += len(part)
        if size > MAX_ANSWER:
            return None
        parts.append(part)
    await process.wait()
    return b"".join(parts)
