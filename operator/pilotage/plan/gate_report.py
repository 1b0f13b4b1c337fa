"""What people are told about gates: the conditions, and who has to sign what with which command."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from pilotage.api.v1alpha1.acceptancecheck import CheckPhase
from pilotage.api.v1alpha1.implementation import ImplementationSpec, NextAction
from pilotage.api.v1alpha1.project import Contact, ContactRole, GateState
from pilotage.api.v1alpha1.signoff import SignOffDecision
from pilotage.plan.conditions import condition, parse_timestamp, shorten, timestamp
from pilotage.plan.facts import ImplementationFacts
from pilotage.plan.gates import ASKING, Gate, describe, gate_text
from pilotage.plan.sign_off import Words, sign_off

RECORDER = "RECORDER"
MAX_WHAT = 1000


def gate_conditions(gates: Sequence[Gate]) -> list[dict[str, Any]]:
    """One condition for each gate that persons decide, true when it is passed everywhere."""
    found = []
    for name in dict.fromkeys(gate.rule.name for gate in gates):
        mine = [gate for gate in gates if gate.rule.name is name]
        closed = next((gate for gate in mine if not gate.passed), None)
        reason, text = (closed.status.state, gate_text(closed)) if closed else (GateState.APPROVED, "approved")
        found.append(condition(name, status=closed is None, reason=reason, message=text))
    return found


def gate_actions(gates: Sequence[Gate], spec: ImplementationSpec, facts: ImplementationFacts) -> list[NextAction]:
    """Who must decide now, with the command that records it; what was rejected; what is overdue, in this order."""
    asked = [gate for gate in gates if gate.waiting or (gate.rule.holds is None and not gate.passed)]
    rejected = [
        NextAction(who=_names(spec, ContactRole.PROJECT_MANAGER), what=_rejection(gate), since=gate.status.since)
        for gate in asked
        if gate.status.state is GateState.REJECTED
    ]
    signing = [action for gate in asked if gate.status.state in ASKING for action in _signatures(gate, spec, facts)]
    return [*rejected, *signing, *_punch_list(gates, facts)]


def _rejection(gate: Gate) -> str:
    return f"{gate_text(gate)}. Change what was objected to; then the gate asks for new sign-offs"


def _signatures(gate: Gate, spec: ImplementationSpec, facts: ImplementationFacts) -> Iterator[NextAction]:
    status = gate.status
    due = timestamp(parse_timestamp(status.since) + gate.rule.escalate_after)
    notes = "".join(f". {note}" for note in _on_condition(gate, facts))
    for role in status.missing:
        contacts = [contact for contact in spec.contacts if contact.role is role]
        who = ", ".join(contact.name for contact in contacts)
        what = f"decide on gate {describe(status)} as {role}: {status.message}{notes}"
        command = _command(gate, contacts[0], facts) if contacts else None
        yield NextAction(
            who=shorten(who, 200), what=shorten(what, MAX_WHAT), command=command, since=status.since, due=due
        )
    if status.overdue:
        text = f"gate {describe(status)} has waited since {status.since} for {', '.join(status.missing)}"
        yield NextAction(who=_names(spec, ContactRole.SPONSOR), what=text, since=status.since, due=due)


def _on_condition(gate: Gate, facts: ImplementationFacts) -> Iterator[str]:
    """What the modules' checks passed in spite of: whoever signs decides whether it goes on the punch list."""
    for name, check in sorted(facts.checks.items()):
        for module in gate.members if check.implementation == facts.body["metadata"]["name"] else ():
            verdict = check.verdicts.get(module)
            if verdict and verdict.phase == CheckPhase.CONDITIONALLY_PASSED:
                yield f"AcceptanceCheck {name} passed module {module} {verdict.message}"


def _names(spec: ImplementationSpec, role: ContactRole) -> str:
    return shorten(", ".join(found.name for found in spec.contacts if found.role is role) or str(role), 200)


def _command(gate: Gate, contact: Contact, facts: ImplementationFacts) -> str:
    """A line for the shell that records an approval, with the user who types it as the recorder."""
    manifest = sign_off(facts.body, gate.status, contact.id, RECORDER, SignOffDecision.APPROVE, Words())
    text = json.dumps(manifest, separators=(",", ":"))
    whoami = "$(kubectl auth whoami -o jsonpath={.status.userInfo.username})"
    return f"echo '{text}' | sed \"s/{RECORDER}/{whoami}/\" | kubectl create -f -"


def _punch_list(gates: Sequence[Gate], facts: ImplementationFacts) -> Iterator[NextAction]:
    """Conditions of an approval whose time has come, or comes within a week."""
    standing = {decision.sign_off for gate in gates if gate.passed for decision in gate.status.decisions}
    newest = {found.spec.by: found for found in facts.sign_offs if found.name in standing}
    for found in newest.values():
        for item in found.spec.punch_list:
            if parse_timestamp(item.due) - facts.now <= timedelta(days=7):
                text = f"{item.item} (condition of {found.spec.by}'s approval of gate {found.spec.gate})"
                yield NextAction(who=item.owner, what=text, due=item.due)
