"""Findings with their places: every one is counted, the first few of each kind are kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

KEPT_PLACES: Final = 5
SHOWN_VALUE: Final = 60

TITLES: Final = {
    "E_ENCODING": "bytes that are not of the encoding",
    "E_PARSE": "misplaced quotes",
    "E_COLUMNS": "rows with another number of columns than the header",
    "E_NUL_BYTE": "U+0000, which PostgreSQL cannot store",
    "E_TYPE": "values that are not of the column's type",
    "E_RANGE": "days that do not exist",
    "E_DUP_SOURCE": "values that occur twice in a column that looks like a key",
    "W_CHECK_DIGIT": "18-digit numbers whose check digit is wrong",
    "W_CONTROL": "control characters",
    "W_FULLWIDTH": "full-width digits, letters or blanks",
    "W_MIXED_DATES": "dates in another form than most of the column",
    "W_MOJIBAKE": "text that was once read in the wrong encoding",
    "W_NULL_WORD": "words that stand for an empty value",
    "W_PLACEHOLDER_DATE": "dates that usually stand for an empty value",
    "W_SCIENTIFIC": "numbers in scientific notation: a spreadsheet may have cut their digits",
    "W_UNIT": "numbers written with a unit, a currency sign or thousands separators",
}


@dataclass(frozen=True)
class Place:
    """Where something is: line from 1 and byte offset from 0 of the record, and the value as it stands there."""

    line: int
    offset: int
    value: str = ""


@dataclass
class Defect:
    """One kind of finding in one column. `code` E_… is what quarantines the row, W_… is only suspicious."""

    code: str
    column: str = ""
    count: int = 0
    places: list[Place] = field(default_factory=list)
    note: str = ""

    @property
    def title(self) -> str:
        """What is wrong, in words."""
        return TITLES[self.code] + (f" ({self.note})" if self.note else "")

    def add(self, place: Place, times: int = 1) -> None:
        """Count it, and keep the place while there is room."""
        self.count += times
        if len(self.places) < KEPT_PLACES:
            self.places.append(place)


class DefectLog:
    """Findings by code and column. Memory is bounded by columns and codes, not by the file."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Defect] = {}

    def add(self, code: str, column: str, place: Place) -> None:
        """Count one finding."""
        self.of(code, column).add(place)

    def of(self, code: str, column: str) -> Defect:
        """The finding of this code and column, made at the first call."""
        return self._found.setdefault((code, column), Defect(code, column))

    def take(self, defects: Iterable[Defect]) -> None:
        """Add findings that were counted elsewhere."""
        for defect in defects:
            self._found[defect.code, defect.column] = defect

    def list(self) -> list[Defect]:
        """All findings: those that cost rows first, then by count."""
        found = [defect for defect in self._found.values() if defect.count]
        return sorted(found, key=lambda defect: (defect.code[0] != "E", -defect.count, defect.code, defect.column))
