"""Liveness that means something: the process is alive while due work is taken up, not while it can answer a request."""

from __future__ import annotations

from typing import Final, Protocol

from aiohttp import web

from pilotage.observability.serving import serve

OLDEST_WAITING: Final = 300.0
"""Seconds. Longer than the first complete list may take (120 s) and than any pass whose requests all time out."""


class WaitingWork(Protocol):
    """What liveness asks of the work queue."""

    @property
    def oldest_waiting_seconds(self) -> float:
        """How long the key that waits longest has been due; 0 when none waits."""
        ...


class Liveness:
    """Whether a restart would help.

    While the process stands by for the Lease there is nothing that it could miss. Once it watches, a key that
    nobody has taken up for minutes says that the workers hang, are dead, or were never started.
    """

    def __init__(self, queue: WaitingWork) -> None:
        self._queue = queue
        self._watching = False

    def watching(self) -> None:
        """Events come in from now on, so work is expected to be done."""
        self._watching = True

    def trouble(self) -> str | None:
        """What is wrong, in a sentence; None when all is well."""
        waiting = self._queue.oldest_waiting_seconds
        if self._watching and waiting > OLDEST_WAITING:
            return f"a key has been waiting for {waiting:.0f} s and no worker takes it"
        return None


async def serve_health(port: int, liveness: Liveness) -> web.AppRunner:
    """Serve `/healthz` (200, or 503 with a sentence) until the returned runner is cleaned up.

    A blocked event loop answers nothing at all, which the probe's timeout sees. Raises OSError when the port is taken.
    """

    async def answer(request: web.Request) -> web.Response:
        del request
        trouble = liveness.trouble()
        return web.Response(text=f"{trouble or 'ok'}\n", status=503 if trouble else 200)

    return await serve("/healthz", answer, port)
