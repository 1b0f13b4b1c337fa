"""Recurrences of RFC 5545, held against dateutil where that ends, and against its own bound where that does not."""

from __future__ import annotations

import time
from datetime import date, datetime, timedelta

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given
from hypothesis import strategies as st

from pilotage.plan.recurrence import WEEKDAYS, Recurrence

START, SPAN = date(2026, 1, 31), timedelta(days=800)


def days(rule: str, start: date = START, first: date | None = None, last: date | None = None) -> list[date]:
    return list(Recurrence.parse(rule).occurrences(start, first or start, last or start + SPAN))


def joined(items: st.SearchStrategy[object], most: int = 4) -> st.SearchStrategy[str]:
    return st.lists(items, min_size=1, max_size=most, unique=True).map(lambda found: ",".join(map(str, found)))


PLAIN = joined(st.sampled_from(WEEKDAYS))
NUMBERED = joined(st.tuples(st.sampled_from(["1", "2", "-1", "5"]), st.sampled_from(WEEKDAYS)).map("".join))
MONTH_DAYS = joined(st.sampled_from([1, 2, 15, 28, 29, 30, 31, -1, -2, -31]))
MONTHS = joined(st.integers(1, 12))
PARTS = {
    "DAILY": {"BYDAY": PLAIN, "BYMONTHDAY": MONTH_DAYS, "BYMONTH": MONTHS},
    "WEEKLY": {"BYDAY": PLAIN, "BYMONTH": MONTHS},
    "MONTHLY": {"BYDAY": PLAIN | NUMBERED, "BYMONTHDAY": MONTH_DAYS, "BYMONTH": MONTHS},
    "YEARLY": {"BYDAY": PLAIN | NUMBERED, "BYMONTHDAY": MONTH_DAYS, "BYMONTH": MONTHS},
}


@st.composite
def rules(draw: st.DrawFn) -> str:
    frequency = draw(st.sampled_from(sorted(PARTS)))
    chosen = draw(st.sets(st.sampled_from(sorted(PARTS[frequency]))))
    parts = [f"FREQ={frequency}", *(f"{name}={draw(PARTS[frequency][name])}" for name in sorted(chosen))]
    if draw(st.booleans()):
        parts.append(f"INTERVAL={draw(st.integers(1, 9))}")
    # Of the week in which a rule starts dateutil numbers the days from the start on, here the whole week is numbered.
    if chosen & {"BYDAY", "BYMONTHDAY"} and frequency in {"MONTHLY", "YEARLY"} and draw(st.booleans()):
        parts.append(f"BYSETPOS={draw(st.sampled_from([1, 2, -1, -2]))}")
    return ";".join(parts)


def by_dateutil(rule: str, start: date, last: date) -> list[date]:
    """What dateutil says, in a span so long that it finds something and stops."""
    moments = rrulestr(rule, dtstart=datetime.combine(start, datetime.min.time()))
    found = []
    for moment in moments:
        if moment.date() > last:
            break
        found.append(moment.date())
    return found


@given(rules(), st.dates(date(2024, 1, 1), date(2028, 12, 31)))
def test_it_is_what_dateutil_says(rule: str, start: date) -> None:
    mine = days(rule, start, last=start + SPAN)
    # Where nothing recurs dateutil searches to the year 9999: that is what this module is for.
    if mine:
        assert mine == by_dateutil(rule, start, start + SPAN)


@given(rules(), st.dates(date(2024, 1, 1), date(2026, 1, 1)), st.integers(0, 700), st.integers(0, 90))
def test_a_part_of_the_span_has_the_part_of_the_days(rule: str, start: date, after: int, length: int) -> None:
    first = start + timedelta(days=after)
    last = first + timedelta(days=length)
    assert days(rule, start, first, last) == [day for day in days(rule, start) if first <= day <= last]


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=YEARLY;BYMONTH=4;BYMONTHDAY=31",
        "FREQ=MONTHLY;BYDAY=6MO",
        "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=300",
    ],
)
def test_a_day_that_never_comes_is_not_searched_for_ever(rule: str) -> None:
    began = time.process_time()
    assert days(rule) == []
    assert time.process_time() - began < 1


def test_the_last_working_day_of_each_month() -> None:
    found = days("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", date(2026, 1, 1), last=date(2026, 5, 31))
    assert [day.day for day in found] == [30, 27, 31, 30, 29]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("BYDAY=MO", "FREQ is one of"),
        ("FREQ=HOURLY", "FREQ is one of"),
        ("FREQ=DAILY;COUNT=3", "COUNT is not known"),
        ("FREQ=DAILY;BYHOUR=25", "BYHOUR: 25 is not of whole numbers from 0 to 23"),
        ("FREQ=DAILY;BYHOUR=1,2", "BYHOUR: give one number"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL: 0 is not"),
        ("FREQ=WEEKLY;BYDAY=XX", "BYDAY: XX is no day"),
        ("FREQ=WEEKLY;BYDAY=1MO", "a number goes with MONTHLY and YEARLY"),
        ("FREQ=MONTHLY;BYDAY=MO,1TU", "number all of its days or none"),
        ("FREQ=WEEKLY;BYMONTHDAY=1", "does not go with FREQ=WEEKLY"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY: 0 is not"),
        ("FREQ=MONTHLY;BYMONTHDAY=", "BYMONTHDAY:  is not"),
        ("FREQ=MONTHLY;BYSETPOS=1", "BYSETPOS chooses among"),
        ("FREQ=DAILY;FREQ=DAILY", "FREQ is given twice"),
    ],
)
def test_a_rule_that_cannot_be_read_says_what_is_wrong(rule: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Recurrence.parse(rule)
