"""What a person sees of a running project: a picture in a terminal, lines of transitions anywhere else. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

COLOURS = {
    "Pending": "bright_black",
    "Configuring": "yellow",
    "Migrating": "magenta",
    "Verifying": "cyan",
    "Prepared": "cyan",
    "CuttingOver": "yellow",
    "Live": "green",
    "Stable": "green",
    "Accepted": "bold green",
    "Unhealthy": "bold red",
    "Failed": "bold red",
    "RolledBack": "bold red",
    "Succeeded": "bold green",
    "Rejected": "bold red",
    "Paused": "bold red",
    "Passed": "bold green",
    "Observing": "cyan",
    "Inconclusive": "yellow",
    "Error": "red",
}


ASKING = ("Open", "Stale", "Expired")
TROUBLED = ("Failed", "Unhealthy", "RolledBack")
COUNTED = ("read", "loaded", "kept", "duplicates", "quarantined")


@dataclass(frozen=True)
class Project:
    """The objects of one project as they were read at one moment."""

    implementation: Mapping[str, Any]
    migrations: Sequence[Mapping[str, Any]] = field(default=())
    checks: Sequence[Mapping[str, Any]] = field(default=())

    @property
    def status(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.implementation.get("status") or {}
        return found

    @property
    def modules(self) -> list[Mapping[str, Any]]:
        return list(self.status.get("modules") or [])

    @property
    def closed(self) -> bool:
        """Whether everything is done: the phase is Closed and every module Accepted."""
        states = [module["state"] for module in self.modules]
        generation = (self.implementation.get("metadata") or {}).get("generation")
        # A spec that was changed a moment ago still wears the status of the one before.
        if self.status.get("observedGeneration") != generation:
            return False
        return self.status.get("phase") == "Closed" and set(states) == {"Accepted"}

    @property
    def stalled(self) -> str | None:
        """Why nothing moves, in the operator's words; None while it does."""
        conditions = self.status.get("conditions") or []
        return next((found["message"] for found in conditions if found["type"] == "Stalled"), None)


def view(project: Project, elapsed: float) -> RenderableType:
    """The whole project as one renderable; `elapsed` in seconds."""
    spec = project.implementation.get("spec") or {}
    customer = (spec.get("customer") or {}).get("name", "")
    head = Text.assemble(
        (customer, "bold"),
        "   phase ",
        (project.status.get("phase") or "…", "bold cyan"),
        f"   wave {project.status.get('wave', '…')}",
        f"   live {project.status.get('live', '…')}",
        f"   {clock(elapsed)}",
    )
    parts: list[RenderableType] = [_modules(project, spec)]
    if project.migrations:
        parts.append(_migrations(project.migrations))
    if project.checks:
        parts.append(_checks(project.checks))
    parts.append(_waiting(project))
    return Panel(Group(*parts), title=head, title_align="left", border_style="blue", width=110)


