"""Decisions about gates, recorded from the command line."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import pydantic
import yaml

from pilotage.api.v1alpha1.implementation import ImplementationSpec, ImplementationStatus
from pilotage.api.v1alpha1.project import GateDecision
from pilotage.api.v1alpha1.signoff import Evidence, PunchListItem, SignOffDecision
from pilotage.cli import decision
from pilotage.cli.decision import Refusal
from pilotage.cli.session import Session
from pilotage.cli.show import console
from pilotage.cli.words import Language
from pilotage.kube.resources import IMPLEMENTATIONS, SELF_SUBJECT_REVIEWS, SIGN_OFFS
from pilotage.plan.sign_off import Words, sign_off

JUDGED_WITHIN: Final = 30.0


ASK_AGAIN: Final = 1.0


async def approve(session: Session) -> None:
    """Record an approval; with conditions where a punch list is given."""
    points = [_point(text) for text in session.arguments.condition]
    what = SignOffDecision.APPROVE_WITH_CONDITIONS if points else SignOffDecision.APPROVE
    await _sign(session, what, Words(session.arguments.reason, points, evidence=evidence(session)))


async def reject(session: Session) -> None:
    """Record a rejection."""
    words = Words(session.arguments.reason, evidence=evidence(session))
    await _sign(session, SignOffDecision.REJECT, words)


async def waive(session: Session) -> None:
    """Record that blockers may be passed over until a time."""
    arguments = session.arguments
    try:
        expires = decision.moment(arguments.expires)
    except ValueError as error:
        raise Refusal(f"--expires: {error}; write 2026-12-31 or 2026-12-31T12:00:00Z") from error
    words = Words(arguments.reason, waives=arguments.blocker, expires=expires, evidence=evidence(session))
    await _sign(session, SignOffDecision.WAIVE, words)


async def rollback(session: Session) -> None:
    """Order that a module which failed goes back to its last good revision."""
    arguments = session.arguments
    body = await session.cluster.get(IMPLEMENTATIONS, session.namespace, arguments.name)
    status = ImplementationStatus.model_validate(body.get("status") or {})
    gate = decision.failed_module(status, arguments.module)
    contacts = ImplementationSpec.model_validate(body["spec"]).contacts
    user = await whoami(session)
    contact = decision.rollback_signer(contacts, user, arguments.by)
    words = Words(arguments.reason, evidence=evidence(session))
    manifest = sign_off(body, gate, contact.id, user, SignOffDecision.ROLL_BACK, words)
    if sys.stdin.isatty() and not arguments.yes:
        _confirm(session, manifest, f"{contact.name} ({contact.role})", gate.message)
    if arguments.dry_run:
        session.answer(manifest, lambda: yaml.safe_dump(manifest, allow_unicode=True, sort_keys=False))
        return
    made = await session.cluster.create(SIGN_OFFS, manifest)
    session.answer(made, lambda: f"{session.say('recorded as')} signoff/{made['metadata']['name']}")


def _point(text: str) -> PunchListItem:
    parts = [part.strip() for part in text.split(";")]
    try:
        item, owner, due = parts
        return PunchListItem.model_validate({"item": item, "owner": owner, "due": decision.moment(due)})
    except ValueError as error:
        text = f"--condition {text!r} is not 'WHAT; CONTACT-ID; DATE', such as 'print the labels; li; 2026-12-31'"
        raise Refusal(text) from error


def evidence(session: Session) -> list[Evidence]:
    """The papers that --evidence names. Raises Refusal."""
    found = []
    for text in session.arguments.evidence:
        url, _, digest = text.rpartition("=")
        try:
            found.append(Evidence.model_validate({"url": url, "sha256": "sha256:" + digest.removeprefix("sha256:")}))
        except pydantic.ValidationError as error:
            raise Refusal(f"--evidence {text!r} is not URL=SHA256, the address and checksum of the paper") from error
    return found


async def _sign(session: Session, what: SignOffDecision, words: Words) -> None:
    arguments = session.arguments
    body = await session.cluster.get(IMPLEMENTATIONS, session.namespace, arguments.name)
    spec = ImplementationSpec.model_validate(body["spec"])
    gate = decision.find_gate(body, arguments.gate, arguments.wave, arguments.module)
    words = replace(words, waives=[decision.blocker(gate, text) for text in words.waives])
    decision.check(gate, what, words, arguments.digest)
    user = await whoami(session)
    contact = decision.signer(spec, gate, user, arguments.by)
    manifest = sign_off(body, gate, contact.id, user, what, words)
    if sys.stdin.isatty() and not arguments.yes:
        _confirm(session, manifest, f"{contact.name} ({contact.role})", gate.message)
    if arguments.dry_run:
        session.answer(manifest, lambda: yaml.safe_dump(manifest, allow_unicode=True, sort_keys=False))
        return
    made = await session.cluster.create(SIGN_OFFS, manifest)
    judged = await _judged(session, made["metadata"]["name"])
    session.answer(made, lambda: _outcome(session.say, made, judged))


async def whoami(session: Session) -> str:
    """The user who the API server takes the caller for."""
    review = {"apiVersion": SELF_SUBJECT_REVIEWS.api_version, "kind": SELF_SUBJECT_REVIEWS.kind}
    answer = await session.cluster.create_review(SELF_SUBJECT_REVIEWS, review)
    return str(answer["status"]["userInfo"]["username"])


def _confirm(session: Session, manifest: Mapping[str, Any], whose: str, message: str) -> None:
    say, spec, screen = session.say, manifest["spec"], console(sys.stderr)
    screen.print(say("You are about to sign"), style="bold")
    place = "".join(f" {name} {spec[name]}" for name in ("wave", "module") if name in spec)
    lines = {
        "project": f"{manifest['metadata']['namespace']}/{spec['implementationRef']['name']}",
        "gate": spec["gate"] + place,
        "state": message,
        "decision": spec["decision"],
        "of": whose,
        "recorded by": spec["recordedBy"],
        "digest": spec["digest"],
    }
    for name, text in lines.items():
        screen.print(f"  {say(name)}: {text}")
    if input(f"{say('Sign?')} [y/N] ").strip().lower() not in {"y", "yes", "是"}:
        raise Refusal("nothing was recorded")


async def _judged(session: Session, name: str) -> GateDecision | None:
    """What the operator made of the sign-off; None when it has not looked at it in time."""
    deadline = time.monotonic() + session.arguments.wait
    while time.monotonic() < deadline:
        body = await session.cluster.get(IMPLEMENTATIONS, session.namespace, session.arguments.name)
        reported = ImplementationStatus.model_validate(body.get("status") or {})
        for found in (found for gate in reported.gates for found in gate.decisions):
            if found.sign_off == name:
                return found
        await asyncio.sleep(ASK_AGAIN)
    return None


def _outcome(say: Language, made: Mapping[str, Any], judged: GateDecision | None) -> str:
    name = f"signoff/{made['metadata']['name']}"
    if judged is None:
        words = say("not looked at yet")
    elif judged.counts:
        words = say("it counts", judged.trust)
    else:
        words = say("it does not count", judged.note or "")
    return f"{say('recorded as')} {name}: {words}"
