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
)
from pilotage.api.v1alpha1.common import parse_duration
from pilotage.plan.conditions import parse_timestamp, shorten, timestamp

ZERO = timedelta()
SHORTEST_INTERVAL = timedelta(seconds=1)
MAX_PAUSE = 200


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


def run_clock(
    spec: AcceptanceCheckSpec,
    clock: ClockStatus,
    metrics: list[MetricStatus],
    taken: frozenset[str],
    late: frozenset[str],
    now: datetime,
) -> tuple[ClockStatus, list[MetricStatus]]:
    """The clock and the metrics after a round that sampled the metrics named in `taken`, some of them too `late`."""
    if not taken:
        return clock, metrics
    if any(metric.name in taken and metric.state is MetricState.BREACHED for metric in metrics):
        began = clock.started_at is not None
        clean = ClockStatus(required=clock.required, resets=clock.resets + began)
        return clean, [metric.model_copy(update={"unsettled": None}) for metric in metrics]
    if pause := _pause(spec, metrics, late):
        paused = clock.model_copy(update={"paused_reason": shorten(pause, MAX_PAUSE), "projected_end": None})
        return paused, [metric.model_copy(update={"unsettled": None}) for metric in metrics]
    unsettled = [parse_duration(metric.unsettled) if metric.unsettled else ZERO for metric in metrics]
    settled = min(unsettled)
    total = parse_duration(clock.accumulated) + settled
    remaining = max(ZERO, parse_duration(clock.required) - total)
    running = ClockStatus(
        accumulated=format_duration(total),
        required=clock.required,
        started_at=clock.started_at or format_moment(now),
        last_sample_at=format_moment(now),
        resets=clock.resets,
        projected_end=timestamp(now + remaining),
    )
    return running, [
        metric.model_copy(update={"unsettled": format_duration(own - settled)})
        for metric, own in zip(metrics, unsettled, strict=True)
    ]


def _pause(spec: AcceptanceCheckSpec, metrics: Sequence[MetricStatus], late: frozenset[str]) -> str:
    for metric in metrics:
        if metric.state is not MetricState.GOOD:
            return f"metric {metric.name}: {metric.message or 'not measured yet'}"
    for wanted in spec.metrics:
        if wanted.name in late:
            return f"metric {wanted.name}: its sample came later than two intervals ({wanted.interval}) allow"
    return ""
