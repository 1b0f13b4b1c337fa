"""The findings as a workbook, where the people who know the data work. Every cell is text or a number, no formula."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from pilotage.api.text import printable
from pilotage.migration.errors import Halt
from pilotage.migration.look.examine import Look
from pilotage.migration.look.propose import Proposal
from pilotage.migration.look.show import distinct_text, facts, length_text, values_text

MAX_CELL: Final = 32_767
MAX_ROWS: Final = 1_048_576
# The number of "@" among the formats that every spreadsheet has.
TEXT_FORMAT: Final = 49


def write_sheets(path: Path, sheets: Iterable[tuple[str, Sequence[str], Iterable[Sequence[Any]]]]) -> None:
    """Write sheets, each a name, a header and rows, row by row.

    Texts are in cells of the format "text", where what a person types stays as it was typed: leading zeros, numbers of
    eighteen digits. Raises Halt when XlsxWriter is not installed or a sheet would be longer than Excel's.
    """
    try:
        import xlsxwriter
    except ImportError as error:
        raise Halt("ConsoleMissing", "a workbook needs XlsxWriter: pip install 'pilotage[console]'") from error
    # XlsxWriter saves what it has also when the rows end in an error: only a whole workbook gets the name.
    partial = path.with_name(f"{path.name}.partial")
    try:
        with xlsxwriter.Workbook(str(partial), {"constant_memory": True}) as book:
            bold, plain = book.add_format({"bold": True}), book.add_format({"num_format": TEXT_FORMAT})
            for name, header, rows in sheets:
                sheet = book.add_worksheet(name)
                sheet.freeze_panes(1, 0)
                sheet.set_column(0, len(header) - 1, 18)
                for column, title in enumerate(header):
                    sheet.write_string(0, column, shown(title), bold)
                _write_rows(sheet, _fitting(rows, path), plain)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _fitting(rows: Iterable[Sequence[Any]], path: Path) -> Iterator[Sequence[Any]]:
    for number, row in enumerate(rows, start=1):
        if number == MAX_ROWS:
            raise Halt("SheetFull", f"{path.name}: a sheet ends at {MAX_ROWS} rows: use --format csv")
        yield row


def _write_rows(sheet: Any, rows: Iterable[Sequence[Any]], plain: Any) -> None:
    for number, row in enumerate(rows, start=1):
        for column, value in enumerate(row):
            if isinstance(value, str):
                sheet.write_string(number, column, shown(value), plain)
            else:
                sheet.write(number, column, value)


def shown(text: str) -> str:
    """What a cell can hold of the text."""
    return "".join(sign if sign >= " " or sign in "\n\t" else sign.encode("unicode_escape").decode() for sign in text)[
        :MAX_CELL
    ]


def write_look(path: Path, look: Look, proposal: Proposal | None) -> None:
    """Mapping, columns, findings and file, a sheet each."""
    write_sheets(
        path,
        [
            ("mapping", ("from", "to", "type", "transform", "how sure", "note"), _mapping(proposal)),
            (
                "columns",
                ("column", "type", "rows", "empty", "distinct", "least", "greatest", "length", "most frequent"),
                _columns(look),
            ),
            ("findings", ("code", "column", "count", "what", "line", "byte offset", "value"), _findings(look)),
            ("file", ("", "found"), facts(look)),
        ],
    )


def _mapping(proposal: Proposal | None) -> Iterable[Sequence[Any]]:
    if proposal is None:
        return
    for field in proposal.fields:
        manifest = field.to_manifest()
        sure, why = (field.match.confidence, field.match.why) if field.match else ("", "")
        steps = ", ".join(manifest.get("transform", []))
        yield field.column.name, field.to, field.type.value, steps, sure, why
    for note in proposal.notes:
        yield "", "", "", "", "", note


def _columns(look: Look) -> Iterable[Sequence[Any]]:
    for column in look.profile.columns:
        low, high = column.range
        kind, empty = column.type.value, round(column.null_share, 4)
        measured = (distinct_text(column), low, high, length_text(column), values_text(column, 20))
        yield column.name, kind, column.rows, empty, *measured


def _findings(look: Look) -> Iterable[Sequence[Any]]:
    for problem in look.problems:
        yield "", "", "", problem, "", "", ""
    for defect in look.defects:
        for place in defect.places:
            where = (place.line, place.offset, printable(place.value))
            yield defect.code, defect.column, defect.count, defect.title, *where
