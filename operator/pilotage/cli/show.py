"""Projects as people see them in a terminal. What an object says reaches it as text, never as a control sequence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, Final

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from pilotage.api.text import printable
from pilotage.api.v1alpha1.cutover import CutoverState
from pilotage.api.v1alpha1.implementation import ImplementationStatus, ModuleStatus, NextAction
from pilotage.api.v1alpha1.project import GateStatus
from pilotage.cli.words import Language
from pilotage.plan.conditions import parse_timestamp
from pilotage.plan.gates import PASSED, describe
from pilotage.plan.module import LIVE_STATES
from pilotage.plan.preview import Preview

PIPED_WIDTH: Final = 140
BAR: Final = 24
GOOD: Final = frozenset(
    {"Live", "Stable", "Accepted", "Succeeded", "Passed", "ConditionallyPassed", "Approved", "Waived", "True"}
)
BAD: Final = frozenset({"Failed", "Unhealthy", "RolledBack", "Rejected", "Paused", "Stale", "Expired"})


@dataclass(frozen=True)
class Project:
    """One Implementation with the MigrationJobs and AcceptanceChecks that name it."""

    body: Mapping[str, Any]
    migrations: Sequence[Mapping[str, Any]] = ()
    checks: Sequence[Mapping[str, Any]] = ()

    @property
    def status(self) -> ImplementationStatus:
        """As the operator reported it."""
        return ImplementationStatus.model_validate(self.body.get("status") or {})

    @property
    def key(self) -> str:
        """Namespace and name."""
        return f"{self.body['metadata']['namespace']}/{self.body['metadata']['name']}"

    @property
    def customer(self) -> str:
        """The customer's name."""
        return printable(str(self.body["spec"]["customer"]["name"]), 60)


def console(stream: IO[str]) -> Console:
    """A console on this stream; of a fixed width where nobody looks at it."""
    width = None if stream.isatty() else PIPED_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)


def state(text: str) -> Text:
    """A state in the colour of what it means."""
    style = "green" if text in GOOD else "red" if text in BAD else "yellow"
    return Text(printable(text, 40), style=style)


