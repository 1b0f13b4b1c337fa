"""The stable-run clock: it counts evaluated good samples and never wall time.

Each good sample credits at most the time since the good sample before it and at most one interval; after anything
else (a miss, an error, no data, a gap of more than two intervals, a clock that went back) the next good sample
credits nothing. With several metrics, time counts only once all of them have covered it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pilotage.api.v1alpha1.acceptancecheck import (
    AcceptanceCheckSpec,
    ClockStatus,
    Metric,
    MetricState,
    MetricStatus,
    OnBreach,
)
from pilotage.api.v1alpha1.common import parse_duration
from pilotage.plan.conditions import parse_timestamp, shorten, timestamp

ZERO = timedelta()
SHORTEST_INTERVAL = timedelta(seconds=1)
MAX_PAUSE = 120


def format_duration(length: timedelta) -> str:
    """The length in the API's form, rounded down to milliseconds, such as `26h3m4s500ms`."""
    milliseconds = max(0, length // timedelta(milliseconds=1))
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"), (milliseconds, "ms"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"


def format_moment(moment: datetime) -> str:
    """The moment with microseconds: the clock must not gain by rounding."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def interval_of(metric: Metric) -> timedelta:
    """The metric's interval, one second at least."""
    return max(SHORTEST_INTERVAL, parse_duration(metric.interval))


def credit(metric: Metric, before: MetricStatus, now: datetime) -> timedelta:
    """Good time that a good sample at `now` proves: nothing unless the sample before it was good and not long ago."""
    if before.last_good_at is None:
        return ZERO
    gap, interval = now - parse_timestamp(before.last_good_at), interval_of(metric)
    return min(gap, interval) if ZERO < gap <= 2 * interval else ZERO


HARDER = {OnBreach.RECORD: OnBreach.EXTEND, OnBreach.PAUSE: OnBreach.EXTEND, OnBreach.EXTEND: OnBreach.RESTART}


def consequence(metric: Metric, found: MetricStatus) -> OnBreach:
    """What the metric's present miss leads to in a stable run: each time it comes again, one level harder."""
    level = metric.consequence
    for _ in range(min(2, found.episodes - 1)):
        level = HARDER.get(level, level)
    return level


def required_of(clock: ClockStatus) -> timedelta:
    """The whole time that has to be accumulated, with what breaches and releases have added."""
    return parse_duration(clock.required) + (parse_duration(clock.extended) if clock.extended else ZERO)


def format_total(clock: ClockStatus) -> str:
    """That time as the spec writes it, when nothing was added."""
    return format_duration(required_of(clock)) if clock.extended else clock.required


def soaked(clock: ClockStatus, min_soak: timedelta) -> ClockStatus:
    """The clock after a new release in mid-run: what it has stays, and at least `min_soak` is still to come."""
    missing = min_soak - (required_of(clock) - parse_duration(clock.accumulated))
    return _extended(clock, missing) if missing > ZERO else clock


def _extended(clock: ClockStatus, more: timedelta) -> ClockStatus:
    before = parse_duration(clock.extended) if clock.extended else ZERO
    return clock.model_copy(update={"extended": format_duration(before + more)})


def run_clock(
    spec: AcceptanceCheckSpec,
    clock: ClockStatus,
    metrics: list[MetricStatus],
    taken: frozenset[str],
    late: frozenset[str],
    now: datetime,
    *,
    begins_anew: datetime | None = None,
) -> tuple[ClockStatus, list[MetricStatus]]:
    """The clock and the metrics after a round that sampled the metrics named in `taken`, some of them too `late`.

    `begins_anew` is when a run that a breach of this round restarts begins; without it, at once.
    """
    if not taken:
        return clock, metrics
    misses = [
        (consequence(wanted, found), wanted)
        for wanted, found in zip(spec.metrics, metrics, strict=True)
        if found.name in taken and found.state is MetricState.BREACHED
    ]
    if any(level in {OnBreach.RESTART, OnBreach.FAIL} for level, _ in misses):
        began = clock.started_at is not None
        clean = ClockStatus(
            required=clock.required,
            resets=clock.resets + began,
            not_before=format_moment(begins_anew) if begins_anew else None,
        )
        return clean, [_unsettle(metric).model_copy(update={"recorded": 0}) for metric in metrics]
    if clock.not_before and now < (begin := parse_timestamp(clock.not_before)):
        waiting = clock.model_copy(
            update={
                "paused_reason": f"begins anew at {timestamp(begin)}",
                "projected_end": timestamp(begin + required_of(clock)),
            }
        )
        return waiting, [_unsettle(metric).model_copy(update={"last_good_at": None}) for metric in metrics]
    longer = [interval_of(wanted) for level, wanted in misses if level is OnBreach.EXTEND]
    if longer and clock.started_at:
        clock = _extended(clock, max(longer))
    if pause := _pause(spec, metrics, late):
        paused = clock.model_copy(update={"paused_reason": shorten(pause, MAX_PAUSE), "projected_end": None})
        return paused, [_unsettle(metric) for metric in metrics]
    unsettled = [parse_duration(metric.unsettled) if metric.unsettled else ZERO for metric in metrics]
    settled = min(unsettled)
    total = parse_duration(clock.accumulated) + settled
    running = clock.model_copy(
        update={
            "accumulated": format_duration(total),
            "started_at": clock.started_at or format_moment(now),
            "last_sample_at": format_moment(now),
            "not_before": None,
            "paused_reason": None,
            "projected_end": timestamp(now + max(ZERO, required_of(clock) - total)),
        }
    )
    return running, [
        metric.model_copy(update={"unsettled": format_duration(own - settled)})
        for metric, own in zip(metrics, unsettled, strict=True)
    ]


def _unsettle(metric: MetricStatus) -> MetricStatus:
    return metric.model_copy(update={"unsettled": None})


def _counts(metric: Metric, found: MetricStatus) -> bool:
    """Whether the metric's newest sample counts for the stable run: it is good, or its miss is only recorded."""
    if found.state is MetricState.BREACHED:
        return consequence(metric, found) is OnBreach.RECORD
    return found.state is MetricState.GOOD


def _pause(spec: AcceptanceCheckSpec, metrics: Sequence[MetricStatus], late: frozenset[str]) -> str:
    for wanted, metric in zip(spec.metrics, metrics, strict=True):
        if not _counts(wanted, metric):
            return f"metric {metric.name}: {metric.message or 'not measured yet'}"
    for wanted in spec.metrics:
        if wanted.name in late:
            return f"metric {wanted.name}: its sample came later than two intervals ({wanted.interval}) allow"
    return ""
