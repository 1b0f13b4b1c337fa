"""What the command line explains."""

from __future__ import annotations

import json
import re

import pytest

from pilotage.api.v1alpha1.implementation import ModuleState
from pilotage.api.v1alpha1.project import GateName
from pilotage.cli.__main__ import main
from pilotage.cli.glossary import GATES, REASONS, STATES
from pilotage.plan.reasons import Reason

CHINESE = re.compile("[\u4e00-\u9fff]")


def explain(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str | int | None, str]:
    with pytest.raises(SystemExit) as ended:
        main(["explain", *words])
    return ended.value.code, capsys.readouterr().out


def test_every_gate_state_and_reason_is_explained_and_nothing_else():
    assert set(GATES) == set(GateName)
    assert set(STATES) == set(ModuleState)
    assert set(REASONS) == {value for name, value in vars(Reason).items() if name.isupper()}


def test_every_explanation_is_there_in_english_and_in_chinese():
    for entry in [*GATES.values(), *STATES.values(), *REASONS.values()]:
        for english, chinese in (entry.means, entry.act):
            assert english
            assert not CHINESE.search(english)
            assert CHINESE.search(chinese)


def test_a_gate_names_who_decides_it_in_each_profile(capsys: pytest.CaptureFixture[str]):
    (found,) = json.loads(explain(capsys, "finalaccepted", "-o", "json")[1])
    assert found["decided by"] == (
        "Light: CustomerLead, ProjectManager; Standard: CustomerLead, ProjectManager, Operations; "
        "Strict: CustomerLead, ProjectManager, Operations, Supervisor"
    )


@pytest.mark.parametrize("gate", list(GateName))
def test_each_gate_can_be_asked_about(capsys: pytest.CaptureFixture[str], gate: GateName):
    assert json.loads(explain(capsys, gate, "-o", "json")[1])[0]["kind"] == "gate"


def test_a_name_of_a_gate_and_of_a_reason_is_explained_as_both(capsys: pytest.CaptureFixture[str]):
    text = explain(capsys, "ScopeBaselined", "--language", "zh-CN")[1]
    assert re.findall(r"^类别 +(\S+)", text, re.MULTILINE) == ["关口", "原因"]


def test_without_a_name_all_are_listed(capsys: pytest.CaptureFixture[str]):
    listed = json.loads(explain(capsys, "-o", "json")[1])
    assert "GoLiveApproved" in listed["gate"]
    assert "RolledBack" in listed["state of a module"]


def test_another_name_is_refused(capsys: pytest.CaptureFixture[str]):
    assert "'Foo' is no gate, state or reason" in str(explain(capsys, "Foo")[0])
