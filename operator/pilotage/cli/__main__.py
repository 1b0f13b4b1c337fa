"""`pilotage`: where projects stand, who has to do what, and decisions about gates."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import pydantic
import yaml

from pilotage.api.v1alpha1.acceptancecheck import AcceptanceCheckSpec
from pilotage.api.v1alpha1.implementation import ImplementationSpec, ImplementationStatus, NextAction
from pilotage.api.v1alpha1.migrationjob import MigrationJobSpec
from pilotage.api.v1alpha1.project import GateDecision, GateName, Profile
from pilotage.api.v1alpha1.signoff import Evidence, PunchListItem, SignOffDecision
from pilotage.cli import decision
from pilotage.cli.decision import Refusal
from pilotage.cli.opening import Opening, manifests, parse_contact, parse_module
from pilotage.cli.requirements import LARGEST, read_csv, requirements_of
from pilotage.cli.show import Project, console, duties, overview, played, tree
from pilotage.cli.words import LANGUAGES, Language, language
from pilotage.kube.client import ApiError, NotFound
from pilotage.kube.official import OfficialCluster, connect, known_contexts
from pilotage.kube.resources import (
    ACCEPTANCE_CHECKS,
    IMPLEMENTATIONS,
    MIGRATION_JOBS,
    SELF_SUBJECT_REVIEWS,
    SIGN_OFFS,
    Resource,
)
from pilotage.plan.conditions import parse_timestamp
from pilotage.plan.preview import preview
from pilotage.plan.sign_off import Words, sign_off

JUDGED_WITHIN: Final = 30.0
ASK_AGAIN: Final = 1.0
FAR: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Session:
    """One call: the cluster if it needs one, the namespace that is meant, and how to answer."""

    arguments: argparse.Namespace
    connected: OfficialCluster | None
    namespace: str
    say: Language

    @property
    def cluster(self) -> OfficialCluster:
        """The cluster; only of a call that is not offline."""
        if self.connected is None:
            raise AssertionError(self.arguments.command)
        return self.connected

    def answer(self, document: Any, shown: Callable[[], Any]) -> None:
        """Print as the machine or the person wants it."""
        match self.arguments.output:
            case "json":
                sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
            case "yaml":
                yaml.safe_dump(document, sys.stdout, allow_unicode=True, sort_keys=False)
            case _:
                console(sys.stdout).print(shown())


async def status(session: Session) -> None:
    """Show one project as a tree, or all of a namespace in lines."""
    name = session.arguments.name
    if name is None:
        namespace = None if session.arguments.all_namespaces else session.namespace
        projects = [Project(body) for body in await session.cluster.list(IMPLEMENTATIONS, namespace)]
        projects.sort(key=lambda project: project.key)
        session.answer([dict(project.body) for project in projects], lambda: overview(projects, session.say))
        return
    project = await _project(session, name)
    session.answer(dict(project.body), lambda: tree(project, datetime.now(UTC), session.say))


async def watch(session: Session) -> None:
    """Show one project as a tree, anew every few seconds, until it is interrupted."""
    from rich.live import Live

    with Live(console=console(sys.stdout), auto_refresh=False, screen=sys.stdout.isatty()) as live:
        while True:
            project = await _project(session, session.arguments.name)
            live.update(tree(project, datetime.now(UTC), session.say), refresh=True)
            await asyncio.sleep(session.arguments.interval)


async def _project(session: Session, name: str) -> Project:
    body = await session.cluster.get(IMPLEMENTATIONS, session.namespace, name)
    migrations, checks = await asyncio.gather(_of(session, MIGRATION_JOBS, name), _of(session, ACCEPTANCE_CHECKS, name))
    return Project(body, migrations, checks)


async def _of(session: Session, kind: Resource, name: str) -> list[dict[str, Any]]:
    found = await session.cluster.list(kind, session.namespace)
    mine = [body for body in found if body["spec"].get("implementationRef", {}).get("name") == name]
    return sorted(mine, key=lambda body: str(body["metadata"]["name"]))


async def plan(session: Session) -> None:
    """Play a project from its files to the end; exit code 1 where it would not be accepted though all goes well."""
    documents = [found for file in session.arguments.files for found in _documents(file)]
    given = {kind: [found for found in documents if found.get("kind") == kind] for kind in MODELS}
    for body in (found for bodies in given.values() for found in bodies):
        _validate(body)
    named = session.arguments.name
    wanted = [body for body in given["Implementation"] if named in {None, body["metadata"]["name"]}]
    if len(wanted) != 1:
        names = ", ".join(str(body["metadata"]["name"]) for body in given["Implementation"]) or "none"
        raise Refusal(f"one Implementation is played; these files have {names}: choose with --name")
    found = preview(
        wanted[0], given["MigrationJob"], given["AcceptanceCheck"], datetime.now(UTC).replace(microsecond=0)
    )
    steps = [{"turn": step.turn, "after": str(step.after), "what": step.what} for step in found.steps]
    session.answer({"steps": steps, "held": found.held}, lambda: played(found, session.say))
    if found.held:
        sys.exit(1)


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
        raise Refusal(_mistakes("the Implementation", error)) from error
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
        spec = next(iter(_exported(arguments.against)))["spec"]
    found = requirements_of(_rows(arguments.sheet), spec)
    if found.aside:
        sys.stderr.write(f"not taken over: {', '.join(found.aside)}\n")
    snippet = {"spec": {"requirements": found.requirements}}
    if arguments.output == "json":
        session.answer(snippet, str)
    else:
        yaml.safe_dump(snippet, sys.stdout, allow_unicode=True, sort_keys=False)


def _rows(sheet: Path) -> list[list[str]]:
    try:
        size = sheet.stat().st_size
        if size > LARGEST:
            raise Refusal(f"{sheet} has {size} bytes; requirements of at most {LARGEST} bytes are read")
        if sheet.suffix.lower() == ".csv":
            return read_csv(sheet.read_bytes())
    except OSError as error:
        raise Refusal(f"{sheet}: {error.strerror}") from error
    try:
        from python_calamine import CalamineError, load_workbook
    except ImportError as error:
        raise Refusal("a workbook needs python-calamine: pip install 'pilotage[engine]', or save it as CSV") from error
    try:
        workbook = load_workbook(sheet)
        return [[_text(cell) for cell in row] for row in workbook.get_sheet_by_index(0).to_python()]
    except (CalamineError, OSError, ValueError) as error:
        raise Refusal(f"{sheet} is no workbook and no .csv: {error}") from error


def _text(cell: object) -> str:
    """A cell as it is shown: a number that is whole has no decimal point."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _ask(question: str, otherwise: str) -> str:
    return input(f"{question} [{otherwise}]: ").strip() or otherwise


