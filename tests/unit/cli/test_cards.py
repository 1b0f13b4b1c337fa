"""What a trained role is given to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pilotage.api.v1alpha1.implementation import ImplementationSpec
from pilotage.cli.__main__ import main
from pilotage.cli.cards import Card, Setting, cards_of, markdown
from pilotage.cli.words import Language
from tests.support.builders import a_module, an_implementation

WHY = "集团资金管理办法第 12 条"
LEVELS = {"key": "approval.paymentLevels", "title": "付款审批级数", "value": 2, "requirement": "FIN-003"}
DEPARTMENTS = {"key": "departments", "value": ["财务部", "仓储部"], "rationale": "as on the chart of 2026"}
ASKED = [
    {"id": "FIN-003", "title": "三级审批后方可付款", "priority": "Must", "module": "finance", "rationale": WHY},
    {"id": "FIN-009", "title": "预算控制", "priority": "Deferred", "module": "finance", "deferTo": "第二期"},
    {"id": "STO-001", "title": "扫码入库", "priority": "Should", "module": "inventory"},
]
CASHIER = {
    "role": "cashier",
    "title": "出纳",
    "audience": 4,
    "modules": ["finance"],
    "permissions": ["record payments"],
}


def a_project(*roles: dict[str, Any]) -> dict[str, Any]:
    modules = [a_module("finance", title="财务", config=[LEVELS, DEPARTMENTS]), a_module("inventory", title="库存")]
    return an_implementation(*modules, requirements=ASKED, training={"roles": list(roles or (CASHIER,))})


def card(*roles: dict[str, Any]) -> Card:
    return cards_of(ImplementationSpec.model_validate(a_project(*roles)["spec"]))[0]


def test_a_card_has_the_modules_rights_and_settings_of_its_role_and_why_they_are_so():
    found = card()
    assert found.modules == {"finance": "财务"}
    assert found.permissions == ["record payments"]
    assert found.settings == [
        Setting("财务", "付款审批级数", "2", WHY),
        Setting("财务", "departments", "财务部, 仓储部", "as on the chart of 2026"),
    ]


def test_what_is_put_off_is_not_taught():
    assert card().asked == {"三级审批后方可付款": WHY}


def test_a_role_that_names_no_module_works_with_all():
    assert card({"role": "auditor", "audience": 1}).asked.keys() == {"三级审批后方可付款", "扫码入库"}


@pytest.mark.parametrize(
    ("language", "title"), [("en", "## How it is set, and why"), ("zh-CN", "## 系统如何设置，为什么")]
)
def test_it_is_a_page_in_the_language_of_its_reader(language: str, title: str):
    text = markdown(card(), Language(language))
    assert text.startswith("# 出纳\n")
    assert title in text
    assert f"| 财务 | 付款审批级数 | 2 | {WHY} |" in text


def test_what_a_role_has_nothing_of_is_left_out():
    text = markdown(card({"role": "driver", "audience": 1, "modules": ["inventory"]}), Language("en"))
    assert "How it is set" not in text
    assert "What you may do" not in text


def test_words_of_others_are_no_markup():
    text = markdown(card(CASHIER | {"permissions": ["<script>alert(1)</script> | [x](javascript:1)"]}), Language("en"))
    assert "<script" not in text
    assert "[x](" not in text


def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, *words: str) -> tuple[Any, str]:
    file = tmp_path / "erp.yaml"
    file.write_text(yaml.safe_dump(a_project(CASHIER, {"role": "driver", "audience": 1}) | {"kind": "Implementation"}))
    with pytest.raises(SystemExit) as ended:
        main(["cards", str(file), *words])
    return ended.value.code, capsys.readouterr().out


def test_the_command_writes_all_cards_or_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(capsys, tmp_path)[1].count("\n# ") == 1
    code, out = run(capsys, tmp_path, "--role", "cashier", "-o", "json")
    assert (code, [found["role"] for found in json.loads(out)]) == (0, ["cashier"])


def test_a_role_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert "has cashier, driver" in str(run(capsys, tmp_path, "--role", "pilot")[0])


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_commands_and_their_options(shell: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["completion", shell])
    out = capsys.readouterr().out
    assert "portfolio" in out
    assert "--since" in out
