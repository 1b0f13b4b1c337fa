"""One line of a legacy file, what is wrong with it, and the table of all planted defects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from e2e.data.vocabulary import Choices


class Defect(StrEnum):
    """What is planted in a row. `repairable`: the row must be loaded all the same."""

    OLDER_DUPLICATE = "olderDuplicate"
    EMPTY_REQUIRED = "emptyRequired"
    FULL_WIDTH = "fullWidth"
    WRONG_BYTES = "wrongBytes"
    RARE_CHARACTER = "rareCharacter"
    UNKNOWN_ENUM = "unknownEnum"
    ORPHAN = "orphan"
    QUOTES = "quotes"
    LINE_BREAK = "lineBreak"
    INACTIVE = "inactive"


@dataclass(frozen=True)
class Row:
    """A line: its values in the order of the file's columns. `broken` names the column that gets a wrong byte."""

    values: tuple[str, ...]
    defect: Defect | None = None
    broken: int | None = None


@dataclass(frozen=True)
class LegacyFile:
    """A file of the export: columns as the old system names them, and rows in the order in which they are written."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def planted(self, defect: Defect) -> int:
        return sum(row.defect is defect for row in self.rows)


# How many rows of each kind; every row has at most one kind, so that the numbers add up.
CUSTOMER_DEFECTS = {
    Defect.OLDER_DUPLICATE: 120,
    Defect.EMPTY_REQUIRED: 45,
    Defect.FULL_WIDTH: 200,
    Defect.WRONG_BYTES: 17,
    Defect.RARE_CHARACTER: 80,
    Defect.UNKNOWN_ENUM: 23,
    Defect.QUOTES: 60,
    Defect.LINE_BREAK: 150,
    Defect.INACTIVE: 300,
}
SUPPLIER_DEFECTS = {
    Defect.OLDER_DUPLICATE: 25,
    Defect.EMPTY_REQUIRED: 10,
    Defect.FULL_WIDTH: 40,
    Defect.WRONG_BYTES: 5,
    Defect.RARE_CHARACTER: 12,
    Defect.UNKNOWN_ENUM: 6,
    Defect.LINE_BREAK: 20,
}
MATERIAL_DEFECTS = {
    Defect.OLDER_DUPLICATE: 30,
    Defect.EMPTY_REQUIRED: 12,
    Defect.FULL_WIDTH: 50,
    Defect.WRONG_BYTES: 6,
    Defect.RARE_CHARACTER: 10,
    Defect.UNKNOWN_ENUM: 9,
    Defect.QUOTES: 40,
    Defect.ORPHAN: 15,
}


def place_defects(defects: dict[Defect, int], places: Sequence[int], choices: Choices) -> dict[int, Defect]:
    """Spread the defects over `places`, each on a place of its own."""
    kinds = [kind for kind, count in defects.items() for _ in range(count)]
    chosen = choices.distinct(len(kinds), len(places))
    return {places[place]: kind for place, kind in zip(chosen, kinds, strict=True)}


def insert_rows(rows: list[Row], extra: Sequence[Row], choices: Choices) -> tuple[Row, ...]:
    """Put the extra rows among the others, at places drawn."""
    for row in extra:
        rows.insert(choices.below(len(rows) + 1), row)
    return tuple(rows)


FULL_WIDTH_DIGITS = str.maketrans("0123456789", "０１２３４５６７８９")


def full_width(text: str) -> str:
    """Digits as they were typed with a Chinese input method."""
    return text.translate(FULL_WIDTH_DIGITS)
