"""Gates that persons decide: who still has to sign what, and whether what was signed is still what is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pilotage.api.v1alpha1.common import parse_duration
from pilotage.api.v1alpha1.cutover import CutoverState
from pilotage.api.v1alpha1.implementation import AssessmentCheck, ImplementationSpec, ModuleState
from pilotage.api.v1alpha1.project import (
    MAX_BLOCKER,
    Contact,
    ContactRole,
    DecidedBy,
    GateDecision,
    GateName,
    GateSpec,
    GateState,
    GateStatus,
    Per,
    Profile,
    Trust,
)
from pilotage.api.v1alpha1.signoff import SignOffDecision
from pilotage.plan.acceptance_clock import format_duration
from pilotage.plan.attested import Attested, OpenItem, open_tests, open_training
from pilotage.plan.conditions import parse_timestamp, shorten, timestamp
from pilotage.plan.digest import canonical_digest
from pilotage.plan.facts import CheckFacts, ImplementationFacts, SignOffFacts
from pilotage.plan.health import Health
from pilotage.plan.module import RANK, ClosedGate, ModuleHistory, automatic_target
from pilotage.plan.reasons import Reason
from pilotage.plan.scope import Scope
from pilotage.plan.trust import trust_in
from pilotage.plan.windows import Opening

LEAD, MANAGER = ContactRole.CUSTOMER_LEAD, ContactRole.PROJECT_MANAGER
PASSED: Final = frozenset({GateState.APPROVED, GateState.WAIVED})
PREFLIGHT: Final = "preflight "
ASKING: Final = frozenset({GateState.OPEN, GateState.STALE, GateState.EXPIRED})
APPROVALS: Final = frozenset({SignOffDecision.APPROVE, SignOffDecision.APPROVE_WITH_CONDITIONS})

LIGHT: Final = frozenset({GateName.SCOPE_BASELINED, GateName.FINAL_ACCEPTED})
STANDARD: Final = LIGHT | {GateName.GO_LIVE_APPROVED}
STRICT: Final = STANDARD | {GateName.PRELIMINARY_ACCEPTED, GateName.STABLE_RUN_COMPLETE}
BY_PERSON: Final = {
    None: frozenset[GateName](),
    Profile.LIGHT: LIGHT,
    Profile.STANDARD: STANDARD,
    Profile.STRICT: STRICT,
}


@dataclass(frozen=True)
class Preset:
    """What a gate is unless the Implementation says otherwise. `holds`: the state in which a module waits for it."""

    per: Per
    requires: tuple[ContactRole, ...]
    holds: ModuleState | None = None
    valid_for: str | None = None


PRESETS: Final = {
    GateName.SCOPE_BASELINED: Preset(Per.PROJECT, (LEAD, MANAGER)),
    GateName.DATA_RECONCILED: Preset(Per.MODULE, (ContactRole.DATA_OWNER,), ModuleState.MIGRATING),
    GateName.CONFIGURATION_READY: Preset(Per.MODULE, (MANAGER,), ModuleState.VERIFYING),
    GateName.PRELIMINARY_ACCEPTED: Preset(Per.WAVE, (LEAD, MANAGER), ModuleState.PREPARED),
    GateName.GO_LIVE_APPROVED: Preset(Per.WAVE, (LEAD, MANAGER), ModuleState.PREPARED, "72h"),
    GateName.STABLE_RUN_COMPLETE: Preset(Per.MODULE, (LEAD,), ModuleState.LIVE),
    GateName.FINAL_ACCEPTED: Preset(Per.PROJECT, (LEAD, MANAGER), ModuleState.STABLE),
}
# Asked before users come to depend on a module. Once it was live, a fix of it is not asked about again.
BEFORE_USE: Final = frozenset({GateName.SCOPE_BASELINED, GateName.PRELIMINARY_ACCEPTED, GateName.GO_LIVE_APPROVED})


@dataclass(frozen=True)
class Rule:
    """One gate of this project that persons decide."""

    name: GateName
    requires: tuple[ContactRole, ...]
    per: Per
    valid_for: timedelta | None
    escalate_after: timedelta

    @property
    def holds(self) -> ModuleState | None:
        """The state in which a module waits for the gate; None: before it is installed."""
        return PRESETS[self.name].holds


ENVIRONMENT_RULE: Final = Rule(GateName.ENVIRONMENT_READY, (LEAD, MANAGER), Per.PROJECT, None, parse_duration("5d"))


@dataclass(frozen=True)
class Gate:
    """One gate with the modules that it is about, and its report. `waiting` are those that it holds."""

    rule: Rule
    status: GateStatus
    members: tuple[str, ...]
    waiting: tuple[str, ...]
    again: datetime | None = None

    @property
    def passed(self) -> bool:
        """Whether it lets its modules through."""
        return self.status.state in PASSED


def gate_rules(spec: ImplementationSpec) -> dict[GateName, Rule]:
    """The gates that persons decide, by the profile and what `spec.gates` says of single ones."""
    own = {found.name: found for found in spec.gates}
    rules = {}
    for name, preset in PRESETS.items():
        chosen = own.get(name)
        by_person = chosen.decided_by is DecidedBy.PERSON if chosen else name in BY_PERSON[spec.profile]
        if by_person:
            rules[name] = _rule(preset, chosen or GateSpec(name=name), spec.profile)
    return rules


def _rule(preset: Preset, chosen: GateSpec, profile: Profile | None) -> Rule:
    usual = list(preset.requires)
    if chosen.name is GateName.FINAL_ACCEPTED and profile in {Profile.STANDARD, Profile.STRICT}:
        usual.append(ContactRole.OPERATIONS)
    if chosen.name in {GateName.PRELIMINARY_ACCEPTED, GateName.FINAL_ACCEPTED} and profile is Profile.STRICT:
        usual.append(ContactRole.SUPERVISOR)
    valid = chosen.valid_for or preset.valid_for
    return Rule(
        name=chosen.name,
        requires=tuple(found.role for found in chosen.requires) or tuple(usual),
        per=Per.PROJECT if chosen.name is GateName.SCOPE_BASELINED else chosen.per or preset.per,
        valid_for=parse_duration(valid) if valid else None,
        escalate_after=parse_duration(chosen.escalate_after),
    )


@dataclass(frozen=True)
class Project:
    """What the gates are decided on, besides the rules."""

    spec: ImplementationSpec
    facts: ImplementationFacts
    waves: Mapping[str, int]
    histories: Mapping[str, ModuleHistory]
    scope: Scope
    attested: Attested
    openings: Mapping[int, Opening]
    checks: Mapping[str, CheckFacts]
    previous: Sequence[GateStatus]

    @property
    def contacts(self) -> dict[str, Contact]:
        """The people, by id."""
        return {contact.id: contact for contact in self.spec.contacts}


def decide_gates(project: Project) -> list[Gate]:
    """Every gate that persons decide, in the order in which the project meets them. Pure."""
    gates: list[Gate] = []
    for rule in gate_rules(project.spec).values():
        gates += [_decide(project, rule, wave, module, gates) for wave, module in _places(project, rule)]
    return gates


def environment_gate(project: Project) -> Gate | None:
    """The gate at which what the preflight measured, and is not strict, can be waived; None while nothing is missing.

    Nobody approves it: it is passed as soon as nothing holds that is not waived.
    """
    missing = [found.name for found in project.facts.assessment if found.holds and not found.strict]
    if not missing:
        return None
    rule = ENVIRONMENT_RULE
    body = project.facts.body
    agreed = {
        "uid": body["metadata"].get("uid", ""),
        "gate": rule.name.value,
        "expects": project.spec.environment.to_manifest(),
        "missing": sorted(missing),
    }
    digest = canonical_digest(agreed)
    desk = _Desk.of(project, rule, (None, None), digest, used=False)
    blockers = [f"{PREFLIGHT}{name}" for name in missing]
    left = [found for found in blockers if found not in desk.waived]
    state = GateState.NOT_READY if left else GateState.WAIVED
    before = next((found for found in project.previous if found.name is rule.name), None)
    same = before is not None and (before.state, before.digest) == (state, digest)
    status = GateStatus(
        name=rule.name,
        state=state,
        since=before.since if before is not None and same else timestamp(project.facts.now),
        digest=digest,
        message=shorten(f"missing: {', '.join(left)}" if left else "what is missing was waived", 500),
        blockers=left[:20],
        waived=[found for found in blockers if found not in left][:20],
        decisions=desk.decisions[-10:],
    )
    members = tuple(module.name for module in project.spec.modules)
    again = min((moment for moment in desk.moments if moment > project.facts.now), default=None)
    return Gate(rule, status, members, (), again)


def judged_assessment(project: Project, gate: Gate | None) -> tuple[AssessmentCheck, ...]:
    """The preflight's checks, those that were waived marked so."""
    waived = set(gate.status.waived) if gate else set()
    return tuple(
        found.model_copy(update={"waived": True}) if f"{PREFLIGHT}{found.name}" in waived else found
        for found in project.facts.assessment
    )


