"""Which modules a check measures, and when its next samples are due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

from pilotage.api.v1alpha1.acceptancecheck import (
    PASSING,
    AcceptanceCheckSpec,
    AcceptanceCheckStatus,
    Gate,
    Metric,
    ModuleCheckStatus,
)
from pilotage.api.v1alpha1.common import RETRY_AT, parse_duration
from pilotage.api.v1alpha1.cutover import StepType
from pilotage.api.v1alpha1.implementation import ModuleState
from pilotage.plan.acceptance_clock import interval_of
from pilotage.plan.acceptance_sample import Sample
from pilotage.plan.acceptance_track import break_chain, fresh_track
from pilotage.plan.conditions import parse_timestamp

MAX_MEASUREMENTS: Final = 160
SHORTEST_WAIT: Final = timedelta(milliseconds=200)
ON_THE_WAY: Final = (
    ModuleState.VERIFYING,
    ModuleState.PREPARED,
    ModuleState.CUTTING_OVER,
    ModuleState.LIVE,
    ModuleState.STABLE,
    ModuleState.ACCEPTED,
)
FIRST_MEASURED: Final = {
    Gate.CONFIGURATION_READY: ModuleState.VERIFYING,
    Gate.STABLE_RUN_COMPLETE: ModuleState.LIVE,
    Gate.FINAL_ACCEPTED: ModuleState.STABLE,
}


@dataclass(frozen=True)
class CheckObservation:
    """What one pass over a check knows. `offset` spreads the checks of a cluster over their intervals.

    `session` names the span in which `now` went forward steadily: a run of the operator without a step of its clock.
    `asked_at` is when this pass chose what to measure; the answers came until `now`.
    """

    body: Mapping[str, Any]
    implementation: Mapping[str, Any] | None
    now: datetime
    session: str
    offset: timedelta = timedelta()
    asked_at: datetime | None = None

    @cached_property
    def spec(self) -> AcceptanceCheckSpec:
        """The check's spec. Raises ValueError when it is not valid."""
        return AcceptanceCheckSpec.model_validate(self.body.get("spec") or {})

    @cached_property
    def previous(self) -> AcceptanceCheckStatus:
        """The status that the pass before reported."""
        return AcceptanceCheckStatus.model_validate(self.body.get("status") or {})

    @property
    def retry_token(self) -> str | None:
        """The newest request of a person to measure what failed anew."""
        token = (self.body["metadata"].get("annotations") or {}).get(RETRY_AT)
        return token[:100] if token else None


@dataclass(frozen=True)
class Measurement:
    """One sample to take: this metric of this module with this input."""

    module: str
    subject: str
    release: str
    metric: Metric


@dataclass(frozen=True)
class Track:
    """A module's status before this round's samples. Without `release` there is nothing to measure now."""

    status: ModuleCheckStatus
    release: str = ""

    @property
    def active(self) -> bool:
        """Whether samples are to be taken."""
        return bool(self.release) and not self.status.concluded


def measurements_due(seen: CheckObservation) -> tuple[Measurement, ...]:
    """The samples to take now."""
    return tuple(
        Measurement(track.status.name, track.status.subject, track.release, metric)
        for track in begin_round(seen)
        if track.active
        for metric in seen.spec.metrics
        if next_sample(seen, track.status, metric) <= seen.now
    )


def begin_round(seen: CheckObservation) -> list[Track]:
    """The modules' tracks before this round's samples: what was measured still counts, or it begins anew."""
    spec, before, implementation = seen.spec, seen.previous, seen.implementation
    names = covered_modules(seen)
    if implementation is None or len(names) * len(spec.metrics) > MAX_MEASUREMENTS:
        return []
    same_spec = before.observed_generation == seen.body["metadata"].get("generation")
    same_project = before.implementation_uid == implementation["metadata"].get("uid")
    known = {track.name: track for track in before.modules} if same_spec and same_project else {}
    reported = {module["name"]: module for module in (implementation.get("status") or {}).get("modules") or []}
    return [_begin(seen, name, known.get(name), reported.get(name) or {}) for name in names]


def covered_modules(seen: CheckObservation) -> Sequence[str]:
    """The names of the modules that the check speaks of."""
    if named := seen.spec.modules:
        return named
    return [module["name"] for module in ((seen.implementation or {}).get("spec") or {}).get("modules") or []]


