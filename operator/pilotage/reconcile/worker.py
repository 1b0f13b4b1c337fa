"""Takes keys from the queue and runs the reconciler of their kind. Retry belongs to the queue."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from pilotage.kube.client import ApiError, Conflict, Forbidden, Unavailable
from pilotage.kube.queue import WorkQueue
from pilotage.kube.store import Key
from pilotage.observability.logging import current_key
from pilotage.reconcile.context import Context

logger = logging.getLogger(__name__)

Reconcile = Callable[[Context, Key], Awaitable[float | None]]


class ReconcileObserver(Protocol):
    """Hears how each pass ended: `success`, `requeue_after`, `conflict`, `unavailable` or `error`."""

    def __call__(self, controller: str, result: str, seconds: float) -> None: ...


async def work(
    queue: WorkQueue[Key], context: Context, reconcilers: Mapping[str, Reconcile], observe: ReconcileObserver
) -> None:
    """Reconcile keys until the queue is shut down. A bug in one pass is loud and never ends the worker."""
    while (key := await queue.get()) is not None:
        token = current_key.set("/".join(key))
        started = time.monotonic()
        try:
            result = await _reconcile_once(queue, context, reconcilers[key.plural], key)
            observe(key.plural, result, time.monotonic() - started)
        finally:
            current_key.reset(token)
            queue.done(key)


async def _reconcile_once(queue: WorkQueue[Key], context: Context, reconcile: Reconcile, key: Key) -> str:
    try:
        again = await reconcile(context, key)
    except asyncio.CancelledError:
        raise
    except Conflict:
        queue.add_rate_limited(key)
        return "conflict"
    except Unavailable as error:
        logger.warning("the API server did not answer: %s", error)
        queue.add_rate_limited(key)
        return "unavailable"
    except ApiError as error:
        if isinstance(error, Forbidden) and error.namespace_terminating:
            logger.info("the namespace is going away; nothing more is done there")
            return "success"
        logger.exception("refused by the API server: %s", error.message)
        queue.add_rate_limited(key)
        return "error"
    except Exception:
        logger.exception("a bug: the pass ended with an exception")
        queue.add_rate_limited(key)
        return "error"
    queue.forget(key)
    if again is None:
        return "success"
    queue.add_after(key, again)
    return "requeue_after"