def _places(project: Project, rule: Rule) -> list[tuple[int | None, str | None]]:
    match rule.per:
        case Per.PROJECT:
            return [(None, None)]
        case Per.WAVE:
            return [(wave, None) for wave in sorted(set(project.waves.values()))]
        case Per.MODULE:
            return [(None, module.name) for module in project.spec.modules]


def _decide(project: Project, rule: Rule, wave: int | None, module: str | None, earlier: Sequence[Gate]) -> Gate:
    members = tuple(
        found.name
        for found in project.spec.modules
        if (wave is None or project.waves[found.name] == wave) and module in {None, found.name}
    )
    waiting = tuple(name for name in members if _may_wait(project, rule, name))
    digest = _digest(project, rule, wave, module, members)
    blockers = [shorten(found, MAX_BLOCKER) for found in _blockers(project, rule, members, waiting, earlier)]
    after = _last_abort(project, waiting) if rule.name is GateName.GO_LIVE_APPROVED else None
    desk = _Desk.of(project, rule, (wave, module), digest, used=not waiting, after=after)
    waived = [found for found in blockers if found in desk.waived]
    left = [found for found in blockers if found not in desk.waived]
    state, message = _state(rule, desk, left, waived=bool(waived))
    before = next(
        (found for found in project.previous if (found.name, found.wave, found.module) == (rule.name, wave, module)),
        None,
    )
    same = before is not None and (before.state, before.digest) == (state, digest)
    since = before.since if before is not None and same else timestamp(project.facts.now)
    due = parse_timestamp(since) + rule.escalate_after
    asked = state in ASKING and bool(waiting or rule.holds is None)
    status = GateStatus(
        name=rule.name,
        wave=wave,
        module=module,
        state=state,
        since=since,
        digest=digest,
        message=shorten(message, 500),
        overdue=asked and project.facts.now >= due,
        missing=[role for role in rule.requires if role not in desk.signed],
        blockers=left[:20],
        waived=waived[:20],
        decisions=desk.decisions[-10:],
    )
    moments = [*desk.moments, *([due] if asked else []), *_asked_from(project, rule, waiting)]
    if state in PASSED and waiting and rule.valid_for and desk.completed:
        moments.append(desk.completed + rule.valid_for)
    again = min((moment for moment in moments if moment > project.facts.now), default=None)
    return Gate(rule, status, members, waiting, again)


