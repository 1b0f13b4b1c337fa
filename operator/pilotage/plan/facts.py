"""The observed facts that the planning of an Implementation rests on. Plain data: no client, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from pilotage.api.v1alpha1.attestation import AttestationSpec
from pilotage.api.v1alpha1.implementation import AssessmentCheck
from pilotage.api.v1alpha1.migrationjob import RunKind
from pilotage.api.v1alpha1.project import Trust
from pilotage.api.v1alpha1.signoff import SignOffSpec
from pilotage.plan.acceptance import Verdict
from pilotage.plan.delivery import ReleaseFacts
from pilotage.plan.health import Health
from pilotage.plan.slots import Competition


@dataclass(frozen=True)
class Problem:
    """Something that keeps a step from being taken until spec, data or cluster change."""

    reason: str
    message: str


@dataclass(frozen=True)
class DesiredRelease:
    """What a module's release is to be: the digests name chart and rendered values."""

    input: str
    values_digest: str
    chart: str
    version: str


@dataclass(frozen=True)
class ModuleFacts:
    """One module as observed: what is wanted, what Helm recorded, how its workloads do.

    `problem` keeps the wanted release from being known (chart, values); `action_error` is the failure of the last
    action with this very input that left no record at Helm; `interruption` is one that is tried again by itself after
    a while, for the cluster was to blame.
    """

    desired: DesiredRelease | None = None
    problem: Problem | None = None
    release: ReleaseFacts | None = None
    action_error: Problem | None = None
    interruption: Problem | None = None
    health: Health = Health.MISSING
    health_message: str = ""
    job_active: bool = False


@dataclass(frozen=True)
class StepJob:
    """The Job of a cutover's step as it stands. `problem`: why it is not there, or is not ours."""

    complete: bool = False
    failed: bool = False
    message: str = ""
    problem: str = ""


@dataclass(frozen=True)
class MigrationFacts:
    """A MigrationJob as it stands in the cluster, with the digests of its certificate and its rehearsal's.

    `loaded`: a Final run or a Delta of it has succeeded and was not taken back, whatever its spec asks for now;
    `loaded_run` is the id of the newest such run. `run`: how far its spec lets it go; `keeps_images`: what such a run
    writes can be taken back.
    """

    name: str
    module: str
    implementation: str
    phase: str = ""
    succeeded: bool = False
    ended_badly: bool = False
    message: str = ""
    depends_on: tuple[str, ...] = ()
    certificate: str = ""
    rehearsal: str = ""
    loaded: bool = False
    loaded_run: str = ""
    keeps_images: bool = False
    run: RunKind = RunKind.FINAL


Spec = TypeVar("Spec", SignOffSpec, AttestationSpec)


@dataclass(frozen=True)
class Recorded(Generic[Spec]):
    """What somebody recorded, as it stands in the cluster. `at` is when the API server took it."""

    name: str
    uid: str
    at: datetime
    spec: Spec


SignOffFacts = Recorded[SignOffSpec]
AttestationFacts = Recorded[AttestationSpec]


@dataclass(frozen=True)
class CheckFacts:
    """An AcceptanceCheck as it stands in the cluster. Without `modules` it covers all of its Implementation.

    `terms` are what people agree on: gate, metrics with their targets, the stable run.
    """

    name: str
    gate: str
    implementation: str
    modules: tuple[str, ...] = ()
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    terms: Mapping[str, Any] = field(default_factory=dict)

    def covers(self, module: str) -> bool:
        """Whether the check speaks of that module."""
        return not self.modules or module in self.modules


@dataclass(frozen=True)
class ImplementationFacts:
    """Everything that one pass over an Implementation knows.

    `policy_since`: since when admission proves who records a sign-off; None where it does not. `attested_since`: the
    same of attestations. `remembered`: how sure the ledger was of each, by uid, when it took it down. `competition`:
    the other customers' projects, where the installation limits how many are cut over at once. `step_jobs`: the Jobs
    of cutovers by name, as far as they are there; `job_templates`: what is wrong with the CronJobs that they are made
    from, by name.
    """

    body: Mapping[str, Any]
    now: datetime
    attempt: str
    problem: Problem | None = None
    assessment: tuple[AssessmentCheck, ...] = ()
    assessment_pending: str = ""
    modules: Mapping[str, ModuleFacts] = field(default_factory=dict)
    migrations: Mapping[str, MigrationFacts] = field(default_factory=dict)
    checks: Mapping[str, CheckFacts] = field(default_factory=dict)
    sign_offs: tuple[SignOffFacts, ...] = ()
    policy_since: datetime | None = None
    attestations: tuple[AttestationFacts, ...] = ()
    attested_since: datetime | None = None
    remembered: Mapping[str, Trust] = field(default_factory=dict)
    competition: Competition | None = None
    step_jobs: Mapping[str, StepJob] = field(default_factory=dict)
    job_templates: Mapping[str, str] = field(default_factory=dict)
    removed_releases: tuple[ReleaseFacts, ...] = ()
    namespace_terminating: bool = False
