"""The quarantine as files: rows in the columns and the encoding of their source, with every reason, safe to open."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from pilotage.api.v1alpha1.migrationjob import Encoding, FileFormat
from pilotage.migration import mapping_sheet
from pilotage.migration.conversion import Refused
from pilotage.migration.database import Connection
from pilotage.migration.encoding import BYTE_ORDER_MARKS, CODECS
from pilotage.migration.errors import Halt
from pilotage.migration.look.workbook import shown, write_sheets
from pilotage.migration.plan import ObjectPlan
from pilotage.migration.source.content import Content
from pilotage.migration.source.door import format_of
from pilotage.migration.source.forms import Form
from pilotage.migration.source.workbook_process import read_sheet_apart

REASON_COLUMNS: Final = ("_error_code", "_error_column", "_error_message", "_src_line", "_src_offset", "_original")
FETCHED_ROWS: Final = 1000

_FORMULA: Final = re.compile(r"'*[=+\-@\t\r＝＋－＠]")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_ROWS: Final = """
select src_offset, src_line, array_agg(code order by stage, rule), array_agg(column_name order by stage, rule),
       array_agg(message order by stage, rule), (array_agg(src_raw))[1]
  from mig.quarantine where run_id = %s and object = %s group by src_offset, src_line order by src_offset
"""


def neutralise(cell: str) -> str:
    """The cell with an apostrophe before it where a spreadsheet would take it for a formula; numbers stay."""
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def restore(cell: str) -> str:
    """What `neutralise` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def rows(connection: Connection, run: str, plan: ObjectPlan) -> Iterator[list[str]]:
    r"""Quarantined rows of one object in the order of the file: the source's columns, then REASON_COLUMNS.

    A row that could not be cut into the header's columns has them empty and stands whole in `_original`, as do lines
    that are no CSV; bytes that are not of the encoding are written there as `\xNN`.
    """
    width = len(plan.header)
    with connection.transaction(), connection.cursor(name="quarantine") as cursor:
        cursor.itersize = FETCHED_ROWS
        for offset, line, codes, columns, messages, raw in cursor.execute(_ROWS, (run, plan.definition.name)):
            texts = _cells(bytes(raw), plan)
            plain = len(texts) == width and plan.form in {Form.CSV, Form.ROW}
            original = "" if plain else _shown(bytes(raw), plan.encoding)
            cells = texts if len(texts) == width else [""] * width
            reasons = ("; ".join(codes), "; ".join(filter(None, columns)), "; ".join(filter(None, messages)))
            yield [*cells, *reasons, str(line), str(offset), original]


def _cells(raw: bytes, plan: ObjectPlan) -> list[str]:
    try:
        return plan.line_texts(raw)
    except (UnicodeDecodeError, csv.Error, Refused):
        return []


def _shown(raw: bytes, encoding: Encoding) -> str:
    return raw.decode(CODECS[encoding], errors="backslashreplace").rstrip("\r\n")


