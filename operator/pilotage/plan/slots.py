"""Whose turn it is among customers: how many projects may be cut over at once, and who comes first.

No object is shared. A project that may begin writes a claim into its own status, and only with that claim stored it
asks the API server for everybody's: of two that claim, the later one sees the earlier, so both never begin. Where more
claim than there is room, the lower ranks withdraw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pilotage.api.v1alpha1.schedule import ScheduleStatus, SlotState
from pilotage.plan.conditions import parse_timestamp, timestamp

LOOK_FOR_SLOT: Final = timedelta(seconds=15)
SETTLE_CLAIMS: Final = timedelta(seconds=1)
# A waiting project says so again from time to time; one that has fallen silent keeps nobody back.
SAY_AGAIN: Final = timedelta(minutes=5)
SILENT: Final = timedelta(minutes=15)
NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Contender:
    """A project that waits for a slot, claims one or holds one. `until`: when its window shuts."""

    key: str
    priority: int
    state: SlotState
    since: datetime
    until: datetime | None
    seen: datetime

    @property
    def rank(self) -> tuple[int, datetime, datetime, str]:
        """Sorts first who goes first: the highest priority, then the least time left in the window, then the oldest."""
        return -self.priority, self.until or NEVER, self.since, self.key


@dataclass(frozen=True)
class Competition:
    """What the other projects do. `asked`: it is what the API server said after this project's claim was stored."""

    limit: int
    highest_priority: int
    others: tuple[Contender, ...] = ()
    asked: bool = False


@dataclass(frozen=True)
class Slot:
    """Whether this project's modules may begin to be cut over. `claimed`: they may, if the API server bears it out."""

    granted: bool
    status: ScheduleStatus | None = None
    claimed: bool = False
    again: timedelta | None = None


def contenders(bodies: Iterable[Mapping[str, Any]], highest_priority: int) -> tuple[Contender, ...]:
    """The Implementations that take part in the competition. One that is being deleted does not."""
    return tuple(
        Contender(
            key=_key(body),
            priority=priority_of(body, highest_priority),
            state=found.state,
            since=parse_timestamp(found.since),
            until=parse_timestamp(found.until) if found.until else None,
            seen=parse_timestamp(found.seen),
        )
        for body in bodies
        if (found := schedule_of(body)) and not body["metadata"].get("deletionTimestamp")
    )


def schedule_of(body: Mapping[str, Any]) -> ScheduleStatus | None:
    """What the Implementation last reported of its turn."""
    reported = (body.get("status") or {}).get("schedule")
    return ScheduleStatus.model_validate(reported) if reported else None


def priority_of(body: Mapping[str, Any], highest: int) -> int:
    """The priority that counts: customers write their own, the installation caps it."""
    return min(int(body["spec"].get("priority", 50)), highest)


def take_slot(
    body: Mapping[str, Any],
    competition: Competition | None,
    now: datetime,
    *,
    wants: bool,
    holds: bool,
    until: datetime | None,
) -> Slot:
    """Where the project stands. `wants`: a module could begin now; `holds`: one has begun and is not live yet."""
    before = schedule_of(body)
    if competition is None or competition.limit == 0 or not (wants or holds):
        return Slot(granted=True)
    since = before.since if before else timestamp(now)
    if holds:
        return Slot(granted=True, status=_status(SlotState.CUTTING_OVER, since, until, before, now))
    seen = parse_timestamp(since)
    me = Contender(_key(body), priority_of(body, competition.highest_priority), SlotState.WAITING, seen, until, now)
    others = [found for found in competition.others if found.key != me.key]
    free = competition.limit - sum(found.state is not SlotState.WAITING for found in others)
    if before is not None and before.state is SlotState.CLAIMED:
        if free > 0:
            state = SlotState.CUTTING_OVER if competition.asked else SlotState.CLAIMED
            return Slot(competition.asked, _status(state, since, until, before, now), claimed=not competition.asked)
        begun = sum(found.state is SlotState.CUTTING_OVER for found in others)
        rivals = sum(found.state is SlotState.CLAIMED and found.rank < me.rank for found in others)
        if begun + rivals < competition.limit:
            return Slot(False, _status(SlotState.CLAIMED, since, until, before, now), again=SETTLE_CLAIMS)
    ahead = [
        found
        for found in others
        if found.state is SlotState.WAITING and found.rank < me.rank and now - found.seen < SILENT
    ]
    if len(ahead) < free:
        return Slot(False, _status(SlotState.CLAIMED, since, until, before, now), again=timedelta())
    waiting = _status(SlotState.WAITING, since, until, before, now, position=len(ahead) + 1)
    return Slot(granted=False, status=waiting, again=LOOK_FOR_SLOT)


def waiting_text(slot: Slot, competition: Competition) -> str:
    """What a module that waits for its turn is told. Of other customers it says no more than how many there are."""
    limit = f"{competition.limit} projects are cut over at once (maxConcurrentCutovers of the installation)"
    if slot.status is None or slot.status.state is not SlotState.WAITING:
        return f"its turn is being settled; at most {limit}"
    return f"position {slot.status.position} of those that wait; at most {limit}"


def _status(
    state: SlotState,
    since: str,
    until: datetime | None,
    before: ScheduleStatus | None,
    now: datetime,
    position: int | None = None,
) -> ScheduleStatus:
    kept = before is not None and before.state is state and now - parse_timestamp(before.seen) < SAY_AGAIN
    return ScheduleStatus(
        state=state,
        position=position,
        since=since,
        until=timestamp(until) if until else None,
        seen=before.seen if before and (kept or state is SlotState.CUTTING_OVER) else timestamp(now),
    )


def _key(body: Mapping[str, Any]) -> str:
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"
