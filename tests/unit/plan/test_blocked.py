"""Where the weeks went: time by cause, counted once however often it is looked at."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from pilotage.api.v1alpha1.common import parse_duration
from pilotage.api.v1alpha1.implementation import Blocked
from pilotage.plan.blocked import count_blocked
from pilotage.plan.conditions import Progress, Standing, parse_timestamp
from tests.support.builders import NOW

SIGNATURE = Standing(Progress.WAITING, "AwaitingApproval", "")
WINDOW = Standing(Progress.WAITING, "WindowClosed", "")
FAILED = Standing(Progress.STALLED, "PreflightFailed", "")
MOVING = Standing(Progress.WAITING, "Migrating", "")
DONE = Standing(Progress.READY, "AllModulesLive", "")


def told(*story: tuple[int, Standing]) -> dict[str, timedelta]:
    """The total by cause, after a story of what was seen in which minute."""
    found: list[Blocked] = []
    now = NOW
    for minute, standing in story:
        now = NOW + timedelta(minutes=minute)
        found = count_blocked(found, standing, now)
    return {
        one.reason: parse_duration(one.total) + (now - parse_timestamp(one.since) if one.since else timedelta())
        for one in found
    }


def test_time_is_counted_for_the_cause_that_was_there():
    minutes = told((0, SIGNATURE), (30, WINDOW), (90, MOVING), (100, SIGNATURE), (105, DONE))
    assert minutes == {"AwaitingApproval": timedelta(minutes=35), "WindowClosed": timedelta(minutes=60)}


def test_what_moves_by_itself_or_is_done_blocks_nothing():
    assert told((0, MOVING), (500, DONE)) == {}


def test_looking_again_changes_nothing():
    first = count_blocked([], FAILED, NOW)
    assert count_blocked(first, FAILED, NOW + timedelta(days=3)) == first


def test_a_clock_that_goes_back_takes_nothing_away():
    assert told((60, SIGNATURE), (10, DONE)) == {"AwaitingApproval": timedelta()}


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from([SIGNATURE, WINDOW, FAILED, MOVING, DONE])), max_size=12))
def test_no_minute_is_counted_twice(steps: list[tuple[int, Standing]]):
    minute, story = 0, []
    for wait, standing in steps:
        minute += wait
        story.append((minute, standing))
    assert sum(told(*story).values(), timedelta()) <= timedelta(minutes=minute)
    assert told(*(one for one in story for _ in range(2))) == told(*story)
