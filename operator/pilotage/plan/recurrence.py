"""On which days a rule of RFC 5545 recurs, in work that is bounded by the days asked about.

Written here because dateutil searches up to the year 9999 for a rule that never recurs (30 February: 5.8 s on the
event loop, measured), and rules come from customers. The tests compare the two.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

WEEKDAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
FREQUENCIES: Final = frozenset({"DAILY", "WEEKLY", "MONTHLY", "YEARLY"})
_DAY: Final = re.compile(r"([-+]?[0-9]{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_LIMITS: Final = {
    "INTERVAL": (1, 99), "BYMONTHDAY": (-31, 31), "BYMONTH": (1, 12), "BYSETPOS": (-366, 366), "BYHOUR": (0, 23),
    "BYMINUTE": (0, 59),
}  # fmt: skip
_ZERO_IS_FINE: Final = frozenset({"BYHOUR", "BYMINUTE"})


@dataclass(frozen=True)
class Recurrence:
    """A rule with at most one occurrence a day. `days` are pairs of ordinal (0: every one) and weekday (0: Monday)."""

    frequency: str
    interval: int = 1
    days: tuple[tuple[int, int], ...] = ()
    month_days: tuple[int, ...] = ()
    months: tuple[int, ...] = ()
    positions: tuple[int, ...] = ()
    hour: int = 0
    minute: int = 0

    @classmethod
    def parse(cls, text: str) -> Recurrence:
        """Read a rule such as FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1. Raises ValueError."""
        parts: dict[str, str] = {}
        for part in text.split(";"):
            name, _, value = part.partition("=")
            if name in parts:
                raise ValueError(f"{name} is given twice")
            parts[name] = value
        frequency = parts.pop("FREQ", "")
        if frequency not in FREQUENCIES:
            raise ValueError(f"FREQ is one of {', '.join(sorted(FREQUENCIES))}")
        days = tuple(_day(one, frequency) for one in parts.pop("BYDAY", "").split(",") if one)
        if len({ordinal == 0 for ordinal, _ in days}) > 1:
            raise ValueError("BYDAY: number all of its days or none")
        numbers = {name: _numbers(name, value) for name, value in parts.items()}
        month_days, positions = numbers.get("BYMONTHDAY", ()), numbers.get("BYSETPOS", ())
        if month_days and frequency == "WEEKLY":
            raise ValueError("BYMONTHDAY does not go with FREQ=WEEKLY")
        if positions and not (days or month_days):
            raise ValueError("BYSETPOS chooses among the days of BYDAY or BYMONTHDAY: give one of them")
        return cls(
            frequency=frequency,
            interval=_single(numbers, "INTERVAL", 1),
            days=days,
            month_days=month_days,
            months=numbers.get("BYMONTH", ()),
            positions=positions,
            hour=_single(numbers, "BYHOUR", 0),
            minute=_single(numbers, "BYMINUTE", 0),
        )

    def occurrences(self, start: date, first: date, last: date) -> Iterator[date]:
        """The days from `first` to `last`, both included, on which the rule recurs when it counts from `start`."""
        for days in self._periods(start, max(first, start), last):
            matching = [day for day in days if self._matches(day, start)]
            if self.positions:
                places = {at - 1 if at > 0 else len(matching) + at for at in self.positions}
                matching = [day for place, day in enumerate(matching) if place in places]
            yield from (day for day in matching if max(first, start) <= day <= last)

    def _periods(self, start: date, first: date, last: date) -> Iterator[list[date]]:
        """The days of each day, week, month or year that counts and reaches into the span."""
        match self.frequency:
            case "DAILY":
                skipped = -(-(first - start).days // self.interval) * self.interval
                day = start + timedelta(days=skipped)
                while day <= last:
                    yield [day]
                    day += timedelta(days=self.interval)
            case "WEEKLY":
                monday, step = start - timedelta(days=start.weekday()), 7 * self.interval
                monday += timedelta(days=max(0, (first - monday).days // step) * step)
                while monday <= last:
                    yield [monday + timedelta(days=number) for number in range(7)]
                    monday += timedelta(days=step)
            case "MONTHLY":
                begun = _month(start)
                number = begun + max(0, (_month(first) - begun) // self.interval) * self.interval
                while number <= _month(last):
                    yield _days_of_month(*divmod(number, 12))
                    number += self.interval
            case _:
                year = start.year + max(0, (first.year - start.year) // self.interval) * self.interval
                while year <= last.year:
                    yield [day for month in range(12) for day in _days_of_month(year, month)]
                    year += self.interval

    def _matches(self, day: date, start: date) -> bool:
        month_days, months, weekdays = self.month_days, self.months, self.days
        if not month_days and not weekdays:
            # RFC 5545: what the rule leaves open is taken from its start.
            if self.frequency == "WEEKLY":
                weekdays = ((0, start.weekday()),)
            if self.frequency in {"MONTHLY", "YEARLY"}:
                month_days = (start.day,)
            if self.frequency == "YEARLY" and not months:
                months = (start.month,)
        length = calendar.monthrange(day.year, day.month)[1]
        return (
            (not months or day.month in months)
            and (not month_days or day.day in month_days or day.day - length - 1 in month_days)
            and (not weekdays or any(self._is(day, *wanted) for wanted in weekdays))
        )

    def _is(self, day: date, ordinal: int, weekday: int) -> bool:
        if day.weekday() != weekday:
            return False
        if ordinal == 0:
            return True
        if self.frequency == "YEARLY" and not self.months:
            at, length = day.timetuple().tm_yday, 366 if calendar.isleap(day.year) else 365
        else:
            at, length = day.day, calendar.monthrange(day.year, day.month)[1]
        return ordinal == ((at - 1) // 7 + 1 if ordinal > 0 else -((length - at) // 7 + 1))


def _day(text: str, frequency: str) -> tuple[int, int]:
    found = _DAY.fullmatch(text)
    if not found:
        raise ValueError(f"BYDAY: {text} is no day such as MO, 1MO or -1FR")
    ordinal = int(found.group(1) or 0)
    if found.group(1) and (ordinal == 0 or abs(ordinal) > 53 or frequency not in {"MONTHLY", "YEARLY"}):
        raise ValueError(f"BYDAY: {text}: a number goes with MONTHLY and YEARLY, from 1 to 53 or -1 to -53")
    return ordinal, WEEKDAYS.index(found.group(2))


def _numbers(name: str, text: str) -> tuple[int, ...]:
    if name not in _LIMITS:
        raise ValueError(f"{name} is not known; known are BYDAY, {', '.join(_LIMITS)}")
    low, high = _LIMITS[name]
    found = tuple(int(one) for one in text.split(",") if re.fullmatch(r"[-+]?[0-9]{1,3}", one))
    if len(found) != text.count(",") + 1 or not all(
        low <= one <= high and (one or name in _ZERO_IS_FINE) for one in found
    ):
        raise ValueError(f"{name}: {text} is not of whole numbers from {low} to {high}")
    return found


def _single(numbers: dict[str, tuple[int, ...]], name: str, default: int) -> int:
    found = numbers.get(name, (default,))
    if len(found) != 1:
        raise ValueError(f"{name}: give one number")
    return found[0]


def _month(day: date) -> int:
    return day.year * 12 + day.month - 1


def _days_of_month(year: int, month: int) -> list[date]:
    length = calendar.monthrange(year, month + 1)[1]
    return [date(year, month + 1, number) for number in range(1, length + 1)]
