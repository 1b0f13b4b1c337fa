"""One module under measurement: its metrics, sample by sample, and the verdict that follows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pilotage.api.v1alpha1.acceptancecheck import (
    MAX_VALUE,
    AcceptanceCheckSpec,
    CheckPhase,
    ClockStatus,
    Metric,
    MetricState,
    MetricStatus,
    ModuleCheckStatus,
    OnBreach,
)
from pilotage.api.v1alpha1.common import parse_duration
from pilotage.plan.acceptance_clock import ZERO, credit, format_duration, format_moment, run_clock
from pilotage.plan.acceptance_sample import Outcome, Sample, describe_target, judge
from pilotage.plan.conditions import parse_timestamp, shorten

MAX_NOTE = 120
MAX_MESSAGE = 300

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
    # An error or a lack of data keeps a counter's sum; a value that was not read now would look like one that was.
    shown = value if good or outcome is Outcome.MISSED else (before.value if before.counter is not None else None)
    earned = credit(metric, before, now) if good else ZERO
    kept = parse_duration(before.unsettled) if before.unsettled and earned else ZERO
    return before.model_copy(
        update={
            "state": STATES[outcome],
            "value": shorten(shown, MAX_VALUE) if shown else None,
            "samples": before.samples + 1 if good else 0 if outcome is Outcome.MISSED else before.samples,
            "taken": before.taken + 1,
            "breaches": before.breaches + (outcome is Outcome.MISSED),
            "last_sample_at": format_moment(now),
            "last_good_at": format_moment(now) if good else None,
            "counter": sample.raw if sample.raw is not None else before.counter,
            "unsettled": format_duration(kept + earned) if good else None,
            "message": None if good else shorten(note, MAX_NOTE),
        }
    )


def fresh_track(spec: AcceptanceCheckSpec, module: str, subject: str, now: datetime) -> ModuleCheckStatus:
    """A module at the beginning of its measurement."""
    return ModuleCheckStatus(
        name=module,
        subject=subject,
        phase=CheckPhase.OBSERVING,
        since=format_moment(now),
        message="the first samples are being taken",
        clock=ClockStatus(required=spec.stable_run.required) if spec.stable_run else None,
        metrics=[MetricStatus(name=metric.name) for metric in spec.metrics],
    )


def break_chain(track: ModuleCheckStatus) -> ModuleCheckStatus:
    """The track after a restart of the operator or a step of its clock: the next good samples credit nothing."""
    metrics = [metric.model_copy(update={"last_good_at": None, "unsettled": None}) for metric in track.metrics]
    return track.model_copy(update={"metrics": metrics})


def advance(
    spec: AcceptanceCheckSpec, track: ModuleCheckStatus, samples: Mapping[str, Sample], now: datetime
) -> ModuleCheckStatus:
    """The module's track after the samples of one round, by metric name. A concluded track stays as it is."""
    if track.concluded:
        return track
    known = {metric.name: metric for metric in track.metrics}
    taken = frozenset(metric.name for metric in spec.metrics if metric.name in samples)
    metrics = [
        _take(metric, known[metric.name], samples[metric.name], now) if metric.name in taken else known[metric.name]
        for metric in spec.metrics
    ]
    clock = track.clock
    if clock is not None:
        late = frozenset(
            metric.name
            for metric in spec.metrics
            if metric.name in taken and known[metric.name].last_good_at and not credit(metric, known[metric.name], now)
        )
        clock, metrics = run_clock(spec, clock, metrics, taken, late, now)
    return _conclude(spec, track.model_copy(update={"clock": clock, "metrics": metrics}), taken, now)


def _conclude(
    spec: AcceptanceCheckSpec, track: ModuleCheckStatus, taken: frozenset[str], now: datetime
) -> ModuleCheckStatus:
    if not _open_points(spec, track):
        message = f"{len(spec.metrics)} metrics met their targets"
        if track.clock is not None:
            message += f" for {track.clock.required}"
        return track.model_copy(update={"phase": CheckPhase.PASSED, "concluded": True, "message": message})
    phase, message = _standing(spec, track)
    for metric, found in zip(spec.metrics, track.metrics, strict=True):
        final = metric.on_breach is OnBreach.FAIL and metric.name in taken
        if final and found.state is MetricState.BREACHED:
            message = f"metric {found.name}: {found.message}"
            return track.model_copy(update={"phase": CheckPhase.FAILED, "concluded": True, "message": message})
    if spec.deadline and track.since and now - parse_timestamp(track.since) >= parse_duration(spec.deadline):
        message = shorten(f"not passed within {spec.deadline}: {message}", MAX_MESSAGE)
        return track.model_copy(update={"phase": CheckPhase.FAILED, "concluded": True, "message": message})
    return track.model_copy(update={"phase": phase, "message": message})


def _open_points(spec: AcceptanceCheckSpec, track: ModuleCheckStatus) -> list[str]:
    points = [
        f"metric {found.name}: {found.samples} of {metric.min_samples} good samples"
        for metric, found in zip(spec.metrics, track.metrics, strict=True)
        if found.state is not MetricState.GOOD or found.samples < metric.min_samples
    ]
    if track.clock and parse_duration(track.clock.accumulated) < parse_duration(track.clock.required):
        points.insert(0, f"stable run: {track.clock.accumulated} of {track.clock.required}")
    return points


def _standing(spec: AcceptanceCheckSpec, track: ModuleCheckStatus) -> tuple[CheckPhase, str]:
    """The phase by the newest samples: a miss before an error before a lack of data."""
    order = (
        (MetricState.BREACHED, CheckPhase.FAILED),
        (MetricState.ERROR, CheckPhase.ERROR),
        (MetricState.NO_DATA, CheckPhase.INCONCLUSIVE),
    )
    for state, phase in order:
        notes = [f"metric {found.name}: {found.message}" for found in track.metrics if found.state is state]
        if notes:
            return phase, shorten("; ".join(notes), MAX_MESSAGE)
    points = _open_points(spec, track)
    if track.clock and track.clock.paused_reason:
        points.append(f"paused: {track.clock.paused_reason}")
    return CheckPhase.OBSERVING, shorten("; ".join(points), MAX_MESSAGE)
