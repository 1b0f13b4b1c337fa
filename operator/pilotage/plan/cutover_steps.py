"""What the steps of a cutover have come to: confirmations, Jobs, migrations, the module's release and its checks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pilotage.api.v1alpha1.attestation import Outcome
from pilotage.api.v1alpha1.cutover import (
    CutoverState,
    CutoverStatus,
    CutoverStep,
    RollbackStep,
    StepState,
    StepStatus,
    StepType,
)
from pilotage.api.v1alpha1.implementation import ModuleSpec
from pilotage.api.v1alpha1.migrationjob import MigrationPhase
from pilotage.plan.conditions import parse_timestamp
from pilotage.plan.cutover import OVERRUN, Step, StepFact
from pilotage.plan.facts import AttestationFacts, ImplementationFacts, MigrationFacts, StepJob
from pilotage.plan.health import Health

AT_WORK = frozenset({MigrationPhase.PLANNING, MigrationPhase.LOADING, MigrationPhase.RECONCILING})
BEGINS_WITHIN = timedelta(minutes=1)
ENDED_BADLY = frozenset(
    {MigrationPhase.REJECTED, MigrationPhase.FAILED, MigrationPhase.PAUSED, MigrationPhase.ROLLED_BACK}
)


@dataclass(frozen=True)
class StepJobWanted:
    """A Job that a step is to be done by. `template`: the CronJob to make it from; `deadline`: its longest time."""

    module: str
    step: str
    template: str
    name: str
    deadline: timedelta | None = None


def job_name(body: Mapping[str, Any], module: str, record: CutoverStatus, status: StepStatus, *, back: bool) -> str:
    """The Job of that step: the same for everybody who asks, another one each time the step is begun anew."""
    content = [body["metadata"]["uid"], module, record.attempt, back, status.name, status.attempt]
    token = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:10]
    return f"cutover-{module[:20]}-{status.name[:20]}-{token}"


def running_jobs(
    body: Mapping[str, Any], module: ModuleSpec, record: CutoverStatus | None
) -> Iterator[tuple[Step, StepStatus, str]]:
    """The steps of type Job that are under way by this record, with the names of their Jobs."""
    if module.cutover is None or record is None or not record.active:
        return
    sides = ((module.cutover.steps, record.steps, False), (module.cutover.rollback, record.rollback, True))
    for planned, reported, back in sides:
        steps: dict[str, Step] = {step.name: step for step in planned}
        for status in reported:
            step = steps.get(status.name)
            if step and step.type == StepType.JOB and status.state is StepState.RUNNING:
                yield step, status, job_name(body, module.name, record, status, back=back)


def jobs_to_make(
    facts: ImplementationFacts, module: ModuleSpec, stored: CutoverStatus | None, record: CutoverStatus | None
) -> Iterator[StepJobWanted]:
    """The Jobs that are to be made now: of steps that are under way by the record that is stored, and still are."""
    known = {name for _, _, name in running_jobs(facts.body, module, stored)}
    for step, status, name in running_jobs(facts.body, module, record):
        if record is None or name not in known or name in facts.step_jobs or not step.ref:
            continue
        back = status in record.rollback
        if record.state is CutoverState.ABORTING and not back:
            continue
        bounded = not back and not record.point_of_no_return_passed
        deadline = OVERRUN * timedelta(minutes=status.planned_minutes) if bounded else None
        yield StepJobWanted(module.name, status.name, step.ref, name, deadline)


@dataclass(frozen=True)
class StepLooks:
    """Looks at what the steps of one module's cutover have come to."""

    facts: ImplementationFacts
    module: ModuleSpec
    confirmations: Iterable[AttestationFacts]
    in_sync: bool

    def __call__(self, record: CutoverStatus, step: Step, status: StepStatus) -> StepFact:
        """What the step has come to."""
        back = isinstance(step, RollbackStep)
        match StepType(step.type):
            case StepType.CONFIRM:
                return self._confirmed(step, status)
            case StepType.JOB:
                return self._job(job_name(self.facts.body, self.module.name, record, status, back=back), status)
            case StepType.MIGRATION:
                return self._taken_back(step) if isinstance(step, RollbackStep) else self._loaded(step, status)
            case StepType.CHECK:
                return self._checked(step, status)
            case StepType.ROLLOUT:
                return self._rolled_out()

    def _confirmed(self, step: Step, status: StepStatus) -> StepFact:
        began = parse_timestamp(status.started_at or "")
        mine = [
            found
            for found in self.confirmations
            if (found.spec.module, found.spec.name, found.spec.by) == (self.module.name, step.name, step.owner)
        ]
        newest = max((found for found in mine if found.at >= began), key=lambda one: (one.at, one.name), default=None)
        if newest is None:
            early = "; what was confirmed before it began does not count" if mine else ""
            return StepFact(message=f"waits until {step.owner} confirms it{early}")
        if newest.spec.result.outcome is Outcome.PASSED:
            return StepFact(done=True)
        said = f": {newest.spec.note}" if newest.spec.note else ""
        return StepFact(failed=True, message=f"{step.owner} says that it failed{said}")

    def _job(self, name: str, status: StepStatus) -> StepFact:
        found: StepJob | None = self.facts.step_jobs.get(name)
        if found is None:
            if status.job:
                return StepFact(failed=True, message=f"Job {name} was deleted before it was seen to end")
            return StepFact(message=f"Job {name} is being made")
        if found.problem:
            return StepFact(failed=found.failed, message=found.problem)
        if found.complete:
            return StepFact(done=True, job=name)
        if found.failed:
            return StepFact(failed=True, message=f"Job {name} failed: {found.message}", job=name)
        return StepFact(busy=True, message=f"Job {name} is at work", job=name)

    def _migration(self, step: Step) -> MigrationFacts | None:
        return self.facts.migrations.get(step.ref or "")

    def _loaded(self, step: CutoverStep, status: StepStatus) -> StepFact:
        found = self._migration(step)
        if found is None:
            return StepFact(message=f"MigrationJob {step.ref} is not there")
        text = (
            f"MigrationJob {found.name}: {found.phase or 'not started'}{': ' + found.message if found.message else ''}"
        )
        if found.succeeded and step.takes(found.name, found.run):
            return StepFact(done=True)
        if found.phase in ENDED_BADLY:
            return StepFact(failed=True, message=text)
        # A run that saw the step begin may be starting at this moment, and has not said so yet.
        new = self.facts.now - parse_timestamp(status.started_at or "") < BEGINS_WITHIN
        return StepFact(busy=new or found.phase in AT_WORK, message=text)

    def _taken_back(self, step: Step) -> StepFact:
        found = self._migration(step)
        if found is None:
            return StepFact(failed=True, message=f"MigrationJob {step.ref} is not there to be taken back")
        if found.loaded:
            text = f"MigrationJob {found.name}: its run {found.loaded_run} is to be taken back by spec.rollback.run"
            return StepFact(message=text)
        return StepFact(done=found.phase not in AT_WORK, message=f"MigrationJob {found.name}: {found.phase}")

    def _checked(self, step: Step, status: StepStatus) -> StepFact:
        found = self.facts.checks.get(step.ref or "")
        verdict = found.verdicts.get(self.module.name) if found else None
        began = parse_timestamp(status.started_at or "")
        if verdict is None or verdict.since is None or verdict.since < began:
            return StepFact(message=f"AcceptanceCheck {step.ref} has not measured since the step began")
        if verdict.passed:
            return StepFact(done=True)
        text = f"AcceptanceCheck {step.ref}: {verdict.phase}{': ' + verdict.message if verdict.message else ''}"
        return StepFact(failed=verdict.ended_badly, message=text)

    def _rolled_out(self) -> StepFact:
        module = self.facts.modules[self.module.name]
        if self.in_sync and module.health is Health.CURRENT:
            return StepFact(done=True)
        return StepFact(message=module.health_message or "its release is not deployed and healthy with the live input")