def _last_abort(project: Project, waiting: Sequence[str]) -> datetime | None:
    """When the newest cutover was aborted of those that wait: what was approved before has been used for it."""
    records = [record for name in waiting if (record := project.histories[name].cutover)]
    moments = [found.finished_at for found in records if found.state is CutoverState.ABORTED and found.finished_at]
    return max(map(parse_timestamp, moments), default=None)


def _may_wait(project: Project, rule: Rule, module: str) -> bool:
    """Whether the module has the gate before it: a gate once passed with the present input stays passed."""
    history = project.histories[module]
    if rule.name in BEFORE_USE and history.last_good is not None:
        return False
    return rule.holds is None or RANK[history.reached] <= RANK[rule.holds]


def _ready(project: Project, rule: Rule, module: str) -> bool:
    """Whether the module has come to the gate, with all that machines can tell in its favour."""
    history = project.histories[module]
    if rule.holds is None or RANK[history.reached] > RANK[rule.holds]:
        return True
    spec = next(found for found in project.spec.modules if found.name == module)
    target = automatic_target(spec, project.facts, history)[0]
    return history.reached is rule.holds and RANK[target] > RANK[rule.holds]


def _blockers(
    project: Project, rule: Rule, members: Sequence[str], waiting: Sequence[str], earlier: Sequence[Gate]
) -> Iterator[str]:
    """What keeps the gate from being opened, each by a name that a waiver repeats word for word."""
    roles = {contact.role for contact in project.spec.contacts}
    yield from (f"spec.contacts: nobody is {role}" for role in rule.requires if role not in roles)
    if rule.name is GateName.SCOPE_BASELINED:
        yield from (found.field for found in project.scope.problems)
        return
    for name in waiting:
        if not _ready(project, rule, name):
            yield f"module {name}: not ready"
        elif project.facts.modules[name].health is not Health.CURRENT:
            yield f"module {name}: not healthy"
    far = sorted({project.waves[name] for name in waiting if _too_early(project, rule, name)})
    yield from (f"wave {wave}: no window within {format_duration(rule.valid_for or timedelta())}" for wave in far)
    yield from dict.fromkeys(item.blocker for name in waiting for item in _open_items(project, rule.name, name))
    for gate in earlier:
        before = rule.holds is not None and (gate.rule.holds is None or RANK[gate.rule.holds] <= RANK[rule.holds])
        if before and not gate.passed and set(gate.members) & set(members) and waiting and _still_asked(gate):
            yield f"gate {describe(gate.status)}"


