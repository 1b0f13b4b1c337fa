"""The weekly report of a project."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pilotage.cli.__main__ import main
from pilotage.cli.report import Report, document, markdown, report_of
from pilotage.cli.show import Project
from pilotage.cli.words import Language
from pilotage.plan.conditions import timestamp
from tests.support.builders import NOW, a_module, an_implementation
from tests.unit.cli.test_decision import gate

WEEK = NOW - timedelta(days=7)


def ago(**length: float) -> str:
    return timestamp(NOW - timedelta(**length))


def project(**status: Any) -> Project:
    decision = {
        "signOff": "s", "by": "wang", "decision": "Approve", "trust": "Witnessed", "at": ago(days=2), "counts": True,
    }  # fmt: skip
    reported = {
        "observedGeneration": 1,
        "phase": "Hypercare",
        "live": "1/2",
        "modules": [
            {"name": "core", "wave": 1, "state": "Live", "since": ago(days=3)},
            {"name": "sales", "wave": 2, "state": "Failed", "since": ago(days=20), "message": "the pod does not start"},
        ],
        "gates": [gate(wave=2, since=ago(days=9), decisions=[decision], overdue=True, message="waits for 李敏")],
        "nextActions": [{"who": "王强", "what": "decide", "command": "pilotage approve erp GoLiveApproved --wave 2"}],
        "blocked": [{"reason": "AwaitingApproval", "total": "2h", "since": ago(hours=1)}],
        "defects": {"s1": 1, "s2": 0, "s3": 4, "s4": 0},
    }
    contacts = [{"id": "wang", "role": "CustomerLead", "name": "王强"}]
    body = an_implementation(a_module("core"), a_module("sales"), status=reported | status)
    body["spec"]["contacts"] = contacts
    runs = [
        {"run": "Rehearsal", "phase": "Succeeded", "finishedAt": ago(days=8), "read": 10, "loaded": 10},
        {"run": "Final", "phase": "Succeeded", "finishedAt": ago(days=1), "read": 20, "loaded": 18, "quarantined": 2},
    ]
    migration = {"metadata": {"name": "customers"}, "status": {"phase": "Succeeded", "runs": runs}}
    clocks = [{"name": "core", "clock": {"required": "30d", "projectedEnd": "2026-12-20T00:00:00Z"}}]
    check = {
        "metadata": {"name": "stable"},
        "spec": {},
        "status": {"phase": "Observing", "clock": "3/30d", "modules": clocks},
    }
    return Project(body, [migration], [check])


def report(**status: Any) -> Report:
    return report_of(project(**status), WEEK, NOW)


def test_what_happened_since_stands_in_its_order_and_older_things_do_not():
    found = [(event.about, event.what) for event in report().happened]
    assert found == [
        ("module core", "Live"),
        ("gate GoLiveApproved of wave 2", "Approve: 王强 (Witnessed)"),
        ("migration customers", "Final Succeeded"),
    ]
    assert report().happened[-1].words == "read 20, loaded 18, quarantined 2"


def test_a_decision_that_changes_nothing_says_so():
    decision = {
        "signOff": "s",
        "by": "wang",
        "decision": "Reject",
        "trust": "Asserted",
        "at": ago(days=1),
        "counts": False,
    }
    found = report(gates=[gate(since=ago(days=9), decisions=[decision])]).happened
    assert "Reject (does not count): 王强 (Asserted)" in [event.what for event in found]


def test_what_failed_is_late_or_open_is_at_risk():
    found = [(risk.about, risk.state) for risk in report().risks]
    assert found == [("module sales", "Failed"), ("gate GoLiveApproved of wave 2", "Overdue"), ("defects", "Open")]
    assert report(modules=[], gates=[], defects=None).risks == []


def test_time_that_runs_is_counted_and_the_end_of_a_stable_run_is_told():
    assert report().blocked == {"AwaitingApproval": "3h"}
    assert report().projected == {"stable": "2026-12-20T00:00:00Z"}


@pytest.mark.parametrize(("language", "title"), [("en", "# Report: "), ("zh-CN", "# 项目周报: ")])
def test_it_is_a_page_in_the_readers_language_with_the_command_to_type(language: str, title: str):
    text = markdown(report(), Language(language))
    assert text.startswith(title)
    assert "\n      pilotage approve erp GoLiveApproved --wave 2\n" in text
    assert text.count("\n## ") == 6


def test_a_project_of_which_nothing_is_known_has_a_page_too():
    text = markdown(report_of(Project(an_implementation(a_module("core"))), WEEK, NOW), Language("en"))
    assert text.count("Nothing.") == 6


@pytest.mark.parametrize("words", ["<script>alert(1)</script>", "a | b", "[x](javascript:1)", "`x`\n## y", "**b**"])
def test_words_of_others_are_no_markup(words: str):
    modules = [{"name": "core", "wave": 1, "state": "Failed", "since": ago(days=1), "message": words}]
    plain = markdown(report(modules=[modules[0] | {"message": "x"}]), Language("en"))
    page = markdown(report(modules=modules), Language("en"))
    assert "<script" not in page
    assert page.count("\n") == plain.count("\n")
    assert page.replace("\\|", "").count("|") == plain.count("|")
    assert words not in page


def test_machines_get_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "projects.json"
    file.write_text(json.dumps({"kind": "List", "items": [project().body | {"kind": "Implementation"}]}))
    with pytest.raises(SystemExit) as ended:
        main(["report", "--file", str(file), "-o", "json", "--since", "3650d"])
    assert ended.value.code in {0, None}
    (found,) = json.loads(capsys.readouterr().out)
    assert found["project"] == "huasheng/erp"
    assert found.keys() == document(report()).keys()


def test_a_time_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["report", "--since", "a week"])
    assert ended.value.code == 2
    assert "no duration" in capsys.readouterr().err
