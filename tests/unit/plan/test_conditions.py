"""Conditions say what kstatus reads, and their times move only when a status flips."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from pilotage.plan.conditions import (
    Progress,
    Standing,
    condition,
    is_true,
    merge_conditions,
    parse_timestamp,
    shorten,
    standing_conditions,
    timestamp,
)
from tests.support.builders import NOW


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (Progress.READY, {"Ready": "True"}),
        (Progress.WAITING, {"Ready": "False", "Reconciling": "True"}),
        (Progress.STALLED, {"Ready": "False", "Stalled": "True"}),
        (Progress.SUSPENDED, {"Ready": "False"}),
    ],
)
def test_reconciling_and_stalled_are_there_only_while_true(progress: Progress, expected: dict[str, str]) -> None:
    found = standing_conditions(Standing(progress, "Why", "because"))
    assert {each["type"]: each["status"] for each in found} == expected
    assert {(each["reason"], each["message"]) for each in found} == {("Why", "because")}


def test_a_transition_time_stays_while_reason_and_message_change() -> None:
    first = merge_conditions([], [condition("Ready", status=False, reason="A", message="a")], 1, NOW)
    later = NOW + timedelta(minutes=5)
    second = merge_conditions(first, [condition("Ready", status=False, reason="B", message="b")], 2, later)
    assert second[0]["lastTransitionTime"] == timestamp(NOW)
    assert (second[0]["reason"], second[0]["observedGeneration"]) == ("B", 2)


def test_a_transition_time_moves_when_the_status_flips() -> None:
    first = merge_conditions([], [condition("Ready", status=False, reason="A", message="a")], 1, NOW)
    later = NOW + timedelta(minutes=5)
    second = merge_conditions(first, [condition("Ready", status=True, reason="A", message="a")], 1, later)
    assert second[0]["lastTransitionTime"] == timestamp(later)


def test_a_condition_that_is_no_longer_wanted_is_dropped() -> None:
    first = merge_conditions([], [condition("Stalled", status=True, reason="A", message="a")], 1, NOW)
    assert merge_conditions(first, [], 1, NOW) == []


def test_a_long_message_ends_in_an_ellipsis_at_the_limit() -> None:
    assert shorten("x" * 10, 10) == "x" * 10
    assert shorten("x" * 11, 10) == "x" * 9 + "…"
    assert len(condition("Ready", status=False, reason="A", message="长" * 5000)["message"]) == 2048


def test_times_are_written_in_utc_and_read_back() -> None:
    moment = datetime(2026, 11, 23, 16, 0, 5, 999, tzinfo=timezone(timedelta(hours=8)))
    assert timestamp(moment) == "2026-11-23T08:00:05Z"
    assert parse_timestamp("2026-11-23T08:00:05Z") == datetime(2026, 11, 23, 8, 0, 5, tzinfo=UTC)


def test_only_a_condition_that_is_true_is_true() -> None:
    conditions = [{"type": "Complete", "status": "Unknown"}, {"type": "Failed", "status": "True"}]
    assert is_true(conditions, "Failed")
    assert not is_true(conditions, "Complete")
    assert not is_true(conditions, "Absent")
