"""Places that tenants share: nobody gets all of them, and whoever has none does not wait behind one who has many."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairSlots:
    """So many at once. Tenants take turns, and one that holds a place already leaves the last free one to others."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._held: Counter[str] = Counter()
        # In the order of their turns. A tenant is there as long as it waits.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def hold(self, tenant: str) -> AsyncIterator[None]:
        """A place, once it is this tenant's turn."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        self._hand_out()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._held.subtract([tenant])
                self._held = +self._held  # without those that hold none
            self._hand_out()

    def _hand_out(self) -> None:
        while (tenant := next(filter(self._may_have_one, self._waiting), None)) is not None:
            turns = self._waiting.pop(tenant)
            turn = turns.popleft()
            if turns:
                self._waiting[tenant] = turns
            if not turn.cancelled():
                self._held[tenant] += 1
                turn.set_result(None)

    def _may_have_one(self, tenant: str) -> bool:
        free = self._number - self._held.total()
        return free > 1 or (free == 1 and (self._number == 1 or not self._held[tenant]))
