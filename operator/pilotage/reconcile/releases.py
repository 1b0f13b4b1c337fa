"""The tenant's release records, read as the tenant and kept for a short while.

Only this operator acts on the releases, and the end of each of its actions forgets what was read; what somebody
else does with helm is seen when the time to live ends.
"""

from __future__ import annotations

import time

from pilotage.kube.client import ApiError
from pilotage.plan.delivery import ReleaseFacts
from pilotage.plan.facts import Problem
from pilotage.reconcile.context import Context


class ReleaseReader:
    """Reads release records through the delivery engine, at most once in `ttl` seconds for each release."""

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        self._read: dict[tuple[str, str], tuple[float, ReleaseFacts]] = {}
        self._listed: dict[tuple[str, str], tuple[float, tuple[str, ...]]] = {}

    async def read(self, context: Context, namespace: str, release: str, account: str) -> ReleaseFacts:
        """The release's revisions as Helm recorded them, and whether a child of ours acts on it now."""
        acting = context.rollout.engine.acting(namespace, release)
        kept = self._read.get((namespace, release))
        if kept and kept[0] > time.monotonic() and not acting and not kept[1].acting:
            return kept[1]
        facts = await context.rollout.engine.facts(namespace, release, account)
        self._read[namespace, release] = (time.monotonic() + self._ttl, facts)
        return facts

    async def of_implementation(
        self, context: Context, namespace: str, implementation: str, account: str, problem: Problem | None
    ) -> list[ReleaseFacts]:
        """All releases whose records carry the Implementation's label, those of removed modules included."""
        if problem:
            return []
        kept = self._listed.get((namespace, implementation))
        if kept and kept[0] > time.monotonic():
            names = kept[1]
        else:
            try:
                names = tuple(await context.rollout.engine.releases_of(namespace, implementation, account))
            except ApiError:
                return []
            self._listed[namespace, implementation] = (time.monotonic() + self._ttl, names)
        return [await self.read(context, namespace, name, account) for name in names]

    def forget(self, namespace: str, release: str) -> None:
        """Read the release again in the next pass."""
        self._read.pop((namespace, release), None)
        for key in [key for key in self._listed if key[0] == namespace]:
            del self._listed[key]
