"""Decides about a MigrationJob: what it waits for, which Job comes next, and what its run says in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from pydantic import ValidationError

from pilotage.api.v1alpha1.cutover import CutoverSpec, CutoverState, StepState
from pilotage.api.v1alpha1.implementation import (
    ConnectionType,
    ImplementationSpec,
    ImplementationStatus,
    ModuleState,
    ModuleStatus,
)
from pilotage.api.v1alpha1.migrationjob import (
    CheckResult,
    Counts,
    ErrorCount,
    MigrationJobSpec,
    MigrationJobStatus,
    MigrationPhase,
    MigrationProgress,
    ObjectCounts,
    OpenMapping,
    RehearsalRecord,
    RunKind,
    RunRecord,
    spec_problem,
)
from pilotage.plan.conditions import Progress, Standing, merge_conditions, shorten, standing_conditions, timestamp
from pilotage.plan.dag import assign_waves
from pilotage.plan.facts import Problem
from pilotage.plan.migration_facts import (
    RUN_STAGES,
    MigrationJobFacts,
    RunIdentity,
    Stage,
    StageFacts,
    identify,
    identify_rollback,
)
from pilotage.plan.reasons import Reason
from pilotage.plan.windows import WindowError, opening

SILENCE: Final = timedelta(seconds=60)
LOOK_WHILE_LOADING: Final = timedelta(seconds=2)
LOOK_FOR_REMEDY: Final = timedelta(seconds=15)
MAX_NAME: Final = 63
MAX_RUNS: Final = 10
ENDED: Final = frozenset(
    {
        MigrationPhase.SUCCEEDED,
        MigrationPhase.REJECTED,
        MigrationPhase.FAILED,
        MigrationPhase.PAUSED,
        MigrationPhase.ROLLED_BACK,
    }
)
RUNNING_STATES: Final = frozenset(
    {
        ModuleState.MIGRATING,
        ModuleState.VERIFYING,
        ModuleState.PREPARED,
        ModuleState.CUTTING_OVER,
        ModuleState.LIVE,
        ModuleState.STABLE,
        ModuleState.ACCEPTED,
    }
)


LOADS_NOTHING: Final = {
    RunKind.MOCK: "a Mock, all of it undone",
    RunKind.REHEARSAL: "a Rehearsal, in a scratch schema",
}
PHASES: Final = {
    Stage.PLAN: MigrationPhase.PLANNING,
    Stage.LOAD: MigrationPhase.LOADING,
    Stage.REPORT: MigrationPhase.RECONCILING,
}


@dataclass(frozen=True)
class MigrationDecision:
    """The status to write, the stage whose Job is to be created, and when to look again (None: wait for events)."""

    status: dict[str, Any]
    start: Stage | None = None
    again: timedelta | None = None


def settled(body: Mapping[str, Any], retry_at: str) -> bool:
    """Whether the run that this object asks for is over: what was loaded is never loaded again for the same spec."""
    previous = _previous(body)
    if previous.spec_digest != identify(body, retry_at).spec_digest or previous.phase not in ENDED:
        return False
    loaded = previous.phase is MigrationPhase.SUCCEEDED and (previous.run or RunKind.FINAL).loads
    # As long as the spec wants it taken back, it is not loaded again.
    unwanted = (body["spec"].get("rollback") or {}).get("run") == previous.run_id
    if previous.phase is MigrationPhase.ROLLED_BACK and unwanted:
        return True
    return loaded or (previous.last_handled_retry_at or "") == retry_at


def decide(facts: MigrationJobFacts) -> MigrationDecision:
    """The next step of the run, or what it waits for."""
    body = facts.body
    identity = identify(body, facts.retry_at)
    previous = _previous(body)
    over = settled(body, facts.retry_at)
    kept = previous.model_copy(update={"last_handled_retry_at": facts.retry_at or None})
    status = kept if over else _begun(_fresh(previous, identity, facts), facts)
    if wanted := identify_rollback(body, facts.retry_at):
        if not any(stage in facts.stages and not facts.stages[stage].ended for stage in RUN_STAGES):
            return _roll_back(status, wanted, facts)
    elif over:
        return MigrationDecision(_finish(kept, _standing_of(kept), facts))
    try:
        spec = MigrationJobSpec.model_validate(body["spec"])
        problem = spec_problem(spec)
    except ValidationError as error:
        spec, problem = None, str(error)
    if len(body["metadata"]["name"]) > MAX_NAME:
        problem = f"the name is longer than {MAX_NAME} characters"
    if spec is None or problem:
        return _hold(status, Standing(Progress.STALLED, "SpecInvalid", problem or ""), facts, None)
    started = [stage for stage in RUN_STAGES if stage in facts.stages]
    for stage in started:
        if facts.stages[stage].foreign:
            name = identity.job_name(body["metadata"]["name"], stage)
            text = f"Job {name} is there already and belongs to somebody else: delete it"
            return _hold(status, Standing(Progress.STALLED, "JobNameTaken", text), facts, LOOK_FOR_REMEDY)
    if not started or facts.stages[started[-1]].ended:
        return _advance(status, spec, facts, started)
    return _watch(status, facts, started[-1])


def _roll_back(status: MigrationJobStatus, wanted: RunIdentity, facts: MigrationJobFacts) -> MigrationDecision:
    """Take a loaded run back. A refusal changes nothing: the run stays what it is, and the condition says why."""
    record = next((found for found in reversed(status.runs) if found.id == wanted.run), None)
    if record is None or record.phase is not MigrationPhase.SUCCEEDED or not record.run.loads:
        text = f"spec.rollback.run names {wanted.run}, which is no Final run or Delta in status.runs that succeeded"
        return _hold(status, Standing(Progress.STALLED, "RollbackRunUnknown", text), facts, None)
    found = facts.stages.get(Stage.ROLLBACK)
    if found is None:
        if facts.implementation is None or facts.problem:
            problem = facts.problem or Problem("ImplementationMissing", "its Implementation is not there")
            standing = Standing(Progress.STALLED, problem.reason, problem.message)
            return _hold(status, standing, facts, LOOK_FOR_REMEDY)
        standing = Standing(Progress.WAITING, "RollingBack", f"run {wanted.run} is being taken back")
        return MigrationDecision(_finish(status, standing, facts), Stage.ROLLBACK, timedelta(seconds=1))
    if found.foreign:
        text = "the Job of stage rollback is there already and belongs to somebody else: delete it"
        return _hold(status, Standing(Progress.STALLED, "JobNameTaken", text), facts, LOOK_FOR_REMEDY)
    answer = found.answer or {}
    if found.complete and answer.get("outcome") == "RolledBack":
        text = (
            f"run {wanted.run} was taken back: {answer.get('removed')} rows removed, {answer.get('restored')} restored"
        )
        taken_back = record.model_copy(update={"phase": MigrationPhase.ROLLED_BACK})
        runs = [taken_back if one is record else one for one in status.runs]
        phase = MigrationPhase.ROLLED_BACK if status.run_id == wanted.run else status.phase
        update = {"runs": runs, "phase": phase}
        return _hold(
            status.model_copy(update=update),
            Standing(Progress.STALLED, "RolledBack", text),
            facts,
            timedelta(seconds=1),
        )
    if found.ended:
        reason = str(answer.get("reason") or "RollbackFailed")
        text = str(answer.get("message") or found.pod_problem or found.failure or "the Job of stage rollback failed")
        text = f"{text}; pilotage.dev/retry-at tries again, without spec.rollback.run the run stays"
        return _hold(status, Standing(Progress.STALLED, reason, text), facts, None)
    why = f": {found.pod_problem}" if found.pod_problem else ""
    standing = Standing(Progress.WAITING, "RollingBack", f"run {wanted.run} is being taken back{why}")
    return _hold(status, standing, facts, timedelta(seconds=10))


def _advance(
    status: MigrationJobStatus, spec: MigrationJobSpec, facts: MigrationJobFacts, started: Sequence[Stage]
) -> MigrationDecision:
    """The newest Job has ended, or there is none: start the next, wait for something, or conclude."""
    if started and started[-1] is Stage.REPORT:
        return _conclude(status, facts)
    if started and started[-1] is Stage.PLAN and not facts.stages[Stage.PLAN].complete:
        return _plan_failed(status, facts)
    if standing := _waits(spec, facts, first=not started):
        again = LOOK_FOR_REMEDY if standing.progress is Progress.STALLED else None
        return _hold(status, standing, facts, again)
    if not started and spec.run.loads and (held := _waits_for_window(spec, facts)):
        return _hold(status, *held)
    stage = RUN_STAGES[len(started)]
    standing = Standing(Progress.WAITING, "Starting", f"the Job of stage {stage} is being started")
    update = {"phase": PHASES[stage]}
    return MigrationDecision(_finish(status.model_copy(update=update), standing, facts), stage, timedelta(seconds=1))


def _waits(spec: MigrationJobSpec, facts: MigrationJobFacts, *, first: bool) -> Standing | None:
    """What keeps the next Job from being started; later stages of a run that began wait for less."""
    name = spec.implementation_ref.name
    if facts.implementation is None:
        return Standing(Progress.WAITING, "ImplementationMissing", f"Implementation {name} has not been applied yet")
    implementation = ImplementationSpec.model_validate(facts.implementation["spec"])
    if implementation.suspend:
        return Standing(Progress.WAITING, "Suspended", f"Implementation {name} is suspended")
    if standing := _lacks_connection(spec, implementation):
        return standing
    # Its files may be what steps before it bring about: they are missed when its turn has come.
    if first and spec.run.loads and (held := _waits_for_cutover(spec, facts)):
        return held
    if facts.problem:
        return Standing(Progress.STALLED, facts.problem.reason, facts.problem.message)
    if not first:
        return None
    return _waits_for_module(spec, facts.implementation, implementation) or _waits_for_others(spec, facts)


def _lacks_connection(spec: MigrationJobSpec, implementation: ImplementationSpec) -> Standing | None:
    types = {found.name: found.type for found in implementation.connections}
    for connection in filter(None, (spec.target.connection, spec.source.connection_name)):
        if connection not in types:
            text = (
                f"connection {connection} is not in spec.connections of Implementation {spec.implementation_ref.name}"
            )
            return Standing(Progress.STALLED, "ConnectionUnknown", text)
    if types[spec.target.connection] is not ConnectionType.POSTGRESQL:
        text = f"target.connection {spec.target.connection} is of type {types[spec.target.connection]}, not postgresql"
        return Standing(Progress.STALLED, "TargetUnsupported", text)
    source = spec.source.connection_name
    wanted = {"http": spec.source.http, "s3": spec.source.s3}
    place = next((kind for kind, found in wanted.items() if found), "connection")
    if source and place != (types[source].value if types[source].serves_files else "connection"):
        text = f"connection {source} is of type {types[source]}, which does not go with source.{place}"
        return Standing(Progress.STALLED, "SourceUnsupported", text)
    return None


def _waits_for_module(
    spec: MigrationJobSpec, body: Mapping[str, Any], implementation: ImplementationSpec
) -> Standing | None:
    name = spec.implementation_ref.name
    if spec.module not in {found.name for found in implementation.modules}:
        text = f"module {spec.module} is not in spec.modules of Implementation {name}"
        return Standing(Progress.STALLED, "ModuleUnknown", text)
    status = ImplementationStatus.model_validate(body.get("status") or {})
    module = next((found for found in status.modules if found.name == spec.module), None)
    state = module.state if module else ModuleState.PENDING
    current = module is not None and module.release is not None and module.release.input_digest == module.desired_input
    if state not in RUNNING_STATES or not current:
        text = f"waits until module {spec.module} runs with its present input (it is {state})"
        return Standing(Progress.WAITING, "ModuleNotRunning", text)
    return None


def _steps_of_cutover(spec: MigrationJobSpec, facts: MigrationJobFacts) -> list[str]:
    """The steps of its module's cutover that this migration's loading run is; none once the module was live."""
    body = facts.implementation or {}
    modules = (body.get("spec") or {}).get("modules") or []
    cutovers = [
        CutoverSpec.model_validate(found["cutover"])
        for found in modules
        if found["name"] == spec.module and found.get("cutover")
    ]
    name = facts.body["metadata"]["name"]
    reported = _reported(spec, body)
    if reported is not None and reported.last_good is not None:
        return []
    return [step.name for found in cutovers for step in found.steps if step.takes(name, spec.run)]


def _reported(spec: MigrationJobSpec, body: Mapping[str, Any]) -> ModuleStatus | None:
    status = ImplementationStatus.model_validate(body.get("status") or {})
    return next((found for found in status.modules if found.name == spec.module), None)


def _waits_for_cutover(spec: MigrationJobSpec, facts: MigrationJobFacts) -> Standing | None:
    """A Final run or a Delta that is a step of a cutover begins within that step."""
    names = _steps_of_cutover(spec, facts)
    reported = _reported(spec, facts.implementation or {})
    record = reported.cutover if reported else None
    if record is not None and record.state is CutoverState.RUNNING:
        running = {found.name for found in record.steps if found.state is StepState.RUNNING}
        if running & set(names):
            return None
    text = f"a {spec.run} run waits for step {', '.join(names)} of the cutover of module {spec.module}"
    return Standing(Progress.WAITING, Reason.CUTOVER_NOT_REACHED, text) if names else None


def _waits_for_window(
    spec: MigrationJobSpec, facts: MigrationJobFacts
) -> tuple[Standing, MigrationJobFacts, timedelta | None] | None:
    """What loads begins only while its wave may go live, and ends whatever the hour. A cutover sees to that itself."""
    if facts.implementation is None or _steps_of_cutover(spec, facts):
        return None
    implementation = ImplementationSpec.model_validate(facts.implementation["spec"])
    wave = assign_waves(implementation.modules)[spec.module]
    try:
        found = opening(implementation.schedule.windows, wave, facts.now, implementation.customer.timezone)
    except WindowError as error:
        return Standing(Progress.STALLED, Reason.WINDOW_INVALID, str(error)), facts, LOOK_FOR_REMEDY
    if found.is_open:
        return None
    again = found.changes_at - facts.now if found.changes_at else None
    return Standing(Progress.WAITING, Reason.WINDOW_CLOSED, f"a {spec.run} run waits: {found.message}"), facts, again


def _waits_for_others(spec: MigrationJobSpec, facts: MigrationJobFacts) -> Standing | None:
    kinds = list(RunKind)
    for needed in spec.depends_on:
        found = facts.dependencies.get(needed.name)
        if found is None:
            text = f"MigrationJob {needed.name} has not been applied yet"
            return Standing(Progress.WAITING, "MigrationJobMissing", text)
        if found.phase != MigrationPhase.SUCCEEDED or kinds.index(found.run) < kinds.index(needed.run):
            text = f"waits for a {needed.run} of MigrationJob {needed.name} (its {found.run} is {_said(found.phase)})"
            return Standing(Progress.WAITING, "DependencyNotSucceeded", text)
    return None


def _said(phase: str) -> str:
    return phase or "not started"


def _watch(status: MigrationJobStatus, facts: MigrationJobFacts, stage: Stage) -> MigrationDecision:
    """A Job is under way."""
    found = facts.stages[stage]
    again = LOOK_WHILE_LOADING if stage is Stage.LOAD else timedelta(seconds=10)
    standing = Standing(Progress.WAITING, PHASES[stage].value, f"stage {stage} is under way")
    if not found.running and found.quiet_since is not None:
        quiet = facts.now - found.quiet_since
        again = max(min(again, SILENCE - quiet), timedelta(seconds=1)) if quiet < SILENCE else LOOK_FOR_REMEDY
        if quiet >= SILENCE:
            why = found.pod_problem or "no event says why"
            text = f"the Job of stage {stage} has had no running pod since {timestamp(found.quiet_since)}: {why}"
            standing = Standing(Progress.WAITING, "PodNotRunning", text)
    update: dict[str, Any] = {"phase": PHASES[stage]}
    planned = facts.stages[Stage.PLAN].answer or {}
    if planned.get("rehearsal"):
        update["rehearsal"] = RehearsalRecord.model_validate(planned["rehearsal"])
    if facts.progress:
        progress = MigrationProgress.model_validate(facts.progress)
        before = status.progress
        # Each worker prints the ledger as it saw it: an older line must not take chunks back.
        if before and before.chunks_total == progress.chunks_total and before.chunks_done > progress.chunks_done:
            progress = before
        if facts.stages.get(Stage.LOAD, StageFacts()).complete:
            progress = progress.model_copy(update={"chunks_done": progress.chunks_total})
        update["progress"] = progress.model_copy(update={"eta": _eta(progress, facts)})
        update["progress_text"] = f"{progress.chunks_done}/{progress.chunks_total}"
        if stage is Stage.LOAD and standing.reason == PHASES[stage]:
            text = f"{progress.chunks_done} of {progress.chunks_total} chunks are done"
            standing = Standing(Progress.WAITING, PHASES[stage].value, text)
    return MigrationDecision(_finish(status.model_copy(update=update), standing, facts), again=again)


def _eta(progress: MigrationProgress, facts: MigrationJobFacts) -> str | None:
    """When the rest is done if it takes as long for each chunk as those before: on the minute, so that it stands still.

    None before the first chunk and after the last.
    """
    load = facts.stages.get(Stage.LOAD)
    if load is None or load.created is None or not 0 < progress.chunks_done < progress.chunks_total:
        return None
    rest = (facts.now - load.created) * ((progress.chunks_total - progress.chunks_done) / progress.chunks_done)
    return timestamp((facts.now + rest).replace(second=0, microsecond=0) + timedelta(minutes=1))


def _plan_failed(status: MigrationJobStatus, facts: MigrationJobFacts) -> MigrationDecision:
    found = facts.stages[Stage.PLAN]
    answer = found.answer or {}
    reason = str(answer.get("reason") or "PlanFailed")
    message = str(answer.get("message") or found.pod_problem or found.failure or "the Job of stage plan failed")
    phase = MigrationPhase.PAUSED if answer.get("outcome") == "Paused" else MigrationPhase.FAILED
    return _end(status, phase, reason, message, {}, facts)


def _conclude(status: MigrationJobStatus, facts: MigrationJobFacts) -> MigrationDecision:
    """The ledger's word, as the reporter read it, decides; the workers' exit codes do not."""
    report, load = facts.stages[Stage.REPORT], facts.stages.get(Stage.LOAD, StageFacts())
    answer = report.answer or {}
    outcome, reason = str(answer.get("outcome") or ""), str(answer.get("reason") or "")
    if outcome == "Succeeded" and report.complete:
        return _end(status, MigrationPhase.SUCCEEDED, reason or "Succeeded", "", answer, facts)
    if outcome in {"Rejected", "Paused"}:
        return _end(status, MigrationPhase(outcome), reason, str(answer.get("message") or ""), answer, facts)
    if reason == "NotEnded":
        said = load.answer or {}
        reason = str(said.get("reason") or "WorkersFailed")
        text = str(said.get("message") or load.pod_problem or load.failure or "the workers ended before the run did")
        message = f"{text}; what is loaded so far is kept in the ledger, pilotage.dev/retry-at resumes it"
        return _end(status, MigrationPhase.FAILED, reason, message, {}, facts)
    message = str(answer.get("message") or report.pod_problem or report.failure or "the reporter gave no answer")
    return _end(status, MigrationPhase.FAILED, reason or "ReportFailed", message, answer, facts)


def _end(
    status: MigrationJobStatus,
    phase: MigrationPhase,
    reason: str,
    message: str,
    answer: Mapping[str, Any],
    facts: MigrationJobFacts,
) -> MigrationDecision:
    counts = Counts.model_validate(answer["counts"]) if answer.get("counts") else None
    record = RunRecord(
        id=status.run_id or "",
        run=status.run or RunKind.FINAL,
        phase=phase,
        spec_digest=status.spec_digest or "",
        started_at=status.started_at,
        finished_at=timestamp(facts.now),
        read=counts.read if counts else 0,
        loaded=counts.loaded if counts else 0,
        quarantined=counts.quarantined if counts else 0,
        certificate_digest=answer.get("certificateDigest"),
    )
    update: dict[str, Any] = {
        "phase": phase,
        "counts": counts,
        "objects": [ObjectCounts.model_validate(found) for found in answer.get("objects") or []],
        "checks": [CheckResult.model_validate(found) for found in answer.get("checks") or []],
        "top_errors": [ErrorCount.model_validate(found) for found in answer.get("topErrors") or []],
        "open_mappings": [OpenMapping.model_validate(found) for found in answer.get("openMappings") or []],
        "certificate_digest": answer.get("certificateDigest"),
        "runs": [*status.runs, record][-MAX_RUNS:],
    }
    if status.progress:
        total = status.progress.chunks_total
        # A run that is found succeeded already was never seen loading.
        done = total if phase is MigrationPhase.SUCCEEDED else status.progress.chunks_done
        update["progress"] = status.progress.model_copy(update={"chunks_done": done, "eta": None})
        update["progress_text"] = f"{done}/{total}"
    ended = status.model_copy(update=update)
    return MigrationDecision(_finish(ended, _standing_of(ended, reason, message), facts))


def _standing_of(status: MigrationJobStatus, reason: str = "", message: str = "") -> Standing:
    if status.phase is MigrationPhase.SUCCEEDED:
        counts = status.counts or Counts()
        text = f"{counts.read} rows read, {counts.loaded} loaded, {counts.quarantined} quarantined; the counts balance"
        if status.run is RunKind.DELTA:
            text = (
                f"a Delta: {counts.read} rows read, {counts.loaded} inserted, {counts.updated} updated, "
                f"{counts.deleted} deleted, {counts.unchanged} unchanged, {counts.refused} refused, "
                f"{counts.missing} gone from the source and still there; the counts balance"
            )
        if status.run in LOADS_NOTHING:
            text = f"{LOADS_NOTHING[status.run]}: {text}. Set spec.run to {RunKind.FINAL} to load"
        return Standing(Progress.READY, "Succeeded", text)
    previous = next((found for found in status.conditions if found.type == "Stalled"), None)
    if not reason and previous:
        reason, message = previous.reason, previous.message
    return Standing(Progress.STALLED, reason or str(status.phase), message)


def _previous(body: Mapping[str, Any]) -> MigrationJobStatus:
    return MigrationJobStatus.model_validate(body.get("status") or {})


def _fresh(previous: MigrationJobStatus, identity: RunIdentity, facts: MigrationJobFacts) -> MigrationJobStatus:
    """The status to build on: the run so far, or an empty one when another run is asked for now."""
    same = previous.spec_digest == identity.spec_digest and (previous.last_handled_retry_at or "") == facts.retry_at
    if same and previous.phase not in ENDED:
        return previous
    return MigrationJobStatus(
        phase=MigrationPhase.WAITING,
        run=_kind(facts.body),
        run_id=identity.run,
        spec_digest=identity.spec_digest,
        runs=previous.runs,
        conditions=previous.conditions,
        last_handled_retry_at=facts.retry_at or None,
    )


def _begun(status: MigrationJobStatus, facts: MigrationJobFacts) -> MigrationJobStatus:
    """The run began when its first Job was made, whoever saw it and lived to tell."""
    first = facts.stages.get(Stage.PLAN)
    if first is None or first.created is None:
        return status
    return status.model_copy(update={"started_at": timestamp(first.created)})


def _kind(body: Mapping[str, Any]) -> RunKind:
    given = body["spec"].get("run")
    return RunKind(given) if given in set(RunKind) else RunKind.FINAL


def _hold(
    status: MigrationJobStatus, standing: Standing, facts: MigrationJobFacts, again: timedelta | None
) -> MigrationDecision:
    return MigrationDecision(_finish(status, standing, facts), again=again)


def _finish(status: MigrationJobStatus, standing: Standing, facts: MigrationJobFacts) -> dict[str, Any]:
    generation = facts.body["metadata"].get("generation", 0)
    before = (facts.body.get("status") or {}).get("conditions") or []
    shown = Standing(standing.progress, standing.reason, shorten(standing.message))
    manifest = status.to_manifest()
    manifest["observedGeneration"] = generation
    manifest["conditions"] = merge_conditions(before, standing_conditions(shown), generation, facts.now)
    return {name: value for name, value in manifest.items() if value != []}
