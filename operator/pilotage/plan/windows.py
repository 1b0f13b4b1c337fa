"""Whether a wave may go live now, and when next. Deny wins; with any Allow window for the wave one must be open.

Source of the rule: Kargo's promotion windows. Recurrences: RFC 5545, in the window's own time zone, so that an evening
stays an evening over daylight saving; a duration is elapsed time. Spans are half-open: at `end` the window is shut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pilotage.api.v1alpha1.common import parse_duration
from pilotage.api.v1alpha1.schedule import Window, WindowKind
from pilotage.plan.conditions import parse_timestamp
from pilotage.plan.recurrence import Recurrence

HORIZON: Final = timedelta(days=400)
"""How far ahead an opening is looked for: a window of every year is within it."""


class WindowError(ValueError):
    """A window that cannot be understood; the message names the field."""


@dataclass(frozen=True)
class Span:
    """One occurrence of a window."""

    start: datetime
    end: datetime
    name: str
    kind: WindowKind
    zone: str

    def contains(self, moment: datetime) -> bool:
        """Whether the moment is in it. The end is not."""
        return self.start <= moment < self.end


@dataclass(frozen=True)
class Opening:
    """Whether the wave may go live now, and the moment when that changes next; None: not within the horizon."""

    is_open: bool
    changes_at: datetime | None = None
    message: str = ""


def opening(windows: Sequence[Window], wave: int, now: datetime, timezone: str) -> Opening:
    """How the windows of that wave stand. `timezone` is the customer's. Raises WindowError."""
    mine = [window for window in windows if not window.waves or wave in window.waves]
    if not mine:
        return Opening(is_open=True)
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    spans = [span for window in mine for span in _occurrences(window.model_dump_json(), today, timezone)]
    guarded = any(window.kind is WindowKind.ALLOW for window in mine)
    is_open = _allowed(spans, now, guarded=guarded)
    # Beyond the horizon some windows are spelled out a few hours further than others.
    edges = sorted({edge for span in spans for edge in (span.start, span.end) if now < edge <= today + HORIZON})
    changes_at = next((edge for edge in edges if _allowed(spans, edge, guarded=guarded) is not is_open), None)
    return Opening(is_open, changes_at, "" if is_open else _closed(spans, now, changes_at))


def fitting(windows: Sequence[Window], wave: int, now: datetime, timezone: str, length: timedelta) -> datetime | None:
    """When the wave may next begin something that takes so long, and end it while it may; None: not within the horizon.

    Raises WindowError.
    """
    moment: datetime | None = now
    while moment is not None and moment < now + HORIZON:
        found = opening(windows, wave, moment, timezone)
        if found.is_open and (found.changes_at is None or found.changes_at - moment >= length):
            return moment
        moment = found.changes_at
    return None


def _allowed(spans: Sequence[Span], moment: datetime, *, guarded: bool) -> bool:
    present = {span.kind for span in spans if span.contains(moment)}
    return WindowKind.DENY not in present and (not guarded or WindowKind.ALLOW in present)


def _closed(spans: Sequence[Span], now: datetime, opens: datetime | None) -> str:
    denied = next((span for span in spans if span.kind is WindowKind.DENY and span.contains(now)), None)
    why = f"window {denied.name} forbids it until {_local(denied.end, denied.zone)}" if denied else "no window is open"
    if opens is None:
        return f"{why}; none opens within {HORIZON.days} days: change spec.schedule.windows"
    allowing = next((span for span in spans if span.kind is WindowKind.ALLOW and span.contains(opens)), None)
    zone = allowing.zone if allowing else denied.zone if denied else "UTC"
    by = f" (window {allowing.name})" if allowing else ""
    return f"{why}; it may go live from {_local(opens, zone)}{by}"


def _local(moment: datetime, zone: str) -> str:
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M} {zone}"


@lru_cache(maxsize=4096)
def _occurrences(written: str, today: datetime, timezone: str) -> tuple[Span, ...]:
    """The occurrences of a window around that day, in UTC."""
    window = Window.model_validate_json(written)
    where = f"spec.schedule.windows[{window.name}]"
    zone = window.timezone or timezone
    start = parse_timestamp(window.start).astimezone(UTC) if window.start else None
    end = parse_timestamp(window.end).astimezone(UTC) if window.end else None
    if window.rrule is None or window.duration is None:
        if start is None or end is None:
            raise WindowError(f"{where}: give start and end, or rrule and duration")
        return (Span(start, end, window.name, window.kind, _zone(zone, where).key),)
    place, length = _zone(zone, where), parse_duration(window.duration)
    first = (today - length).astimezone(place).date() - timedelta(days=1)
    last = min(filter(None, (end, today + HORIZON))).astimezone(place).date()
    try:
        rule = Recurrence.parse(window.rrule)
    except ValueError as error:
        raise WindowError(f"{where}.rrule: {error}") from error
    hour = time(rule.hour, rule.minute)
    # Without a start nothing hangs on where the count begins.
    counted = start.astimezone(place).date() if start else first
    begun = [datetime.combine(day, hour, place).astimezone(UTC) for day in rule.occurrences(counted, first, last)]
    return tuple(
        Span(moment, moment + length, window.name, window.kind, place.key)
        for moment in begun
        if moment + length > today and (start is None or moment >= start) and (end is None or moment <= end)
    )


def _zone(name: str, where: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise WindowError(f"{where}.timezone: {name} is no time zone, such as Asia/Shanghai") from error
