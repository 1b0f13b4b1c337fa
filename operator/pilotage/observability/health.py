"""Liveness that means something: the process is alive while due work is taken up, not while it can answer a request."""

from __future__ import annotations

from typing import Final, Protocol

from aiohttp import web

from pilotage.observability.serving import serve

LONGEST_UNATTENDED: Final = 300.0
"""Seconds. Longer than the first complete list may take (120 s) and than any pass whose requests all time out."""


LONGEST_PASS: Final = 900.0
"""Seconds. Every request has its own deadline of at most 30 s; such a pass waits for what never comes."""


class WorkInProgress(Protocol):
    """What liveness asks of the work queue."""

    def unattended_seconds(self) -> float:
        """For how long a key has been waiting and no worker has taken any; 0 when none waits."""
        ...

    def longest_active_seconds(self) -> float:
        """How long the longest running pass has been running; 0 when none runs."""
        ...


class Liveness:
    """Whether a restart would help.

    While the process stands by for the Lease there is nothing that it could miss. Once it watches, a key that
    nobody has taken up for minutes says that the workers hang, are dead, or were never started; a pass that never
    ends holds up one object for ever.
    """

    def __init__(self, queue: WorkInProgress) -> None:
        self._queue = queue
        self._watching = False

    def watching(self) -> None:
        """Events come in from now on, so work is expected to be done."""
        self._watching = True

    def trouble(self) -> str | None:
        """What is wrong, in a sentence; None when all is well."""
        if not self._watching:
            return None
        waiting, active = self._queue.unattended_seconds(), self._queue.longest_active_seconds()
        if waiting > LONGEST_UNATTENDED:
            return f"keys have been waiting for {waiting:.0f} s and no worker takes any"
        if active > LONGEST_PASS:
            return f"one pass has been running for {active:.0f} s"
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
