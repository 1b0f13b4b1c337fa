"""What a project agrees on besides its modules: its people, its goals, its requirements, and who decides what."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pilotage.api.v1alpha1.common import (
    ApiModel,
    DnsLabel,
    Duration,
    Text,
    Timestamp,
    Title,
    list_map,
    list_set,
    validations,
)

RequirementId = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Digest = Annotated[str, Field(max_length=80)]
MAX_BLOCKER = 160
MAX_GATES = 128


class ContactRole(StrEnum):
    """What a person is to the project."""

    CUSTOMER_LEAD = "CustomerLead"
    PROJECT_MANAGER = "ProjectManager"
    ENGINEER = "Engineer"
    DATA_OWNER = "DataOwner"
    KEY_USER = "KeyUser"
    OPERATIONS = "Operations"
    SUPERVISOR = "Supervisor"
    TESTER = "Tester"
    SPONSOR = "Sponsor"
    SALES = "Sales"
    DEVELOPMENT = "Development"
    OTHER = "Other"


class Contact(ApiModel):
    """A person of the project; everything else refers to the id."""

    id: DnsLabel
    role: ContactRole
    name: Title
    subject: (
        Annotated[str, Field(min_length=1, max_length=512, description="the person's user name in this cluster")] | None
    ) = None


class Goal(ApiModel):
    """Why the customer does this, and what shows that it was reached."""

    title: Title
    measure: Title | None = None


class Priority(StrEnum):
    """How much a requirement weighs. Deferred and WontDo hold nothing up."""

    MUST = "Must"
    SHOULD = "Should"
    COULD = "Could"
    DEFERRED = "Deferred"
    WONT_DO = "WontDo"


class Fit(StrEnum):
    """How the product meets a requirement."""

    STANDARD = "Standard"
    CONFIGURATION = "Configuration"
    EXTENSION = "Extension"
    GAP = "Gap"


Acceptance = Annotated[
    str,
    Field(
        max_length=250,
        pattern=r"^(check/[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[a-z0-9]([-a-z0-9]*[a-z0-9])?)?|uat/[A-Za-z0-9._-]+)$",
    ),
]


class Requirement(ApiModel):
    """One thing that the customer needs: an index, not the specification itself."""

    id: RequirementId
    title: Title
    source: Annotated[Title, Field(description="who asked for it, or which document")] | None = None
    priority: Priority = Priority.MUST
    fit: Fit = Fit.STANDARD
    module: Annotated[DnsLabel, Field(description="the module of spec.modules that meets it")] | None = None
    owner: Annotated[DnsLabel, Field(description="the contact who accepts it")] | None = None
    rationale: Text | None = None
    accepted_by: Annotated[list[Acceptance], Field(max_length=16, json_schema_extra=list_set())] = Field(
        default=[], description="what proves it: check/NAME, check/NAME/METRIC or uat/CASE"
    )
    defer_to: Annotated[Title, Field(description="the wave, release or project that a Deferred one goes to")] | None = (
        None
    )


class ScopeProblem(ApiModel):
    """What is missing before the scope is complete, by the path of the field."""

    field: Annotated[str, Field(max_length=120)]
    message: Annotated[str, Field(max_length=300)]


class DeferredRequirement(ApiModel):
    """A requirement that waits for a later time."""

    id: RequirementId
    to: Annotated[str, Field(max_length=200)] = ""


class Baseline(ApiModel):
    """The scope that was agreed, and since when."""

    digest: Digest
    at: Timestamp


class ScopeChange(ApiModel):
    """A must, a goal, the modules or a threshold became other than the baseline: change control."""

    before: Digest
    after: Digest
    at: Timestamp


class ScopeStatus(ApiModel):
    """How complete the scope is. The digest names what a baseline agrees on."""

    digest: Digest
    must: Annotated[int, Field(ge=0)] = 0
    should: Annotated[int, Field(ge=0)] = 0
    could: Annotated[int, Field(ge=0)] = 0
    wont_do: Annotated[int, Field(ge=0)] = 0
    traced: Annotated[int, Field(ge=0, description="of the Must requirements, those that a check or case proves")] = 0
    deferred: Annotated[
        list[DeferredRequirement], Field(max_length=300, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = []
    problems: Annotated[
        list[ScopeProblem], Field(max_length=20, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = Field(default=[], description="the first of them; the condition ScopeBaselined counts all")
    baseline: Baseline | None = None
    changes: Annotated[
        list[ScopeChange], Field(max_length=20, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = Field(default=[], description="the newest of them")


class TrainingRole(ApiModel):
    """People who have to be trained before the modules that they work with go live."""

    role: DnsLabel
    title: Title | None = None
    audience: Annotated[int, Field(ge=1, le=100_000, description="how many people there are")]
    required: Annotated[
        str,
        Field(max_length=4, pattern=r"^(100|[1-9]?[0-9])%$", description="share of the audience that must have passed"),
    ] = "90%"
    pass_score: Annotated[int, Field(ge=0, le=100, description="of the final test: who has it or more passed")] = 80
    modules: Annotated[
        list[DnsLabel], Field(max_length=100, json_schema_extra=list_set(), description="default: all modules")
    ] = []
    permissions: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=32, json_schema_extra=list_set())
    ] = Field(default=[], description="what the role may do in the product, in the users' words: for its card")


class Training(ApiModel):
    """Who has to be trained. The numbers arrive as Attestations of type Training."""

    roles: Annotated[list[TrainingRole], Field(max_length=32, json_schema_extra=list_map("role"))] = []


class TrainingStatus(ApiModel):
    """How far the training of one role is."""

    role: DnsLabel
    needed: Annotated[int, Field(ge=0, description="people who must have passed")]
    completed: Annotated[int, Field(ge=0)] = 0
    passed: Annotated[int, Field(ge=0)] = 0
    complete: bool = False


CaseName = Annotated[str, Field(max_length=100)]


class UserTestsStatus(ApiModel):
    """The users' test cases that prove requirements (acceptedBy: uat/CASE), by how they ended."""

    passed: Annotated[int, Field(ge=0)] = 0
    failed: Annotated[list[CaseName], Field(max_length=100, json_schema_extra=list_set())] = []
    open: Annotated[list[CaseName], Field(max_length=100, json_schema_extra=list_set())] = []


