"""The weekly report (周报) of one project: what happened, where it stands, who must do what, what is at risk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from pilotage.api.text import printable
from pilotage.api.v1alpha1.common import parse_duration
from pilotage.api.v1alpha1.implementation import ImplementationStatus, NextAction
from pilotage.cli.page import plain, table
from pilotage.cli.show import BAD, Project
from pilotage.cli.words import Language
from pilotage.plan.acceptance_clock import format_duration
from pilotage.plan.conditions import parse_timestamp, timestamp
from pilotage.plan.gates import describe


@dataclass(frozen=True)
class Event:
    """One thing that happened: when, what it was about, what became of it, and in whose words."""

    at: str
    about: str
    what: str
    words: str = ""


@dataclass(frozen=True)
class Standing:
    """Where one thing stands now."""

    about: str
    state: str
    words: str = ""


@dataclass(frozen=True)
class Report:
    """One project's report. `blocked` is time by cause; `risks` are what a reader should ask about;
    `projected` is when the stable run of a check ends if nothing happens.
    """

    project: str
    customer: str
    phase: str
    live: str
    since: str
    until: str
    happened: Sequence[Event]
    standing: Sequence[Standing]
    blocked: Mapping[str, str]
    actions: Sequence[NextAction]
    risks: Sequence[Standing]
    projected: Mapping[str, str]


def report_of(project: Project, since: datetime, now: datetime) -> Report:
    """The report about the time from `since` to `now`, from what the objects say of themselves."""
    status = project.status
    happened = [found for found in _events(project, status) if since <= parse_timestamp(found.at) <= now]
    return Report(
        project=project.key,
        customer=project.customer,
        phase=status.phase or "",
        live=status.live or "",
        since=timestamp(since),
        until=timestamp(now),
        happened=sorted(happened, key=lambda found: (parse_timestamp(found.at), found.about)),
        standing=list(_standing(project, status)),
        blocked={found.reason: _blocked(found.total, found.since, now) for found in status.blocked},
        actions=status.next_actions,
        risks=list(_risks(project, status)),
        projected=dict(_projected(project)),
    )


def _events(project: Project, status: ImplementationStatus) -> Iterator[Event]:
    names = {found["id"]: found.get("name") or found["id"] for found in project.body["spec"].get("contacts") or []}
    for module in status.modules:
        if module.since:
            yield Event(module.since, f"module {module.name}", module.state, module.message)
    for gate in status.gates:
        yield Event(gate.since, f"gate {describe(gate)}", gate.state, gate.message)
        for decision in gate.decisions:
            who = f"{names.get(decision.by, decision.by)} ({decision.trust})"
            what = decision.decision if decision.counts else f"{decision.decision} (does not count)"
            yield Event(decision.at, f"gate {describe(gate)}", f"{what}: {who}", decision.note or "")
    for migration in project.migrations:
        for run in (migration.get("status") or {}).get("runs") or []:
            counts = (
                f"read {run.get('read', 0)}, loaded {run.get('loaded', 0)}, quarantined {run.get('quarantined', 0)}"
            )
            about = f"migration {migration['metadata']['name']}"
            yield Event(run["finishedAt"], about, f"{run.get('run', '')} {run.get('phase', '')}".strip(), counts)


def _standing(project: Project, status: ImplementationStatus) -> Iterator[Standing]:
    for module in status.modules:
        version = f"{module.release.version}" if module.release else ""
        yield Standing(f"module {module.name}", module.state, version)
    for migration in project.migrations:
        found = migration.get("status") or {}
        yield Standing(f"migration {migration['metadata']['name']}", found.get("phase") or "Pending")
    for check in project.checks:
        found = check.get("status") or {}
        words = "; ".join(filter(None, [found.get("clock"), found.get("verdict")]))
        yield Standing(f"check {check['metadata']['name']}", found.get("phase") or "Pending", words)
    for role in status.training:
        yield Standing(f"training {role.role}", "Passed" if role.complete else "Open", f"{role.passed}/{role.needed}")
    if tests := status.tests:
        left = [*tests.failed, *tests.open]
        ended = "Failed" if tests.failed else "Open" if tests.open else "Passed"
        yield Standing("tests of the users", ended, f"{tests.passed}/{tests.passed + len(left)}")
    if found := status.defects:
        counts = f"S1 {found.s1}, S2 {found.s2}, S3 {found.s3}, S4 {found.s4}"
        yield Standing("defects", "Open" if any((found.s1, found.s2, found.s3, found.s4)) else "Passed", counts)


def _risks(project: Project, status: ImplementationStatus) -> Iterator[Standing]:
    """What has failed, is late, or was decided and does not hold any more."""
    for module in status.modules:
        if module.state in BAD:
            yield Standing(f"module {module.name}", module.state, module.message)
    for gate in status.gates:
        if gate.overdue or gate.state in BAD:
            yield Standing(f"gate {describe(gate)}", "Overdue" if gate.overdue else gate.state, gate.message)
    for kind, found in [("migration", one) for one in project.migrations] + [("check", one) for one in project.checks]:
        phase = (found.get("status") or {}).get("phase") or ""
        if phase in BAD or phase in {"Inconclusive", "Error"}:
            yield Standing(f"{kind} {found['metadata']['name']}", phase, (found["status"].get("verdict") or ""))
    if (defects := status.defects) and (defects.s1 or defects.s2):
        yield Standing("defects", "Open", f"S1 {defects.s1}, S2 {defects.s2}")
    for condition in status.conditions:
        if condition.type == "Stalled" and condition.status == "True":
            yield Standing("project", condition.reason, condition.message)


def _projected(project: Project) -> Iterator[tuple[str, str]]:
    """By check, when its stable run ends if nothing happens."""
    for check in project.checks:
        ends = [
            clock["projectedEnd"]
            for module in (check.get("status") or {}).get("modules") or []
            if (clock := module.get("clock") or {}).get("projectedEnd")
        ]
        if ends:
            yield check["metadata"]["name"], max(ends, key=parse_timestamp)


def _blocked(total: str, since: str | None, now: datetime) -> str:
    """The time so far, with that which is running."""
    running = max(0, int((now - parse_timestamp(since)).total_seconds())) if since else 0
    return format_duration(parse_duration(total) + timedelta(seconds=running))


def document(report: Report) -> dict[str, Any]:
    """The report for machines."""
    return {**asdict(report), "actions": [action.to_manifest() for action in report.actions]}


def markdown(report: Report, say: Language) -> str:
    """The report as a page of Markdown. What objects say stands in it as text: nothing of it is markup."""
    lines = [
        f"# {say('report')}: {plain(report.customer)} ({report.project})",
        "",
        say("report of", report.since, report.until, report.phase, report.live),
    ]
    name, state, when = say("name"), say("state"), say("when")
    happened = ((found.at, found.about, found.what, found.words) for found in report.happened)
    standing = ((found.about, found.state, found.words) for found in report.standing)
    risks = ((found.about, found.state, found.words) for found in report.risks)
    sections = {
        "report happened": table((when, name, say("what"), ""), happened),
        "report standing": table((name, state, ""), standing),
        "report next": [_action(found, say) for found in report.actions],
        "report risks": table((name, state, ""), risks),
        "report blocked": table((say("reason"), say("after")), report.blocked.items()),
        "report projected": table((name, when), report.projected.items()),
    }
    for title, content in sections.items():
        lines += ["", f"## {say(title)}", "", *(content or [say("report nothing")])]
    return "\n".join(lines) + "\n"


def _action(action: NextAction, say: Language) -> str:
    due = f" ({say('due')} {action.due})" if action.due else ""
    command = f"\n\n      {printable(action.command, 1000)}\n" if action.command else ""
    return f"- **{plain(action.who)}**: {plain(action.what)}{due}{command}"