def _begin(seen: CheckObservation, name: str, known: ModuleCheckStatus | None, module: Mapping[str, Any]) -> Track:
    wanted = module.get("desiredInput") or ""
    step = _cutover_step(seen, name, module)
    waiting = _not_measurable(seen.spec.gate, module) or (step.waiting if step else "")
    release = "" if waiting else module["release"]["name"]
    # What was measured before the step began, in an earlier attempt too, says nothing of what the step is to prove.
    stale = step is not None and known is not None and step.is_after(known)
    if known is not None and known.subject and wanted in {"", known.subject} and not stale:
        return Track(_resume(seen, known), release)
    carried = _carried(seen.spec, known)
    if waiting:
        kept = {"clock": carried.clock, "days": carried.days} if carried else {}
        return Track(ModuleCheckStatus(name=name, message=waiting, **kept), release)
    return Track(fresh_track(seen.spec, name, wanted, seen.now, carried), release)


@dataclass(frozen=True)
class _CutoverStep:
    """The step of a cutover that the check is. `began`: since when it is under way; `waiting`: why it is not yet."""

    began: str | None = None
    waiting: str = ""

    def is_after(self, known: ModuleCheckStatus) -> bool:
        """Whether the step has not begun, or began after what is known was measured."""
        if self.began is None or known.since is None:
            return True
        return parse_timestamp(known.since) < parse_timestamp(self.began)


def _cutover_step(seen: CheckObservation, name: str, module: Mapping[str, Any]) -> _CutoverStep | None:
    """The step of that module's cutover that the check is, if it is one; once the module was live none matters."""
    modules = ((seen.implementation or {}).get("spec") or {}).get("modules") or []
    cutovers = [found.get("cutover") or {} for found in modules if found["name"] == name]
    mine = {"type": StepType.CHECK, "ref": seen.body["metadata"]["name"]}
    planned = [step for cutover in cutovers for step in cutover.get("steps") or []]
    names = [step["name"] for step in planned if mine.items() <= step.items()]
    if not names or module.get("lastGood"):
        return None
    reported = {found["name"]: found for found in (module.get("cutover") or {}).get("steps") or []}
    begun = [reported[one]["startedAt"] for one in names if (reported.get(one) or {}).get("startedAt")]
    if not begun:
        return _CutoverStep(waiting=f"measured in step {', '.join(names)} of the module's cutover")
    return _CutoverStep(began=max(begun))


def _carried(spec: AcceptanceCheckSpec, known: ModuleCheckStatus | None) -> ModuleCheckStatus | None:
    """The release before, when its clock stays for the one that follows. What ended without a pass begins anew."""
    keeps = spec.stable_run is not None and spec.stable_run.min_soak is not None
    return known if keeps and known and (known.phase in PASSING or not known.concluded) else None


def _resume(seen: CheckObservation, known: ModuleCheckStatus) -> ModuleCheckStatus:
    before = seen.previous
    if known.concluded:
        retried = before.last_handled_retry_at != seen.retry_token and known.phase not in PASSING
        return fresh_track(seen.spec, known.name, known.subject, seen.now) if retried else known
    return known if before.session == seen.session else break_chain(known)


def _not_measurable(gate: Gate, module: Mapping[str, Any]) -> str:
    """Why there is nothing to measure yet; empty when there is."""
    if not module:
        return "the module is not reported by its Implementation yet"
    wanted, release = module.get("desiredInput") or "", module.get("release") or {}
    if not wanted or release.get("inputDigest") != wanted:
        return "the module does not run at the version wanted yet"
    first, reached = FIRST_MEASURED[gate], module.get("reached", ModuleState.PENDING)
    if reached not in ON_THE_WAY[ON_THE_WAY.index(first) :]:
        return f"measured from state {first} on; the module has reached {reached}"
    return ""


def next_sample(seen: CheckObservation, track: ModuleCheckStatus, metric: Metric) -> datetime:
    """When the metric is due: at once the first time, then on a grid that all modules and metrics of a check share."""
    last = next((found.last_sample_at for found in track.metrics if found.name == metric.name), None)
    if last is None or (taken := parse_timestamp(last)) > seen.now:
        return seen.now
    interval = interval_of(metric)
    origin = datetime.fromtimestamp(0, tz=taken.tzinfo) + seen.offset % interval
    return origin + ((taken - origin) // interval + 1) * interval


def next_look(
    seen: CheckObservation, tracks: Sequence[Track], samples: Mapping[tuple[str, str], Sample]
) -> timedelta | None:
    """Time until the next sample or deadline. What was asked for and got no answer waits for its probe's events.

    What became due after this pass had chosen its measurements was not asked for: nothing else would wake it.
    """
    spec, moments = seen.spec, []
    asked_at = seen.asked_at or seen.now
    for track in tracks:
        status = track.status
        if status.concluded or not status.subject:
            continue
        for metric in spec.metrics if track.release else ():
            moment = next_sample(seen, status, metric)
            if moment > asked_at or (status.name, metric.name) in samples:
                moments.append(moment)
        if spec.deadline and status.since:
            moments.append(parse_timestamp(status.since) + parse_duration(spec.deadline))
    return max(SHORTEST_WAIT, min(moments) - seen.now) if moments else None
