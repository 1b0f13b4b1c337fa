"""Values that no `map` knows, as a sheet to be filled in, and what was filled in as a part of the spec."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pilotage.migration.database import Connection
from pilotage.migration.errors import Halt
from pilotage.migration.look.workbook import shown
from pilotage.migration.mapping import SHOWN_VALUE, reported_column
from pilotage.migration.plan import ObjectPlan
from pilotage.migration.source.content import Content
from pilotage.migration.source.workbook_process import read_sheet_apart

# No object has a name with an underscore.
SHEET: Final = "_mappings"
HEADER: Final = ("field", "column", "value", "rows", "stands for")

_OPEN: Final = """
select column_name, bad_value, count(*) from mig.quarantine
 where run_id = %s and object = %s and code = 'E_MAPPING' and bad_value <> '' and length(bad_value) < %s
 group by 1, 2 order by 3 desc, 1, 2
"""


def open_values(connection: Connection, run: str, plan: ObjectPlan) -> list[tuple[str, str, str, int]]:
    """Field, column, value and number of rows of what no `map` knows, the most frequent first.

    The ledger keeps the value as the `map` was asked for it, cut at a length from which on it is left out here.
    """
    return [
        (field.to, column, value, rows)
        for column, value, rows in connection.execute(_OPEN, (run, plan.definition.name, SHOWN_VALUE))
        for field in plan.definition.fields
        if field.map and reported_column(field) == column and value not in field.map
    ]


def sheet(open_: list[tuple[str, str, str, int]]) -> tuple[str, tuple[str, ...], list[tuple[Any, ...]]]:
    """The sheet for a workbook: its last column is empty, for what a value stands for."""
    return SHEET, HEADER, [(*one, "") for one in open_]


def read_answers(path: Path, open_: list[tuple[str, str, str, int]]) -> dict[str, dict[str, str]]:
    """By field and value, what was filled in; nothing where the workbook has no such sheet.

    Raises Halt when a line answers what was not asked, or differently from another.
    """
    try:
        table = read_sheet_apart(Content(path), SHEET, 1)
    except Halt as halt:
        if halt.reason == "SheetUnknown":
            return {}
        raise
    except OSError as error:
        raise Halt("SourceUnreadable", f"{path.name}: {error}") from error
    if tuple(table.header[: len(HEADER)]) != HEADER:
        raise Halt("ColumnsMissing", f"{path.name}: the header of sheet {SHEET} is not {', '.join(HEADER)}")
    asked = {(field, shown(value)): value for field, _, value, _ in open_}
    answers: dict[str, dict[str, str]] = {}
    for number, row in enumerate(table.rows, start=table.first):
        if len(row) < len(HEADER) or not row[4].strip():
            continue
        field, _, seen, _, answer = row[:5]
        if (field, seen) not in asked:
            text = f"{path.name}: row {number} of sheet {SHEET}: {seen[:40]!r} is no open value of field {field[:63]!r}"
            raise Halt("MappingUnknown", text)
        known = answers.setdefault(field, {})
        if known.setdefault(asked[field, seen], answer.strip()) != answer.strip():
            raise Halt("MappingUnknown", f"{path.name}: row {number} of sheet {SHEET} differs from one above it")
    return answers


def with_answers(spec: dict[str, Any], answers: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """The spec of one object whose maps know the answers, too."""
    (only,) = spec["objects"]
    fields = [
        {**field, "map": {**field["map"], **answers[field["to"]]}} if field["to"] in answers else field
        for field in only["fields"]
    ]
    return {**spec, "objects": [{**only, "fields": fields}]}
