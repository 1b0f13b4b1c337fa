"""An Implementation's surroundings as they would be: what is played instead of a cluster and its people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from pilotage.api.v1alpha1.attestation import AttestationSpec, AttestationType
from pilotage.api.v1alpha1.cutover import StepRun
from pilotage.api.v1alpha1.implementation import AssessmentCheck, AssessmentResult, ImplementationSpec, ModuleState
from pilotage.api.v1alpha1.migrationjob import RunKind
from pilotage.api.v1alpha1.project import Contact, ContactRole, GateStatus
from pilotage.api.v1alpha1.signoff import Evidence, SignOffDecision, SignOffSpec
from pilotage.plan.attested import VENDOR
from pilotage.plan.dag import assign_waves
from pilotage.plan.delivery import ReleaseFacts, Revision
from pilotage.plan.facts import (
    AttestationFacts,
    CheckFacts,
    DesiredRelease,
    ImplementationFacts,
    MigrationFacts,
    ModuleFacts,
    SignOffFacts,
    StepJob,
)
from pilotage.plan.gates import ASKING, describe
from pilotage.plan.health import Health
from pilotage.plan.module import release_name
from pilotage.plan.related import check_facts, migration_facts
from pilotage.plan.sign_off import Words, sign_off
from pilotage.plan.windows import Opening, opening

PAPER: Final = Evidence(url="https://files.example/signed.pdf", sha256="sha256:" + 64 * "0")


@dataclass
class World:
    """Everything as it would be. `attempt` is the newest request of a person to try again what failed."""

    body: dict[str, Any]
    spec: ImplementationSpec
    begun: datetime
    now: datetime
    releases: dict[str, ReleaseFacts]
    migrations: dict[str, MigrationFacts]
    checks: dict[str, CheckFacts]
    sign_offs: list[SignOffFacts] = field(default_factory=list)
    attestations: list[AttestationFacts] = field(default_factory=list)
    step_jobs: dict[str, StepJob] = field(default_factory=dict)
    attempt: str = ""

    def facts(self) -> ImplementationFacts:
        """What the operator would observe now."""
        modules = {}
        for module in self.spec.modules:
            release = self.releases[module.name]
            health = Health.CURRENT if release.revisions else Health.MISSING
            modules[module.name] = ModuleFacts(desired=desired(module.name), release=release, health=health)
        passed = AssessmentCheck(name="assumed", result=AssessmentResult.PASS, message="assumed")
        return ImplementationFacts(
            body=self.body,
            now=self.now,
            attempt=self.attempt,
            assessment=(passed,),
            modules=modules,
            migrations=self.migrations,
            checks=self.checks,
            sign_offs=tuple(self.sign_offs),
            policy_since=self.begun - timedelta(days=1),
            attestations=tuple(self.attestations),
            attested_since=self.begun - timedelta(days=1),
            step_jobs=self.step_jobs,
        )

    @property
    def states(self) -> dict[str, Any]:
        """The modules as the status reports them, by name."""
        return {module["name"]: module for module in self.body["status"].get("modules") or []}

    @property
    def gates(self) -> list[GateStatus]:
        """The gates as the status reports them."""
        return [GateStatus.model_validate(found) for found in self.body["status"].get("gates") or []]

    def deploy(self, module: str, *, failure: str = "") -> None:
        """Helm's record of an installation or upgrade that ends now: well, or with this failure."""
        release = self.releases[module]
        revision = Revision(
            revision=len(release.revisions) + 1,
            status="failed" if failure else "deployed",
            description=failure,
            input=desired(module).input,
            attempt=self.attempt,
            last_deployed=self.now,
            manifests=({"kind": "Deployment", "metadata": {"name": module}},),
        )
        self.releases[module] = replace(release, revisions=(*release.revisions, revision), acting=False)

    def may_load(self, migration: MigrationFacts) -> bool:
        """Whether the MigrationJob's turn has come."""
        mine = migration.implementation == self.body["metadata"]["name"]
        state = self.states.get(migration.module, {}).get("state")
        needed = all(name in self.migrations and self.migrations[name].succeeded for name in migration.depends_on)
        cutovers = [module.cutover for module in self.spec.modules if module.name == migration.module]
        steps = [step for cutover in cutovers if cutover for step in cutover.steps]
        own_step = any(step.takes(migration.name, migration.run) for step in steps)
        ready = mine and not migration.succeeded and not own_step and state == ModuleState.MIGRATING and needed
        return ready and self._opening(migration.module).is_open

    def _opening(self, module: str) -> Opening:
        wave = assign_waves(self.spec.modules)[module]
        return opening(self.spec.schedule.windows, wave, self.now, self.spec.customer.timezone)

    @property
    def next_openings(self) -> dict[str, datetime]:
        """When the window opens of each module that waits for one."""
        waiting = {ModuleState.MIGRATING, ModuleState.PREPARED}
        found = {name: self._opening(name) for name, module in self.states.items() if module["state"] in waiting}
        return {name: one.changes_at for name, one in found.items() if not one.is_open and one.changes_at}

    def load(self, migration: MigrationFacts) -> None:
        """The migration ends well. Where its Delta is a step of a cutover, somebody asks for that next."""
        cutovers = [module.cutover for module in self.spec.modules if module.name == migration.module]
        steps = [step for cutover in cutovers if cutover for step in cutover.steps]
        ended = replace(migration, succeeded=True, loaded=True, phase="Succeeded")
        if migration.run is RunKind.FINAL and any(
            step.run is StepRun.DELTA and step.ref == migration.name for step in steps
        ):
            ended = replace(ended, run=RunKind.DELTA, succeeded=False, phase="Waiting")
        self.migrations[migration.name] = ended

    def contact(self, role: ContactRole) -> Contact | None:
        """The first person of that role."""
        return next((found for found in self.spec.contacts if found.role is role), None)

    def may_sign(self, gate: GateStatus, contact: Contact) -> bool:
        """Whether it would make a difference: what did not count once does not count by being said again."""
        return all(found.by != contact.id or found.counts for found in gate.decisions)

    def sign(self, gate: GateStatus, contact: Contact) -> None:
        """That person approves the gate; on paper, recorded by a user, an engineer first, where the person is none."""
        others = sorted(self.spec.contacts, key=lambda found: found.role is not ContactRole.ENGINEER)
        users = [found.subject for found in others if found.subject]
        on_paper = not contact.subject and bool(users)
        recorder = users[0] if on_paper else contact.subject
        made = sign_off(
            self.body,
            gate,
            contact.id,
            recorder or contact.id,
            SignOffDecision.APPROVE,
            Words(evidence=[PAPER] if on_paper else []),
        )
        name = f"preview-{len(self.sign_offs)}"
        self.sign_offs.append(SignOffFacts(name, name, self.now, SignOffSpec.model_validate(made["spec"])))

    @property
    def witness(self) -> Contact | None:
        """Who can speak for trainings and the users' tests."""
        return next((found for found in self.spec.contacts if found.role not in VENDOR), None)

    def train(self) -> Iterator[str]:
        """Everybody is trained; tells of whom. Whom nobody of the contacts can speak for is not."""
        for role in self.body["status"].get("training") or []:
            if self.witness and not role["complete"]:
                result = {"completed": role["needed"], "passed": role["needed"]}
                self.state(self.witness, type=AttestationType.TRAINING, role=role["role"], result=result)
                yield f"{role['needed']} people of {role['role']} are trained"

    def test(self) -> Iterator[str]:
        """The users' tests pass; tells of which."""
        tests = self.body["status"].get("tests") or {}
        for case in [*(tests.get("open") or []), *(tests.get("failed") or [])]:
            if self.witness:
                self.state(self.witness, type=AttestationType.UAT, name=case, result={"outcome": "Passed"})
                yield f"test case {case} passes"

    def happen(self, event: str) -> None:
        """The business event is attested as passed, if somebody can speak for it."""
        if self.witness:
            self.state(self.witness, type=AttestationType.BUSINESS_EVENT, name=event, result={"outcome": "Passed"})

    def state(self, by: Contact, **fields: Any) -> None:
        """That person attests this; by a paper, where the person is no user."""
        reference = {"name": self.body["metadata"]["name"]}
        paper = {} if by.subject else {"evidence": [PAPER.to_manifest()]}
        spec = {"implementationRef": reference, "by": by.id, "recordedBy": by.subject or by.id, **paper, **fields}
        name = f"preview-attestation-{len(self.attestations)}"
        self.attestations.append(AttestationFacts(name, name, self.now, AttestationSpec.model_validate(spec)))

    def held(self) -> Iterator[str]:
        """What keeps modules from being accepted."""
        for module in self.states.values():
            if module["state"] != ModuleState.ACCEPTED:
                why = module.get("message") or module.get("reason") or "waits"
                yield f"module {module['name']} stays {module['state']}: {why}"
        for gate in self.gates:
            for found in gate.decisions if gate.state in ASKING else ():
                if not found.counts:
                    yield f"the sign-off of {found.by} at gate {describe(gate)} does not count: {found.note}"


def begin(
    body: Mapping[str, Any], migrations: Sequence[Mapping[str, Any]], checks: Sequence[Mapping[str, Any]], now: datetime
) -> World:
    """The world before anything has happened. Raises ValidationError for a bad spec."""
    spec = ImplementationSpec.model_validate(body["spec"])
    metadata = {"namespace": "default", "uid": "preview", "generation": 1, **body["metadata"]}
    loads = [migration_facts({**found, "status": {}}) for found in migrations]
    return World(
        body={**body, "metadata": metadata, "status": {"observedGeneration": -1}},
        spec=spec,
        begun=now,
        now=now,
        releases={module.name: ReleaseFacts(release_name(metadata["name"], module)) for module in spec.modules},
        migrations={found.name: found for found in loads},
        checks={found.name: found for found in (check_facts(one, {}) for one in checks)},
    )


def desired(module: str) -> DesiredRelease:
    """The module's wanted release: charts are not read."""
    return DesiredRelease(input=f"preview-{module}", values_digest="preview", chart=module, version="")
