"""The cutover of one module within its project: what keeps it from beginning, how far it is, who has to act."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pilotage.api.v1alpha1.acceptancecheck import Gate as CheckGate
from pilotage.api.v1alpha1.common import RETRY_AT
from pilotage.api.v1alpha1.cutover import (
    CutoverSpec,
    CutoverState,
    CutoverStatus,
    StepRun,
    StepState,
    StepStatus,
    StepType,
)
from pilotage.api.v1alpha1.implementation import ImplementationSpec, ModuleSpec, ModuleState, NextAction
from pilotage.api.v1alpha1.project import ContactRole, GateName
from pilotage.plan.conditions import parse_timestamp, shorten, timestamp
from pilotage.plan.cutover import (
    Situation,
    Step,
    advance,
    asked_again,
    minutes_between,
    next_look,
    rollback_of,
    steps_of,
)
from pilotage.plan.cutover_steps import ENDED_BADLY, StepJobWanted, StepLooks, jobs_to_make
from pilotage.plan.delivery import ReleaseState, release_state
from pilotage.plan.facts import ImplementationFacts
from pilotage.plan.gates import APPROVALS, Project, gate_rules, rollback_order
from pilotage.plan.health import Health
from pilotage.plan.module import RANK, ClosedGate, ModuleHistory
from pilotage.plan.reasons import Reason
from pilotage.plan.windows import WindowError, fitting

# These have their own next actions, with who has to act.
CUTOVER_REASONS = frozenset({Reason.CUTOVER_STEP_FAILED, Reason.CUTOVER_ABORTED, Reason.CUTOVER_RUNNING})


@dataclass(frozen=True)
class ModuleCutover:
    """A module's cutover after this pass. `holds` keep the module from going live, `jobs` are to be made now."""

    record: CutoverStatus | None = None
    holds: tuple[ClosedGate, ...] = ()
    jobs: tuple[StepJobWanted, ...] = ()
    due: datetime | None = None

    @property
    def active(self) -> bool:
        """Whether it has begun and is not over."""
        return self.record is not None and self.record.active

    @property
    def change_hold(self) -> tuple[str, str] | None:
        """Why the module's release is not changed now: what is taken back is not changed under way."""
        if self.record is None or self.record.state is not CutoverState.ABORTING:
            return None
        return Reason.CUTOVER_ABORTING, "a change waits until the cutover is taken back"


def cut_over(project: Project, module: ModuleSpec, *, may_act: bool) -> ModuleCutover:
    """The module's cutover after this pass. Pure.

    A module that was live once, or has no cutover, has nothing but what was reported of it.
    """
    history, facts = project.histories[module.name], project.facts
    before = history.cutover
    if module.cutover is None or history.last_good is not None:
        return ModuleCutover(before)
    situation = _situation(project, module, may_act=may_act)
    begun = before is not None and before.state is not CutoverState.ABORTED
    holds = () if begun else tuple(_before_it_begins(project, module, module.cutover, situation))
    if holds:
        return ModuleCutover(before, holds)
    looks = StepLooks(facts, module, project.attested.confirmations, _in_sync(facts, module))
    record = advance(module.cutover, before, situation, looks)
    held = _hold(module.cutover, record) if record else None
    if record is None or (record is before and record.state is CutoverState.ABORTED):
        held = ClosedGate(ModuleState.CUTTING_OVER, Reason.CUTOVER_RUNNING, "its cutover begins")
    return ModuleCutover(
        record,
        (held,) if held else (),
        tuple(jobs_to_make(facts, module, before, record)) if may_act else (),
        next_look(record, situation) if record and may_act else None,
    )


def settled_history(history: ModuleHistory, cutover: ModuleCutover) -> ModuleHistory:
    """The history with the way that is left: a module whose cutover has not begun, or was taken back, is Prepared."""
    waits = any(hold.at is ModuleState.PREPARED for hold in cutover.holds)
    if waits and RANK[history.reached] > RANK[ModuleState.PREPARED]:
        return replace(history, reached=ModuleState.PREPARED)
    return history


