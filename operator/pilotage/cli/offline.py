"""What the command line does with files alone: begin a project, import its requirements, play it to the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pydantic
import shtab
import yaml

from pilotage.api.v1alpha1.implementation import ImplementationSpec
from pilotage.api.v1alpha1.project import Profile
from pilotage.cli.cards import cards_of, markdown
from pilotage.cli.decision import Refusal
from pilotage.cli.files import MODELS, documents, exported, mistakes, read_sheet, validate
from pilotage.cli.glossary import explained, names
from pilotage.cli.opening import Opening, manifests, parse_contact, parse_module
from pilotage.cli.requirements import requirements_of
from pilotage.cli.session import Session
from pilotage.cli.show import glossary_entries, played
from pilotage.cli.timeline import timeline
from pilotage.plan import simulation
from pilotage.plan.assumptions import Assumptions
from pilotage.plan.conditions import timestamp
from pilotage.plan.preview import preview


async def plan(session: Session) -> None:
    """Play a project from its files to the end; exit code 1 where it would not be accepted though all goes well."""
    found = preview(*_project(session), datetime.now(UTC).replace(microsecond=0))
    steps = [{"turn": step.turn, "after": str(step.after), "what": step.what} for step in found.steps]
    session.answer({"steps": steps, "held": found.held}, lambda: played(found, session.say))
    if found.held:
        sys.exit(1)


async def simulate(session: Session) -> None:
    """Play a project in virtual time, with assumed durations and failures; exit code 1 where it is not accepted."""
    arguments = session.arguments
    content: dict[str, Any] = {}
    if arguments.assume:
        content = next(iter(documents(arguments.assume)), {})
    content["failures"] = [*(content.get("failures") or []), *arguments.fail]
    try:
        assumptions = Assumptions.model_validate(content)
    except pydantic.ValidationError as error:
        raise Refusal(mistakes("the assumptions", error, "")) from error
    zone = ZoneInfo(assumptions.working_time.time_zone)
    start = arguments.start or datetime.now(zone).date()
    opening = datetime.combine(start, time(assumptions.working_time.begins), zone).astimezone(UTC)
    project = _project(session)
    try:
        found = simulation.simulate(*project, assumptions, opening)
    except ValueError as error:
        raise Refusal(str(error)) from error
    session.answer(_document(found, assumptions), lambda: timeline(found, zone, session.say))
    if found.accepted is None:
        sys.exit(1)


def _document(found: simulation.Simulation, assumptions: Assumptions) -> dict[str, Any]:
    return {
        "begins": timestamp(found.begins),
        "ends": timestamp(found.ends),
        "accepted": timestamp(found.accepted) if found.accepted else None,
        "held": found.held,
        "lanes": [
            {
                "kind": lane.kind,
                "name": lane.name,
                "spans": [
                    {"state": span.state, "begins": timestamp(span.begins), "ends": timestamp(span.ends)}
                    for span in lane.spans
                ],
            }
            for lane in found.lanes.values()
        ],
        "waits": [
            {
                "who": wait.who,
                "what": wait.what,
                "asked": timestamp(wait.asked),
                "answered": timestamp(wait.answered) if wait.answered else None,
            }
            for wait in found.waits
        ],
        "events": [{"at": timestamp(event.at), "what": event.what} for event in found.events],
        "assumptions": assumptions.to_manifest(),
    }


def _project(session: Session) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    """The one Implementation that the files have or --name means, with all MigrationJobs and AcceptanceChecks."""
    bodies = [found for file in session.arguments.files for found in documents(file)]
    given = {kind: [found for found in bodies if found.get("kind") == kind] for kind in MODELS}
    for body in (found for kind in given.values() for found in kind):
        validate(body)
    named = session.arguments.name
    wanted = [body for body in given["Implementation"] if named in {None, body["metadata"]["name"]}]
    if len(wanted) != 1:
        names = ", ".join(str(body["metadata"]["name"]) for body in given["Implementation"]) or "none"
        raise Refusal(f"one Implementation is meant; these files have {names}: choose with --name")
    return wanted[0], given["MigrationJob"], given["AcceptanceCheck"]


async def cards(session: Session) -> None:
    """Write a page for each trained role: what it works with, what it may do, and why things are so."""
    body, _, _ = _project(session)
    found = cards_of(ImplementationSpec.model_validate(body["spec"]))
    role = session.arguments.role
    chosen = [card for card in found if role in {None, card.role}]
    if not chosen:
        roles = ", ".join(card.role for card in found) or "none"
        raise Refusal(f"spec.training.roles has {roles}: choose with --role")
    if session.arguments.output == "text":
        sys.stdout.write("\n".join(markdown(card, session.say) for card in chosen))
    else:
        session.answer([asdict(card) for card in chosen], lambda: None)


async def completion(session: Session) -> None:
    """Print what makes the shell complete words of this command, to be sourced by it."""
    sys.stdout.write(shtab.complete(session.arguments.whole, session.arguments.shell) + "\n")


async def explain(session: Session) -> None:
    """Explain a gate, a state or a reason: what it means, who acts, and what opens it."""
    name, say = session.arguments.name, session.say
    if name is None:
        known = names()
        session.answer(known, lambda: "\n".join(f"{say(kind)}: {', '.join(found)}" for kind, found in known.items()))
        return
    if not (found := list(explained(name, say))):
        raise Refusal(f"{name!r} is no gate, state or reason; pilotage explain lists them")
    session.answer(found, lambda: glossary_entries(found, say))


async def init(session: Session) -> None:
    """Write the manifests of a new customer: namespace, account, bindings and a first Implementation."""
    arguments = session.arguments
    ask = sys.stdin.isatty()
    customer = arguments.customer or (_ask("The customer's name", arguments.code) if ask else arguments.code)
    modules = arguments.module or (list(_ask_all("A module, NAME=CHART")) if ask else [])
    contacts = arguments.contact or (list(_ask_all("A person, ROLE:ID:NAME[:USER]")) if ask else [])
    if not modules:
        raise Refusal("a project needs a module: --module core=oci://registry.example/charts/core:1.2.3")
    home, _, account = arguments.operator.partition("/")
    opening = Opening(
        code=arguments.code,
        customer=customer,
        namespace=arguments.namespace or arguments.code,
        name=arguments.name,
        modules=[parse_module(text) for text in modules],
        contacts=[parse_contact(text) for text in contacts],
        profile=Profile(arguments.profile) if arguments.profile else None,
        operator=(home, account or "pilotage"),
    )
    try:
        written = yaml.safe_dump_all(manifests(opening), allow_unicode=True, sort_keys=False)
    except pydantic.ValidationError as error:
        raise Refusal(mistakes("the Implementation", error)) from error
    if arguments.file is None:
        sys.stdout.write(written)
        return
    try:
        with arguments.file.open("x", encoding="utf-8") as file:
            file.write(written)
    except FileExistsError as error:
        raise Refusal(f"{arguments.file} is there already, and it stays as it is") from error
    sys.stderr.write(f"pilotage plan {arguments.file} && kubectl apply --server-side -f {arguments.file}\n")


async def import_(session: Session) -> None:
    """Turn a spreadsheet of requirements, XLSX or CSV, into spec.requirements."""
    arguments = session.arguments
    spec: Mapping[str, Any] = {}
    if arguments.against:
        spec = next(iter(exported(arguments.against)))["spec"]
    found = requirements_of(read_sheet(arguments.sheet), spec)
    if found.aside:
        sys.stderr.write(f"not taken over: {', '.join(found.aside)}\n")
    snippet = {"spec": {"requirements": found.requirements}}
    if arguments.output == "json":
        session.answer(snippet, str)
    else:
        yaml.safe_dump(snippet, sys.stdout, allow_unicode=True, sort_keys=False)


def _ask(question: str, otherwise: str) -> str:
    return input(f"{question} [{otherwise}]: ").strip() or otherwise


def _ask_all(question: str) -> Iterator[str]:
    while text := input(f"{question} (empty: no more): ").strip():
        yield text
