"""What an Implementation would do, step by step, if everything went well: the decisions themselves, played to the end.

Every action succeeds, every migration loads, every check passes when its stable run is over, and every person signs at
once. What remains after that holds the project for another reason, and is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from pilotage.api.v1alpha1.attestation import AttestationSpec, AttestationType
from pilotage.api.v1alpha1.common import parse_duration
from pilotage.api.v1alpha1.implementation import AssessmentCheck, AssessmentResult, ImplementationSpec, ModuleState
from pilotage.api.v1alpha1.project import Contact, GateStatus
from pilotage.api.v1alpha1.signoff import SignOffDecision, SignOffSpec
from pilotage.plan.acceptance import Verdict
from pilotage.plan.attested import VENDOR
from pilotage.plan.conditions import parse_timestamp
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
)
from pilotage.plan.gates import ASKING, describe
from pilotage.plan.health import Health
from pilotage.plan.implementation import decide
from pilotage.plan.module import Action, ActionKind, release_name
from pilotage.plan.related import check_facts, migration_facts
from pilotage.plan.sign_off import Words, sign_off
from pilotage.plan.windows import Opening, opening

LONGEST: Final = 20_000
PASSED: Final = Verdict(passed=True, phase="Passed", message="")


@dataclass(frozen=True)
class Step:
    """One thing that happens. Steps of one `turn` happen side by side; `after` is the stable run before it."""

    turn: int
    what: str
    after: timedelta


@dataclass
class Preview:
    """The steps, and what still holds the project when nothing more would happen; empty when it is accepted."""

    steps: list[Step] = field(default_factory=list)
    held: list[str] = field(default_factory=list)


@dataclass
class _World:
    """Everything as it would be."""

    body: dict[str, Any]
    spec: ImplementationSpec
    begun: datetime
    now: datetime
    releases: dict[str, ReleaseFacts]
    migrations: dict[str, MigrationFacts]
    checks: dict[str, CheckFacts]
    sign_offs: list[SignOffFacts] = field(default_factory=list)
    attestations: list[AttestationFacts] = field(default_factory=list)

    def facts(self) -> ImplementationFacts:
        modules = {}
        for module in self.spec.modules:
            release = self.releases[module.name]
            health = Health.CURRENT if release.revisions else Health.MISSING
            modules[module.name] = ModuleFacts(desired=_desired(module.name), release=release, health=health)
        passed = AssessmentCheck(name="assumed", result=AssessmentResult.PASS, message="assumed")
        return ImplementationFacts(
            body=self.body,
            now=self.now,
            attempt="",
            assessment=(passed,),
            modules=modules,
            migrations=self.migrations,
            checks=self.checks,
            sign_offs=tuple(self.sign_offs),
            policy_since=self.begun - timedelta(days=1),
            attestations=tuple(self.attestations),
            attested_since=self.begun - timedelta(days=1),
        )


def preview(
    body: Mapping[str, Any],
    migrations: Sequence[Mapping[str, Any]],
    checks: Sequence[Mapping[str, Any]],
    now: datetime,
) -> Preview:
    """Play the Implementation with these MigrationJobs and AcceptanceChecks. Raises ValidationError for a bad spec."""
    world = _begin(body, migrations, checks, now)
    found = Preview()
    turn = 0
    for _ in range(LONGEST):
        decision = decide(world.facts())
        status = decision.status or {}
        before, world.body["status"] = world.body["status"], status
        events = [_act(world, action) for action in decision.actions]
        if not events and status != before:
            continue
        events = events or list(_pass_time(world)) or list(_wait_for_window(world))
        if not events:
            found.held = list(_held(status))
            return found
        turn += 1
        found.steps += [Step(turn, what, world.now - world.begun) for what in events]
    raise AssertionError("the project goes round in circles")


def _begin(
    body: Mapping[str, Any], migrations: Sequence[Mapping[str, Any]], checks: Sequence[Mapping[str, Any]], now: datetime
) -> _World:
    spec = ImplementationSpec.model_validate(body["spec"])
    metadata = {"namespace": "default", "uid": "preview", "generation": 1, **body["metadata"]}
    loads = [migration_facts({**found, "status": {}}) for found in migrations]
    return _World(
        body={**body, "metadata": metadata, "status": {"observedGeneration": -1}},
        spec=spec,
        begun=now,
        now=now,
        releases={module.name: ReleaseFacts(release_name(metadata["name"], module)) for module in spec.modules},
        migrations={found.name: found for found in loads},
        checks={found.name: found for found in (check_facts(one, {}) for one in checks)},
    )


def _desired(module: str) -> DesiredRelease:
    return DesiredRelease(input=f"preview-{module}", values_digest="preview", chart=module, version="")


def _act(world: _World, action: Action) -> str:
    release = world.releases[action.module]
    if action.kind in {ActionKind.INSTALL, ActionKind.UPGRADE}:
        revision = Revision(
            revision=len(release.revisions) + 1,
            status="deployed",
            input=_desired(action.module).input,
            last_deployed=world.now,
            manifests=({"kind": "Deployment", "metadata": {"name": action.module}},),
        )
        world.releases[action.module] = replace(release, revisions=(*release.revisions, revision))
    return f"{action.kind.lower()} module {action.module} as release {action.release}"


def _pass_time(world: _World) -> Iterator[str]:
    """The next thing that happens without the operator's doing: a migration, else signatures, else a check."""
    status = world.body["status"]
    states = {module["name"]: module for module in status.get("modules") or []}
    if loads := [found for found in world.migrations.values() if _may_load(world, found, states)]:
        for migration in loads:
            world.migrations[migration.name] = replace(migration, succeeded=True, phase="Succeeded")
            yield f"migration {migration.name} loads into module {migration.module}"
        return
    if any(module["state"] == ModuleState.PREPARED for module in states.values()) and (told := list(_attest(world))):
        yield from told
        return
    gates = [GateStatus.model_validate(found) for found in status.get("gates") or []]
    signed = [words for gate in gates if gate.state in ASKING for words in _sign(world, gate)]
    yield from signed
    if signed:
        return
    waiting = [found for check in world.checks.values() for found in _waiting(world, check, states)]
    if not waiting:
        return
    world.now = max(world.now, min(moment for moment, _, _ in waiting))
    for moment, check, module in waiting:
        if moment <= world.now:
            verdicts = {**world.checks[check].verdicts, module: PASSED}
            world.checks[check] = replace(world.checks[check], verdicts=verdicts)
            yield f"check {check} passes for module {module}"


