"""Every format of file comes to the same rows, with a place by which a person finds each."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
import xlsxwriter

from pilotage.migration.errors import Halt
from pilotage.migration.source.forms import Form
from tests.unit.engine.sources import chunks_of, opened, read


def refused(folder: Path, mapped: list[str], **source) -> tuple[str, str]:
    with pytest.raises(Halt) as halt:
        chunks_of(opened(folder, mapped, **source))
    return halt.value.reason, halt.value.message


# JSON lines


def test_json_lines_keep_numbers_as_written_and_flatten_objects(tmp_path):
    lines = [
        '{"编码": "001", "金额": 12.50, "客户": {"名": "甲", "级": {"码": 1}}, "标签": ["a", {"b": 1.0}], "用": true}',
        "",
        '{"编码": "002", "金额": 123456789012345678.90, "备注": null, "电话": "\\u5f20"}',
    ]
    (tmp_path / "f.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = read(tmp_path, ["编码"], file="f.jsonl")
    first = dict(zip(found.header, found.texts[1], strict=True))
    assert first["金额"] == "12.50"
    assert (first["客户.名"], first["客户.级.码"], first["标签"], first["用"]) == (
        "甲",
        "1",
        '["a",{"b":1.0}]',
        "true",
    )
    third = dict(zip(found.header, found.texts[3], strict=True))
    assert (third["金额"], third["备注"], third["电话"], third["客户.名"]) == ("123456789012345678.90", "", "张", "")


def test_a_column_that_only_a_late_line_has_is_found(tmp_path):
    lines = [json.dumps({"a": number}) for number in range(1500)] + ['{"a": 1, "late": "x"}']
    (tmp_path / "f.jsonl").write_text("\n".join(lines))
    found = read(tmp_path, ["a", "late"], file="f.jsonl")
    assert (found.texts[1501], found.texts[1]) == (["1", "x"], ["0", ""])


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("{not json}", "E_PARSE"),
        ("[1]", "E_PARSE"),
        ('{"a": NaN}', "E_PARSE"),
        ('{"a": 1, "a": 2}', "E_PARSE"),
        ('{"a": "\\ud83d"}', "E_ENCODING"),
        ('{"a": ' + '{"a":' * 10_000 + "1" + "}" * 10_000 + "}", "E_PARSE"),
        ('{"a": ' + "[" * 10_000 + "]" * 10_000 + "}", "E_PARSE"),
        ('{"a": ' + "[" * 40 + "]" * 40 + "}", "E_PARSE"),
    ],
)
def test_a_line_that_is_no_object_of_values_is_refused_alone(tmp_path, line, code):
    (tmp_path / "f.jsonl").write_text(f'{{"a": 1}}\n{line}\n{{"a": 3}}\n')
    found = read(tmp_path, ["a"], file="f.jsonl")
    assert (found.texts, found.refused) == ({1: ["1"], 3: ["3"]}, {2: code})


# Fixed width


def test_fixed_width_counts_bytes_of_the_source_encoding(tmp_path):
    lines = ["K001华升公司  0012", "K002张三        34", "短"]
    (tmp_path / "f.txt").write_bytes("\r\n".join(lines).encode("gbk"))
    columns = [
        {"name": "码", "start": 1, "width": 4},
        {"name": "名", "start": 5, "width": 10},
        {"name": "数", "start": 15, "width": 4},
    ]
    found = read(tmp_path, ["码"], file="f.txt", format="fixed", columns=columns)
    assert found.texts == {1: ["K001", "华升公司", "0012"], 2: ["K002", "张三", "  34"]}
    assert found.refused == {3: "E_COLUMNS"}


def test_a_column_that_cuts_a_character_is_refused(tmp_path):
    (tmp_path / "f.txt").write_bytes("abc华升\nabcdefg\n".encode("gbk"))
    columns = [{"name": "x", "start": 1, "width": 4}]
    found = read(tmp_path, ["x"], file="f.txt", format="fixed", columns=columns)
    assert (found.texts, found.refused) == ({2: ["abcd"]}, {1: "E_ENCODING"})


# Workbooks


def workbook(path: Path, **options) -> xlsxwriter.Workbook:
    return xlsxwriter.Workbook(path, options)


def test_a_sheet_gives_dates_numbers_and_results_of_formulas_as_texts(tmp_path):
    with workbook(tmp_path / "f.xlsx") as book:
        sheet = book.add_worksheet("客户")
        day, moment = (
            book.add_format({"num_format": "yyyy-mm-dd"}),
            book.add_format({"num_format": "yyyy-mm-dd hh:mm"}),
        )
        sheet.write_row(0, 0, ["编码", "金额", "日期", "时刻", "启用", "公式"])
        sheet.write_row(1, 0, ["001", 12.0])
        sheet.write_datetime(1, 2, date(2024, 5, 31), day)
        sheet.write_datetime(1, 3, datetime(2024, 5, 31, 8, 30, tzinfo=UTC).replace(tzinfo=None), moment)
        sheet.write(1, 4, True)
        sheet.write_formula(1, 5, "=1+1", None, 2)
        sheet.write_row(3, 0, ["带\n行", 0.1])
    found = read(tmp_path, ["编码"], file="f.xlsx")
    assert found.texts == {
        2: ["001", "12", "2024-05-31", "2024-05-31 08:30:00", "true", "2"],
        4: ["带\n行", "0.1", "", "", "", ""],
    }


def test_a_sheet_is_chosen_and_its_header_stands_below_a_title_in_merged_cells(tmp_path):
    with workbook(tmp_path / "f.xlsx") as book:
        book.add_worksheet("说明").write(0, 0, "x")
        sheet = book.add_worksheet("余额")
        sheet.merge_range(0, 0, 0, 2, "期初余额表")
        sheet.merge_range(1, 0, 2, 0, "科目")
        sheet.merge_range(1, 1, 1, 2, "金额")
        sheet.write_row(2, 1, ["借方", "贷方"])
        sheet.write_row(3, 0, ["1001", 5, 6])
    found = read(tmp_path, ["科目", "借方"], file="f.xlsx", sheet="余额", headerRow=3)
    assert found.header == ["科目", "借方", "贷方"]
    assert found.texts == {4: ["1001", "5", "6"]}
    reason, message = refused(tmp_path, ["a"], file="f.xlsx", sheet="余")
    assert (reason, "说明, 余额" in message) == ("SheetUnknown", True)


def test_a_cell_in_error_is_no_empty_cell(tmp_path):
    with workbook(tmp_path / "f.xlsx") as book:
        sheet = book.add_worksheet("数")
        sheet.write_row(0, 0, ["a", "b"])
        sheet.write(1, 0, "x")
        sheet.write_formula(1, 1, "=1/0", None, "#DIV/0!")
    assert read(tmp_path, ["a"], file="f.xlsx").texts == {2: ["x", "#DIV/0!"]}


def test_what_is_no_workbook_is_refused(tmp_path):
    (tmp_path / "f.xlsx").write_bytes(b"PK\x03\x04 nothing")
    assert refused(tmp_path, ["a"], file="f.xlsx")[0] == "SourceUnreadable"


# Parquet and SQLite


def test_parquet_gives_every_type_as_text(tmp_path):
    pl.DataFrame(
        {
            "编码": ["001", None],
            "金额": [Decimal("12.50"), Decimal("0.05")],
            "日": [date(2024, 5, 31), None],
            "数": [1.5, 1e20],
            "列": [["a"], []],
        }
    ).write_parquet(tmp_path / "f.parquet")
    found = read(tmp_path, ["编码"], file="f.parquet")
    assert found.texts == {
        1: ["001", "12.50", "2024-05-31", "1.5", '["a"]'],
        2: ["", "0.05", "", "100000000000000000000", "[]"],
    }


def sqlite_file(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute('create table "客 户""x" (编码 text, 金额 real)')
    connection.executemany('insert into "客 户""x" values (?, ?)', [("001", 1.5), ("002", None)])
    connection.execute('insert into "客 户""x" values (cast(x\'bbaac9fd\' as text), 3)')
    connection.commit()
    connection.close()


def test_sqlite_is_read_by_table_and_by_query_and_bytes_of_another_encoding_are_refused(tmp_path):
    sqlite_file(tmp_path / "f.db")
    before = sorted(tmp_path.iterdir())
    found = read(tmp_path, ["编码"], file="f.db", table='客 户"x')
    assert (found.texts, found.refused) == ({1: ["001", "1.5"], 2: ["002", ""]}, {3: "E_ENCODING"})
    declared = read(tmp_path, ["编码"], file="f.db", table='客 户"x', encoding="GBK")
    assert declared.texts[3] == ["华升", "3"]
    chosen = read(tmp_path, ["n"], file="f.db", query='select count(*) as n from "客 户""x"')
    assert (chosen.header, chosen.texts) == (["n"], {1: ["3"]})
    assert refused(tmp_path, ["a"], file="f.db", table="x")[0] == "TableUnknown"
    assert sorted(tmp_path.iterdir()) == before


def test_a_query_of_sqlite_cannot_write(tmp_path):
    sqlite_file(tmp_path / "f.db")
    assert refused(tmp_path, ["a"], file="f.db", query='delete from "客 户""x"')[0] == "SourceUnreadable"
    (tmp_path / "f.db.gz").write_bytes(gzip.compress((tmp_path / "f.db").read_bytes()))
    assert read(tmp_path, ["n"], file="f.db.gz", query='select count(*) n from "客 户""x"').texts == {1: ["3"]}
    reason, _ = refused(tmp_path, ["a"], file="f.db.gz", query='delete from "客 户""x"')
    assert reason == "SourceUnreadable"


# Archives


def test_a_packed_csv_is_cut_as_the_plain_one_is(tmp_path):
    rows = [f'K{number},"多\n行 {number}",{"x" * (number % 50)}' for number in range(3000)]
    rows[1500] = 'K1500,"open,x'
    plain = "\r\n".join(["a,b,c", *rows]).encode("gb18030")
    (tmp_path / "f.csv").write_bytes(plain)
    (tmp_path / "f.csv.gz").write_bytes(gzip.compress(plain))
    with zipfile.ZipFile(tmp_path / "f.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/f.csv", plain)
    expected = chunks_of(opened(tmp_path, ["a"], file="f.csv"), rows=100)
    assert b"".join(data for _, data in expected) == plain[7:]
    for file in ("f.csv.gz", "f.zip"):
        found = opened(tmp_path, ["a"], file=file)
        assert (found.header, found.form, found.encoding) == (["a", "b", "c"], Form.CSV, "GB18030")
        assert chunks_of(found, rows=100) == expected
    assert opened(tmp_path, ["a"], file="f.csv.gz").sha256 != opened(tmp_path, ["a"], file="f.csv").sha256


def test_a_member_is_named_as_chinese_windows_names_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as archive:
        for sign, name in (("x", "客户.tsv"), ("y", "供应商.csv")):
            archive.writestr(zipfile.ZipInfo(sign * len(name.encode("gb18030"))), b"a\tb\n1\t2\n")
    raw = (tmp_path / "f.zip").read_bytes()
    for sign, name in ((b"x", "客户.tsv"), (b"y", "供应商.csv")):
        raw = raw.replace(sign * len(name.encode("gb18030")), name.encode("gb18030"))
    (tmp_path / "f.zip").write_bytes(raw)
    reason, message = refused(tmp_path, ["a"], file="f.zip")
    assert (reason, "客户.tsv" in message, "供应商.csv" in message) == ("MemberUnknown", True, True)
    assert opened(tmp_path, ["a"], file="f.zip", member="客户.tsv").header == ["a", "b"]
