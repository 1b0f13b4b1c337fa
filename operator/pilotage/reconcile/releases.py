"""The tenant's release records, read as the tenant and kept for a short while.

Only this operator acts on the releases, and the end of each of its actions forgets what was read; what somebody
else does with helm is seen when the time to live ends.
"""

from __future__ import annotations

import logging
import time

from pilotage.kube.client import ApiError
from pilotage.kube.store import Key
from pilotage.plan.delivery import ReleaseFacts
from pilotage.reconcile.context import Context
from pilotage.reconcile.kept import Clock, Kept

logger = logging.getLogger(__name__)


class ReleaseReader:
    """Reads release records through the delivery engine, each about once in `ttl` seconds."""

    def __init__(self, ttl: float, clock: Clock = time.monotonic) -> None:
        self._facts: Kept[tuple[str, str], ReleaseFacts] = Kept(lambda _facts: ttl, clock)
        self._names: Kept[tuple[str, str], tuple[str, ...]] = Kept(lambda _names: ttl, clock)

    async def read(self, context: Context, key: Key, release: str, account: str, *, fresh: bool) -> ReleaseFacts:
        """The release's revisions as Helm recorded them, and whether a child of ours acts on it now.

        `key` is the Implementation that is woken when they turn out to have changed.
        """
        engine, place = context.rollout.engine, (key.namespace, release)
        known = self._facts.known(place)
        if engine.acting(*place) or (known and known.acting):
            self._facts.forget(place)
        return await self._facts.get(
            place, lambda: engine.facts(*place, account), lambda: context.wake(key), fresh=fresh
        )

    async def of_implementation(self, context: Context, key: Key, account: str, *, fresh: bool) -> list[ReleaseFacts]:
        """All releases whose records carry the Implementation's label, those of removed modules included."""
        place = (key.namespace, key.name)

        async def ask() -> tuple[str, ...]:
            return tuple(await context.rollout.engine.releases_of(*place, account))

        try:
            names = await self._names.get(place, ask, lambda: context.wake(key), fresh=fresh)
        except ApiError:
            return []
        found = []
        for name in names:
            try:
                found.append(await self.read(context, key, name, account, fresh=fresh))
            except ValueError as error:
                # Of a module that is still wanted its module tells; what else it names cannot be told from a forgery.
                logger.warning("release %s: %s", name, error)
        return found

    def forget(self, key: Key, release: str) -> None:
        """Read the release again in the next pass over its Implementation."""
        self._facts.forget((key.namespace, release))
        self._names.forget((key.namespace, key.name))