def export(connection: Connection, run: str, plans: Sequence[ObjectPlan], folder: Path, kind: str) -> list[Path]:
    """Write a file for each object that has quarantined rows; `kind` is csv or xlsx. Returns the files.

    CSV is in the encoding of the source, UTF-8 with the mark by which Excel knows it, and formulas are neutralised.
    A workbook has a second sheet where values that no `map` knows can be given their meaning.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for plan in plans:
        found = rows(connection, run, plan)
        first = next(found, None)
        if first is None:
            continue
        path = folder / f"{plan.definition.name}.quarantine.{kind}"
        header = [*plan.header, *REASON_COLUMNS]
        if kind == "xlsx":
            open_ = mapping_sheet.open_values(connection, run, plan)
            sheets = [(plan.definition.name[:31], header, _from(first, found))]
            write_sheets(path, [*sheets, mapping_sheet.sheet(open_)] if open_ else sheets)
        else:
            _write_csv(path, plan, header, _from(first, found))
        written.append(path)
    return written


def _from(first: list[str], others: Iterator[list[str]]) -> Iterator[list[str]]:
    yield first
    yield from others


def _write_csv(path: Path, plan: ObjectPlan, header: Sequence[str], found: Iterator[list[str]]) -> None:
    # What was GBK comes back as GB18030, which holds it: a message may name a character that GBK lacks.
    encoding = Encoding.UTF_8 if plan.encoding is Encoding.UTF_8 else Encoding.GB18030
    with ExitStack() as stack:
        file = stack.enter_context(path.open("wb"))
        file.write(BYTE_ORDER_MARKS[Encoding.UTF_8] if encoding is Encoding.UTF_8 else b"")
        text = stack.enter_context(io.TextIOWrapper(file, encoding=CODECS[encoding], newline=""))
        writer = csv.writer(text, delimiter=plan.delimiter, lineterminator="\r\n")
        writer.writerow([neutralise(name) for name in header])
        for row in found:
            writer.writerow([neutralise(cell) for cell in row])


def unshowable(connection: Connection, run: str, plan: ObjectPlan) -> dict[str, list[str]]:
    """By `_src_offset`, cells of the rows that a workbook cannot hold as they are: too long, or control characters."""
    width, place = len(plan.header), len(plan.header) + REASON_COLUMNS.index("_src_offset")
    return {
        row[place]: row[:width]
        for row in rows(connection, run, plan)
        if any(shown(cell) != cell for cell in row[:width])
    }


def is_workbook(path: Path) -> bool:
    """Whether a repaired export is one, by its name."""
    return format_of(path.name) is FileFormat.XLSX


def read_fixed(path: Path, plan: ObjectPlan, whole: Mapping[str, list[str]]) -> Iterator[list[str]]:
    """Header and rows of a repaired export, CSV or a workbook, in the columns of the source.

    `whole` is what `unshowable` found: a workbook's cell that still shows one of its values stands for that value.
    Raises Halt when header or encoding are others.
    """
    if is_workbook(path):
        yield from _read_workbook(path, plan, whole)
    else:
        yield from _read_csv(path, plan)


def _read_workbook(path: Path, plan: ObjectPlan, whole: Mapping[str, list[str]]) -> Iterator[list[str]]:
    width, place = len(plan.header), len(plan.header) + REASON_COLUMNS.index("_src_offset")
    try:
        table = read_sheet_apart(Content(path), None, 1)
    except OSError as error:
        raise Halt("SourceUnreadable", f"{path.name}: {error}") from error
    header = table.header[:width]
    _require_header(path, header, [shown(name) for name in plan.header])
    yield plan.header
    for row in table.rows:
        cells = list(row[:width])
        offset = row[place] if place < len(row) else ""
        for column, original in enumerate(whole.get(offset, [])):
            if cells[column] == shown(original):
                cells[column] = original
        if any(cells):
            yield cells


def _require_header(path: Path, found: list[str], wanted: list[str]) -> None:
    if found != wanted:
        raise Halt("ColumnsMissing", f"{path.name}: the header is not the export's: {', '.join(found)[:300]}")


def _read_csv(path: Path, plan: ObjectPlan) -> Iterator[list[str]]:
    codec = "utf-8-sig" if plan.encoding is Encoding.UTF_8 else CODECS[Encoding.GB18030]
    width = len(plan.header)
    try:
        with path.open(encoding=codec, newline="") as file:
            for number, row in enumerate(csv.reader(file, delimiter=plan.delimiter, strict=True), start=1):
                cells = [restore(cell) for cell in row[:width]]
                if number == 1:
                    _require_header(path, cells, plan.header)
                if any(row):
                    yield cells
    except UnicodeDecodeError as error:
        raise Halt("WrongEncoding", f"{path.name} is not {plan.encoding} any more: save it as it was") from error
    except (OSError, csv.Error) as error:
        raise Halt("SourceUnreadable", f"{path.name}: {error}") from error


def write_fixed(path: Path, fixed: Path, plan: ObjectPlan, whole: Mapping[str, list[str]]) -> int:
    """Write the repaired rows as a file that the object's mapping reads; returns how many rows it has."""
    count = -1
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=plan.delimiter, lineterminator="\r\n")
        for row in read_fixed(fixed, plan, whole):
            writer.writerow(row)
            count += 1
    return max(count, 0)


def replay_spec(spec: dict[str, Any], name: str, file: str, delimiter: str) -> dict[str, Any]:
    """The spec of the run that loads repaired rows of one object, given as manifests.

    Rows of other objects are in their tables by now, so references go there; figures that the customer gave for the
    whole file do not hold for these rows.
    """
    by_name = {found["name"]: found for found in spec["objects"]}
    if name not in by_name:
        raise Halt("ObjectUnknown", f"the spec has no object {name}; it has {', '.join(by_name)}")
    chosen = by_name[name]
    fields = [_to_table(field, by_name) for field in chosen["fields"]]
    source = {
        "file": file,
        "encoding": Encoding.UTF_8.value,
        "format": FileFormat.CSV.value,
        "delimiter": delimiter,
    }
    checks = [
        {key: value for key, value in check.items() if key != "expected"}
        for check in spec.get("reconcile", [])
        if check["object"] == name
    ]
    # The repaired rows are a file in a folder, wherever the run's own came from.
    place = {**spec["source"], "volume": {"claimName": "repaired"}}
    for elsewhere in ("configMap", "http", "s3", "connection", "consistency"):
        place.pop(elsewhere, None)
    return {**spec, "source": place, "objects": [{**chosen, "from": source, "fields": fields}], "reconcile": checks}


def _to_table(field: dict[str, Any], by_name: dict[str, dict[str, Any]]) -> dict[str, Any]:
    reference = field.get("reference", {})
    if "object" not in reference:
        return field
    table = by_name[reference["object"]]["to"]
    return {**field, "reference": {"table": table, "match": reference["match"], "use": reference["use"]}}