def age(since: str | None, now: datetime) -> str:
    """How long ago, in its largest unit: 3d, 4h, 5m or 6s."""
    if since is None:
        return ""
    seconds = max(0, int((now - parse_timestamp(since)).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def tree(project: Project, now: datetime, say: Language) -> RenderableType:
    """The whole project: modules by wave, what they wait for, gates, and who has to do what."""
    status = project.status
    waves = sorted({module.wave for module in status.modules})
    head = Text.assemble((project.key, "bold"), "  ", project.customer, "  ", state(status.phase or "?"))
    if waves:
        head.append(f"  {say('waves', status.wave or waves[0], waves[-1])}  {say('modules live', status.live)}")
    root = Tree(head)
    for wave in waves:
        members = [module for module in status.modules if module.wave == wave]
        root.add(Group(Text(say("wave", wave), style="bold"), _rows(_module(found, now) for found in members)))
    if steps := [row for module in status.modules for row in _cutover(module, say)]:
        root.add(Group(Text(say("cutover"), style="bold"), _rows(steps)))
    if project.migrations:
        rows = _rows(_migration(found, say) for found in project.migrations)
        root.add(Group(Text(say("migrations"), style="bold"), rows))
    if project.checks:
        root.add(Group(Text(say("checks"), style="bold"), _rows(_check(found) for found in project.checks)))
    if status.gates:
        root.add(Group(Text(say("gates"), style="bold"), _rows(_gate(found, now, say) for found in status.gates)))
    if attested := list(_attested(status, say)):
        root.add(Group(Text(say("attested"), style="bold"), _rows(attested)))
    root.add(Group(Text(say("next"), style="bold"), *_actions(status.next_actions, say)))
    return root


def _rows(rows: Iterable[Sequence[RenderableType]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for row in rows:
        table.add_row(*row)
    return table


def _module(module: ModuleStatus, now: datetime) -> Sequence[RenderableType]:
    version = module.release.version if module.release else ""
    words = "" if module.state in LIVE_STATES else printable(module.message, 300)
    return module.name, state(module.state), printable(version, 30), age(module.since, now), words


def _cutover(module: ModuleStatus, say: Language) -> Iterator[Sequence[RenderableType]]:
    """The steps of a cutover that is not done, with the minutes that they take."""
    record = module.cutover
    if record is None or record.state is CutoverState.DONE:
        return
    for step in [*record.steps, *record.rollback]:
        took = "" if step.actual_minutes is None else step.actual_minutes
        minutes = say("minutes", took, step.planned_minutes)
        yield module.name, step.name, state(step.state), minutes, printable(step.message, 200)


def _migration(body: Mapping[str, Any], say: Language) -> Sequence[RenderableType]:
    status = body.get("status") or {}
    found = status.get("progress") or {}
    total, done = found.get("chunksTotal") or 0, found.get("chunksDone") or 0
    bar: RenderableType = ProgressBar(total=total, completed=done, width=BAR) if total else ""
    words = say("chunks", done, total) if total else ""
    if found.get("eta") and done < total:
        words += "  " + say("until", found["eta"])
    return body["metadata"]["name"], state(status.get("phase") or "Pending"), bar, words


def _check(body: Mapping[str, Any]) -> Sequence[RenderableType]:
    status = body.get("status") or {}
    words = printable(status.get("verdict") or "", 300)
    return (
        body["metadata"]["name"],
        state(status.get("phase") or "Pending"),
        body["spec"].get("gate", ""),
        status.get("clock") or "",
        words,
    )


def _gate(gate: GateStatus, now: datetime, say: Language) -> Sequence[RenderableType]:
    words = "" if gate.state in PASSED else printable(gate.message, 300)
    late = f"{say('overdue')}: " if gate.overdue else ""
    short = gate.digest.removeprefix("sha256:")[:12]
    return describe(gate), state(gate.state), age(gate.since, now), f"{say('digest')} {short}", late + words


def _attested(status: ImplementationStatus, say: Language) -> Iterator[Sequence[RenderableType]]:
    """Trainings, the users' tests, defects, and what was stated and changes nothing."""
    for role in status.training:
        done = state("Passed" if role.complete else "Open")
        yield say("training"), role.role, done, say("people", role.passed, role.needed)
    if tests := status.tests:
        left = [*tests.failed, *tests.open]
        done = state("Failed" if tests.failed else "Open" if tests.open else "Passed")
        total = tests.passed + len(left)
        words = printable(", ".join(left), 200)
        yield say("tests"), say("cases", tests.passed, total), done, words
    if found := status.defects:
        counts = f"S1 {found.s1}  S2 {found.s2}  S3 {found.s3}  S4 {found.s4}"
        yield say("defects"), counts, state("Open" if found.s1 or found.s2 else "Passed"), ""
    for unheeded in status.unheeded:
        yield say("unheeded"), printable(unheeded.name, 60), "", printable(unheeded.note, 200)


def _actions(actions: Sequence[NextAction], say: Language) -> Iterator[RenderableType]:
    if not actions:
        yield Text(say("nothing to do"), style="dim")
    for action in actions:
        due = f"  ({say('due')} {action.due})" if action.due else ""
        yield Text.assemble((printable(action.who, 200), "bold"), f": {printable(action.what, 600)}{due}")


def overview(projects: Sequence[Project], say: Language) -> RenderableType:
    """One line for each project."""
    if not projects:
        return Text(say("no projects"), style="dim")
    titles = ("project", "customer", "phase", "live", "ready", "waits for")
    table = Table(*(say(title) for title in titles), box=None, pad_edge=False)
    for project in projects:
        status = project.status
        ready = next((found for found in status.conditions if found.type == "Ready"), None)
        table.add_row(
            project.key,
            project.customer,
            state(status.phase or "?"),
            status.live or "",
            state(ready.status if ready else "Unknown"),
            printable(status.waiting_on or (ready.message if ready and ready.status != "True" else ""), 200),
        )
    return table


def played(found: Preview, say: Language) -> RenderableType:
    """What happens one after the other, what side by side, and what would hold the project in the end."""
    table = Table(*(say(title) for title in ("step", "after", "what")), box=None, pad_edge=False)
    before = 0
    for step in found.steps:
        number = "" if step.turn == before else str(step.turn)
        before = step.turn
        table.add_row(number, str(step.after) if step.after else "", printable(step.what, 300))
    last = Text(say("accepted in the end"), style="green")
    if found.held:
        words = [Text(printable(line, 600)) for line in found.held]
        last = Text("\n").join([Text(say("this would hold it"), style="bold red"), *words])
    return Group(table, Text(), last)


def duties(found: Sequence[tuple[str, Project, NextAction]], now: datetime, say: Language) -> RenderableType:
    """What needs whom, over all projects; what is due first stands first. The texts name the cluster."""
    if not found:
        return Text(say("nothing to do"), style="dim")
    table = Table(*(say(title) for title in ("due", "who", "project", "what")), box=None, pad_edge=False)
    for place, project, action in found:
        late = action.due is not None and parse_timestamp(action.due) <= now
        key = f"{place}:{project.key}" if place else project.key
        due = Text(action.due or "", style="red" if late else "")
        table.add_row(due, printable(action.who, 60), key, printable(action.what, 400))
    return table


def glossary_entries(found: Sequence[Mapping[str, str]], say: Language) -> RenderableType:
    """Explanations, one below the other."""
    return Group(*(_rows((Text(say(name), style="bold"), text) for name, text in entry.items()) for entry in found))
