"""Requirements out of the sheets that projects really have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
import yaml

from pilotage.cli.__main__ import main
from pilotage.cli.decision import Refusal
from pilotage.cli.files import read_sheet, write_sheet
from pilotage.cli.requirements import read_csv, requirements_of, rows_of

SPEC = {
    "modules": [{"name": "sales", "title": "销售"}],
    "contacts": [{"id": "chen", "role": "KeyUser", "name": "陈静"}],
}
ROWS = [
    ["华升商贸需求清单", "", "", "", "", "", ""],
    ["编号", "需求名称", "优先级", "满足方式", "模块", "负责人", "验收方式", "状态"],
    ["R-1", "客户信用额度", "高", "配置", "销售", "陈静", "check/credit、uat/credit-01", "已确认"],
    ["", "", "", "", "", "", "", ""],
    ["R-2", "移动审批", "延后", "", "", "", ""],
]


def test_a_chinese_sheet_is_understood_and_what_is_not_is_told():
    found = requirements_of(ROWS, SPEC)
    assert found.requirements[0] == {
        "id": "R-1",
        "title": "客户信用额度",
        "priority": "Must",
        "fit": "Configuration",
        "module": "sales",
        "owner": "chen",
        "acceptedBy": ["check/credit", "uat/credit-01"],
    }
    assert found.requirements[1]["priority"] == "Deferred"
    assert found.aside == ["状态"]


def test_every_mistake_is_told_by_row_and_column():
    rows = [
        ["id", "title", "priority"],
        ["R 1", "a", "Must"],
        ["R-2", "b", "soon"],
        ["R-3", ""],
        ["R-4", "c"],
        ["R-4", "d"],
    ]
    with pytest.raises(Refusal) as refused:
        requirements_of(rows, {})
    words = str(refused.value)
    assert "row 2, id 'R 1'" in words
    assert "row 3, priority 'soon'" in words
    assert "row 4, title ''" in words
    assert "id 'R-4' is there more than once" in words


@pytest.mark.parametrize("rows", [[], [["a", "b"]], [["编号", "优先级"], ["R-1", "高"]]])
def test_a_sheet_without_the_headings_is_refused(rows: list[list[str]]):
    with pytest.raises(Refusal, match="the sheet has no"):
        requirements_of(rows, {})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_is_read_as_excel_writes_it(encoding: str, delimiter: str):
    content = f'编号{delimiter}需求\r\nR-1{delimiter}"一{delimiter}二"\r\n'.encode(encoding)
    assert read_csv(content) == [["编号", "需求"], ["R-1", f"一{delimiter}二"]]


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(Refusal, match="neither UTF-8 nor GB18030"):
        read_csv(b"\xff\xff\xff")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    with pytest.raises(SystemExit) as ended:
        main(["import", *words])
    assert ended.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


def test_a_workbook_becomes_a_part_of_the_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    sheet, manifest = tmp_path / "需求.xlsx", tmp_path / "erp.yaml"
    with xlsxwriter.Workbook(str(sheet)) as workbook:
        page = workbook.add_worksheet()
        page.write_row(0, 0, ["编号", "需求", "模块"])
        page.write_row(1, 0, [17, "客户信用额度", "销售"])
    manifest.write_text(yaml.safe_dump({"kind": "Implementation", "spec": SPEC}, allow_unicode=True))
    found = run(capsys, str(sheet), "--against", str(manifest))["spec"]["requirements"]
    assert [(one["id"], one["module"]) for one in found] == [("17", "sales")]


def test_a_file_that_is_none_of_these_is_refused(tmp_path: Path):
    sheet = tmp_path / "a.xlsx"
    sheet.write_bytes(b"nothing")
    with pytest.raises(SystemExit, match="is no workbook"):
        main(["import", str(sheet)])
    with pytest.raises(SystemExit, match="No such file"):
        main(["import", str(tmp_path / "b.csv")])


FULL = [
    {
        "id": "R-1",
        "title": "=1+1 客户信用额度",
        "source": "005",
        "priority": "Must",
        "fit": "Extension",
        "module": "sales",
        "owner": "chen",
        "rationale": "按合同\n第三条",
        "acceptedBy": ["check/credit", "uat/credit-01"],
    },
    {"id": "R-2", "title": "移动审批", "priority": "Deferred", "fit": "Gap", "deferTo": "二期"},
    {"id": "R-3", "title": "旧打印", "priority": "WontDo", "fit": "Standard"},
]


@pytest.mark.parametrize("chinese", [True, False])
def test_what_is_exported_is_imported_as_it_was(tmp_path: Path, chinese: bool):
    sheet = tmp_path / "requirements.xlsx"
    write_sheet(sheet, rows_of({"requirements": FULL}, chinese=chinese))
    found = requirements_of(read_sheet(sheet), {})
    assert [{name: one[name] for name in one if one[name]} for one in found.requirements] == FULL
    assert found.aside == []


def test_an_exported_sheet_speaks_the_language_of_its_reader():
    assert rows_of({}, chinese=True)[0][:4] == ["编号", "需求", "来源", "优先级"]
    assert rows_of({"requirements": FULL}, chinese=True)[2][3:5] == ["延后", "差距"]


def test_a_sheet_that_is_there_is_not_written_over(tmp_path: Path):
    sheet = tmp_path / "requirements.xlsx"
    sheet.write_text("mine")
    with pytest.raises(Refusal, match="stays as it is"):
        write_sheet(sheet, rows_of({}, chinese=False))
    assert sheet.read_text() == "mine"
