"""The legacy export, looked at as bytes: what planted.json says is what a reader of the files finds."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter

import pytest

from e2e.data.__main__ import main
from e2e.data.credit_code import body_check, check_character, credit_code
from e2e.data.export import file_bytes, make_export, planted
from e2e.data.parties import firm

CUSTOMERS = 20_000


@pytest.fixture(scope="module")
def export():
    return make_export(CUSTOMERS)


@pytest.fixture(scope="module")
def truth(export):
    return planted(export)


class Found:
    """A file read by somebody who knows nothing of how it was made: readable rows, and lines with wrong bytes."""

    def __init__(self, content: bytes) -> None:
        lines = content.split(b"\r\n")
        assert lines.pop() == b""
        readable = [line for line in lines if is_readable(line)]
        self.unreadable = len(lines) - len(readable)
        text = "\r\n".join(line.decode("GB18030") for line in readable)
        self.rows = list(csv.DictReader(io.StringIO(text, newline="")))

    def column(self, name: str) -> list[str]:
        return [row[name] for row in self.rows]


def is_readable(line: bytes) -> bool:
    try:
        line.decode("GB18030")
    except UnicodeDecodeError:
        return False
    return True


def half_width(text: str) -> str:
    return text.translate(str.maketrans("０１２３４５６７８９", "0123456789"))


def repeated(values: list[str]) -> int:
    return sum(count - 1 for count in Counter(values).values())


def four_byte(text: str) -> bool:
    return any(len(letter.encode("GB18030")) == 4 for letter in text)


@pytest.fixture(scope="module")
def customers(export):
    return Found(file_bytes(export.parties.customers))


@pytest.fixture(scope="module")
def suppliers(export):
    return Found(file_bytes(export.parties.suppliers))


@pytest.fixture(scope="module")
def materials(export):
    return Found(file_bytes(export.materials))


def test_the_same_arguments_give_the_same_bytes_with_every_python(export):
    content = b"".join(file_bytes(file) for file in export.files)
    assert hashlib.sha256(content).hexdigest() == "a7c42b1308cea4157a2079f4e893034929ffa0f8ef1d8192814d6a40f106cbcc"


def test_customers_hold_exactly_the_planted_defects(customers, truth):
    said = truth["files"]["客户.csv"]
    assert {
        "olderDuplicate": repeated([half_width(code) for code in customers.column("TYXYDM")]),
        "emptyRequired": sum(not name.strip() for name in customers.column("KHMC")),
        "fullWidth": sum(code != half_width(code) for code in customers.column("TYXYDM")),
        "wrongBytes": customers.unreadable,
        "rareCharacter": sum(four_byte(name) for name in customers.column("KHMC")),
        "unknownEnum": sum(state not in {"正常", "停用"} for state in customers.column("ZT")),
        "inactive": customers.column("ZT").count("停用"),
        "quotes": sum('"' in address for address in customers.column("DZ")),
        "lineBreak": sum("\n" in address for address in customers.column("DZ")),
    } == said["defects"]
    assert len(customers.rows) + customers.unreadable == said["rows"] == CUSTOMERS + 120


def test_suppliers_hold_exactly_the_planted_defects(suppliers, truth):
    said = truth["files"]["供应商.csv"]
    assert {
        "olderDuplicate": repeated([half_width(code) for code in suppliers.column("TYXYDM")]),
        "emptyRequired": sum(not name.strip() for name in suppliers.column("GYSMC")),
        "fullWidth": sum(code != half_width(code) for code in suppliers.column("TYXYDM")),
        "wrongBytes": suppliers.unreadable,
        "rareCharacter": sum(four_byte(name) for name in suppliers.column("GYSMC")),
        "unknownEnum": sum(state not in {"正常", "停用"} for state in suppliers.column("ZT")),
        "lineBreak": sum("\n" in address for address in suppliers.column("DZ")),
    } == said["defects"]
    assert len(suppliers.rows) + suppliers.unreadable == said["rows"]


def test_materials_hold_exactly_the_planted_defects(materials, suppliers, truth):
    said = truth["files"]["物料.csv"]
    known = {half_width(code) for code in suppliers.column("TYXYDM")}
    assert {
        "olderDuplicate": repeated([half_width(code) for code in materials.column("WLBM")]),
        "emptyRequired": sum(not name.strip() for name in materials.column("WLMC")),
        "fullWidth": sum(code != half_width(code) for code in materials.column("WLBM")),
        "wrongBytes": materials.unreadable,
        "rareCharacter": sum(four_byte(name) for name in materials.column("WLMC")),
        "unknownEnum": sum(kind != "商品" for kind in materials.column("LB")),
        "quotes": sum('"' in name for name in materials.column("WLMC")),
        "orphan": sum(code not in known for code in materials.column("GYSDM")),
    } == said["defects"]
    assert len(materials.rows) + materials.unreadable == said["rows"]


def test_firms_in_both_files_share_their_code_and_are_all_loadable_as_customers(customers, suppliers, truth):
    usable = {
        half_width(row["TYXYDM"])
        for row in customers.rows
        if row["KHMC"].strip() and row["ZT"] in {"正常", "停用"}
    }  # fmt: skip
    both = usable & {half_width(code) for code in suppliers.column("TYXYDM")}
    assert len(both) == truth["firmsInBothFiles"] == truth["expected"]["suppliers"]["kept"]


def test_every_expected_count_adds_up(truth):
    for counts in truth["expected"].values():
        assert counts["read"] == counts["loaded"] + counts["kept"] + counts["duplicates"] + counts["quarantined"]
        assert counts["quarantined"] == sum(counts["quarantinedByCode"].values())


def test_the_newest_of_two_rows_bears_the_name_that_must_be_found(customers, truth):
    (sample,) = (found for found in truth["samples"] if found["reason"] == "newestDuplicate")
    older, newer = sorted(
        (row for row in customers.rows if row["TYXYDM"] == sample["code"]), key=lambda row: row["XGRQ"]
    )
    assert newer["KHMC"] == sample["name"] != older["KHMC"]


def test_no_two_firms_share_a_name_or_a_code():
    firms = [firm(serial) for serial in range(0, 500_000, 17)]
    assert len({found.name for found in firms}) == len({found.code for found in firms}) == len(firms)


@pytest.mark.parametrize("registered", ["9144030071526726XG", "914403001922038216"])
def test_check_characters_are_those_of_registered_firms(registered):
    assert check_character(registered[:17]) == registered[17]
    assert body_check(registered[8:16]) == registered[16]


def test_a_made_up_code_is_one_that_the_register_could_give():
    code = credit_code("330100", 12_345_678)
    assert len(code) == 18
    assert code[17] == check_character(code[:17])


def test_the_command_writes_three_files_and_the_truth_about_them(tmp_path, truth, capsys):
    assert main([str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["planted.json", "供应商.csv", "客户.csv", "物料.csv"]
    assert json.loads((tmp_path / "planted.json").read_text(encoding="utf-8")) == truth
    assert "客户.csv" in capsys.readouterr().out


def test_too_few_customers_are_refused_with_the_least_number(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--customers", "10"])
    assert "at least 4000" in capsys.readouterr().err


def test_another_generator_than_the_one_meant_writes_nothing(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--generator", "f00dfeed"])
    assert "wanted is f00dfeed" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
