"""What a column holds: kinds, empty share, distinct values, range, length, and what does not fit.

Pure: texts in, numbers out. Memory is bounded by constants whatever the number of rows.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import combinations
from typing import Final

from pilotage.api.v1alpha1.migrationjob import FieldType
from pilotage.migration.look.defects import KEPT_PLACES, SHOWN_VALUE, Defect, Place
from pilotage.migration.look.structure import Row
from pilotage.migration.look.values import DAYS, NUMBERS, Inspected, Kind, inspect

TOTAL_REMEMBERED: Final = 100_000
MAX_REMEMBERED: Final = 4096
LONG_TEXT: Final = 100
MAX_LISTED_VALUES: Final = 20
TOTAL_FINGERPRINTS: Final = 2_000_000
MIN_FINGERPRINTS: Final = 1_000
CODE_DIGITS: Final = 6
PAIR_ROWS: Final = 5_000
PAIR_CELLS: Final = 200_000
MAX_PAIRED_COLUMNS: Final = 12
_FEW: Final = 0.02

_KEY_NAME: Final = re.compile(
    "编码|编号|代码|代号|单号|流水号|(?:BM|BH|DM|DH|ID|CODE|KEY|NO)$|^(?:ID|CODE)", re.IGNORECASE
)

_TAKES: Final[dict[FieldType, frozenset[Kind]]] = {
    FieldType.BOOLEAN: frozenset({Kind.BOOLEAN}),
    FieldType.DATE: DAYS,
    FieldType.TIMESTAMP: DAYS | {Kind.TIMESTAMP},
    FieldType.INTEGER: frozenset({Kind.INTEGER, Kind.COMPACT_DATE}),
    FieldType.DECIMAL: NUMBERS,
}
_MEANS: Final[dict[FieldType, frozenset[Kind]]] = {
    **_TAKES,
    FieldType.DATE: _TAKES[FieldType.DATE] | {Kind.BAD_DATE},
    FieldType.TIMESTAMP: _TAKES[FieldType.TIMESTAMP] | {Kind.BAD_DATE},
    FieldType.DECIMAL: _TAKES[FieldType.DECIMAL] | {Kind.UNIT_NUMBER},
}


class Distinct:
    """Counts distinct values: exactly up to a limit, then by keeping ever smaller fractions of their hashes.

    After `halvings` halvings, one hash in 2**halvings is kept (Wegman's adaptive sampling). Each kept hash remembers
    where its value stood first.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._first: dict[int, int] = {}
        self.halvings = 0
        self.repeated = 0
        self.repeats: list[tuple[int, Row, str]] = []

    def add(self, value: str, row: Row) -> None:
        """Take one value into account; a value seen before is remembered with both lines while there is room."""
        fingerprint = hash(value)
        if fingerprint & ((1 << self.halvings) - 1):
            return
        line = self._first.setdefault(fingerprint, row.line)
        if line != row.line:
            self.repeated += 1
            if len(self.repeats) < 5:
                self.repeats.append((line, row, value))
        elif len(self._first) > self._limit:
            self.halvings += 1
            mask = (1 << self.halvings) - 1
            self._first = {found: line for found, line in self._first.items() if not found & mask}

    @property
    def exact(self) -> bool:
        """Whether the count is exact."""
        return self.halvings == 0

    @property
    def count(self) -> int:
        """Distinct values, an estimate unless `exact`."""
        return len(self._first) << self.halvings


@dataclass
class ColumnProfile:
    """One column, over the rows that were looked at."""

    name: str
    position: int
    kinds: Counter[Kind] = field(default_factory=Counter)
    forms: dict[str, Defect] = field(default_factory=dict)
    values: Counter[str] | None = field(default_factory=Counter)
    places: defaultdict[Kind, list[Place]] = field(default_factory=lambda: defaultdict(list))
    warned: dict[str, Defect] = field(default_factory=dict)
    texts: tuple[str, str] | None = None
    numbers: tuple[Decimal, Decimal] | None = None
    min_length: int = 0
    max_length: int = 0
    untrimmed: int = 0
    room: int = MAX_REMEMBERED
    distinct: Distinct = field(default_factory=lambda: Distinct(TOTAL_FINGERPRINTS))
    _known: dict[str, Inspected] = field(default_factory=dict)

    def observe(self, texts: Iterable[str], rows: Iterable[Row]) -> None:
        """Take texts into account, each from one row."""
        known, kinds, distinct = self._known, self.kinds, self.distinct
        for text, row in zip(texts, rows, strict=True):
            found = known.get(text)
            if found is None:
                found = inspect(text)
                if len(known) < self.room and len(text) < LONG_TEXT:
                    known[text] = found
                if found.cleaned:
                    self._measure(found)
            kind = found.kind
            kinds[kind] += 1
            if kind is Kind.EMPTY:
                continue
            if kinds[kind] <= KEPT_PLACES:
                self.places[kind].append(Place(row.line, row.offset, text[:SHOWN_VALUE]))
            distinct.add(found.cleaned, row)
            self._count_value(found.cleaned)
            if found.form or found.warnings or found.trimmed:
                self._remark(text, row, found)

    def _count_value(self, cleaned: str) -> None:
        if self.values is not None:
            self.values[cleaned] += 1
            if len(self.values) > MAX_LISTED_VALUES or len(cleaned) >= LONG_TEXT:
                self.values = None

    def _measure(self, found: Inspected) -> None:
        length = len(found.cleaned)
        self.min_length = min(self.min_length or length, length)
        self.max_length = max(self.max_length, length)
        order = found.order if length <= SHOWN_VALUE else found.order[:SHOWN_VALUE]
        if self.texts is None:
            self.texts = (order, order)
        elif not self.texts[0] <= order <= self.texts[1]:
            self.texts = (min(self.texts[0], order), max(self.texts[1], order))
        number = found.number
        if number is None:
            return
        if self.numbers is None:
            self.numbers = (number, number)
        elif not self.numbers[0] <= number <= self.numbers[1]:
            self.numbers = (min(self.numbers[0], number), max(self.numbers[1], number))

    def _remark(self, text: str, row: Row, found: Inspected) -> None:
        self.untrimmed += found.trimmed
        place = Place(row.line, row.offset, text[:SHOWN_VALUE])
        if found.form:
            self.forms.setdefault(found.form, Defect("W_MIXED_DATES", self.name)).add(place)
        for code in found.warnings:
            self.warned.setdefault(code, Defect(code, self.name)).add(place)

    @property
    def rows(self) -> int:
        """Rows that were looked at."""
        return self.kinds.total()

    @property
    def fullwidth(self) -> bool:
        """Whether digits or letters of codes are written full-width."""
        return "W_FULLWIDTH" in self.warned

    @property
    def filled(self) -> int:
        """Rows with a value."""
        return self.rows - self.kinds[Kind.EMPTY]

    @property
    def null_share(self) -> float:
        """Share of rows without a value, 0 to 1."""
        return self.kinds[Kind.EMPTY] / self.rows if self.rows else 0.0

    @property
    def meant(self) -> FieldType:
        """The type that nearly all values mean, even where they are written so that it does not take them."""
        values = self.filled - self.kinds[Kind.NULL_WORD]
        if not values:
            return FieldType.STRING
        for kind, means in _MEANS.items():
            strays = values - self._sum(means)
            if strays <= values * _FEW or (strays == 1 and values >= 10):
                return kind
        return FieldType.STRING

    @property
    def type(self) -> FieldType:
        """The type to load: what is meant, or String where more than a few values would be refused.

        Digits of one length, such as telephone numbers and postcodes, are names and no numbers.
        """
        meant = self.meant
        strays = self.strays(meant)
        if meant is FieldType.INTEGER and self.min_length == self.max_length >= CODE_DIGITS and self.distinct.count > 1:
            return FieldType.STRING
        return meant if strays <= max(1, self.filled * _FEW) and strays < self.filled else FieldType.STRING

    def strays(self, kind: FieldType) -> int:
        """How many values a field of this type refuses."""
        return 0 if kind is FieldType.STRING else self.filled - self._sum(_TAKES[kind])

    def _sum(self, kinds: frozenset[Kind]) -> int:
        return sum(self.kinds[kind] for kind in kinds)

    @property
    def range(self) -> tuple[str, str]:
        """Least and greatest value: numbers as numbers, everything else as text; empty when there is none."""
        found = self.numbers if self.type in {FieldType.INTEGER, FieldType.DECIMAL} else self.texts
        return (str(found[0]), str(found[1])) if found else ("", "")

    @property
    def unique(self) -> bool:
        """Whether no row lacks a value and no value was seen twice."""
        return self.rows > 0 and self.filled == self.rows and not self.distinct.repeated

    @property
    def may_be_key(self) -> bool:
        """Whether values of this kind can name a row."""
        return self.type in {FieldType.STRING, FieldType.INTEGER} and 0 < self.max_length <= SHOWN_VALUE

    @property
    def named_like_key(self) -> bool:
        """Whether its name says that it identifies rows."""
        return bool(_KEY_NAME.search(self.name))

    @property
    def nearly_unique(self) -> bool:
        """Whether it is not unique but looks as if it were meant to be."""
        if self.unique or self.rows < 10 or not self.may_be_key:
            return False
        return self.distinct.count >= self.rows - max(1, self.rows * _FEW)

    def defects(self) -> list[Defect]:
        """What is wrong with the values of this column."""
        found = [*self.warned.values(), *self._refused()]
        if self.meant in {FieldType.DATE, FieldType.TIMESTAMP} and len(self.forms) > 1:
            usual = max(self.forms, key=lambda form: self.forms[form].count)
            for form, mixed in self.forms.items():
                if form != usual:
                    found.append(replace(mixed, note=f"{form} instead of {usual}"))
        return found

    def _refused(self) -> list[Defect]:
        kind = self.type
        if kind is FieldType.STRING:
            return []
        strange = [found for found in self.kinds if found is not Kind.EMPTY and found not in _TAKES[kind]]
        defects = []
        for code, kinds in (("E_RANGE", {Kind.BAD_DATE}), ("E_TYPE", set(Kind) - {Kind.BAD_DATE})):
            refused = [found for found in strange if found in kinds]
            if refused:
                places = sorted((p for found in refused for p in self.places[found]), key=lambda p: p.offset)
                count = sum(self.kinds[found] for found in refused)
                defects.append(Defect(code, self.name, count, places[:5], f"not {kind}" if code == "E_TYPE" else ""))
        return defects

    def repeated(self) -> Defect:
        """The values that were seen more than once, as they matter in a key."""
        places = [
            Place(row.line, row.offset, f"{value[:SHOWN_VALUE]} (as in line {line})")
            for line, row, value in self.distinct.repeats
        ]
        return Defect("E_DUP_SOURCE", self.name, self.distinct.repeated << self.distinct.halvings, places)


@dataclass
class TableProfile:
    """All columns of a file."""

    columns: list[ColumnProfile]
    first_rows: list[tuple[int, ...]] = field(default_factory=list)

    @staticmethod
    def of(header: Sequence[str]) -> TableProfile:
        """An empty profile; all columns share the memory for distinct and for remembered values."""
        width = max(1, len(header))
        limit = max(MIN_FINGERPRINTS, TOTAL_FINGERPRINTS // width)
        room = min(MAX_REMEMBERED, TOTAL_REMEMBERED // width)
        return TableProfile(
            [ColumnProfile(name, index, room=room, distinct=Distinct(limit)) for index, name in enumerate(header)]
        )

    def observe(self, rows: Sequence[Row]) -> None:
        """Take rows into account, each as wide as the header."""
        for column in self.columns:
            column.observe([row.texts[column.position] for row in rows], rows)
        room = min(PAIR_ROWS, PAIR_CELLS // max(1, len(self.columns))) - len(self.first_rows)
        self.first_rows += [tuple(map(hash, row.texts)) for row in rows[: max(0, room)]]

    def key(self) -> list[ColumnProfile]:
        """The columns that most likely identify a row: one that is unique, one that nearly is, two together, or none.

        Two together are only tried on the first rows.
        """
        if found := [
            column for column in self.columns if column.nearly_unique or (column.unique and column.may_be_key)
        ]:
            return [min(found, key=lambda column: (not column.named_like_key, not column.unique, column.position))]
        tried = [column for column in self.columns if column.may_be_key and column.filled == column.rows]
        for left, right in combinations(tried[:MAX_PAIRED_COLUMNS], 2):
            pairs = {(row[left.position], row[right.position]) for row in self.first_rows}
            if len(pairs) == len(self.first_rows) > 1:
                return [left, right]
        return []
