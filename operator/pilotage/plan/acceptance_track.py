"""One module under measurement: its metrics, sample by sample, and the verdict that follows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from pilotage.api.v1alpha1.acceptancecheck import (
    MAX_DAYS,
    MAX_VALUE,
    AcceptanceCheckSpec,
    CheckPhase,
    ClockStatus,
    Metric,
    MetricState,
    MetricStatus,
    ModuleCheckStatus,
    OnBreach,
    OnNoData,
    RestartAt,
)
from pilotage.api.v1alpha1.common import RETRY_AT, parse_duration
from pilotage.plan.acceptance_clock import (
    ZERO,
    consequence,
    credit,
    format_duration,
    format_moment,
    format_total,
    interval_of,
    required_of,
    run_clock,
    soaked,
)
from pilotage.plan.acceptance_days import NO_DATA_DAYS, Round, next_midnight, record_round
from pilotage.plan.acceptance_sample import Outcome, Sample, describe_target, judge
from pilotage.plan.conditions import parse_timestamp, shorten

MAX_NOTE = 110
MAX_MESSAGE = 240

STATES = {
    Outcome.VALUE: MetricState.GOOD,
    Outcome.MISSED: MetricState.BREACHED,
    Outcome.NO_DATA: MetricState.NO_DATA,
    Outcome.ERROR: MetricState.ERROR,
}


def _counted(before: MetricStatus, raw: int) -> str:
    known = 0 if before.value is None or before.state is MetricState.BREACHED else int(before.value)
    return str(known + max(0, raw - (raw if before.counter is None else before.counter)))


def _take(metric: Metric, before: MetricStatus, sample: Sample, now: datetime) -> MetricStatus:
    """The metric after one more sample. `unsettled` grows by what the sample credits."""
    outcome, value, note = sample.outcome, sample.value, sample.message
    if sample.raw is not None:
        value = _counted(before, sample.raw)
    if outcome is Outcome.VALUE:
        outcome = judge(metric.target, value)
        wanted = describe_target(metric.target)
        if outcome is Outcome.ERROR:
            note = f"value {value!r} is not a number; the target is {wanted}"
        elif outcome is Outcome.MISSED:
            note = f"value {value or repr('')}, target {wanted}{': ' + note if note else ''}"
    good = outcome is Outcome.VALUE
    missed = outcome is Outcome.MISSED
    # A metric that has been met since it was missed, and is missed again, has come again.
    again = missed and (before.episodes == 0 or before.samples >= metric.min_samples)
    episodes = before.episodes + again
    recorded = missed and consequence(metric, before.model_copy(update={"episodes": episodes})) is OnBreach.RECORD
    # An error or a lack of data keeps a counter's sum; a value that was not read now would look like one that was.
    shown = value if good or missed else (before.value if before.counter is not None else None)
    counted = good or recorded
    earned = credit(metric, before, now) if counted else ZERO
    kept = parse_duration(before.unsettled) if before.unsettled and earned else ZERO
    return before.model_copy(
        update={
            "state": STATES[outcome],
            "value": shorten(shown, MAX_VALUE) if shown else None,
            "samples": before.samples + 1 if good else 0 if missed else before.samples,
            "taken": before.taken + 1,
            "breaches": before.breaches + missed,
            "episodes": episodes,
            "recorded": before.recorded + recorded,
            "last_sample_at": format_moment(now),
            "last_good_at": format_moment(now) if counted else None,
            "counter": sample.raw if sample.raw is not None else before.counter,
            "unsettled": format_duration(kept + earned) if counted else None,
            "message": None if good else shorten(note, MAX_NOTE),
        }
    )


def fresh_track(
    spec: AcceptanceCheckSpec, module: str, subject: str, now: datetime, carried: ModuleCheckStatus | None = None
) -> ModuleCheckStatus:
    """A module at the beginning of its measurement. From `carried` it takes over the clock of the release before."""
    clock = ClockStatus(required=spec.stable_run.required) if spec.stable_run else None
    if spec.stable_run and spec.stable_run.min_soak and carried and carried.clock:
        clock = soaked(carried.clock, parse_duration(spec.stable_run.min_soak))
    return ModuleCheckStatus(
        name=module,
        subject=subject,
        phase=CheckPhase.OBSERVING,
        since=format_moment(now),
        message="the first samples are being taken",
        clock=clock,
        metrics=[MetricStatus(name=metric.name) for metric in spec.metrics],
        days=carried.days if carried else [],
    )


def break_chain(track: ModuleCheckStatus) -> ModuleCheckStatus:
    """The track after a restart of the operator or a step of its clock: the next good samples credit nothing."""
    metrics = [metric.model_copy(update={"last_good_at": None, "unsettled": None}) for metric in track.metrics]
    return track.model_copy(update={"metrics": metrics})


def advance(
    spec: AcceptanceCheckSpec,
    track: ModuleCheckStatus,
    samples: Mapping[str, Sample],
    now: datetime,
    *,
    keep_days: int = MAX_DAYS,
    events: frozenset[str] = frozenset(),
) -> ModuleCheckStatus:
    """The module's track after the samples of one round, by metric name. A concluded track stays as it is.

    `events` are the business events that were attested.
    """
    if track.concluded:
        return track
    known = {metric.name: metric for metric in track.metrics}
    taken = frozenset(metric.name for metric in spec.metrics if metric.name in samples)
    metrics = [
        _take(metric, known[metric.name], samples[metric.name], now) if metric.name in taken else known[metric.name]
        for metric in spec.metrics
    ]
    after = track.model_copy(update={"metrics": metrics})
    if track.clock is not None and spec.stable_run is not None and taken:
        late = frozenset(
            metric.name
            for metric in spec.metrics
            if metric.name in taken and known[metric.name].last_good_at and not credit(metric, known[metric.name], now)
        )
        midnight = spec.stable_run.restart_at is RestartAt.MIDNIGHT
        anew = next_midnight(now, ZoneInfo(spec.stable_run.timezone)) if midnight else None
        clock, metrics = run_clock(spec, track.clock, metrics, taken, late, now, begins_anew=anew)
        after = _keep_day(
            spec, track, track.model_copy(update={"clock": clock, "metrics": metrics}), taken, now, keep_days
        )
    return _conclude(spec, after, taken, events, now)


def _keep_day(
    spec: AcceptanceCheckSpec,
    before: ModuleCheckStatus,
    after: ModuleCheckStatus,
    taken: frozenset[str],
    now: datetime,
    keep: int,
) -> ModuleCheckStatus:
    if before.clock is None or after.clock is None:
        return after
    credited = max(ZERO, parse_duration(after.clock.accumulated) - parse_duration(before.clock.accumulated))
    breached = [found for found in after.metrics if found.name in taken and found.state is MetricState.BREACHED]
    heard = Round(now, _measured_span(spec, before, after, now), credited, len(breached))
    since = parse_timestamp(before.since) if before.since else now
    days, without_data = record_round(spec, before.days, since, heard, keep)
    started = after.clock.started_at is not None
    total = after.clock.no_data_days + without_data if started else 0
    return after.model_copy(update={"days": days, "clock": after.clock.model_copy(update={"no_data_days": total})})


def _measured_span(
    spec: AcceptanceCheckSpec, before: ModuleCheckStatus, after: ModuleCheckStatus, now: datetime
) -> timedelta:
    """Time up to now in which every metric had a value; nothing after a gap or a step of the clock."""
    moments = [parse_timestamp(found.last_sample_at) for found in before.metrics if found.last_sample_at]
    valued = {MetricState.GOOD, MetricState.BREACHED}
    if not moments or any(found.state not in valued for found in after.metrics):
        return ZERO
    gap = now - max(moments)
    return gap if ZERO < gap <= 2 * min(map(interval_of, spec.metrics)) else ZERO


def _conclude(
    spec: AcceptanceCheckSpec, track: ModuleCheckStatus, taken: frozenset[str], events: frozenset[str], now: datetime
) -> ModuleCheckStatus:
    if ended := _ended(spec, track, taken):
        phase, message = ended
        return track.model_copy(update={"phase": phase, "concluded": True, "message": shorten(message, MAX_MESSAGE)})
    # An event that is attested between two samples waits for the next: the newest ones may be long past.
    if taken and not _open_points(spec, track, events):
        message = f"{len(spec.metrics)} metrics met their targets"
        if track.clock is not None:
            message += f" for {format_total(track.clock)}"
        conditions = _recorded(spec, track)
        if conditions:
            message = f"on condition: {'; '.join(conditions)}"
        phase = CheckPhase.CONDITIONALLY_PASSED if conditions else CheckPhase.PASSED
        return track.model_copy(update={"phase": phase, "concluded": True, "message": shorten(message, MAX_MESSAGE)})
    phase, message = _standing(spec, track, events)
    if spec.deadline and track.since and now - parse_timestamp(track.since) >= parse_duration(spec.deadline):
        message = shorten(f"not passed within {spec.deadline}: {message}", MAX_MESSAGE)
        return track.model_copy(update={"phase": CheckPhase.FAILED, "concluded": True, "message": message})
    return track.model_copy(update={"phase": phase, "message": message})


ENDINGS = {OnNoData.FAIL: CheckPhase.FAILED, OnNoData.INCONCLUSIVE: CheckPhase.INCONCLUSIVE}


def _ended(spec: AcceptanceCheckSpec, track: ModuleCheckStatus, taken: frozenset[str]) -> tuple[CheckPhase, str] | None:
    """How this round's samples end the verdict without a pass; None when they don't."""
    for metric, found in zip(spec.metrics, track.metrics, strict=True):
        if metric.name not in taken:
            continue
        message = f"metric {found.name}: {found.message}"
        if found.state is MetricState.BREACHED and metric.consequence is OnBreach.FAIL:
            return CheckPhase.FAILED, message
        if found.state is MetricState.NO_DATA and metric.on_no_data in ENDINGS:
            return ENDINGS[metric.on_no_data], message
    if track.clock and track.clock.no_data_days >= NO_DATA_DAYS:
        dates = ", ".join(found.date for found in track.days if found.no_data)
        text = f"{track.clock.no_data_days} days of the stable run lack data ({dates}): mend what measures"
        return CheckPhase.INCONCLUSIVE, f"{text}, then set {RETRY_AT}; the run begins anew"
    return None


def _recorded(spec: AcceptanceCheckSpec, track: ModuleCheckStatus) -> list[str]:
    """What was missed and is only recorded: in the whole stable run, or else by the newest sample."""
    return [
        f"metric {found.name} ({metric.severity}) missed its target {describe_target(metric.target)}"
        + (f" {found.recorded} times" if track.clock else f": {found.message}")
        for metric, found in zip(spec.metrics, track.metrics, strict=True)
        if (found.recorded if track.clock else _tolerated(spec, metric, found))
    ]


def _tolerated(spec: AcceptanceCheckSpec, metric: Metric, found: MetricStatus) -> bool:
    """Whether the metric's newest sample is a miss that is only recorded."""
    level = consequence(metric, found) if spec.stable_run else metric.consequence
    return found.state is MetricState.BREACHED and level is OnBreach.RECORD


