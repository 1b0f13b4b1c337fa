"""Facts that people and systems attest, recorded from the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import pydantic
import yaml

from pilotage.api.v1alpha1.attestation import AttestationSpec, AttestationType, Outcome
from pilotage.api.v1alpha1.common import API_VERSION
from pilotage.api.v1alpha1.implementation import ImplementationSpec
from pilotage.api.v1alpha1.project import Contact, Trust
from pilotage.cli import decision
from pilotage.cli.decision import Refusal
from pilotage.cli.session import Session
from pilotage.cli.signing import evidence, whoami
from pilotage.kube.resources import ATTESTATIONS, IMPLEMENTATIONS
from pilotage.plan.attested import objection, required_cases
from pilotage.plan.sign_off import NAME_LENGTH

LARGEST_REPORT: Final = 16 * 1024 * 1024


async def attest(session: Session) -> None:
    """Record facts: a training, how the users' test cases ended, a defect."""
    arguments = session.arguments
    body = await session.cluster.get(IMPLEMENTATIONS, session.namespace, arguments.name)
    spec = ImplementationSpec.model_validate(body["spec"])
    user = await whoami(session)
    by = arguments.by or _whose(spec.contacts, user)
    stated = [_statement(session, by, user, name, outcome) for name, outcome in _subjects(session, spec)]
    contact = next((found for found in spec.contacts if found.id == by), None)
    for one in stated:
        if note := objection(spec, one, contact, _trust(one, contact)):
            raise Refusal(f"it would change nothing: {note}")
    manifests = [_manifest(session, one) for one in stated]
    if arguments.dry_run:
        session.answer(manifests, lambda: yaml.safe_dump_all(manifests, allow_unicode=True, sort_keys=False))
        return
    made = [await session.cluster.create(ATTESTATIONS, manifest) for manifest in manifests]
    session.answer(made, lambda: "\n".join(_told(session, spec, made)))


def _whose(contacts: Sequence[Contact], user: str) -> str:
    mine = [contact.id for contact in contacts if contact.subject == user]
    if len(mine) != 1:
        listed = ", ".join(f"{found.id} ({found.role}, {found.name})" for found in contacts) or "nobody"
        raise Refusal(f"you are {user}: say by --by who of spec.contacts states it: {listed}")
    return mine[0]


def _subjects(session: Session, spec: ImplementationSpec) -> Iterator[tuple[str | None, Outcome | None]]:
    """What the statements are about: one thing, or the test cases of a report that requirements name."""
    arguments = session.arguments
    if arguments.junit is None:
        yield arguments.subject, arguments.outcome
        return
    if arguments.type != AttestationType.UAT or arguments.subject or arguments.outcome:
        raise Refusal("--junit has the test cases and their outcomes: it goes with UAT alone")
    wanted = {case for _, case in required_cases(spec)}
    found = {name: outcome for name, outcome in read_junit(arguments.junit).items() if name in wanted}
    if not found:
        raise Refusal(f"--junit: none of its test cases is named by a requirement: {', '.join(sorted(wanted))}")
    yield from found.items()


def read_junit(path: Path) -> dict[str, Outcome]:
    """Outcomes by test case. A case that occurs twice has passed only if it passed each time; skipped ones are not
    in it. Raises Refusal.
    """
    try:
        if path.stat().st_size > LARGEST_REPORT:
            raise Refusal(f"--junit: {path} is larger than 16 MiB")
        text = path.read_text(encoding="utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise Refusal(f"--junit: {path} declares entities, which no test tool does")
        root = ET.fromstring(text)  # noqa: S314 (entities are refused above)
    except (OSError, UnicodeDecodeError, ET.ParseError) as error:
        raise Refusal(f"--junit: {path} cannot be read: {error}") from error
    found: dict[str, Outcome] = {}
    for case in root.iter("testcase"):
        name = case.get("name", "")
        if case.find("skipped") is not None:
            continue
        bad = case.find("failure") is not None or case.find("error") is not None
        if bad or found.get(name) is not Outcome.FAILED:
            found[name] = Outcome.FAILED if bad else Outcome.PASSED
    return found


def _statement(session: Session, by: str, user: str, name: str | None, outcome: Outcome | None) -> AttestationSpec:
    arguments = session.arguments
    try:
        at = decision.moment(arguments.at) if arguments.at else None
    except ValueError as error:
        raise Refusal(f"--at: {error}; write 2026-12-31 or 2026-12-31T12:00:00Z") from error
    result = {
        "outcome": outcome,
        "completed": arguments.completed,
        "passed": arguments.passed,
        "severity": arguments.severity,
        "state": arguments.state,
    }
    needed = {
        AttestationType.TRAINING: {
            "--role": arguments.role,
            "--completed": arguments.completed,
            "--passed": arguments.passed,
        },
        AttestationType.UAT: {"SUBJECT": name, "--outcome or --junit": outcome},
        AttestationType.BUSINESS_EVENT: {"SUBJECT": name, "--outcome": outcome},
        AttestationType.CUTOVER_STEP: {"SUBJECT": name, "--module": arguments.module, "--outcome": outcome},
        AttestationType.DEFECT: {"SUBJECT": name, "--severity": arguments.severity, "--state": arguments.state},
    }[AttestationType(arguments.type)]
    if missing := [option for option, value in needed.items() if value is None]:
        raise Refusal(f"{arguments.type} needs {', '.join(missing)}")
    fields = {
        "implementationRef": {"name": arguments.name},
        "type": arguments.type,
        "name": name,
        "module": arguments.module,
        "role": arguments.role,
        "result": {key: value for key, value in result.items() if value is not None},
        "by": by,
        "recordedBy": user,
        "at": at,
        "note": arguments.note,
        "evidence": [found.to_manifest() for found in evidence(session)],
    }
    try:
        return AttestationSpec.model_validate({key: value for key, value in fields.items() if value is not None})
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise Refusal(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _trust(stated: AttestationSpec, contact: Contact | None) -> Trust:
    if contact is not None and contact.subject == stated.recorded_by:
        return Trust.VERIFIED
    return Trust.WITNESSED if stated.evidence else Trust.ASSERTED


def _manifest(session: Session, stated: AttestationSpec) -> dict[str, Any]:
    name = session.arguments.name[:NAME_LENGTH]
    return {
        "apiVersion": API_VERSION,
        "kind": ATTESTATIONS.kind,
        "metadata": {"generateName": f"{name}-{stated.type.lower()}-", "namespace": session.namespace},
        "spec": {field: value for field, value in stated.to_manifest().items() if value != []},
    }


def _told(session: Session, spec: ImplementationSpec, made: Sequence[dict[str, Any]]) -> Iterator[str]:
    wanted = {case for _, case in required_cases(spec)}
    for found in made:
        about = found["spec"]
        words = [session.say("recorded", f"attestation/{found['metadata']['name']}")]
        words += [str(part) for part in (about.get("name"), about.get("role"), *about["result"].values()) if part]
        if about["type"] == AttestationType.UAT and about["name"] not in wanted:
            words.append(session.say("no requirement names it", about["name"]))
        yield "  ".join(words)
