"""Sheets that findings and the quarantine are written into."""

from __future__ import annotations

import pytest

from pilotage.migration.errors import Halt
from pilotage.migration.look import workbook


def test_rows_that_a_sheet_has_no_room_for_are_refused_instead_of_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(workbook, "MAX_ROWS", 3)
    workbook.write_sheets(tmp_path / "full.xlsx", [("full", ["a"], [["1"], ["2"]])])
    with pytest.raises(Halt) as stopped:
        workbook.write_sheets(tmp_path / "over.xlsx", [("over", ["a"], [["1"], ["2"], ["3"]])])
    assert stopped.value.reason == "SheetFull"


def test_rows_that_end_in_an_error_leave_no_workbook_and_no_earlier_one_is_lost(tmp_path):
    def broken():
        yield ["1"]
        raise ConnectionError

    whole, torn = tmp_path / "whole.xlsx", tmp_path / "torn.xlsx"
    workbook.write_sheets(whole, [("rows", ["a"], [["1"]])])
    before = whole.read_bytes()
    for path in (whole, torn):
        with pytest.raises(ConnectionError):
            workbook.write_sheets(path, [("rows", ["a"], broken())])
    assert whole.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["whole.xlsx"]
