"""What a person signs: the gate that is meant, whose decision it is, and whether it would do anything. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from pilotage.api.v1alpha1.cutover import CutoverState
from pilotage.api.v1alpha1.implementation import ImplementationSpec, ImplementationStatus, ModuleState
from pilotage.api.v1alpha1.project import Contact, ContactRole, GateName, GateState, GateStatus
from pilotage.api.v1alpha1.signoff import SignOffDecision
from pilotage.plan.conditions import parse_timestamp, timestamp
from pilotage.plan.gates import APPROVALS, ASKING, ENVIRONMENT_RULE, PASSED, describe, gate_rules
from pilotage.plan.sign_off import Words


class Refusal(Exception):
    """Nothing was recorded; the message says what to do instead."""


def find_gate(body: Mapping[str, Any], name: GateName | None, wave: int | None, module: str | None) -> GateStatus:
    """The gate of the Implementation that is meant. Where only one waits, it needs no name.

    Raises Refusal where the operator has not looked at the latest spec: what would be signed is not known yet.
    """
    status = ImplementationStatus.model_validate(body.get("status") or {})
    # status.observedGeneration says what has settled; a project that waits for a person has not.
    if body["metadata"].get("generation") not in {found.observed_generation for found in status.conditions}:
        raise Refusal("the operator has not looked at the project's latest spec yet: try again in a moment")
    if not status.gates:
        raise Refusal("persons decide no gate of this project: spec.profile and spec.gates name none")
    place = (wave, module)
    found = [
        gate for gate in status.gates if name in {None, gate.name} and place in {(None, None), (gate.wave, gate.module)}
    ]
    if len(found) > 1 or name is None:
        found = [gate for gate in found if gate.state in ASKING] or (found if name else [])
    if len(found) == 1:
        return found[0]
    listed = ", ".join(_arguments(gate) for gate in found or status.gates)
    if found:
        raise Refusal(f"say which one: {listed}")
    raise Refusal(f"no such gate waits here; persons decide: {listed}")


def _arguments(gate: GateStatus) -> str:
    """How the gate is named on the command line."""
    if gate.wave is not None:
        return f"{gate.name} --wave {gate.wave}"
    return f"{gate.name} --module {gate.module}" if gate.module else str(gate.name)


def signer(spec: ImplementationSpec, gate: GateStatus, user: str, by: str | None) -> Contact:
    """The contact whose decision it is: the one that was named, else the one whom the user is."""
    rule = gate_rules(spec).get(gate.name, ENVIRONMENT_RULE)
    asked = [contact for contact in spec.contacts if contact.role in rule.requires]
    if by is not None:
        contact = next((found for found in spec.contacts if found.id == by), None)
        if contact is None:
            raise Refusal(f"--by: {by} is no id of spec.contacts: {_names(spec.contacts)}")
        if contact not in asked:
            raise Refusal(f"--by: {contact.role} is not asked at this gate; asked are {_names(asked)}")
        return contact
    mine = [contact for contact in asked if contact.subject == user]
    mine.sort(key=lambda contact: contact.role not in gate.missing)
    if not mine:
        raise Refusal(
            f"you are {user}, and that is the subject of none who is asked at this gate ({_names(asked)}). "
            "Give --by ID to record somebody else's decision, with --evidence URL=SHA256 for the signed paper"
        )
    return mine[0]


def failed_module(status: ImplementationStatus, name: str) -> GateStatus:
    """What a rollback of the module is about: its wanted input, in the form of a gate. Raises Refusal where there is
    nothing to go back from, or to.
    """
    module = next((found for found in status.modules if found.name == name), None)
    if module is None:
        raise Refusal(f"no module {name}; modules are {', '.join(found.name for found in status.modules)}")
    if module.cutover is not None and module.cutover.state is CutoverState.RUNNING:
        return GateStatus(
            name=GateName.GO_LIVE_APPROVED,
            module=name,
            state=GateState.REJECTED,
            since=module.since,
            digest=module.desired_input,
            message=f"{module.message}. Its cutover is aborted and taken back",
        )
    if module.state is not ModuleState.FAILED:
        raise Refusal(f"module {name} is {module.state}, not Failed: change its version or values instead")
    if module.last_good is None or module.last_good.input_digest == module.desired_input:
        raise Refusal(f"module {name} has no good revision before this one")
    return GateStatus(
        name=GateName.GO_LIVE_APPROVED,
        module=name,
        state=GateState.REJECTED,
        since=module.since,
        digest=module.desired_input,
        message=f"{module.message}. It goes back to revision {module.last_good.revision} ({module.last_good.version})",
    )


def rollback_signer(contacts: Sequence[Contact], user: str, by: str | None) -> Contact:
    """The customer's lead who orders it: the one that was named, else the one whom the user is."""
    leads = [found for found in contacts if found.role is ContactRole.CUSTOMER_LEAD]
    mine = [found for found in leads if (found.id == by if by else found.subject == user)]
    if not mine:
        who = f"--by: {by}" if by else f"you are {user}, and that"
        raise Refusal(f"{who} is none of those who order a rollback, the customer's leads: {_names(leads)}")
    return mine[0]


def _names(contacts: Sequence[Contact]) -> str:
    return ", ".join(f"{found.id} ({found.role}, {found.name})" for found in contacts) or "nobody"


def check(gate: GateStatus, decision: SignOffDecision, words: Words, digest: str | None = None) -> None:
    """Raises Refusal where the decision could not do what the person expects of it.

    digest: what the person has looked at, where it was said.
    """
    place, shown = describe(gate), gate.digest.removeprefix("sha256:")
    if digest and not shown.startswith(digest.removeprefix("sha256:")):
        raise Refusal(f"gate {place} is about {shown[:12]} now, not about {digest}: look at what has changed")
    if decision in APPROVALS:
        if gate.state in PASSED:
            raise Refusal(f"gate {place} is {gate.state.lower()} already")
        if gate.state is GateState.NOT_READY:
            blockers = "\n".join(f"  {number}. {text}" for number, text in enumerate(gate.blockers, 1))
            raise Refusal(
                f"gate {place} is not ready, so an approval would open nothing:\n{blockers}\n"
                "Wait until these are gone, or pass over them with `pilotage waive`"
            )
    unknown = [text for text in words.waives if text not in gate.blockers]
    if unknown:
        raise Refusal(f"gate {place} has no such blocker: {unknown[0]}")


def blocker(gate: GateStatus, text: str) -> str:
    """The blocker of that number, counted from 1, or the text as it is."""
    if text.isdigit() and 1 <= int(text) <= len(gate.blockers):
        return gate.blockers[int(text) - 1]
    return text


def moment(text: str) -> str:
    """A time as the API writes it; a mere date means its end, in UTC. Raises ValueError."""
    if len(text) == len("2026-11-23"):
        return timestamp(datetime.combine(date.fromisoformat(text), time(23, 59, 59), UTC))
    return timestamp(parse_timestamp(text))
