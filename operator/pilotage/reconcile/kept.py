"""Answers that are dear to get are kept for a while, and got anew beside the pass that finds them too old."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Clock = Callable[[], float]


@dataclass(eq=False)
class _Entry(Generic[V]):
    value: V
    stamp: Hashable
    expires: float
    refresh: asyncio.Task[None] | None = None


class Kept(Generic[K, V]):
    """Keeps each answer for as many seconds as `ttl` says of it.

    A pass that only reports is never held up by an answer whose time is up: it takes the old one, and is woken when
    the new one differs. A pass that acts asks for a fresh one and waits for it.
    """

    def __init__(self, ttl: Callable[[V], float], clock: Clock = time.monotonic) -> None:
        self._ttl = ttl
        self._clock = clock
        self._entries: dict[K, _Entry[V]] = {}

    async def get(
        self,
        key: K,
        ask: Callable[[], Awaitable[V]],
        changed: Callable[[], None],
        *,
        fresh: bool,
        stamp: Hashable = None,
    ) -> V:
        """The answer to `ask`. One that was given under another stamp is never taken, however young."""
        entry = self._entries.get(key)
        if entry is not None and entry.stamp == stamp:
            if self._clock() < entry.expires:
                return entry.value
            if not fresh:
                if entry.refresh is None:
                    entry.refresh = asyncio.create_task(self._refresh(key, entry, ask, changed))
                return entry.value
        value = await ask()
        self._keep(key, value, stamp)
        return value

    def known(self, key: K) -> V | None:
        """The answer that was given last."""
        entry = self._entries.get(key)
        return entry.value if entry else None

    def forget(self, key: K) -> None:
        """Ask anew next time; an answer that is on its way is not taken."""
        self._entries.pop(key, None)

    def _keep(self, key: K, value: V, stamp: Hashable) -> None:
        self._entries[key] = _Entry(value, stamp, self._clock() + self._ttl(value))

    async def _refresh(
        self, key: K, entry: _Entry[V], ask: Callable[[], Awaitable[V]], changed: Callable[[], None]
    ) -> None:
        try:
            value = await ask()
        except Exception as error:  # noqa: BLE001 (the pass that is woken asks itself, and deals with what it gets)
            logger.info("an answer could not be refreshed: %s", type(error).__name__)
            if self._entries.get(key) is entry:
                self.forget(key)
                changed()
            return
        if self._entries.get(key) is not entry:
            return
        self._keep(key, value, entry.stamp)
        if value != entry.value:
            changed()
