"""Serves one small HTTP endpoint beside the operator's work."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def listen_address() -> str:
    """The pod's own address, which the chart hands over as PILOTAGE_POD_IP; on a laptop the loopback address."""
    return os.environ.get("PILOTAGE_POD_IP") or "127.0.0.1"


async def serve(path: str, handler: Handler, port: int) -> web.AppRunner:
    """Answer GET requests for `path` until the returned runner is cleaned up. Raises OSError when the port is taken."""
    application = web.Application()
    application.router.add_get(path, handler)
    runner = web.AppRunner(application, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, listen_address(), port).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner
