from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from e2e.demo.live import Project, needed, summary, to_type, transitions, view


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


def test_a_long_reason_leaves_wave_name_and_state_readable() -> None:
    message = "Deployment erp-purchasing: 0 of 1 pods available; " * 5
    module = {"name": "purchasing", "wave": 1, "state": "Configuring", "message": message}
    shown = project(("purchasing", "Configuring"), status={"modules": [module]})
    row = next(line for line in drawn(shown).splitlines() if "purchasing" in line)
    assert row.split()[1:5] == ["1", "purchasing", "财务", "Configuring"]
    assert "…" in row


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


def test_a_changed_project_is_not_closed_by_the_status_of_the_one_before() -> None:
    closed = project(("core", "Accepted"), phase="Closed", status={"observedGeneration": 1})
    assert Project({**closed.implementation, "metadata": {"generation": 1}}).closed
    assert not Project({**closed.implementation, "metadata": {"generation": 2}}).closed


def test_what_holds_a_project_up_is_said_with_the_command_that_helps() -> None:
    stalled = {"type": "Stalled", "status": "True", "reason": "AccountMissing", "message": "no account"}
    action = {"who": "administrator", "what": "create the account", "command": "kubectl create serviceaccount x"}
    lines = needed(
        project(("core", "Failed"), ("sales", "Pending"), status={"conditions": [stalled], "nextActions": [action]})
    )
    assert lines == [
        "Stalled=True AccountMissing: no account",
        "module core is Failed: about core",
        "to do, by administrator: create the account",
        "    kubectl create serviceaccount x",
    ]


def test_a_project_nobody_has_reported_on_leads_to_the_operators_log() -> None:
    assert "pilotage-system" in needed(Project({}))[0]


def test_the_summary_counts_modules_checks_and_rows() -> None:
    done = project(
        ("core", "Accepted"), phase="Closed", migrations=[a_migration("Succeeded", 2, 2)], checks=[a_check("Passed")]
    )
    text = "\n".join(summary(done, 187))
    for wanted in (
        "Phase Closed: 1 modules accepted in 3:07",
        "by wave: core",
        "1 of 1 passed",
        "parties: 20120 read, 0 loaded",
    ):
        assert wanted in text


def test_who_is_waited_for_at_a_gate_is_told_what_to_type() -> None:
    signed = {"name": "ScopeBaselined", "state": "Approved", "missing": []}
    gates = [signed, {"name": "GoLiveApproved", "wave": 1, "state": "Open", "missing": ["CustomerLead", "Sponsor"]}]
    waiting = project(("core", "Prepared"), status={"gates": gates})
    body = dict(waiting.implementation)
    body["metadata"] = {"name": "erp", "namespace": "huasheng"}
    body["spec"] |= {"contacts": [{"id": "wang", "role": "CustomerLead", "name": "王强"}]}
    shown = Project(body)
    assert to_type(shown) == ["pilotage approve erp GoLiveApproved --wave 1 --by wang -n huasheng"]
    assert to_type(shown)[0] in drawn(shown)
    assert "gate GoLiveApproved of wave 1: new → Open" in transitions(None, shown)
