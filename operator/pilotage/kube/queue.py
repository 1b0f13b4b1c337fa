"""A coalescing work queue: a key is handed out once, never to two workers, and again when it became dirty meanwhile.

Tenants take turns: however many keys one of them has waiting, another's next key waits for one of each at most.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 60.0


class QueueObserver(Protocol):
    """Hears what happens to the queue, for metrics. Times are in seconds."""

    def on_add(self) -> None: ...
    def on_get(self, waited: float) -> None: ...
    def on_done(self, worked: float) -> None: ...
    def on_retry(self) -> None: ...


class WorkQueue(Generic[K]):
    """Keys that want to be looked at. All times are the event loop's, which is monotonic.

    `tenant` says whose a key is; without it all are one tenant's.
    """

    def __init__(
        self, observer: QueueObserver | None = None, tenant: Callable[[K], Hashable] = lambda _key: None
    ) -> None:
        self._observer = observer
        self._tenant = tenant
        # In the order of their turns. A tenant is there as long as one of its keys waits.
        self._waiting: dict[Hashable, dict[K, float]] = {}
        self._active: dict[K, float] = {}
        self._dirty: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._timers: dict[K, tuple[float, asyncio.TimerHandle]] = {}
        self._wakeup = asyncio.Event()
        self._closed = False
        self._last_taken = 0.0

    def __len__(self) -> int:
        return sum(len(keys) for keys in self._waiting.values())

    def add(self, key: K) -> None:
        """Want the key to be looked at now. One that is active is looked at again afterwards."""
        if self._closed:
            return
        self._cancel_timer(key)
        now = asyncio.get_running_loop().time()
        if key in self._active:
            self._dirty.setdefault(key, now)
        elif key not in (keys := self._waiting.setdefault(self._tenant(key), {})):
            keys[key] = now
            self._wakeup.set()
            if self._observer:
                self._observer.on_add()

    def add_after(self, key: K, seconds: float) -> None:
        """Want the key to be looked at in a while; an earlier wish for it wins."""
        if seconds <= 0:
            self.add(key)
            return
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        earlier = self._timers.get(key)
        if earlier and earlier[0] <= due:
            return
        self._cancel_timer(key)
        self._timers[key] = (due, loop.call_at(due, self.add, key))

    def add_rate_limited(self, key: K) -> None:
        """Want it again after a failure: exponential back-off up to a minute, with jitter."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        pause = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(failures, 20))
        if self._observer:
            self._observer.on_retry()
        self.add_after(key, pause * random.uniform(0.5, 1.0))  # noqa: S311 (jitter)

    def forget(self, key: K) -> None:
        """The key went well: its next failure starts from the shortest pause."""
        self._failures.pop(key, None)

    async def get(self) -> K | None:
        """The key that waited longest of the tenant whose turn it is, or None once the queue is shut down."""
        while not self._waiting:
            if self._closed:
                return None
            self._wakeup.clear()
            await self._wakeup.wait()
        if self._closed:
            return None
        tenant, keys = next(iter(self._waiting.items()))
        key = next(iter(keys))
        now = asyncio.get_running_loop().time()
        self._last_taken = now
        waited = now - keys.pop(key)
        del self._waiting[tenant]
        if keys:
            self._waiting[tenant] = keys
        self._active[key] = now
        if self._observer:
            self._observer.on_get(waited)
        return key

    def done(self, key: K) -> None:
        """The worker is through with the key."""
        started = self._active.pop(key, None)
        if started is not None and self._observer:
            self._observer.on_done(asyncio.get_running_loop().time() - started)
        if self._dirty.pop(key, None) is not None:
            self.add(key)

    def unattended_seconds(self) -> float:
        """For how long a key has been waiting and no worker has taken any; 0 when none waits.

        A long queue is not that: as long as workers take keys, it gets shorter.
        """
        first = min((next(iter(keys.values())) for keys in self._waiting.values()), default=None)
        return 0.0 if first is None else asyncio.get_running_loop().time() - max(first, self._last_taken)

    def longest_active_seconds(self) -> float:
        """How long the longest running pass has been running; 0 when none runs."""
        first = min(self._active.values(), default=None)
        return 0.0 if first is None else asyncio.get_running_loop().time() - first

    def shut_down(self) -> None:
        """Hand out nothing more."""
        self._closed = True
        for key in list(self._timers):
            self._cancel_timer(key)
        self._wakeup.set()

    def _cancel_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer:
            timer[1].cancel()
