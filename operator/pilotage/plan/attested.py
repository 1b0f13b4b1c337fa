"""What people and other systems attest: who is trained, which test cases of the users passed, which defects are open.

Of the statements about one thing the newest counts, by the time when the API server took them: a correction is another
Attestation, and nobody can date one back. What is older than the Implementation speaks of another project.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pilotage.api.v1alpha1.attestation import (
    AttestationSpec,
    AttestationType,
    DefectSeverity,
    DefectState,
    Outcome,
)
from pilotage.api.v1alpha1.common import ConditionType
from pilotage.api.v1alpha1.cutover import CutoverStep, RollbackStep, StepType
from pilotage.api.v1alpha1.implementation import ImplementationSpec, NextAction
from pilotage.api.v1alpha1.project import (
    Contact,
    ContactRole,
    DefectsStatus,
    Priority,
    Profile,
    Requirement,
    TrainingRole,
    TrainingStatus,
    Trust,
    UnheededAttestation,
    UserTestsStatus,
)
from pilotage.plan.conditions import condition, parse_timestamp, shorten
from pilotage.plan.facts import AttestationFacts, ImplementationFacts
from pilotage.plan.reasons import Reason
from pilotage.plan.trust import trust_in

VENDOR: Final = frozenset({ContactRole.ENGINEER, ContactRole.DEVELOPMENT, ContactRole.SALES})
MAX_UNHEEDED: Final = 20
MAX_CASES: Final = 100


@dataclass(frozen=True)
class OpenItem:
    """Something that must be attested before a module goes live. `blocker` names it in a gate, the same each time.

    `owner` is the contact who has to see to it, if one is named; `arguments` are those of `pilotage attest`.
    """

    reason: str
    blocker: str
    message: str
    arguments: str
    owner: str = ""


@dataclass(frozen=True)
class Attested:
    """What is known from the attestations that count."""

    training: tuple[TrainingStatus, ...] = ()
    outcomes: Mapping[str, Outcome | None] | None = None
    defects: DefectsStatus | None = None
    events: tuple[str, ...] = ()
    confirmations: tuple[AttestationFacts, ...] = ()
    unheeded: tuple[UnheededAttestation, ...] = ()


def assess_attestations(spec: ImplementationSpec, facts: ImplementationFacts) -> Attested:
    """What the project's attestations come to. Pure."""
    contacts = {contact.id: contact for contact in spec.contacts}
    heeded: list[AttestationFacts] = []
    unheeded: list[UnheededAttestation] = []
    for found in sorted(facts.attestations, key=lambda one: (one.at, one.name)):
        contact = contacts.get(found.spec.by)
        trust = trust_in(facts, found, contact)
        if note := _older(facts, found) or objection(spec, found.spec, contact, trust):
            unheeded.append(UnheededAttestation(name=found.name, note=shorten(note, 200)))
        else:
            heeded.append(found)
    newest = {(found.spec.type, found.spec.role, found.spec.name): found for found in heeded}
    trainings = [found for found in newest.values() if found.spec.type is AttestationType.TRAINING]
    cases = {found.spec.name: found for found in newest.values() if found.spec.type is AttestationType.UAT}
    defects = [found for found in newest.values() if found.spec.type is AttestationType.DEFECT]
    events = [found for found in newest.values() if found.spec.type is AttestationType.BUSINESS_EVENT]
    wanted = dict.fromkeys(case for _, case in required_cases(spec))
    return Attested(
        training=tuple(_training(role, trainings) for role in spec.training.roles),
        outcomes={case: cases[case].spec.result.outcome if case in cases else None for case in wanted},
        defects=_defects(defects) if defects else None,
        events=tuple(sorted(e.spec.name for e in events if e.spec.name and e.spec.result.outcome is Outcome.PASSED)),
        confirmations=tuple(found for found in heeded if found.spec.type is AttestationType.CUTOVER_STEP),
        unheeded=tuple(unheeded[-MAX_UNHEEDED:]),
    )


def _older(facts: ImplementationFacts, found: AttestationFacts) -> str | None:
    created = facts.body["metadata"].get("creationTimestamp")
    if created and found.at < parse_timestamp(created):
        return "it is older than the Implementation: it speaks of an earlier one of the same name"
    return None


def objection(spec: ImplementationSpec, stated: AttestationSpec, contact: Contact | None, trust: Trust) -> str | None:
    """Why a statement changes nothing in this project; None when it counts."""
    if contact is None:
        return f"{stated.by} is no id of spec.contacts"
    if stated.type is AttestationType.UAT and contact.role in VENDOR:
        return f"a test case of the users is not attested by the vendor's {contact.role}"
    if stated.type is AttestationType.BUSINESS_EVENT and contact.role in VENDOR:
        return f"a business event of the customer is not attested by the vendor's {contact.role}"
    if stated.type is AttestationType.TRAINING and stated.role not in {r.role for r in spec.training.roles}:
        return f"{stated.role} is no role of spec.training.roles"
    if stated.type is AttestationType.CUTOVER_STEP and (note := _no_step_of(spec, stated)):
        return note
    if spec.profile is Profile.STRICT and trust is Trust.ASSERTED:
        return "Strict heeds what the contact recorded, or what somebody else recorded with evidence"
    return None