def _is_met(spec: AcceptanceCheckSpec, metric: Metric, found: MetricStatus) -> bool:
    """Whether the metric holds nothing up. One that is only recorded must have been measured, no more."""
    if metric.consequence is OnBreach.RECORD:
        known = found.state is MetricState.GOOD or _tolerated(spec, metric, found)
        return known and found.taken >= metric.min_samples
    return found.state is MetricState.GOOD and found.samples >= metric.min_samples


def _open_points(spec: AcceptanceCheckSpec, track: ModuleCheckStatus, events: frozenset[str]) -> list[str]:
    points = [
        f"metric {found.name}: {found.samples} of {metric.min_samples} good samples"
        for metric, found in zip(spec.metrics, track.metrics, strict=True)
        if not _is_met(spec, metric, found)
    ]
    if track.clock and parse_duration(track.clock.accumulated) < required_of(track.clock):
        points.insert(0, f"stable run: {track.clock.accumulated} of {format_total(track.clock)}")
    wanted = spec.stable_run.required_events if spec.stable_run else []
    points.extend(f"business event {event} is not attested yet" for event in wanted if event not in events)
    return points


def _standing(spec: AcceptanceCheckSpec, track: ModuleCheckStatus, events: frozenset[str]) -> tuple[CheckPhase, str]:
    """The phase by the newest samples: a miss before an error before a lack of data."""
    order = (
        (MetricState.BREACHED, CheckPhase.FAILED),
        (MetricState.ERROR, CheckPhase.ERROR),
        (MetricState.NO_DATA, CheckPhase.INCONCLUSIVE),
    )
    for state, phase in order:
        notes = [
            f"metric {found.name}: {found.message}"
            for metric, found in zip(spec.metrics, track.metrics, strict=True)
            if found.state is state and not _tolerated(spec, metric, found)
        ]
        if notes:
            return phase, shorten("; ".join(notes), MAX_MESSAGE)
    points = _open_points(spec, track, events)
    if track.clock and track.clock.paused_reason:
        points.append(f"paused: {track.clock.paused_reason}")
    return CheckPhase.OBSERVING, shorten("; ".join(points), MAX_MESSAGE)
