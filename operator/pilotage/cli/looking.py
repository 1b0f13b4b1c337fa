"""What the command line shows of the projects in clusters."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import Any, Final

from rich.live import Live

from pilotage.api.v1alpha1.common import parse_duration
from pilotage.api.v1alpha1.implementation import NextAction
from pilotage.cli.files import exported, write_sheet
from pilotage.cli.report import document, markdown, report_of
from pilotage.cli.requirements import rows_of
from pilotage.cli.session import Session
from pilotage.cli.show import Project, console, duties, overview, tree
from pilotage.kube.official import connect
from pilotage.kube.resources import ACCEPTANCE_CHECKS, IMPLEMENTATIONS, MIGRATION_JOBS, Resource
from pilotage.plan.conditions import parse_timestamp

FAR: Final = datetime.max.replace(tzinfo=UTC)


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


async def export(session: Session) -> None:
    """Write the requirements of a project into a workbook that `import` reads."""
    arguments = session.arguments
    body = await session.cluster.get(IMPLEMENTATIONS, session.namespace, arguments.name)
    rows = rows_of(body["spec"], chinese=session.say.chinese)
    write_sheet(arguments.sheet, rows)
    sys.stderr.write(f"{len(rows) - 1} requirements in {arguments.sheet}\n")


async def portfolio(session: Session) -> None:
    """List what needs whom in all projects, of several clusters and of status files too."""
    arguments = session.arguments
    found: list[tuple[str, Project]] = []
    for context in arguments.contexts or ([] if arguments.projects else [None]):
        cluster = await connect(context=context) if context else session.cluster
        try:
            namespace = arguments.namespace
            found += [(context or "", Project(body)) for body in await cluster.list(IMPLEMENTATIONS, namespace)]
        finally:
            if context:
                await cluster.close()
    for file in arguments.projects:
        found += [(file.stem, Project(body)) for body in exported(file)]
    waiting = [(place, project, action) for place, project in found for action in project.status.next_actions]
    waiting.sort(key=lambda one: (_due(one[2]), one[1].key, one[2].who))
    document = [
        {"context": place, "project": project.key, **action.to_manifest()} for place, project, action in waiting
    ]
    session.answer(document, lambda: duties(waiting, datetime.now(UTC), session.say))


async def report(session: Session) -> None:
    """Write the report of the last days about one project, or all of a namespace, as Markdown."""
    arguments = session.arguments
    now = datetime.now(UTC)
    since = now - parse_duration(arguments.since)
    if arguments.projects:
        projects = [Project(body) for file in arguments.projects for body in exported(file)]
        projects = [found for found in projects if arguments.name in {None, found.body["metadata"]["name"]}]
    elif arguments.name:
        projects = [await _project(session, arguments.name)]
    else:
        names = [body["metadata"]["name"] for body in await session.cluster.list(IMPLEMENTATIONS, session.namespace)]
        projects = [await _project(session, name) for name in sorted(names)]
    reports = [report_of(project, since, now) for project in projects]
    if arguments.output == "text":
        sys.stdout.write("\n".join(markdown(found, session.say) for found in reports))
    else:
        session.answer([document(found) for found in reports], lambda: None)


def _due(action: NextAction) -> datetime:
    return parse_timestamp(action.due) if action.due else FAR