def _situation(project: Project, module: ModuleSpec, *, may_act: bool) -> Situation:
    facts, history = project.facts, project.histories[module.name]
    found, wanted = project.openings[project.waves[module.name]], facts.modules[module.name].desired
    record = history.cutover
    since = parse_timestamp(record.started_at) if record else None
    in_sync = _in_sync(facts, module) and facts.modules[module.name].health is Health.CURRENT
    return Situation(
        now=facts.now,
        input=wanted.input if wanted else "",
        on_stage=history.reached is ModuleState.CUTTING_OVER and in_sync,
        may_act=may_act,
        shuts_at=found.changes_at if found.is_open else facts.now,
        ordered_by=rollback_order(project, module.name, since) if record and record.active else None,
        retry=facts.attempt,
        approved_at=_approved_at(project, module),
    )


def _in_sync(facts: ImplementationFacts, module: ModuleSpec) -> bool:
    found = facts.modules[module.name]
    if found.problem or found.desired is None or found.release is None or found.release.acting:
        return False
    return release_state(found.release, found.desired.input, facts.attempt) is ReleaseState.IN_SYNC


def _approved_at(project: Project, module: ModuleSpec) -> datetime | None:
    """When the newest approval of the module's go-live that counts was given, as the passes before reported it."""
    place = (project.waves[module.name], module.name)
    moments = [
        parse_timestamp(decision.at)
        for gate in project.previous
        if gate.name is GateName.GO_LIVE_APPROVED and gate.wave in {None, place[0]} and gate.module in {None, place[1]}
        for decision in gate.decisions
        if decision.counts and decision.decision in APPROVALS
    ]
    return max(moments, default=None)


def _before_it_begins(
    project: Project, module: ModuleSpec, cutover: CutoverSpec, situation: Situation
) -> Iterator[ClosedGate]:
    """What keeps the cutover from beginning, the worst first."""
    record = project.histories[module.name].cutover
    if record is not None and not asked_again(record, situation) and record.aborted:
        yield _aborted(record)
        return
    wrong = [*_unknown_owners(project.spec, module, cutover), *_bad_references(project, module, cutover)]
    if wrong:
        yield ClosedGate(ModuleState.PREPARED, Reason.CUTOVER_INVALID, "; ".join(wrong[:3]), stuck=True)
        return
    for step in cutover.steps:
        migration = project.facts.migrations.get(step.ref or "")
        if step.type is StepType.MIGRATION and migration and migration.phase in ENDED_BADLY:
            text = (
                f"MigrationJob {migration.name} is {migration.phase}, so step {step.name} would fail: mend it, take "
                f"spec.rollback.run away, and set its annotation {RETRY_AT} to a new value"
            )
            yield ClosedGate(ModuleState.PREPARED, Reason.MIGRATION_NOT_SUCCEEDED, text, stuck=True)
            return
    if text := next(_missing_runs(project, cutover), ""):
        yield ClosedGate(ModuleState.PREPARED, Reason.MIGRATION_NOT_SUCCEEDED, text)
        return
    planned = timedelta(minutes=cutover.planned_minutes)
    if situation.shuts_at is not None and situation.shuts_at - situation.now < planned:
        yield ClosedGate(
            ModuleState.PREPARED, Reason.CUTOVER_DOES_NOT_FIT, _misfit(project, module, situation, planned)
        )


def _missing_runs(project: Project, cutover: CutoverSpec) -> Iterator[str]:
    """What somebody has to do before the step of a Delta could end."""
    for step in cutover.steps:
        migration = project.facts.migrations.get(step.ref or "")
        if step.run is not StepRun.DELTA or migration is None:
            continue
        if not migration.loaded:
            yield f"step {step.name} is a Delta, and MigrationJob {step.ref} has loaded nothing yet: Final comes first"
        elif not step.takes(migration.name, migration.run):
            text = f"set spec.run of MigrationJob {step.ref} to Delta; it begins with the step"
            yield f"step {step.name} is a Delta: {text}"


def _unknown_owners(spec: ImplementationSpec, module: ModuleSpec, cutover: CutoverSpec) -> Iterator[str]:
    known = {contact.id for contact in spec.contacts}
    for field, steps in (("steps", cutover.steps), ("rollback", cutover.rollback)):
        for step in steps:
            if step.owner and step.owner not in known:
                path = f"spec.modules[{module.name}].cutover.{field}[{step.name}].owner"
                yield f"{path}: {step.owner} is no id of spec.contacts"


