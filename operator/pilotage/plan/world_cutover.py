"""Cutovers in a world that is played: each step takes its planned minutes and ends well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pilotage.api.v1alpha1.attestation import AttestationType
from pilotage.api.v1alpha1.cutover import CutoverStatus, RollbackStep, StepState, StepStatus, StepType
from pilotage.plan.acceptance import Verdict
from pilotage.plan.conditions import parse_timestamp
from pilotage.plan.cutover import Step
from pilotage.plan.cutover_steps import job_name
from pilotage.plan.facts import StepJob
from pilotage.plan.world import World


@dataclass(frozen=True)
class OpenStep:
    """A step that is under way, and when it has taken its planned minutes."""

    module: str
    step: Step
    status: StepStatus
    record: CutoverStatus
    ends: datetime

    @property
    def type(self) -> StepType:
        """By what it is done."""
        return StepType(self.step.type)

    @property
    def what(self) -> str:
        """The step's end, as it is told."""
        return f"step {self.step.name} of the cutover of module {self.module} is done"


def open_steps(world: World) -> Iterator[OpenStep]:
    """The steps of all cutovers that are under way by the status."""
    for module in world.spec.modules:
        reported = world.states.get(module.name, {}).get("cutover")
        if module.cutover is None or not reported:
            continue
        record = CutoverStatus.model_validate(reported)
        sides: tuple[tuple[list[Step], list[StepStatus]], ...] = (
            ([*module.cutover.steps], record.steps),
            ([*module.cutover.rollback], record.rollback),
        )
        for planned, statuses in sides:
            by_name = {step.name: step for step in planned}
            for status in statuses:
                if record.active and status.state is StepState.RUNNING and status.name in by_name:
                    ends = parse_timestamp(status.started_at or "") + timedelta(minutes=status.planned_minutes)
                    yield OpenStep(module.name, by_name[status.name], status, record, ends)


def end_step(world: World, found: OpenStep) -> None:
    """The step ends well."""
    step, back = found.step, isinstance(found.step, RollbackStep)
    match found.type:
        case StepType.CONFIRM:
            owner = next((contact for contact in world.spec.contacts if contact.id == step.owner), None)
            if owner:
                about = {"module": found.module, "name": step.name}
                world.state(owner, type=AttestationType.CUTOVER_STEP, result={"outcome": "Passed"}, **about)
        case StepType.JOB:
            name = job_name(world.body, found.module, found.record, found.status, back=back)
            world.step_jobs[name] = StepJob(complete=True)
        case StepType.MIGRATION:
            migration = world.migrations[step.ref or ""]
            if back:
                world.migrations[migration.name] = replace(migration, succeeded=False, loaded=False)
            else:
                world.load(migration)
        case StepType.CHECK:
            passed = Verdict(passed=True, phase="Passed", message="", since=world.now)
            check = world.checks[step.ref or ""]
            world.checks[check.name] = replace(check, verdicts={**check.verdicts, found.module: passed})
        case StepType.ROLLOUT:
            pass
