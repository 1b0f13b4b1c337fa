"""Cells of the quarantine's files, and the spec of a replay."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.migration.errors import Halt
from pilotage.migration.quarantine_file import neutralise, replay_spec, restore

CELLS = st.text("'=+-@\t\r＝0123.5aA客", max_size=6) | st.text(max_size=10)


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /c calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1+1", "'=1"])
def test_what_a_spreadsheet_would_compute_is_neutralised(cell):
    assert neutralise(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["-5", "+5.25", "-0.50", "华升", "", "2024-05-31", "it's", "a=b"])
def test_numbers_and_plain_texts_stay_as_they_are(cell):
    assert neutralise(cell) == cell


@settings(deadline=None)
@given(CELLS)
def test_what_was_neutralised_is_restored_exactly(cell):
    assert restore(neutralise(cell)) == cell


@settings(deadline=None)
@given(CELLS)
def test_no_neutralised_cell_starts_like_a_formula_unless_it_is_a_number(cell):
    found = neutralise(cell)
    assert found[:1] not in tuple("=+-@\t\r＝") or found[1:].replace(".", "").isdigit()


def spec() -> dict:
    return {
        "module": "core",
        "source": {"connection": "old-erp", "consistency": "Freeze", "encoding": "GBK"},
        "objects": [
            {"name": "customers", "from": {"file": "客户.csv"}, "to": "party", "fields": []},
            {
                "name": "contacts",
                "from": {"file": "联系人.csv", "delimiter": ";"},
                "to": "contact",
                "fields": [
                    {"to": "party", "from": "KHBM", "reference": {"object": "customers", "match": "code", "use": "id"}},
                    {"to": "kind", "from": "LX", "reference": {"table": "kind", "match": "code", "use": "id"}},
                ],
            },
        ],
        "reconcile": [
            {"name": "rows", "object": "contacts", "type": "RowCount", "expected": "5"},
            {"name": "others", "object": "customers", "type": "RowCount"},
        ],
    }  # fmt: skip


def test_a_replay_loads_one_object_whose_references_lead_to_tables():
    found = replay_spec(spec(), "contacts", "fixed.csv", ";")
    (one,) = found["objects"]
    assert one["from"] == {"file": "fixed.csv", "delimiter": ";", "encoding": "UTF-8", "format": "csv"}
    assert [field["reference"]["table"] for field in one["fields"]] == ["party", "kind"]
    assert found["reconcile"] == [{"name": "rows", "object": "contacts", "type": "RowCount"}]
    assert found["module"] == "core"
    assert found["source"] == {"volume": {"claimName": "repaired"}, "encoding": "GBK"}


def test_a_replay_of_an_unknown_object_names_those_that_there_are():
    with pytest.raises(Halt, match="customers, contacts"):
        replay_spec(spec(), "suppliers", "fixed.csv", ",")