def _bad_references(project: Project, module: ModuleSpec, cutover: CutoverSpec) -> Iterator[str]:
    facts = project.facts
    mine = facts.body["metadata"]["name"]
    for field, steps in (("steps", cutover.steps), ("rollback", cutover.rollback)):
        for step in steps:
            path = f"spec.modules[{module.name}].cutover.{field}[{step.name}].ref"
            if step.type == StepType.JOB and (problem := facts.job_templates.get(step.ref or "")):
                yield f"{path}: {problem}"
            if step.type == StepType.MIGRATION:
                migration = facts.migrations.get(step.ref or "")
                if migration is None or (migration.implementation, migration.module) != (mine, module.name):
                    yield f"{path}: there is no MigrationJob {step.ref} of this module"
                elif field == "rollback" and not migration.keeps_images:
                    yield f"{path}: MigrationJob {step.ref} cannot be taken back without rollback.beforeImages: true"
            if step.type == StepType.CHECK:
                check = project.checks.get(step.ref or "")
                if check is None or not check.covers(module.name) or check.gate != CheckGate.CONFIGURATION_READY:
                    gate = CheckGate.CONFIGURATION_READY
                    yield f"{path}: there is no AcceptanceCheck {step.ref} of gate {gate} that covers this module"


def _misfit(project: Project, module: ModuleSpec, situation: Situation, planned: timedelta) -> str:
    left = max(0, math.floor(((situation.shuts_at or situation.now) - situation.now) / timedelta(minutes=1)))
    spec, wave = project.spec, project.waves[module.name]
    try:
        fits = fitting(spec.schedule.windows, wave, situation.now, spec.customer.timezone, planned)
    except WindowError as error:
        return str(error)
    when = f"the next window that is long enough opens at {timestamp(fits)}" if fits else "no window is long enough"
    # Minutes that are left would change the report every minute: what stays the same is when the window shuts.
    shuts = timestamp(situation.shuts_at) if situation.shuts_at and left else ""
    has = f"the window shuts at {shuts}" if shuts else "the window is shut"
    return f"its cutover takes {planned // timedelta(minutes=1)} planned minutes and {has}; {when}"


def _hold(cutover: CutoverSpec, record: CutoverStatus) -> ClosedGate | None:
    """Where the module stands while its cutover is under way, and why."""
    if record.state is CutoverState.DONE:
        return None
    if record.state is CutoverState.ABORTED:
        return _aborted(record)
    if record.state is CutoverState.RUNNING:
        number, status = _current(steps_of(cutover, record))
        text = f"step {status.name} ({number} of {len(record.steps)})"
        reason = Reason.CUTOVER_RUNNING
    else:
        back = rollback_of(cutover, record)
        cause = record.aborted.message if record.aborted else ""
        number, status = _current(back) if record.rollback else _current(steps_of(cutover, record))
        text = f"aborted ({cause}); step {status.name} of the way back ({number} of {len(back)})"
        if not record.rollback:
            text = f"aborted ({cause}); waits until step {status.name} has ended"
        reason = Reason.CUTOVER_ABORTING
    failed = status.state is StepState.FAILED
    text += f" failed: {status.message}" if failed else f": {status.message}" if status.message else ""
    return ClosedGate(ModuleState.CUTTING_OVER, Reason.CUTOVER_STEP_FAILED if failed else reason, text, stuck=failed)


def _aborted(record: CutoverStatus) -> ClosedGate:
    why = record.aborted.message if record.aborted else ""
    text = f"the cutover was aborted: {why}. It begins anew when a person asks for it"
    return ClosedGate(ModuleState.PREPARED, Reason.CUTOVER_ABORTED, text, stuck=True)


def _current(steps: Sequence[tuple[Step | None, StepStatus]]) -> tuple[int, StepStatus]:
    """The step that the cutover stands at, and its place."""
    open_states = {StepState.PENDING, StepState.RUNNING, StepState.FAILED}
    running = [(index, found) for index, (_, found) in enumerate(steps, 1) if found.state is StepState.RUNNING]
    others = [(index, found) for index, (_, found) in enumerate(steps, 1) if found.state in open_states]
    return [*running, *others, (len(steps), steps[-1][1])][0]


