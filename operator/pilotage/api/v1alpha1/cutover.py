"""Cutover: what is done, step by step, between the decision to go live and a module that is in use."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pilotage.api.v1alpha1.common import ApiModel, DnsLabel, ObjectName, Timestamp, Title, list_map, validations

MAX_STEPS = 24
MAX_ROLLBACK_STEPS = 12
MAX_STEP_MESSAGE = 300
JOB_TEMPLATE = "a suspended CronJob, whose jobTemplate the Job is made from"

PlannedMinutes = Annotated[int, Field(ge=1, le=10_080, description="how long it is expected to take")]
Minutes = Annotated[int, Field(ge=0, description="begun minutes count whole")]


class StepType(StrEnum):
    """What a step is done by, and so what tells that it is done."""

    CONFIRM = "Confirm"
    JOB = "Job"
    MIGRATION = "Migration"
    ROLLOUT = "Rollout"
    CHECK = "Check"


class StepRun(StrEnum):
    """Which run of a MigrationJob a step is."""

    FINAL = "Final"
    DELTA = "Delta"


class RollbackStepType(StrEnum):
    """What the way back can consist of."""

    CONFIRM = "Confirm"
    JOB = "Job"
    MIGRATION = "Migration"


class CutoverStep(ApiModel):
    """One step of a cutover; it begins when the one before has ended."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            ("self.type != 'Confirm' || has(self.owner)", "Confirm needs owner, the contact who confirms it"),
            (
                "has(self.ref) == (self.type in ['Job', 'Migration', 'Check'])",
                "Job, Migration and Check need ref; Confirm and Rollout have none",
            ),
            ("!has(self.run) || self.type == 'Migration'", "only Migration has run"),
        )
    }

    name: DnsLabel
    title: Title | None = None
    type: StepType
    owner: DnsLabel | None = Field(
        default=None, description="id of spec.contacts: who confirms it, or is asked when it fails"
    )
    planned_minutes: PlannedMinutes
    ref: ObjectName | None = Field(
        default=None,
        description=f"of Job: {JOB_TEMPLATE}; of Migration: a MigrationJob, whose Final run is held until this step; "
        "of Check: an AcceptanceCheck of gate ConfigurationReady, measured in this step",
    )
    run: StepRun | None = Field(
        default=None,
        description="of Migration: the run that is held until this step; default: whichever loads. With Delta the "
        "Final run loads before the cutover, in a window",
    )

    def takes(self, migration: str, run: str) -> bool:
        """Whether that run of that MigrationJob is this step."""
        return self.type is StepType.MIGRATION and self.ref == migration and self.run in {None, run}


class RollbackStep(ApiModel):
    """One step of the way back; it begins when the one before has ended."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            ("self.type != 'Confirm' || has(self.owner)", "Confirm needs owner, the contact who confirms it"),
            ("has(self.ref) == (self.type != 'Confirm')", "Job and Migration need ref; Confirm has none"),
        )
    }

    name: DnsLabel
    title: Title | None = None
    type: RollbackStepType
    owner: DnsLabel | None = Field(
        default=None, description="id of spec.contacts: who confirms it, or is asked when it fails"
    )
    planned_minutes: PlannedMinutes
    ref: ObjectName | None = Field(
        default=None,
        description=f"of Job: {JOB_TEMPLATE}; of Migration: a MigrationJob, whose Final run is taken back",
    )


class CutoverSpec(ApiModel):
    """The plan of a module's first go-live. Later changes of the module do not go through it."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            (
                "!has(self.pointOfNoReturn) || self.steps.exists(s, s.name == self.pointOfNoReturn)",
                "pointOfNoReturn names none of the steps",
            ),
        )
    }

    steps: Annotated[list[CutoverStep], Field(min_length=1, max_length=MAX_STEPS, json_schema_extra=list_map("name"))]
    point_of_no_return: DnsLabel | None = Field(
        default=None, description="a step: from its beginning on only a person's RollBack takes the cutover back"
    )
    rollback: Annotated[
        list[RollbackStep], Field(max_length=MAX_ROLLBACK_STEPS, json_schema_extra=list_map("name"))
    ] = Field(default=[], description="what an aborted cutover is taken back by, in this order")

    @property
    def planned_minutes(self) -> int:
        """How long all steps together are expected to take."""
        return sum(step.planned_minutes for step in self.steps)


class StepState(StrEnum):
    """Where a step stands. Skipped: the cutover was aborted before it; RolledBack: done, and taken back since."""

    PENDING = "Pending"
    RUNNING = "Running"
    DONE = "Done"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    ROLLED_BACK = "RolledBack"


class StepStatus(ApiModel):
    """One step as it went."""

    name: DnsLabel
    state: StepState = StepState.PENDING
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    planned_minutes: PlannedMinutes
    actual_minutes: Minutes | None = None
    attempt: Annotated[int, Field(ge=1, description="how often it was begun in this cutover")] = 1
    job: Annotated[str, Field(max_length=63, description="the Job that it was seen to be done by")] | None = None
    message: Annotated[str, Field(max_length=MAX_STEP_MESSAGE)] = ""


class CutoverState(StrEnum):
    """Where a cutover stands. Aborting: it is being taken back; Aborted: it was, and a person has it tried again."""

    RUNNING = "Running"
    ABORTING = "Aborting"
    ABORTED = "Aborted"
    DONE = "Done"


class AbortReason(StrEnum):
    """Why a cutover is taken back."""

    STEP_FAILED = "StepFailed"
    STEP_OVERRAN = "StepOverran"
    WINDOW_TOO_SHORT = "WindowTooShort"
    INPUT_CHANGED = "InputChanged"
    ORDERED = "Ordered"


class Abort(ApiModel):
    """That and why a cutover was aborted."""

    at: Timestamp
    reason: AbortReason
    message: Annotated[str, Field(max_length=MAX_STEP_MESSAGE)] = ""


class CutoverStatus(ApiModel):
    """The newest attempt to cut the module over, as it went."""

    attempt: Annotated[int, Field(ge=1)] = 1
    state: CutoverState
    started_at: Timestamp
    finished_at: Timestamp | None = None
    planned_minutes: Minutes
    actual_minutes: Minutes | None = None
    point_of_no_return_passed: bool = False
    input_digest: Annotated[str, Field(max_length=80, description="of the release that is brought into use")] = ""
    retry: Annotated[str, Field(max_length=64, description="the request to retry that was known when it failed")] = ""
    steps: Annotated[list[StepStatus], Field(max_length=2 * MAX_STEPS, json_schema_extra=list_map("name"))] = []
    rollback: Annotated[
        list[StepStatus], Field(max_length=2 * MAX_ROLLBACK_STEPS, json_schema_extra=list_map("name"))
    ] = []
    aborted: Abort | None = None

    @property
    def active(self) -> bool:
        """Whether it has begun and is not over."""
        return self.state in {CutoverState.RUNNING, CutoverState.ABORTING}