def _no_step_of(spec: ImplementationSpec, stated: AttestationSpec) -> str | None:
    """Why the person has no such step to confirm; None when they do."""
    module = next((found for found in spec.modules if found.name == stated.module), None)
    cutover = module.cutover if module else None
    steps: list[CutoverStep | RollbackStep] = [*cutover.steps, *cutover.rollback] if cutover else []
    owners = [step.owner or "" for step in steps if step.name == stated.name and step.type == StepType.CONFIRM]
    if not owners:
        return f"{stated.name} is no step of type Confirm in the cutover of module {stated.module}"
    return None if stated.by in owners else f"step {stated.name} is confirmed by {', '.join(owners)}"


def _training(role: TrainingRole, trainings: Sequence[AttestationFacts]) -> TrainingStatus:
    """The sessions of a role together; a session that was attested again counts once."""
    mine = [found.spec.result for found in trainings if found.spec.role == role.role]
    needed = math.ceil(role.audience * int(role.required.removesuffix("%")) / 100)
    passed = sum(found.passed or 0 for found in mine)
    return TrainingStatus(
        role=role.role,
        needed=needed,
        completed=sum(found.completed or 0 for found in mine),
        passed=passed,
        complete=passed >= needed,
    )


def _defects(newest: Sequence[AttestationFacts]) -> DefectsStatus:
    still = [found.spec.result for found in newest if found.spec.result.state is DefectState.OPEN]
    counts = Counter(found.severity for found in still)
    return DefectsStatus(
        s1=counts[DefectSeverity.S1], s2=counts[DefectSeverity.S2], s3=counts[DefectSeverity.S3],
        s4=counts[DefectSeverity.S4],
    )  # fmt: skip


def required_cases(spec: ImplementationSpec) -> Iterator[tuple[Requirement, str]]:
    """The users' test cases that prove requirements which are done in this project."""
    for requirement in spec.requirements:
        if requirement.priority not in {Priority.DEFERRED, Priority.WONT_DO}:
            for entry in requirement.accepted_by:
                if entry.startswith("uat/"):
                    yield requirement, entry.removeprefix("uat/")


def open_tests(spec: ImplementationSpec, attested: Attested, module: str) -> Iterator[OpenItem]:
    """Test cases of Must requirements that keep the module from going live."""
    for requirement, case in required_cases(spec):
        outcome = (attested.outcomes or {}).get(case)
        if requirement.module != module or requirement.priority is not Priority.MUST or outcome is Outcome.PASSED:
            continue
        how = "failed" if outcome is Outcome.FAILED else "is not attested yet"
        text = f"test case {case} of requirement {requirement.id} ({requirement.title}) {how}"
        arguments = f"UAT {case} --outcome Passed"
        yield OpenItem(Reason.TEST_NOT_PASSED, f"uat/{case}: not passed", text, arguments, requirement.owner or "")


def open_training(spec: ImplementationSpec, attested: Attested, module: str) -> Iterator[OpenItem]:
    """Roles whose training keeps the module from going live."""
    for role, status in zip(spec.training.roles, attested.training, strict=True):
        if status.complete or (role.modules and module not in role.modules):
            continue
        text = f"training of {role.title or role.role}: {status.passed} of {status.needed} people passed"
        arguments = f"Training --role {role.role} --completed N --passed N"
        yield OpenItem(Reason.TRAINING_INCOMPLETE, f"training {role.role}: not complete", text, arguments)


def tests_status(attested: Attested) -> UserTestsStatus | None:
    """The report about the users' test cases; None where the project names none."""
    outcomes = attested.outcomes or {}
    if not outcomes:
        return None
    return UserTestsStatus(
        passed=sum(outcome is Outcome.PASSED for outcome in outcomes.values()),
        failed=[case for case, outcome in outcomes.items() if outcome is Outcome.FAILED][:MAX_CASES],
        open=[case for case, outcome in outcomes.items() if outcome is None][:MAX_CASES],
    )


def issues_column(attested: Attested) -> str | None:
    """Open defects of S1 and S2, as the column shows them."""
    return f"{attested.defects.s1}/{attested.defects.s2}" if attested.defects else None


def training_condition(attested: Attested) -> dict[str, object]:
    """Whether everybody who has to be trained is."""
    kind, lacking = ConditionType.TRAINING_COMPLETE, [found for found in attested.training if not found.complete]
    if lacking:
        text = "; ".join(f"{found.role}: {found.passed} of {found.needed} people passed" for found in lacking)
        return condition(kind, status=False, reason=Reason.TRAINING_INCOMPLETE, message=text)
    return condition(kind, status=True, reason=Reason.TRAINING_COMPLETE, message="every role is trained")


def attest_actions(spec: ImplementationSpec, facts: ImplementationFacts, items: Sequence[OpenItem]) -> list[NextAction]:
    """Who has to train and test before modules that are ready otherwise can go live."""
    metadata = facts.body["metadata"]
    place = f"-n {metadata['namespace']}"
    names = {contact.id: contact.name for contact in spec.contacts}
    manager = next((c.name for c in spec.contacts if c.role is ContactRole.PROJECT_MANAGER), "ProjectManager")
    found = {}
    for item in items:
        who = names.get(item.owner, item.owner) or manager
        command = f"pilotage attest {metadata['name']} {item.arguments} {place}"
        found[item.blocker] = NextAction(who=who, what=item.message, command=command)
    return list(found.values())
