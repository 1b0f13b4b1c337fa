"""Sheets of Excel workbooks: values as the workbook keeps them, formulas as what they last came to."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, PasswordError, load_workbook

from pilotage.migration.errors import Halt
from pilotage.migration.source.cell_errors import cells_in_error
from pilotage.migration.source.lines import READ_BYTES
from pilotage.migration.source.table import Table, canonical_text

# A sheet is in memory whole while it is read, at some three times the size of its XML.
MAX_XML_BYTES: Final = 96 << 20
MAX_XLS_BYTES: Final = 64 << 20


def read_sheet(source: Path | io.BytesIO, name: str, sheet: str | None, header_row: int) -> Table:
    """The sheet of that name, or the first. Raises Halt when it is not there, too large, or no workbook at all."""
    _check_size(source, name)
    try:
        workbook: CalamineWorkbook = load_workbook(source)
        found = _chosen(workbook, sheet, name)
    except PasswordError as error:
        raise Halt("SourceUnreadable", f"{name} is protected by a password: save it without") from error
    except (CalamineError, OSError) as error:
        raise Halt("SourceUnreadable", f"{name} is no workbook that can be read: {error}") from error
    rows = found.iter_rows()
    head: Sequence[object] | None = None
    for _ in range(header_row):
        head = next(rows, None)
    if head is None:
        raise Halt("SourceEmpty", f"{name}: row {header_row} of sheet {found.name} has no header")
    names = _header(found, [canonical_text(cell) for cell in head], header_row)
    left = found.start[1] if found.start else 0
    errors: dict[int, dict[int, str]] = {}
    for (row, column), shown in cells_in_error(source, found.name).items():
        errors.setdefault(row, {})[column - left] = shown
    return Table(names, _texts(rows, errors, header_row), header_row + 1)


def _texts(
    rows: Iterator[Sequence[object]], errors: Mapping[int, Mapping[int, str]], start: int
) -> Iterator[list[str]]:
    for number, row in enumerate(rows, start=start):
        texts = [canonical_text(cell) for cell in row]
        for column, shown in errors.get(number, {}).items():
            texts[column] = shown
        yield texts if any(texts) else []


def _chosen(workbook: CalamineWorkbook, wanted: str | None, name: str) -> CalamineSheet:
    if wanted is not None and wanted not in workbook.sheet_names:
        there = ", ".join(workbook.sheet_names[:20])
        raise Halt("SheetUnknown", f"{name} has no sheet {wanted}; there are: {there}")
    return workbook.get_sheet_by_name(wanted) if wanted else workbook.get_sheet_by_index(0)


def _header(sheet: CalamineSheet, names: list[str], header_row: int) -> list[str]:
    """Names of the columns; a cell that was merged has the text of the cell that shows."""
    row, left = header_row - 1, sheet.start[1] if sheet.start else 0
    for (top, first), (bottom, last) in sheet.merged_cell_ranges or []:
        if top <= row <= bottom:
            shown = sheet.to_python(skip_empty_area=False, nrows=top + 1)[top][first]
            for column in range(first, last + 1):
                if 0 <= column - left < len(names):
                    names[column - left] = canonical_text(shown)
    return names


def _check_size(source: Path | io.BytesIO, name: str) -> None:
    """Refuse what would not fit into memory before any of it is taken there, whatever the archive says of itself."""
    if not zipfile.is_zipfile(source):
        size = len(source.getvalue()) if isinstance(source, io.BytesIO) else source.stat().st_size
        if size > MAX_XLS_BYTES:
            raise _too_large(name)
        return
    total = 0
    try:
        with zipfile.ZipFile(source) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    while block := file.read(READ_BYTES):
                        total += len(block)
                        if total > MAX_XML_BYTES:
                            raise _too_large(name)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, struct.error) as error:
        raise Halt("SourceUnreadable", f"{name} is no workbook that can be read: {error}") from error
    if isinstance(source, io.BytesIO):
        source.seek(0)


def _too_large(name: str) -> Halt:
    return Halt(
        "SourceTooLarge",
        f"{name} holds more than {MAX_XML_BYTES >> 20} MiB of XML (or {MAX_XLS_BYTES >> 20} MiB of xls), which does "
        "not fit into a worker's memory: save the sheet as CSV UTF-8",
    )