def clock(seconds: float) -> str:
    """Minutes and seconds: 3:07."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _modules(project: Project, spec: Mapping[str, Any]) -> Table:
    titles = {module["name"]: module.get("title", "") for module in spec.get("modules") or []}
    table = Table(box=None, expand=True, pad_edge=False, title="Modules by wave", title_justify="left")
    table.add_column("WAVE", min_width=4)
    table.add_column("MODULE", min_width=20, no_wrap=True)
    table.add_column("STATE", min_width=11)
    # With a ratio, a long reason gives way to the other columns; without one it would take their room.
    table.add_column("REASON", overflow="ellipsis", no_wrap=True, ratio=1)
    for module in sorted(project.modules, key=lambda found: found["wave"]):
        state = Text(module["state"], style=COLOURS.get(module["state"], ""))
        name = f"{module['name']} {titles.get(module['name'], '')}"
        table.add_row(str(module["wave"]), name, state, module.get("message", ""))
    return table


def _migrations(migrations: Iterable[Mapping[str, Any]]) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, title="Migrations", title_justify="left")
    for heading in ("MIGRATION", "PHASE", "CHUNKS", "", "READ", "LOADED", "QUARANTINED"):
        table.add_column(heading)
    for migration in migrations:
        status = migration.get("status") or {}
        progress, counts = status.get("progress") or {}, status.get("counts") or {}
        done, total = progress.get("chunksDone", 0), progress.get("chunksTotal", 0)
        phase = status.get("phase", "Waiting")
        table.add_row(
            migration["metadata"]["name"],
            Text(phase, style=COLOURS.get(phase, "")),
            ProgressBar(total=max(total, 1), completed=done, width=24),
            f"{done}/{total}" if total else "",
            *(str(counts.get(count, "")) for count in ("read", "loaded", "quarantined")),
        )
    return table


def _checks(checks: Iterable[Mapping[str, Any]]) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, title="Acceptance", title_justify="left")
    for heading in ("CHECK", "GATE", "PHASE", "MODULES"):
        table.add_column(heading, overflow="ellipsis", no_wrap=True)
    for check in checks:
        status = check.get("status") or {}
        phase = status.get("phase", "Pending")
        tracks = status.get("modules") or []
        passed = sum(track.get("phase") == "Passed" for track in tracks)
        table.add_row(
            check["metadata"]["name"],
            check["spec"]["gate"],
            Text(phase, style=COLOURS.get(phase, "")),
            f"{passed}/{len(tracks)}{_clocks(tracks)}" if tracks else "",
        )
    return table


def _clocks(tracks: Iterable[Mapping[str, Any]]) -> str:
    running = [
        f"{track['name']} {track['clock'].get('accumulated', '0s')} of {track['clock']['required']}"
        for track in tracks
        if track.get("clock") and track.get("phase") == "Observing"
    ]
    return "  " + ", ".join(running) if running else ""


def to_type(project: Project) -> list[str]:
    """The commands with which the persons who are waited for sign."""
    spec = project.implementation.get("spec") or {}
    metadata = project.implementation.get("metadata") or {}
    contacts = {contact["role"]: contact["id"] for contact in spec.get("contacts") or []}
    return [
        f"pilotage approve {metadata['name']} {gate['name']}"
        + "".join(f" --{key} {gate[key]}" for key in ("wave", "module") if key in gate)
        + f" --by {contacts[role]} -n {metadata['namespace']}"
        for gate in project.status.get("gates") or []
        if gate["state"] in ASKING
        for role in gate.get("missing") or []
        if role in contacts
    ]


def _waiting(project: Project) -> Text:
    if project.closed:
        return Text("\nClosed: every module is accepted.", style="bold green")
    if commands := to_type(project):
        return Text("\n".join(["", "Waits for persons; type in another terminal:", *commands]), style="yellow")
    actions = project.status.get("nextActions") or []
    if not actions:
        return Text("\nPilotage is at work; nobody is waited for.", style="bright_black")
    return Text("".join(f"\nWaits for {action['who']}: {action['what']}" for action in actions[:3]), style="yellow")


def needed(project: Project) -> list[str]:
    """What holds the project up and what to do, in the operator's words: conditions, troubled modules, next actions."""
    lines = [
        f"{found['type']}={found['status']} {found['reason']}: {found['message']}"
        for found in project.status.get("conditions") or []
    ]
    lines += [
        f"module {module['name']} is {module['state']}: {module.get('message', '')}"
        for module in project.modules
        if module["state"] in TROUBLED
    ]
    for action in project.status.get("nextActions") or []:
        lines.append(f"to do, by {action['who']}: {action['what']}")
        if action.get("command"):
            lines.append(f"    {action['command']}")
    return lines or [
        "The operator has not reported on it. Look at: kubectl -n pilotage-system logs deployment/pilotage"
    ]


def summary(project: Project, elapsed: float) -> list[str]:
    """The end in a few lines; `elapsed` in seconds."""
    passed = sum((check.get("status") or {}).get("phase") == "Passed" for check in project.checks)
    names = ", ".join(module["name"] for module in sorted(project.modules, key=lambda found: found["wave"]))
    lines = [
        f"Phase {project.status.get('phase')}: {len(project.modules)} modules accepted in {clock(elapsed)}.",
        f"  modules by wave: {names}",
        f"  checks: {passed} of {len(project.checks)} passed",
    ]
    for migration in project.migrations:
        counts = (migration.get("status") or {}).get("counts") or {}
        line = ", ".join(f"{counts.get(name, 0)} {name}" for name in COUNTED)
        lines.append(f"  migration {migration['metadata']['name']}: {line}; balanced: {counts.get('balanced')}")
    return lines


def transitions(before: Project | None, after: Project) -> list[str]:
    """One line for each thing that changed its standing since the last look."""
    old = _standings(before) if before else {}
    return [
        f"{name}: {old.get(name, 'new')} → {standing}"
        for name, standing in _standings(after).items()
        if old.get(name) != standing
    ]


def _standings(project: Project) -> dict[str, str]:
    found = {"phase": str(project.status.get("phase"))}
    found |= {f"module {module['name']}": module["state"] for module in project.modules}
    for gate in project.status.get("gates") or []:
        place = "".join(f" of {key} {gate[key]}" for key in ("wave", "module") if key in gate)
        found[f"gate {gate['name']}{place}"] = gate["state"]
    for kind, objects in (("migration", project.migrations), ("check", project.checks)):
        found |= {
            f"{kind} {item['metadata']['name']}": (item.get("status") or {}).get("phase", "Pending") for item in objects
        }
    return found