def cutover_actions(
    spec: ImplementationSpec, facts: ImplementationFacts, cutovers: Mapping[str, ModuleCutover]
) -> list[NextAction]:
    """Who has to do what so that cutovers go on, the most urgent first."""
    found: list[NextAction] = []
    # Where persons decide on the go-live, they are asked for it anew.
    decided = GateName.GO_LIVE_APPROVED in gate_rules(spec)
    for module in spec.modules:
        record = cutovers[module.name].record
        if module.cutover is None or record is None:
            continue
        desk = _Desk(spec, facts, module)
        if record.active:
            found += desk.of_steps(steps_of(module.cutover, record), record, back=False)
            if record.state is CutoverState.ABORTING:
                found += desk.of_steps(rollback_of(module.cutover, record), record, back=True)
        elif any(hold.reason == Reason.CUTOVER_ABORTED for hold in cutovers[module.name].holds) and not decided:
            found.append(desk.again(record))
    return found


@dataclass(frozen=True)
class _Desk:
    """Who of the project does what for one module's cutover."""

    spec: ImplementationSpec
    facts: ImplementationFacts
    module: ModuleSpec

    def of_steps(
        self, steps: Iterable[tuple[Step | None, StepStatus]], record: CutoverStatus, *, back: bool
    ) -> Iterator[NextAction]:
        """What the steps that are under way, or failed, ask for."""
        for step, status in steps:
            if step is None or status.state not in {StepState.RUNNING, StepState.FAILED}:
                continue
            what = f"step {status.name} of module {self.module.name}'s cutover"
            title = f" ({step.title})" if step.title else ""
            if status.state is StepState.FAILED:
                if back or record.state is CutoverState.RUNNING:
                    yield self._to_mend(step, status, what, record, back=back)
                continue
            due = parse_timestamp(status.started_at or "") + timedelta(minutes=status.planned_minutes)
            late = minutes_between(timestamp(due), self.facts.now) if self.facts.now > due else 0
            if step.type == StepType.CONFIRM:
                yield self._action(step, f"do {what}{title}, then confirm it", self._attest(status), status, due)
            elif back and step.type == StepType.MIGRATION:
                yield self._action(step, f"have {what}{title} taken back", self._take_back(step), status, due)
            elif late:
                text = f"look after {what}{title}, which takes longer than planned: {status.message}"
                yield self._action(step, text, None, status, due)

    def again(self, record: CutoverStatus) -> NextAction:
        """What has an aborted cutover begin anew."""
        why = record.aborted.message if record.aborted else ""
        text = f"mend why the cutover of module {self.module.name} was aborted ({why}); then have it begin anew"
        return NextAction(who=self._manager(), what=shorten(text), command=self._retry(), since=record.finished_at)

    def _to_mend(self, step: Step, status: StepStatus, what: str, record: CutoverStatus, *, back: bool) -> NextAction:
        text = f"mend {what}, which failed: {status.message}; then have it tried again"
        if record.point_of_no_return_passed and not back:
            text += f", or the customer's lead orders the way back: {self._order()}"
        return NextAction(who=self._who(step), what=shorten(text), command=self._retry(), since=status.finished_at)

    def _action(self, step: Step, what: str, command: str | None, status: StepStatus, due: datetime) -> NextAction:
        return NextAction(
            who=self._who(step), what=shorten(what), command=command, since=status.started_at, due=timestamp(due)
        )

    def _who(self, step: Step) -> str:
        names = {contact.id: contact.name for contact in self.spec.contacts}
        return names.get(step.owner or "", "") or self._manager()

    def _manager(self) -> str:
        found = (one.name for one in self.spec.contacts if one.role is ContactRole.PROJECT_MANAGER)
        return next(found, str(ContactRole.PROJECT_MANAGER))

    def _attest(self, status: StepStatus) -> str:
        name = self.facts.body["metadata"]["name"]
        arguments = f"CutoverStep {status.name} --module {self.module.name} --outcome Passed"
        return f"pilotage attest {name} {arguments} {self._place()}"

    def _retry(self) -> str:
        name = self.facts.body["metadata"]["name"]
        return f"kubectl {self._place()} annotate --overwrite implementation {name} {RETRY_AT}=$(date +%s)"

    def _order(self) -> str:
        name = self.facts.body["metadata"]["name"]
        return f"pilotage rollback {name} {self.module.name} --reason '…' {self._place()}"

    def _take_back(self, step: Step) -> str | None:
        found = self.facts.migrations.get(step.ref or "")
        if found is None or not found.loaded_run:
            return None
        patch = f'{{"spec":{{"rollback":{{"run":"{found.loaded_run}"}}}}}}'
        return f"kubectl {self._place()} patch migrationjob {found.name} --type merge -p '{patch}'"

    def _place(self) -> str:
        return f"-n {self.facts.body['metadata']['namespace']}"