def _too_early(project: Project, rule: Rule, module: str) -> bool:
    """Whether an approval given now would have run out before the module's window opens."""
    found = project.openings[project.waves[module]]
    if rule.name is not GateName.GO_LIVE_APPROVED or rule.valid_for is None or found.is_open:
        return False
    return found.changes_at is None or found.changes_at - project.facts.now > rule.valid_for


def _asked_from(project: Project, rule: Rule, waiting: Sequence[str]) -> Iterator[datetime]:
    """When an approval would no longer be too early."""
    for name in waiting:
        opens = project.openings[project.waves[name]].changes_at
        if opens and rule.valid_for and _too_early(project, rule, name):
            yield opens - rule.valid_for


def _open_items(project: Project, name: GateName, module: str) -> Iterator[OpenItem]:
    """What must be attested before the gate opens for the module."""
    if name in {GateName.PRELIMINARY_ACCEPTED, GateName.GO_LIVE_APPROVED}:
        yield from open_tests(project.spec, project.attested, module)
    if name is GateName.GO_LIVE_APPROVED:
        yield from open_training(project.spec, project.attested, module)


def items_before_use(project: Project) -> dict[str, list[OpenItem]]:
    """By module that was never live: what must be attested before it goes live, whoever decides on that."""
    return {
        module.name: list(_open_items(project, GateName.GO_LIVE_APPROVED, module.name))
        for module in project.spec.modules
        if project.histories[module.name].last_good is None
    }


def _still_asked(gate: Gate) -> bool:
    return bool(gate.waiting) or gate.rule.holds is None


def _digest(project: Project, rule: Rule, wave: int | None, module: str | None, members: Sequence[str]) -> str:
    """Names what is decided on. Nothing that a sign-off or the approved action itself changes is in it."""
    facts, status = project.facts, project.facts.body.get("status") or {}
    reported = {found["name"]: found.get("desiredInput", "") for found in status.get("modules") or []}
    content = {
        "uid": facts.body["metadata"].get("uid", ""),
        "gate": rule.name.value,
        "wave": wave or 0,
        "module": module or "",
        "profile": project.spec.profile or "",
        "requires": sorted(rule.requires),
        "contacts": {
            contact.id: [contact.role, contact.subject or ""]
            for contact in project.spec.contacts
            if contact.role in rule.requires
        },
    }
    if rule.name is GateName.SCOPE_BASELINED:
        return canonical_digest(content | {"scope": project.scope.digest, "complete": not project.scope.problems})
    mine = facts.body["metadata"]["name"]
    migrations = [found for found in facts.migrations.values() if found.implementation == mine]
    final = rule.name is not GateName.GO_LIVE_APPROVED
    inputs = {}
    for name in members:
        wanted = facts.modules[name].desired
        inputs[name] = wanted.input if wanted else reported.get(name, "")
    cutovers = {
        module.name: module.cutover.to_manifest()
        for module in project.spec.modules
        if module.cutover and module.name in members and not final
    }
    if cutovers:
        content["cutovers"] = cutovers
    return canonical_digest(
        content
        | {
            "inputs": inputs,
            "ready": {name: _ready(project, rule, name) for name in members},
            "certificates": {
                found.name: found.certificate if final else found.rehearsal
                for found in migrations
                if found.module in members
            },
            "thresholds": {
                name: found.terms
                for name, found in project.checks.items()
                if any(found.covers(member) for member in members)
            },
        }
    )


