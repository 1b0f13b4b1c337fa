"""Attestation: a fact that only people or other systems know, with the name of who states it. Never edited."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pilotage.api.v1alpha1.common import (
    ApiModel,
    DnsLabel,
    LocalReference,
    Text,
    Timestamp,
    validations,
)
from pilotage.api.v1alpha1.signoff import ATOMIC, Evidence


class AttestationType(StrEnum):
    """What is stated: that people were trained, how a test case of the users, a business event or a step of a cutover
    ended, how a defect stands.
    """

    TRAINING = "Training"
    UAT = "UAT"
    DEFECT = "Defect"
    BUSINESS_EVENT = "BusinessEvent"
    CUTOVER_STEP = "CutoverStep"


class Outcome(StrEnum):
    """How a test case, a business event or a step of a cutover ended."""

    PASSED = "Passed"
    FAILED = "Failed"


class DefectSeverity(StrEnum):
    """How bad a defect is: S1 stops the business, S2 a part of it without a way around, S3 hinders, S4 is a blemish."""

    S1 = "S1"
    S2 = "S2"
    S3 = "S3"
    S4 = "S4"


class DefectState(StrEnum):
    """Whether a defect is still there."""

    OPEN = "Open"
    CLOSED = "Closed"


Count = Annotated[int, Field(ge=0, le=1_000_000)]


class AttestationResult(ApiModel):
    """The fact itself; its type says which of the fields belong to it."""

    outcome: Outcome | None = Field(default=None, description="of a test case, business event or step of a cutover")
    completed: Annotated[Count, Field(description="of a training: people who took part to its end")] | None = None
    passed: (
        Annotated[Count, Field(description="of a training: those of them who reached the role's passScore")] | None
    ) = None
    severity: DefectSeverity | None = Field(default=None, description="of a defect")
    state: DefectState | None = Field(default=None, description="of a defect")


class AttestationSpec(ApiModel):
    """Who states what. Of statements about the same thing the newest counts, so a correction is another Attestation."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            ("self == oldSelf", "an Attestation is never edited: create another one, of which the newest counts"),
            (
                "self.type != 'Training' || (has(self.role) && has(self.result.completed) && has(self.result.passed))",
                "Training needs role, result.completed and result.passed",
            ),
            ("self.type == 'Training' || !has(self.role)", "role goes with Training"),
            (
                "[self.result].all(r, !has(r.passed) || !has(r.completed) || r.passed <= r.completed)",
                "result.passed are some of result.completed",
            ),
            (
                "self.type != 'UAT' || (has(self.name) && has(self.result.outcome))",
                "UAT needs name, the test case, and result.outcome",
            ),
            (
                "self.type != 'BusinessEvent' || (has(self.name) && has(self.result.outcome))",
                "BusinessEvent needs name, such as month-end-close, and result.outcome",
            ),
            (
                "self.type != 'CutoverStep' || (has(self.module) && has(self.name) && has(self.result.outcome))",
                "CutoverStep needs module, name, the step, and result.outcome",
            ),
            ("self.type == 'CutoverStep' || !has(self.module)", "module goes with CutoverStep"),
            (
                "self.type != 'Defect' || (has(self.name) && has(self.result.severity) && has(self.result.state))",
                "Defect needs name, its number, result.severity and result.state",
            ),
        )
    }

    implementation_ref: LocalReference
    type: AttestationType
    name: (
        Annotated[
            str,
            Field(
                max_length=100,
                pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
                description="what it is about: test case, event, step or defect's number; of a training the session",
            ),
        ]
        | None
    ) = None
    module: Annotated[DnsLabel, Field(description="whose cutover the step belongs to")] | None = None
    role: Annotated[DnsLabel, Field(description="of spec.training.roles: who was trained")] | None = None
    result: AttestationResult
    by: Annotated[DnsLabel, Field(description="id of spec.contacts: who states it; a system is a contact too")]
    recorded_by: Annotated[str, Field(min_length=1, max_length=512, description="the user who creates the object")]
    at: Timestamp | None = Field(default=None, description="when it happened; default: when it was recorded")
    note: Text | None = None
    evidence: Annotated[list[Evidence], Field(max_length=8, json_schema_extra=ATOMIC)] = []


PRINTER_COLUMNS: list[tuple[str, str, str]] = [
    ("Implementation", "string", ".spec.implementationRef.name"),
    ("Type", "string", ".spec.type"),
    ("Role", "string", ".spec.role"),
    ("Name", "string", ".spec.name"),
    ("Outcome", "string", ".spec.result.outcome"),
    ("By", "string", ".spec.by"),
    ("Recorded-By", "string", ".spec.recordedBy"),
    ("Age", "date", ".metadata.creationTimestamp"),
]
