"""SignOff: one person's decision about one gate, bound to the digest of what was decided on. Never edited."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pilotage.api.v1alpha1.common import (
    ApiModel,
    DnsLabel,
    LocalReference,
    Sha256,
    Text,
    Timestamp,
    Title,
    validations,
)
from pilotage.api.v1alpha1.project import MAX_BLOCKER, GateName

ATOMIC = {"x-kubernetes-list-type": "atomic"}


class SignOffDecision(StrEnum):
    """What was decided. A Waive names blockers that may be passed over until it expires.

    A RollBack orders that a module which failed goes back to its last good revision.
    """

    APPROVE = "Approve"
    APPROVE_WITH_CONDITIONS = "ApproveWithConditions"
    REJECT = "Reject"
    WAIVE = "Waive"
    ROLL_BACK = "RollBack"


class PunchListItem(ApiModel):
    """What is still to be done although the gate was approved, by whom and until when."""

    item: Title
    owner: DnsLabel
    due: Timestamp


class Evidence(ApiModel):
    """A document outside the cluster, such as the scan of a sealed paper, and its checksum."""

    url: Annotated[str, Field(max_length=500, pattern=r"^https?://[^\s]+$")]
    sha256: Sha256


class SignOffSpec(ApiModel):
    """Who decided what. Another mind is another SignOff: of one person's, the newest counts."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            ("self == oldSelf", "a SignOff is never edited: create another one"),
            ("!(has(self.wave) && has(self.module))", "a decision is about a wave or about a module, not both"),
            ("self.decision != 'Reject' || has(self.reason)", "a Reject needs a reason"),
            (
                "(self.decision == 'ApproveWithConditions') == (has(self.punchList) && size(self.punchList) > 0)",
                "punchList and the decision ApproveWithConditions go together",
            ),
            (
                "(self.decision == 'Waive') == (has(self.waives) && size(self.waives) > 0)",
                "waives and the decision Waive go together",
            ),
            (
                "self.decision != 'Waive' || (has(self.expires) && has(self.reason))",
                "a Waive needs a reason and the time when it expires",
            ),
            (
                "self.decision != 'RollBack' || has(self.module) && has(self.reason) && self.gate == 'GoLiveApproved'",
                "a RollBack needs gate GoLiveApproved, a module and a reason",
            ),
        )
    }

    implementation_ref: LocalReference
    gate: GateName
    wave: Annotated[int, Field(ge=1, le=100)] | None = None
    module: DnsLabel | None = None
    decision: SignOffDecision
    digest: Annotated[
        str,
        Field(
            max_length=71,
            pattern=r"^(sha256:)?[0-9a-f]{12,64}$",
            description="of status.gates; of a RollBack desiredInput of status.modules; at least twelve digits",
        ),
    ]
    by: Annotated[DnsLabel, Field(description="id of spec.contacts: whose decision it is")]
    recorded_by: Annotated[str, Field(min_length=1, max_length=512, description="the user who creates the object")]
    punch_list: Annotated[list[PunchListItem], Field(max_length=50, json_schema_extra=ATOMIC)] = []
    waives: Annotated[
        list[Annotated[str, Field(max_length=MAX_BLOCKER)]], Field(max_length=50, json_schema_extra=ATOMIC)
    ] = Field(default=[], description="blockers of status.gates, word for word")
    expires: Timestamp | None = None
    reason: Text | None = None
    evidence: Annotated[list[Evidence], Field(max_length=8, json_schema_extra=ATOMIC)] = []


PRINTER_COLUMNS: list[tuple[str, str, str]] = [
    ("Implementation", "string", ".spec.implementationRef.name"),
    ("Gate", "string", ".spec.gate"),
    ("Wave", "integer", ".spec.wave"),
    ("Module", "string", ".spec.module"),
    ("Decision", "string", ".spec.decision"),
    ("By", "string", ".spec.by"),
    ("Recorded-By", "string", ".spec.recordedBy"),
    ("Age", "date", ".metadata.creationTimestamp"),
]
