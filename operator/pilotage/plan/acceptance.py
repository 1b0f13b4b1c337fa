"""Evidence into verdicts: what becomes of a check with new samples, and whether a gate may open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pilotage.api.v1alpha1.acceptancecheck import (
    PASSING,
    AcceptanceCheckStatus,
    CheckPhase,
    ModuleCheckStatus,
    ProbeStatus,
)
from pilotage.api.v1alpha1.common import parse_duration
from pilotage.plan.acceptance_clock import format_total, required_of
from pilotage.plan.acceptance_days import days_kept
from pilotage.plan.acceptance_sample import Sample
from pilotage.plan.acceptance_schedule import MAX_MEASUREMENTS, CheckObservation, Track, begin_round, next_look
from pilotage.plan.acceptance_track import advance
from pilotage.plan.conditions import (
    Progress,
    Standing,
    merge_conditions,
    parse_timestamp,
    shorten,
    standing_conditions,
)

MAX_VERDICT: Final = 2048


@dataclass(frozen=True)
class Verdict:
    """What a check says of one module with one input. `ended_badly`: so until spec, input or retry-at change. `since`:
    when it began to measure.
    """

    passed: bool
    phase: str
    message: str
    ended_badly: bool = False
    since: datetime | None = None


@dataclass(frozen=True)
class CheckDecision:
    """The status to report, and after which time to look again if nothing happens before."""

    status: dict[str, Any]
    again: timedelta | None


def gate_verdict(check_manifest: Mapping[str, Any], module: str, input_digest: str) -> Verdict:
    """The check's verdict about the module's release with that input digest.

    A status of an older generation, of another input or of no input at all says nothing: it never passes.
    """
    metadata = check_manifest.get("metadata") or {}
    status = check_manifest.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return Verdict(passed=False, phase=CheckPhase.PENDING, message="it is being deleted")
    if status.get("observedGeneration", -1) != metadata.get("generation"):
        return Verdict(passed=False, phase=CheckPhase.PENDING, message="its spec has not been taken up yet")
    track = next((found for found in status.get("modules") or [] if found.get("name") == module), None)
    if track is None or not input_digest or track.get("subject") != input_digest:
        return Verdict(passed=False, phase=CheckPhase.PENDING, message="this input of the module is not measured yet")
    phase = track.get("phase", CheckPhase.PENDING)
    return Verdict(
        passed=phase in PASSING,
        phase=phase,
        message=track.get("message", ""),
        ended_badly=phase not in PASSING and bool(track.get("concluded")),
        since=parse_timestamp(track["since"]) if track.get("since") else None,
    )


def decide(
    seen: CheckObservation, samples: Mapping[tuple[str, str], Sample], answered: Iterable[str] = ()
) -> CheckDecision:
    """The check's next status from the samples by module and metric.

    `answered` names the connections whose probe Job has been read: their next one gets another name.
    """
    spec, before = seen.spec, seen.previous
    tracks = []
    begun = begin_round(seen)
    keep = days_kept(len(begun), len(spec.metrics))
    events = frozenset(((seen.implementation or {}).get("status") or {}).get("businessEvents") or ())
    for track in begun:
        status = track.status
        if status.subject:
            mine = {metric: found for (module, metric), found in samples.items() if module == status.name}
            status = advance(spec, status, mine, seen.now, keep_days=keep, events=events)
        tracks.append(Track(status, track.release))
    modules = [track.status for track in tracks]
    standing = _standing(seen, modules)
    status_now = AcceptanceCheckStatus(
        observed_generation=seen.body["metadata"].get("generation", 0),
        phase=_phase(modules),
        verdict=shorten(standing.message, MAX_VERDICT),
        clock=_slowest_clock(modules),
        modules=modules,
        probes=_probes(before, answered),
        implementation_uid=seen.implementation["metadata"].get("uid") if seen.implementation else None,
        session=seen.session if samples else before.session,
        last_handled_retry_at=seen.retry_token,
    )
    return CheckDecision(_report(seen, status_now, standing), next_look(seen, tracks, samples))


def refuse(seen: CheckObservation, problem: str) -> CheckDecision:
    """The status of a check whose spec cannot be read. Nothing is measured and nothing passes."""
    standing = Standing(Progress.STALLED, "InvalidSpec", problem)
    status = AcceptanceCheckStatus(
        observed_generation=seen.body["metadata"].get("generation", 0),
        phase=CheckPhase.ERROR,
        verdict=shorten(problem, MAX_VERDICT),
        last_handled_retry_at=seen.retry_token,
    )
    return CheckDecision(_report(seen, status, standing), None)


def _report(seen: CheckObservation, status: AcceptanceCheckStatus, standing: Standing) -> dict[str, Any]:
    previous = (seen.body.get("status") or {}).get("conditions") or []
    wanted = standing_conditions(standing)
    conditions = merge_conditions(previous, wanted, status.observed_generation, seen.now)
    return status.to_manifest() | {"conditions": conditions}


def _probes(before: AcceptanceCheckStatus, answered: Iterable[str]) -> list[ProbeStatus]:
    numbers = {probe.connection: probe.number for probe in before.probes}
    for connection in answered:
        numbers[connection] = numbers.get(connection, 0) + 1
    return [ProbeStatus(connection=name, number=number) for name, number in sorted(numbers.items())][:8]


WORST_FIRST: Final = (
    CheckPhase.FAILED,
    CheckPhase.ERROR,
    CheckPhase.INCONCLUSIVE,
    CheckPhase.OBSERVING,
    CheckPhase.PENDING,
    CheckPhase.CONDITIONALLY_PASSED,
)


def _phase(tracks: Sequence[ModuleCheckStatus]) -> CheckPhase:
    phases = {track.phase for track in tracks}
    best = CheckPhase.PASSED if phases else CheckPhase.PENDING
    return next((phase for phase in WORST_FIRST if phase in phases), best)


def _standing(seen: CheckObservation, tracks: Sequence[ModuleCheckStatus]) -> Standing:
    name = seen.spec.implementation_ref.name
    if seen.implementation is None:
        return Standing(Progress.WAITING, "ImplementationMissing", f"Implementation {name} is not there")
    if not tracks:
        text = f"a check measures at most {MAX_MEASUREMENTS} metrics of modules; name fewer modules, or split it"
        return Standing(Progress.STALLED, "TooManyMeasurements", text)
    passed = [track for track in tracks if track.phase in PASSING]
    phase = _phase(tracks)
    if len(passed) == len(tracks):
        conditional = [track for track in tracks if track.phase is CheckPhase.CONDITIONALLY_PASSED]
        notes = [f"{track.name} {track.message}" for track in conditional]
        return Standing(Progress.READY, phase, "; ".join([f"passed for {_count(tracks)}", *notes]))
    ended = any(track.phase not in PASSING and track.concluded for track in tracks)
    held = sorted((track for track in tracks if track not in passed), key=lambda track: WORST_FIRST.index(track.phase))
    text = "; ".join(f"{track.name}: {track.phase}: {track.message}" for track in held)
    message = f"passed for {len(passed)} of {_count(tracks)}; {text}"
    return Standing(Progress.STALLED if ended else Progress.WAITING, phase, message)


def _count(tracks: Sequence[ModuleCheckStatus]) -> str:
    return f"{len(tracks)} module{'' if len(tracks) == 1 else 's'}"


def _slowest_clock(tracks: Sequence[ModuleCheckStatus]) -> str | None:
    clocks = [track.clock for track in tracks if track.clock]
    if not clocks:
        return None
    slowest = max(clocks, key=lambda clock: required_of(clock) - parse_duration(clock.accumulated))
    return f"{slowest.accumulated}/{format_total(slowest)}"