@dataclass(frozen=True)
class _Desk:
    """The sign-offs about one gate: which of them speak of the present digest, and which of those count."""

    decisions: list[GateDecision]
    signed: frozenset[ContactRole]
    completed: datetime | None
    rejections: list[str]
    waived: frozenset[str]
    outdated: bool
    lapsed: bool
    spent: bool
    aborted: bool
    moments: list[datetime]

    @classmethod
    def of(
        cls,
        project: Project,
        rule: Rule,
        place: tuple[int | None, str | None],
        digest: str,
        *,
        used: bool,
        after: datetime | None = None,
    ) -> _Desk:
        about = [
            found
            for found in sorted(project.facts.sign_offs, key=_order)
            if found.spec.gate is rule.name and (found.spec.wave, found.spec.module) == place
        ]
        current = [found for found in about if _binds(found, digest)]
        judged = [_judge(project, rule, found, current) for found in current]
        heeded = [found for found, decision in zip(current, judged, strict=True) if decision.counts]
        # Of each person's decisions the newest counts; waivers are beside them.
        last = {found.spec.by: found for found in heeded if found.spec.decision is not SignOffDecision.WAIVE}
        role = {contact.id: contact.role for contact in project.spec.contacts}
        standing = [
            found
            for found in heeded
            if found.spec.decision in APPROVALS and last[found.spec.by].spec.decision in APPROVALS
        ]
        given = len(standing)
        standing = [found for found in standing if after is None or found.at > after]
        signed, completed = _round(rule, [(found.at, role[found.spec.by]) for found in standing], used=used)
        spent = bool(completed and rule.valid_for and not used and completed + rule.valid_for <= project.facts.now)
        expiries = [_expiry(found) for found in current]
        return cls(
            decisions=judged,
            signed=frozenset() if spent else signed,
            completed=None if spent else completed,
            rejections=[
                f"{found.spec.by}: {found.spec.reason}"
                for found in last.values()
                if found.spec.decision is SignOffDecision.REJECT
            ],
            waived=frozenset(
                name for found in heeded if found.spec.decision is SignOffDecision.WAIVE for name in found.spec.waives
            ),
            outdated=any(found.spec.decision in APPROVALS for found in about if found not in current),
            lapsed=any(found.spec.decision in APPROVALS and _over(found, project.facts.now) for found in current),
            spent=spent,
            aborted=len(standing) < given,
            moments=[moment for moment in expiries if moment is not None],
        )


def _order(sign_off: SignOffFacts) -> tuple[datetime, bool, str]:
    """Creation times have whole seconds: of two decisions within one, a Reject is taken for the newer."""
    return sign_off.at, sign_off.spec.decision is SignOffDecision.REJECT, sign_off.name


def _binds(sign_off: SignOffFacts, digest: str) -> bool:
    return digest.removeprefix("sha256:").startswith(sign_off.spec.digest.removeprefix("sha256:"))


def _expiry(sign_off: SignOffFacts) -> datetime | None:
    return parse_timestamp(sign_off.spec.expires) if sign_off.spec.expires else None


def _over(sign_off: SignOffFacts, now: datetime) -> bool:
    expiry = _expiry(sign_off)
    return expiry is not None and expiry <= now


def _judge(project: Project, rule: Rule, sign_off: SignOffFacts, current: Sequence[SignOffFacts]) -> GateDecision:
    """Whether the gate heeds the sign-off, and if not, why."""
    contact = project.contacts.get(sign_off.spec.by)
    trust = trust_in(project.facts, sign_off, contact)
    note = None
    if contact is None:
        note = f"{sign_off.spec.by} is no id of spec.contacts"
    elif contact.role not in rule.requires:
        note = f"{contact.role} is not asked at this gate"
    elif _over(sign_off, project.facts.now):
        note = f"expired on {sign_off.spec.expires}"
    elif project.spec.profile is Profile.STRICT and not _trusted(project, sign_off, trust, current):
        note = "Strict heeds Verified, or Witnessed with a Verified sign-off of a second person"
    return GateDecision(
        sign_off=sign_off.name,
        by=sign_off.spec.by,
        decision=sign_off.spec.decision,
        trust=trust,
        at=timestamp(sign_off.at),
        counts=note is None,
        note=note,
    )


def _trusted(project: Project, sign_off: SignOffFacts, trust: Trust, current: Sequence[SignOffFacts]) -> bool:
    if trust is not Trust.WITNESSED:
        return trust is Trust.VERIFIED
    return any(
        found.spec.by != sign_off.spec.by
        and found.spec.recorded_by != sign_off.spec.recorded_by
        and trust_in(project.facts, found, project.contacts.get(found.spec.by)) is Trust.VERIFIED
        for found in current
    )


