"""The process from which each rendering is forked: importing the template library costs more than most templates."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from typing import Final

from pilotage.render.child import READY

START_SECONDS: Final = 60.0


class Nursery:
    """Gives out sockets to fresh children. The process behind it is started when it is first needed, or is gone."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._lock = asyncio.Lock()

    async def child(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A conversation with a child that has heard nothing yet. Raises OSError when none can be had."""
        ours, theirs = socket.socketpair()
        with theirs:
            async with self._lock:
                if not self.alive or self._control is None:
                    self._control = await self._start()
                socket.send_fds(self._control, [b"\0"], [theirs.fileno()])
        return await asyncio.open_unix_connection(sock=ours)

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    async def _start(self) -> socket.socket:
        self.close()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = _process(theirs)
        ours.setblocking(False)
        async with asyncio.timeout(START_SECONDS):
            said = await asyncio.get_running_loop().sock_recv(ours, len(READY))
        if said != READY:
            ours.close()
            msg = "the process that forks the renderings does not start"
            raise OSError(msg)
        ours.setblocking(True)
        return ours

    def close(self) -> None:
        """End the process; children that still render end by their own limits."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
            self._process = None


def _process(control: socket.socket) -> subprocess.Popen[bytes]:
    """Without any environment, and in a group of its own, which no signal to the operator reaches."""
    return subprocess.Popen(
        [sys.executable, "-I", "-m", "pilotage.render.child"],
        stdin=control.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={},
        start_new_session=True,
    )
