from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from e2e.demo.live import Project, transitions, view


def project(*modules: tuple[str, str], phase: str = "Configuring", **fields: Any) -> Project:
    listed = [{"name": name, "wave": 1, "state": state, "message": f"about {name}"} for name, state in modules]
    body = {
        "spec": {"customer": {"name": "华升商贸"}, "modules": [{"name": name, "title": "财务"} for name, _ in modules]},
        "status": {"phase": phase, "wave": 1, "live": "0/1", "modules": listed, **fields.pop("status", {})},
    }
    return Project(body, **fields)


def a_migration(phase: str, done: int, total: int) -> dict[str, Any]:
    status = {"phase": phase, "progress": {"chunksDone": done, "chunksTotal": total}, "counts": {"read": 20120}}
    return {"metadata": {"name": "parties"}, "status": status}


def a_check(phase: str) -> dict[str, Any]:
    tracks = [{"name": "core", "phase": phase, "clock": {"accumulated": "7s", "required": "15s"}}]
    return {
        "metadata": {"name": "stable-run"},
        "spec": {"gate": "StableRunComplete"},
        "status": {"phase": phase, "modules": tracks},
    }


def drawn(shown: Project) -> str:
    console = Console(file=io.StringIO(), record=True, width=120)
    console.print(view(shown, 187))
    return console.export_text()


def test_the_view_shows_modules_migrations_checks_and_who_is_waited_for() -> None:
    text = drawn(
        project(
            ("core", "Migrating"),
            migrations=[a_migration("Loading", 5, 13)],
            checks=[a_check("Observing")],
            status={"nextActions": [{"who": "Engineer", "what": "apply MigrationJob materials"}]},
        )
    )
    for wanted in (
        "华升商贸",
        "3:07",
        "Migrating",
        "about core",
        "5/13",
        "20120",
        "core 7s of 15s",
        "Waits for Engineer",
    ):
        assert wanted in text


def test_the_view_of_an_object_without_status_is_no_error() -> None:
    assert "Pilotage is at work" in drawn(Project({"spec": {}}))


def test_a_project_is_closed_only_when_every_module_is_accepted() -> None:
    assert project(("core", "Accepted"), phase="Closed").closed
    assert not project(("core", "Accepted"), ("sales", "Live"), phase="Closed").closed
    assert not project(("core", "Accepted"), phase="Acceptance").closed


def test_only_what_changed_is_told() -> None:
    before = project(("core", "Migrating"), ("sales", "Pending"), migrations=[a_migration("Loading", 1, 2)])
    after = project(("core", "Verifying"), ("sales", "Pending"), migrations=[a_migration("Succeeded", 2, 2)])
    assert transitions(before, after) == [
        "module core: Migrating → Verifying",
        "migration parties: Loading → Succeeded",
    ]
    assert transitions(after, after) == []