def _may_load(world: _World, migration: MigrationFacts, states: Mapping[str, Any]) -> bool:
    mine = migration.implementation == world.body["metadata"]["name"]
    state = states.get(migration.module, {}).get("state")
    needed = all(name in world.migrations and world.migrations[name].succeeded for name in migration.depends_on)
    ready = mine and not migration.succeeded and state == ModuleState.MIGRATING and needed
    return ready and _opening(world, migration.module).is_open


def _opening(world: _World, module: str) -> Opening:
    wave = assign_waves(world.spec.modules)[module]
    return opening(world.spec.schedule.windows, wave, world.now, world.spec.customer.timezone)


def _wait_for_window(world: _World) -> Iterator[str]:
    """When nothing else happens: the next opening for a module that waits for one."""
    states = {module["name"]: module["state"] for module in world.body["status"].get("modules") or []}
    waiting = [name for name, state in states.items() if state in {ModuleState.MIGRATING, ModuleState.PREPARED}]
    found = {name: _opening(world, name) for name in waiting}
    moments = {name: one.changes_at for name, one in found.items() if not one.is_open and one.changes_at}
    if not moments:
        return
    world.now = min(moments.values())
    names = ", ".join(name for name, moment in moments.items() if moment == world.now)
    yield f"the window opens for {names}"


def _attest(world: _World) -> Iterator[str]:
    """Everybody is trained, and the users' tests pass. Whom nobody of the contacts can speak for is not."""
    people = [found for found in world.spec.contacts if found.role not in VENDOR]
    if not people:
        return
    status = world.body["status"]
    for role in status.get("training") or []:
        if not role["complete"]:
            result = {"completed": role["needed"], "passed": role["needed"]}
            _state(world, people[0], type=AttestationType.TRAINING, role=role["role"], result=result)
            yield f"{role['needed']} people of {role['role']} are trained"
    tests = status.get("tests") or {}
    for case in [*(tests.get("open") or []), *(tests.get("failed") or [])]:
        _state(world, people[0], type=AttestationType.UAT, name=case, result={"outcome": "Passed"})
        yield f"test case {case} passes"


def _state(world: _World, by: Contact, **fields: Any) -> None:
    reference = {"name": world.body["metadata"]["name"]}
    spec = {"implementationRef": reference, "by": by.id, "recordedBy": by.subject or by.id, **fields}
    name = f"preview-attestation-{len(world.attestations)}"
    world.attestations.append(AttestationFacts(name, name, world.now, AttestationSpec.model_validate(spec)))


def _sign(world: _World, gate: GateStatus) -> Iterator[str]:
    for role in gate.missing:
        contact = next((found for found in world.spec.contacts if found.role is role), None)
        if contact is None:
            continue
        recorder = contact.subject or contact.id
        made = sign_off(world.body, gate, contact.id, recorder, SignOffDecision.APPROVE, Words())
        name = f"preview-{len(world.sign_offs)}"
        world.sign_offs.append(SignOffFacts(name, name, world.now, SignOffSpec.model_validate(made["spec"])))
        yield f"{contact.name} ({role}) signs gate {describe(gate)}"


def _waiting(world: _World, check: CheckFacts, states: Mapping[str, Any]) -> Iterator[tuple[datetime, str, str]]:
    """When the check would pass for the modules that wait for it."""
    for module, status in states.items():
        held = f"AcceptanceCheck {check.name} " in status.get("message", "")
        if check.implementation == world.body["metadata"]["name"] and check.covers(module) and held:
            stable = (check.terms.get("stableRun") or {}).get("required", "0s")
            yield parse_timestamp(status["since"]) + parse_duration(stable), check.name, module


def _held(status: Mapping[str, Any]) -> Iterator[str]:
    for module in status.get("modules") or []:
        if module["state"] != ModuleState.ACCEPTED:
            why = module.get("message") or module.get("reason") or "waits"
            yield f"module {module['name']} stays {module['state']}: {why}"