def _ask_all(question: str) -> Iterator[str]:
    while text := input(f"{question} (empty: no more): ").strip():
        yield text


MODELS: Final[dict[str, type[pydantic.BaseModel]]] = {
    "Implementation": ImplementationSpec,
    "MigrationJob": MigrationJobSpec,
    "AcceptanceCheck": AcceptanceCheckSpec,
}


def _validate(body: Mapping[str, Any]) -> None:
    name = (body.get("metadata") or {}).get("name")
    if not isinstance(name, str):
        raise Refusal(f"{body['kind']}: metadata.name is missing")
    try:
        MODELS[body["kind"]].model_validate(body.get("spec"))
    except pydantic.ValidationError as error:
        raise Refusal(_mistakes(f"{body['kind']} {name}", error)) from error


def _mistakes(subject: str, error: pydantic.ValidationError) -> str:
    lines = [f"  spec.{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors()]
    return "\n".join([f"{subject} would be refused:", *lines])


async def approve(session: Session) -> None:
    """Record an approval; with conditions where a punch list is given."""
    points = [_point(text) for text in session.arguments.condition]
    what = SignOffDecision.APPROVE_WITH_CONDITIONS if points else SignOffDecision.APPROVE
    await _sign(session, what, Words(session.arguments.reason, points, evidence=_evidence(session)))


async def reject(session: Session) -> None:
    """Record a rejection."""
    words = Words(session.arguments.reason, evidence=_evidence(session))
    await _sign(session, SignOffDecision.REJECT, words)


async def waive(session: Session) -> None:
    """Record that blockers may be passed over until a time."""
    arguments = session.arguments
    try:
        expires = decision.moment(arguments.expires)
    except ValueError as error:
        raise Refusal(f"--expires: {error}; write 2026-12-31 or 2026-12-31T12:00:00Z") from error
    words = Words(arguments.reason, waives=arguments.blocker, expires=expires, evidence=_evidence(session))
    await _sign(session, SignOffDecision.WAIVE, words)


def _point(text: str) -> PunchListItem:
    parts = [part.strip() for part in text.split(";")]
    try:
        item, owner, due = parts
        return PunchListItem.model_validate({"item": item, "owner": owner, "due": decision.moment(due)})
    except ValueError as error:
        text = f"--condition {text!r} is not 'WHAT; CONTACT-ID; DATE', such as 'print the labels; li; 2026-12-31'"
        raise Refusal(text) from error


def _evidence(session: Session) -> list[Evidence]:
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
    waives = tuple(decision.blocker(gate, text) for text in words.waives)
    words = Words(words.reason, words.punch_list, waives, words.expires, words.evidence)
    decision.check(gate, what, words, arguments.digest)
    review = {"apiVersion": SELF_SUBJECT_REVIEWS.api_version, "kind": SELF_SUBJECT_REVIEWS.kind}
    answer = await session.cluster.create_review(SELF_SUBJECT_REVIEWS, review)
    user = str(answer["status"]["userInfo"]["username"])
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


async def portfolio(session: Session) -> None:
    """List what needs whom in all projects, of several clusters and of status files too."""
    arguments = session.arguments
    found: list[tuple[str, Project]] = []
    for context in arguments.contexts or ([] if arguments.files else [None]):
        cluster = await connect(context=context) if context else session.cluster
        try:
            namespace = arguments.namespace
            found += [(context or "", Project(body)) for body in await cluster.list(IMPLEMENTATIONS, namespace)]
        finally:
            if context:
                await cluster.close()
    for file in arguments.files:
        found += [(file.stem, Project(body)) for body in _exported(file)]
    waiting = [(place, project, action) for place, project in found for action in project.status.next_actions]
    waiting.sort(key=lambda one: (_due(one[2]), one[1].key, one[2].who))
    document = [
        {"context": place, "project": project.key, **action.to_manifest()} for place, project, action in waiting
    ]
    session.answer(document, lambda: duties(waiting, datetime.now(UTC), session.say))


def _due(action: NextAction) -> datetime:
    return parse_timestamp(action.due) if action.due else FAR


def _exported(file: Path) -> list[dict[str, Any]]:
    """The Implementations in what `kubectl get implementations -o yaml` or `pilotage status -o json` wrote."""
    found = [body for body in _documents(file) if body.get("kind") == IMPLEMENTATIONS.kind]
    if not found:
        raise Refusal(f"{file}: no Implementation in it; write it with kubectl get implementations -A -o yaml")
    return found


def _documents(file: Path) -> list[dict[str, Any]]:
    """The objects of a YAML or JSON file, those of lists one by one."""
    try:
        documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Refusal(f"{file}: {error}") from error
    flat: list[Any] = []
    for document in documents:
        items = document.get("items", [document]) if isinstance(document, dict) else document
        flat += items if isinstance(items, list) else [items]
    return [body for body in flat if isinstance(body, dict)]


def _gate(text: str) -> GateName:
    for name in GateName:
        if name.lower() == text.lower():
            return name
    msg = f"{text!r} is no gate; gates are {', '.join(GateName)}"
    raise argparse.ArgumentTypeError(msg)


def _signing_options() -> argparse.ArgumentParser:
    signing = argparse.ArgumentParser(add_help=False)
    signing.add_argument("name", metavar="IMPLEMENTATION")
    signing.add_argument(
        "gate", nargs="?", type=_gate, metavar="GATE", help="such as GoLiveApproved; default: the only one that waits"
    )
    place = signing.add_mutually_exclusive_group()
    place.add_argument("--wave", type=int)
    place.add_argument("--module")
    signing.add_argument("--digest", help="what you have looked at; refused if it is another one by now")
    signing.add_argument("--by", metavar="CONTACT", help="whose decision it is; default: the contact who you are")
    signing.add_argument(
        "--evidence", action="append", default=[], metavar="URL=SHA256", help="the signed paper; may be repeated"
    )
    signing.add_argument("-y", "--yes", action="store_true", help="do not ask")
    signing.add_argument("--dry-run", action="store_true", help="print what would be recorded")
    signing.add_argument(
        "--wait", type=float, default=JUDGED_WITHIN, metavar="SECONDS", help="for the operator's view; default: 30"
    )
    return signing


def _init_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(offline=True)
    parser.add_argument("code", metavar="CODE", help="the customer's short name, such as huasheng")
    parser.add_argument("--customer", metavar="NAME", help="the customer's name")
    parser.add_argument("--name", default="erp", metavar="IMPLEMENTATION", help="default: erp")
    parser.add_argument(
        "--module", action="append", default=[], metavar="NAME[@WAVE]=CHART",
        help="oci://HOST/PATH:VERSION, https://REPOSITORY#CHART:VERSION or configmap/NAME; may be repeated",
    )  # fmt: skip
    parser.add_argument("--contact", action="append", default=[], metavar="ROLE:ID:NAME[:USER]", help="may be repeated")
    parser.add_argument("--profile", choices=list(Profile), help="which gates persons decide; default: none")
    parser.add_argument("--operator", default="pilotage-system/pilotage", metavar="NAMESPACE/ACCOUNT")
    parser.add_argument("-f", "--file", type=Path, help="default: standard output")


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-n", "--namespace", help="default: the context's")
    common.add_argument("--context", help="of the kubeconfig; default: its current one")
    common.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text")
    common.add_argument("--language", choices=LANGUAGES, default=language(), help="default: the locale's")
    signing = _signing_options()
    parser = argparse.ArgumentParser(prog="pilotage", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(act: Callable[[Session], Awaitable[None]], *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        text = (act.__doc__ or "").split("\n")[0]
        found = commands.add_parser(act.__name__.rstrip("_"), help=text, description=text, parents=[common, *parents])
        found.set_defaults(act=act, offline=False)
        return found

    _init_options(add(init))
    sheets = add(import_)
    sheets.set_defaults(offline=True)
    sheets.add_argument("sheet", type=Path, metavar="SHEET", help="XLSX, XLS or CSV")
    sheets.add_argument(
        "--against", type=Path, metavar="FILE", help="the project's manifest: its titles and names are understood"
    )
    shown = add(status)
    shown.add_argument("name", nargs="?", metavar="IMPLEMENTATION", help="default: all of the namespace")
    shown.add_argument("-A", "--all-namespaces", action="store_true")
    watched = add(watch)
    watched.add_argument("name", metavar="IMPLEMENTATION")
    watched.add_argument("--interval", type=float, default=2.0, metavar="SECONDS")
    approving = add(approve, signing)
    approving.add_argument("--reason")
    approving.add_argument(
        "--condition", action="append", default=[], metavar="'WHAT; CONTACT; DATE'", help="a point of the punch list"
    )
    add(reject, signing).add_argument("--reason", required=True)
    waiving = add(waive, signing)
    waiving.add_argument("--reason", required=True)
    waiving.add_argument(
        "--blocker", action="append", required=True, metavar="TEXT|NUMBER", help="as status shows it; may be repeated"
    )
    waiving.add_argument("--expires", required=True, metavar="DATE")
    played_out = add(plan)
    played_out.set_defaults(offline=True)
    played_out.add_argument("files", nargs="+", type=Path, metavar="FILE", help="manifests")
    played_out.add_argument("--name", metavar="IMPLEMENTATION", help="where the files have several")
    listed = add(portfolio)
    listed.add_argument("--contexts", type=lambda text: text.split(","), default=[], metavar="A,B")
    listed.add_argument("files", nargs="*", type=Path, metavar="FILE", help="kubectl get implementations -A -o yaml")
    return parser


async def _run(arguments: argparse.Namespace) -> None:
    if arguments.offline:
        await arguments.act(Session(arguments, None, "", Language(arguments.language)))
        return
    contexts, current = known_contexts()
    context = arguments.context or current
    if context not in contexts:
        raise Refusal(f"--context: the kubeconfig has no context {context}; it has {', '.join(contexts)}")
    cluster = await connect(context=arguments.context)
    try:
        namespace = arguments.namespace or contexts[context]
        await arguments.act(Session(arguments, cluster, namespace, Language(arguments.language)))
    finally:
        await cluster.close()


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Entry point. Exit codes: 0 done, 1 refused, 2 misused, 130 interrupted."""
    arguments = _parser().parse_args(words)
    try:
        asyncio.run(_run(arguments))
    except Refusal as refusal:
        sys.exit(f"pilotage: {refusal}")
    except NotFound as error:
        where = f" in namespace {arguments.namespace}" if arguments.namespace else ""
        sys.exit(f"pilotage: {error.message or 'not found'}{where}")
    except ApiError as error:
        sys.exit(f"pilotage: the API server says: {error.message}")
    except (OSError, ValueError) as error:
        sys.exit(f"pilotage: no cluster could be reached: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


if __name__ == "__main__":
    main()
