"""The local days of a stable run: how much of each was measured and good. A day of which too little was, is NoData."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from pilotage.api.v1alpha1.acceptancecheck import MAX_DAYS, AcceptanceCheckSpec, DayStatus
from pilotage.api.v1alpha1.common import parse_duration
from pilotage.plan.acceptance_clock import ZERO, format_duration, interval_of

MISSING_AT_MOST: Final = 0.05
NO_DATA_DAYS: Final = 3
MAX_DAYS_OF_CHECK: Final = 300


@dataclass(frozen=True)
class Round:
    """What one round of samples says of its day. `span` is the time before `now` in which every metric had a value."""

    now: datetime
    span: timedelta
    credited: timedelta
    breaches: int


def days_kept(modules: int, metrics: int) -> int:
    """How many days of each module a check's status has room for beside its metrics."""
    room = MAX_DAYS_OF_CHECK - 3 * modules * metrics // 2
    return max(1, min(MAX_DAYS, room // max(1, modules)))


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The moment at which the day begins there, in UTC."""
    # Compared in UTC only: Python subtracts two moments of one zone by their wall clocks, blind to summer time.
    return datetime.combine(day, time(), zone).astimezone(UTC)


def next_midnight(now: datetime, zone: ZoneInfo) -> datetime:
    """The beginning of the next local day."""
    return midnight(now.astimezone(zone).date() + timedelta(days=1), zone)


def record_round(
    spec: AcceptanceCheckSpec, days: Sequence[DayStatus], since: datetime, heard: Round, keep: int
) -> tuple[list[DayStatus], int]:
    """The days after a round, the newest `keep` of them, and how many days it closed as NoData.

    `since` is the beginning of the measurement: what lies before it is not missing.
    """
    zone = ZoneInfo(spec.stable_run.timezone if spec.stable_run else "UTC")
    today = heard.now.astimezone(zone).date()
    known = {found.date: found for found in days}
    newest = max((date.fromisoformat(found) for found in known), default=today)
    first = max(min(newest, today), today - timedelta(days=MAX_DAYS))
    for day in _dates(first, today):
        known.setdefault(day.isoformat(), DayStatus(date=day.isoformat()))
    for day, length in _split(heard.now - heard.span, heard.now, zone):
        if found := known.get(day.isoformat()):
            total = parse_duration(found.measured) + length
            known[found.date] = found.model_copy(update={"measured": format_duration(total)})
    present = known[today.isoformat()]
    known[present.date] = present.model_copy(
        update={
            "good": format_duration(parse_duration(present.good) + heard.credited),
            "breaches": present.breaches + heard.breaches,
        }
    )
    closed = 0
    for day in _dates(first, today - timedelta(days=1)):
        found = known[day.isoformat()]
        begin, end = midnight(day, zone), midnight(day + timedelta(days=1), zone)
        if _too_little(spec, found, begin, end, since):
            known[found.date] = found.model_copy(update={"no_data": True})
            closed += 1
    return [known[name] for name in sorted(known)][-keep:], closed


def _dates(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


def _split(begin: datetime, end: datetime, zone: ZoneInfo) -> Iterator[tuple[date, timedelta]]:
    while begin < end:
        until = min(end, next_midnight(begin, zone))
        yield begin.astimezone(zone).date(), until - begin
        begin = until


def _too_little(spec: AcceptanceCheckSpec, day: DayStatus, begin: datetime, end: datetime, since: datetime) -> bool:
    elapsed = end - max(begin, since)
    allowed = elapsed * MISSING_AT_MOST
    if since > begin:
        # The first day has no sample before it to reach back to.
        allowed = max(allowed, 2 * max(map(interval_of, spec.metrics)))
    return elapsed > ZERO and elapsed - parse_duration(day.measured) > allowed
