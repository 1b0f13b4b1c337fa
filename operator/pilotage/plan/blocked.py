"""How long the project has stood still, by cause: what a report answers when somebody asks where the weeks went."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pilotage.api.v1alpha1.common import parse_duration
from pilotage.api.v1alpha1.implementation import Blocked
from pilotage.plan.acceptance_clock import format_duration
from pilotage.plan.conditions import Progress, Standing, parse_timestamp, timestamp
from pilotage.plan.reasons import Reason

# Waits that no machine ends. A migration that loads, a stable run that counts and a pod that starts are work.
WAITS_FOR_PERSONS: Final = frozenset(
    {
        Reason.MIGRATION_JOB_MISSING,
        Reason.MIGRATION_JOB_MISMATCH,
        Reason.MIGRATION_NOT_SUCCEEDED,
        Reason.CHECK_MISSING,
        Reason.CHECK_MISMATCH,
        Reason.SCOPE_INCOMPLETE,
        Reason.AWAITING_APPROVAL,
        Reason.TRAINING_INCOMPLETE,
        Reason.TEST_NOT_PASSED,
        Reason.GATE_REJECTED,
        Reason.CUTOVER_QUEUED,
        Reason.WINDOW_CLOSED,
        Reason.HYPERCARE_FULL,
    }
)
MAX_CAUSES: Final = 32


def cause_of(standing: Standing) -> str | None:
    """Why the project stands still; None while it moves, or is done."""
    stopped = standing.progress in {Progress.STALLED, Progress.SUSPENDED}
    waits = standing.progress is Progress.WAITING and standing.reason in WAITS_FOR_PERSONS
    return standing.reason if stopped or waits else None


def count_blocked(previous: Sequence[Blocked], standing: Standing, now: datetime) -> list[Blocked]:
    """The time by cause, the present cause with `since`. Time is added only when a cause ends, so that looking again
    changes nothing; what passes while no operator runs counts for the cause that was there.
    """
    cause = cause_of(standing)
    found = [_ended(one, now) if one.since and one.reason != cause else one for one in previous]
    if cause and not any(one.reason == cause and one.since for one in found):
        before = next((one.total for one in found if one.reason == cause), "0s")
        found = [one for one in found if one.reason != cause]
        found.append(Blocked(reason=cause, total=before, since=timestamp(now)))
    return found[-MAX_CAUSES:]


def _ended(one: Blocked, now: datetime) -> Blocked:
    lasted = max(now - parse_timestamp(one.since or timestamp(now)), now - now)
    return Blocked(reason=one.reason, total=format_duration(parse_duration(one.total) + lasted))
