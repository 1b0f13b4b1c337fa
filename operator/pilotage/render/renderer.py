"""Renders the values of all modules of an Implementation in a child process of their own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pilotage.render.child import END
from pilotage.render.nursery import Nursery

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
        self._nursery = Nursery()
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
        found = await self._ask_child(modules, request)
        self._answers[digest] = found
        while len(self._answers) > CACHED:
            self._answers.popitem(last=False)
        return found

    def close(self) -> None:
        """End the process behind it."""
        self._nursery.close()

    async def _ask_child(self, modules: Sequence[ModuleTemplate], request: bytes) -> Rendered:
        child = await self._nursery.child()
        try:
            async with asyncio.timeout(WALL_SECONDS):
                answer = await _converse(child, request)
        except TimeoutError:
            text = f"the templates were stopped after {WALL_SECONDS:g} s: look for an endless expression"
            return _for_all(modules, text)
        if len(answer) > MAX_ANSWER:
            return _for_all(modules, f"the rendered values are larger than {MAX_ANSWER} bytes")
        if not answer.endswith(END):
            if not self._nursery.alive:
                msg = "the process that forks the renderings was killed"
                raise OSError(msg)
            text = "the templates were stopped: too much memory or processor time; look for a huge expression"
            return _for_all(modules, text)
        document = json.loads(answer)
        errors = {name: RenderError(*parts) for name, parts in document["errors"].items()}
        return Rendered(document["rendered"], errors)


def _for_all(modules: Sequence[ModuleTemplate], message: str) -> Rendered:
    return Rendered({}, {module.name: RenderError("RenderLimit", "spec.modules", message) for module in modules})


async def _converse(child: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes) -> bytes:
    """The child's answer: cut off after the largest one that is taken; without its end when the child was killed."""
    reader, writer = child
    answer = bytearray()
    try:
        writer.write(request)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            writer.write_eof()
            while len(answer) <= MAX_ANSWER and (part := await reader.read(65536)):
                answer += part
    finally:
        writer.close()
    return bytes(answer)
