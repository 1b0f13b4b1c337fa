"""Cells of an xlsx sheet whose formula came to an error: the reader gives them as empty, which they are not."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from pilotage.migration.source.lines import READ_BYTES

# What one such cell takes in the sheet's XML, with its formula.
CELL_BYTES: Final = 1 << 16
MAX_INDEX_BYTES: Final = 1 << 20

_CELL: Final = re.compile(
    rb'<(?:\w+:)?c\b(?=[^>]*\bt="e")[^>]*\br="([A-Z]{1,3})([0-9]{1,7})"[^>]*>(?:(?!</(?:\w+:)?c>).)*?'
    rb"<(?:\w+:)?v>([^<]{1,40})</",
    re.DOTALL,
)
_RELATION: Final = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def cells_in_error(source: Path | io.BytesIO, sheet: str) -> dict[tuple[int, int], str]:
    """What such cells show, `#DIV/0!` or `#N/A`, by row and column from 0; none for a workbook that is no xlsx."""
    if not zipfile.is_zipfile(source):
        return {}
    with zipfile.ZipFile(source) as archive:
        part = _part_of(archive, sheet)
        if part is None:
            return {}
        return {
            (int(row) - 1, _column(letters)): text.decode("utf-8", errors="backslashreplace")
            for letters, row, text in _found(archive, part)
        }


def _part_of(archive: zipfile.ZipFile, sheet: str) -> str | None:
    try:
        index = _parsed(archive, "xl/workbook.xml")
        targets = {
            one.get("Id"): str(one.get("Target")) for one in _parsed(archive, "xl/_rels/workbook.xml.rels").iter()
        }
    except (KeyError, ET.ParseError):
        return None
    for one in index.iter():
        if one.tag.endswith("}sheet") and one.get("name") == sheet and one.get(_RELATION) in targets:
            target = targets[one.get(_RELATION)]
            name = target.removeprefix("/") if target.startswith("/") else f"xl/{target}"
            return name if name in archive.namelist() else None
    return None


def _parsed(archive: zipfile.ZipFile, name: str) -> ET.Element:
    with archive.open(name) as file:
        return ET.fromstring(file.read(MAX_INDEX_BYTES))  # noqa: S314 (a part of bounded size; expat bounds entities)


def _found(archive: zipfile.ZipFile, part: str) -> Iterator[tuple[bytes, bytes, bytes]]:
    with archive.open(part) as file:
        rest = b""
        while block := file.read(READ_BYTES):
            text = rest + block
            end = 0
            for cell in _CELL.finditer(text):
                yield cell[1], cell[2], cell[3]
                end = cell.end()
            rest = text[max(end, len(text) - CELL_BYTES) :]


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - ord("A") + 1
    return number - 1