class DefectsStatus(ApiModel):
    """Defects that are open, by severity."""

    s1: Annotated[int, Field(ge=0)] = 0
    s2: Annotated[int, Field(ge=0)] = 0
    s3: Annotated[int, Field(ge=0)] = 0
    s4: Annotated[int, Field(ge=0)] = 0


class UnheededAttestation(ApiModel):
    """An Attestation that changes nothing, and why."""

    name: Annotated[str, Field(max_length=253)]
    note: Annotated[str, Field(max_length=200)]


class Profile(StrEnum):
    """Presets of the gates that persons decide."""

    LIGHT = "Light"
    STANDARD = "Standard"
    STRICT = "Strict"


class GateName(StrEnum):
    """The gates about which persons can be asked, in the order in which a project meets them.

    EnvironmentReady is measured; persons can only waive what it measured and is not strict.
    """

    SCOPE_BASELINED = "ScopeBaselined"
    ENVIRONMENT_READY = "EnvironmentReady"
    DATA_RECONCILED = "DataReconciled"
    CONFIGURATION_READY = "ConfigurationReady"
    PRELIMINARY_ACCEPTED = "PreliminaryAccepted"
    GO_LIVE_APPROVED = "GoLiveApproved"
    STABLE_RUN_COMPLETE = "StableRunComplete"
    FINAL_ACCEPTED = "FinalAccepted"


class DecidedBy(StrEnum):
    """Whether a gate opens by its conditions alone, or needs the sign-offs of persons."""

    PERSON = "Person"
    AUTOMATIC = "Automatic"


class Per(StrEnum):
    """What one decision about a gate is about."""

    WAVE = "Wave"
    MODULE = "Module"
    PROJECT = "Project"


class RequiredRole(ApiModel):
    """A role of which one contact has to approve."""

    role: ContactRole


class GateSpec(ApiModel):
    """How a gate differs from the profile's preset."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            (
                "self.name != 'EnvironmentReady'",
                "EnvironmentReady is measured: waive single checks by a SignOff instead",
            ),
        )
    }

    name: GateName
    decided_by: DecidedBy = DecidedBy.PERSON
    requires: Annotated[
        list[RequiredRole],
        Field(max_length=8, json_schema_extra=list_map("role"), description="default: the gate's usual parties"),
    ] = []
    valid_for: (
        Annotated[Duration, Field(description="how long an approval may wait to be used; GoLiveApproved: 72h")] | None
    ) = None
    per: Annotated[Per, Field(description="ScopeBaselined is always of the Project")] | None = None
    escalate_after: Annotated[
        Duration, Field(description="how long a decision may be waited for before the Sponsor is named too")
    ] = "5d"


class GateState(StrEnum):
    """Where a gate stands. Approved and Waived let through; Stale and Expired ask for new sign-offs."""

    NOT_READY = "NotReady"
    OPEN = "Open"
    APPROVED = "Approved"
    REJECTED = "Rejected"
    WAIVED = "Waived"
    STALE = "Stale"
    EXPIRED = "Expired"


class Trust(StrEnum):
    """How sure it is that the contact decided: recorded by the person, by somebody else with a document, or neither."""

    VERIFIED = "Verified"
    WITNESSED = "Witnessed"
    ASSERTED = "Asserted"


class GateDecision(ApiModel):
    """One sign-off about the present digest. `counts` says whether the gate heeds it."""

    sign_off: Annotated[str, Field(max_length=253)]
    by: DnsLabel
    decision: Annotated[str, Field(max_length=40)]
    trust: Trust
    at: Timestamp
    counts: bool
    note: Annotated[str, Field(max_length=200)] | None = None


class GateStatus(ApiModel):
    """One gate of the project, of a wave or of a module, as it stands."""

    name: GateName
    wave: int | None = None
    module: DnsLabel | None = None
    state: GateState
    since: Timestamp
    digest: Digest
    message: Annotated[str, Field(max_length=500)] = ""
    overdue: bool = False
    missing: Annotated[
        list[ContactRole],
        Field(max_length=8, json_schema_extra=list_set(), description="roles that have not approved this digest yet"),
    ] = []
    blockers: Annotated[
        list[Annotated[str, Field(max_length=MAX_BLOCKER)]],
        Field(max_length=20, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = []
    waived: Annotated[
        list[Annotated[str, Field(max_length=MAX_BLOCKER)]],
        Field(max_length=20, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = []
    decisions: Annotated[
        list[GateDecision], Field(max_length=10, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = Field(default=[], description="the newest of them")