def _round(
    rule: Rule, approvals: Sequence[tuple[datetime, ContactRole]], *, used: bool
) -> tuple[frozenset[ContactRole], datetime | None]:
    """Who has signed in the newest round, and when it was complete. What was not used in time is given anew by all."""
    signed: set[ContactRole] = set()
    completed: datetime | None = None
    for at, role in approvals:
        if completed and rule.valid_for and not used and at >= completed + rule.valid_for:
            signed, completed = set(), None
        signed.add(role)
        if completed is None and signed >= set(rule.requires):
            completed = at
    return frozenset(signed), completed


def _state(rule: Rule, desk: _Desk, left: Sequence[str], *, waived: bool) -> tuple[GateState, str]:
    if desk.rejections:
        return GateState.REJECTED, "rejected by " + "; ".join(desk.rejections)
    if left:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        return GateState.NOT_READY, f"not ready: {'; '.join(left[:3])}{more}"
    if desk.completed:
        return (GateState.WAIVED, "approved with waivers") if waived else (GateState.APPROVED, "approved")
    missing = ", ".join(role for role in rule.requires if role not in desk.signed)
    if desk.aborted:
        return GateState.EXPIRED, f"the cutover was aborted; it has to be approved again; missing: {missing}"
    if desk.spent:
        return GateState.EXPIRED, f"the approval was not used in time; it has to be given again; missing: {missing}"
    if desk.lapsed:
        return GateState.EXPIRED, f"an approval expired; missing: {missing}"
    if desk.outdated and not desk.signed:
        return GateState.STALE, f"what was approved has changed since; missing: {missing}"
    return GateState.OPEN, f"waits for the sign-off of {missing}"


def describe(status: GateStatus) -> str:
    """The gate's name with its wave or module."""
    if status.wave is not None:
        return f"{status.name} of wave {status.wave}"
    return f"{status.name} of module {status.module}" if status.module else str(status.name)


def rollback_order(project: Project, module: str, since: datetime | None = None) -> str | None:
    """Who has ordered that the module goes back from the input that is wanted now; None when nobody whose word counts.

    After users have worked with new data only the customer may give that up. An order from before `since` is done.
    """
    wanted = project.facts.modules[module].desired
    if wanted is None:
        return None
    for found in reversed(project.facts.sign_offs):
        contact = project.contacts.get(found.spec.by)
        ordered = found.spec.decision is SignOffDecision.ROLL_BACK and found.spec.module == module
        if since is not None and found.at < since:
            return None
        if not ordered or contact is None or contact.role is not LEAD or not _binds(found, wanted.input):
            continue
        if project.spec.profile is not Profile.STRICT or trust_in(project.facts, found, contact) is not Trust.ASSERTED:
            return contact.name
    return None


def closed_gates(gates: Sequence[Gate], module: str, items: Sequence[OpenItem]) -> list[ClosedGate]:
    """What holds this module, besides what keeps it from being installed: gates, and where no person decides on the
    go-live, whose gate can be waived, the `items` that must be attested before it.
    """
    found = [
        ClosedGate(gate.rule.holds, gate_reason(gate), gate_text(gate))
        for gate in gates
        if gate.rule.holds is not None and module in gate.waiting and not gate.passed
    ]
    decided = any(gate.rule.name is GateName.GO_LIVE_APPROVED and module in gate.members for gate in gates)
    if items and not decided:
        found.append(ClosedGate(ModuleState.PREPARED, items[0].reason, "; ".join(item.message for item in items[:3])))
    return found


def gate_reason(gate: Gate) -> str:
    """Why a gate that is not passed holds: a person objected, or has not decided yet."""
    return Reason.GATE_REJECTED if gate.status.state is GateState.REJECTED else Reason.AWAITING_APPROVAL


def gate_text(gate: Gate) -> str:
    """What the gate waits for, in one sentence."""
    return f"gate {describe(gate.status)}: {gate.status.message}"


def shown(gates: Sequence[Gate], limit: int) -> list[GateStatus]:
    """The gates' reports, those that are not passed first when there are more than `limit`."""
    if len(gates) > limit:
        gates = sorted(gates, key=lambda gate: gate.passed)[:limit]
    return [gate.status for gate in gates]
