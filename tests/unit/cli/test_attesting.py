"""Facts from the command line: what is recorded, and what is refused before anything is."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest

from pilotage.cli.attesting import attest, read_junit
from pilotage.cli.decision import Refusal
from pilotage.cli.session import Session
from pilotage.cli.words import Language
from tests.support.builders import a_module, an_implementation

CONTACTS = [
    {"id": "wang", "role": "CustomerLead", "name": "王强", "subject": "wang@huasheng.example"},
    {"id": "chen", "role": "Engineer", "name": "陈工", "subject": "chen@vendor.example"},
]
CASES = [
    {"id": f"R-{case}", "title": case, "module": "core", "owner": "wang", "acceptedBy": [f"uat/{case}"]}
    for case in ("credit", "returns")
]
TRAINING = {"roles": [{"role": "clerk", "audience": 10}]}
REPORT = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites><testsuite name="销售">
  <testcase name="credit"/>
  <testcase name="returns"/>
  <testcase name="returns"><failure message="税额不符"/></testcase>
  <testcase name="later"><skipped/></testcase>
  <testcase name="unnamed by any requirement"/>
</testsuite></testsuites>
"""
USUAL = {
    "name": "erp", "type": "UAT", "subject": None, "module": None, "role": None, "completed": None, "passed": None,
    "outcome": None,
    "junit": None, "severity": None, "state": None, "by": None, "at": None, "note": None, "evidence": [],
    "dry_run": False, "output": "json",
}  # fmt: skip


class Desk:
    """The part of a cluster that the command asks."""

    def __init__(self, user: str, **spec: Any) -> None:
        fields = {"contacts": CONTACTS, "requirements": CASES, "training": TRAINING} | spec
        modules = fields.pop("modules", [a_module("core")])
        self.user, self.body, self.made = user, an_implementation(*modules, **fields), list[dict[str, Any]]()

    async def get(self, *_: Any) -> dict[str, Any]:
        return self.body

    async def create_review(self, *_: Any) -> dict[str, Any]:
        return {"status": {"userInfo": {"username": self.user}}}

    async def create(self, _resource: Any, body: dict[str, Any]) -> dict[str, Any]:
        self.made.append(body["spec"])
        return body | {"metadata": {"name": f"made-{len(self.made)}"}}


async def attested(user: str = "wang@huasheng.example", spec: Any = None, **arguments: Any) -> list[dict[str, Any]]:
    desk = Desk(user, **(spec or {}))
    session = Session(Namespace(**(USUAL | arguments)), desk, "huasheng", Language("en"))  # type: ignore[arg-type]
    await attest(session)
    return desk.made


async def test_recorder_and_contact_are_filled_in():
    (made,) = await attested(subject="credit", outcome="Passed")
    assert made == {
        "implementationRef": {"name": "erp"},
        "type": "UAT",
        "name": "credit",
        "result": {"outcome": "Passed"},
        "by": "wang",
        "recordedBy": "wang@huasheng.example",
    }


async def test_outcomes_that_a_test_tool_wrote_are_taken_for_the_cases_that_requirements_name(tmp_path):
    (tmp_path / "report.xml").write_text(REPORT, encoding="utf-8")
    made = await attested(junit=tmp_path / "report.xml")
    assert {one["name"]: one["result"]["outcome"] for one in made} == {"credit": "Passed", "returns": "Failed"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"subject": "credit"}, "UAT needs --outcome or --junit"),
        ({"type": "Training", "role": "clerk"}, "Training needs --completed, --passed"),
        ({"type": "Training", "role": "cook", "completed": 1, "passed": 1}, "cook is no role of spec.training.roles"),
        ({"type": "Defect", "subject": "7"}, "Defect needs --severity, --state"),
        ({"subject": "credit", "outcome": "Passed", "by": "zhao"}, "zhao is no id of spec.contacts"),
        ({"subject": "credit", "outcome": "Passed", "by": "chen"}, "not attested by the vendor's Engineer"),
        ({"subject": "credit", "outcome": "Passed", "at": "yesterday"}, "--at: "),
        ({"subject": "../x", "outcome": "Passed"}, "name: "),
        ({"user": "somebody", "subject": "credit", "outcome": "Passed"}, "say by --by who of spec.contacts states it"),
    ],
)
async def test_what_would_change_nothing_is_refused_before_it_is_recorded(arguments, words):
    with pytest.raises(Refusal, match=words):
        await attested(**arguments)


async def test_under_strict_a_word_for_somebody_else_needs_evidence():
    strict = {"profile": "Strict"}
    with pytest.raises(Refusal, match="Strict heeds"):
        await attested("li@vendor.example", strict, subject="credit", outcome="Passed", by="wang")
    paper = ["https://files.example/a.pdf=" + "a" * 64]
    assert await attested("li@vendor.example", strict, subject="credit", outcome="Passed", by="wang", evidence=paper)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<testsuites>", "cannot be read"),
        ('<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>', "declares entities"),
    ],
)
def test_a_report_that_is_none_is_refused(tmp_path, text, words):
    (tmp_path / "report.xml").write_text(text)
    with pytest.raises(Refusal, match=words):
        read_junit(tmp_path / "report.xml")


FREEZE = {"name": "freeze", "type": "Confirm", "owner": "wang", "plannedMinutes": 10}
CUT_OVER = {"modules": [a_module("core", cutover={"steps": [FREEZE]})]}


async def test_a_step_of_a_cutover_is_confirmed_by_its_owner():
    (made,) = await attested(spec=CUT_OVER, type="CutoverStep", subject="freeze", module="core", outcome="Passed")
    assert (made["type"], made["module"], made["name"], made["by"]) == ("CutoverStep", "core", "freeze", "wang")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"subject": "freeze", "outcome": "Passed"}, "CutoverStep needs --module"),
        ({"subject": "thaw", "module": "core", "outcome": "Passed"}, "thaw is no step of type Confirm"),
        ({"subject": "freeze", "module": "core", "outcome": "Passed", "by": "chen"}, "is confirmed by wang"),
    ],
)
async def test_a_step_that_is_not_the_persons_to_confirm_is_refused(arguments: dict[str, Any], words: str):
    with pytest.raises(Refusal, match=words):
        await attested(spec=CUT_OVER, type="CutoverStep", **arguments)
