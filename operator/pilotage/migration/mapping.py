"""The rules of one field: a text cleaned, mapped, checked and converted, or the reason against it.

This is what a mapping means, value by value. `expressions` does the same to whole columns, for plain values only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from pilotage.api.v1alpha1.migrationjob import FieldMapping, Length, MigrationObject, OnUnmapped, RowFilter
from pilotage.migration.cleaning import CLEANERS
from pilotage.migration.conversion import Column, Refused, convert, decimal_text, precedes, shifted
from pilotage.migration.errors import Halt

SHOWN_VALUE: Final = 200


@dataclass(frozen=True)
class Reject:
    """One reason against a row."""

    code: str
    column: str
    value: str
    message: str


def constant_text(value: object) -> str:
    """A constant of the spec in the form that PostgreSQL's casts read."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class FieldRules:
    """What is to be done to the texts of one field, and what they must be.

    `positions` are those of its columns in the file, none for a constant; `required` holds for whatever reason.
    Raises Halt when a pattern or a bound is none.
    """

    def __init__(self, field: FieldMapping, column: Column, positions: Sequence[int], *, required: bool) -> None:
        self.field = field
        self.column = column
        self.positions = positions
        self.required = required
        self.default = field.default if field.default and field.default.strip() else None
        self.cleaners = [CLEANERS[step] for step in field.transform]
        self.nulls = frozenset(field.nulls)
        self.enum = frozenset(field.enum)
        self.pattern = compiled(field.pattern, f"field {field.to}") if field.pattern else None
        self.constant = "" if field.value is None else constant_text(field.value)
        self.least = self._bound(field.range.min) if field.range else None
        self.most = self._bound(field.range.max) if field.range else None

    @property
    def may_be_empty(self) -> bool:
        """Whether an empty text is a value, which is null."""
        return not self.required and self.default is None

    def source(self, texts: Sequence[str]) -> str:
        """The field's text out of all texts of a row."""
        if not self.positions:
            return self.constant
        text = texts[self.positions[0]]
        if join := self.field.join:
            text = join.separator.join(texts[position] for position in self.positions if texts[position].strip())
        if split := self.field.split:
            parts = text.split(split.by)
            text = parts[split.part - 1] if split.part <= len(parts) else ""
        return text

    def clean(self, text: str) -> str:
        """The text after the transforms."""
        for cleaner in self.cleaners:
            text = cleaner(text)
        return text

    def read(self, text: str) -> str | None:
        """The value of a cleaned text in canonical form, None for an empty one. Raises Refused."""
        if not text.strip() or text in self.nulls:
            text = self.default or ""
        if not text:
            return self._nothing("is empty and must not be")
        mapped = self._mapped(text)
        if mapped is None:
            return self._nothing("is mapped to nothing and must not be empty")
        if self.enum and mapped not in self.enum:
            raise Refused("E_ENUM", f"is not one of the {len(self.enum)} values allowed")
        if self.pattern and not self.pattern.fullmatch(mapped):
            raise Refused("E_PATTERN", "does not match the pattern")
        if length := self.field.length:
            self._check_length(mapped, length)
        return self._converted(mapped)

    def amount(self, text: str) -> Decimal | None:
        """The number in a cleaned text, whatever else is wrong with it; None when there is none."""
        try:
            return Decimal(decimal_text(text or self.field.default or ""))
        except Refused:
            return None

    def against(self, text: str, refused: Refused) -> Reject:
        """The reason as the quarantine keeps it, for a cleaned text."""
        shown = text[:SHOWN_VALUE].replace("\x00", "\\0")
        return Reject(refused.code, reported_column(self.field), shown, str(refused))

    def _converted(self, text: str) -> str | None:
        if self.field.reference:
            if "\x00" in text:
                raise Refused("E_NUL_BYTE", "holds U+0000, which PostgreSQL cannot store")
            return text
        value = convert(text, self.field.type, self.column)
        if value in self.nulls:
            return self._nothing("stands for nothing and must not be empty")
        if self.field.add_hours:
            value = shifted(value, self.field.add_hours)
        if self.least is not None and precedes(value, self.least, self.column):
            raise Refused("E_RANGE", f"is below {self.least}")
        if self.most is not None and precedes(self.most, value, self.column):
            raise Refused("E_RANGE", f"is above {self.most}")
        return value

    def _nothing(self, message: str) -> str | None:
        if self.required:
            raise Refused("E_NULL", message)
        return None

    def _check_length(self, text: str, length: Length) -> None:
        if len(text) < length.min:
            raise Refused("E_LENGTH", f"{len(text)} characters, at least {length.min} are needed")
        if length.max is not None and len(text) > length.max:
            raise Refused("E_LENGTH", f"{len(text)} characters, at most {length.max} are allowed")

    def _bound(self, text: str | None) -> str | None:
        try:
            return None if text is None else convert(text, self.field.type, self.column)
        except Refused as refused:
            message = f"field {self.field.to}: the bound {text} of its range is no value: {refused}"
            raise Halt("SpecInvalid", message) from refused

    def _mapped(self, text: str) -> str | None:
        if not self.field.map or text in self.field.map:
            return self.field.map.get(text, text)
        match self.field.on_unmapped or OnUnmapped.REJECT:
            case OnUnmapped.KEEP:
                return text
            case OnUnmapped.NULL:
                return None
            case OnUnmapped.REJECT:
                raise Refused("E_MAPPING", f"is not among the {len(self.field.map)} mapped values")


class FilterRules:
    """What one column of the file must be for a row to be taken. Raises Halt when the pattern is none."""

    def __init__(self, found: RowFilter, position: int) -> None:
        self.position = position
        self._taken, self._left = frozenset(found.in_), frozenset(found.not_in)
        self._pattern = compiled(found.pattern, f"the filter of {found.column}") if found.pattern else None

    def takes(self, text: str) -> bool:
        """Whether a row with this text goes on."""
        text = text.strip()
        if self._pattern:
            return self._pattern.fullmatch(text) is not None
        return text in self._taken if self._taken else text not in self._left


def compiled(pattern: str, place: str) -> re.Pattern[str]:
    """A regular expression of the spec. Raises Halt."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise Halt("SpecInvalid", f"{place}: {pattern} is not a regular expression: {error}") from error


def filter_rules(definition: MigrationObject, header: Sequence[str]) -> list[FilterRules]:
    """The filters of an object's rows."""
    return [FilterRules(found, header.index(found.column)) for found in definition.where]


def field_rules(definition: MigrationObject, columns: dict[str, Column], header: Sequence[str]) -> list[FieldRules]:
    """The rules of an object's fields, in their order."""
    positions = {name: index for index, name in enumerate(header)}
    return [
        FieldRules(
            field,
            columns[field.to],
            [positions[name] for name in source_columns(field)],
            required=field.required or field.to in definition.key or columns[field.to].not_null,
        )
        for field in definition.fields
    ]


def source_columns(field: FieldMapping) -> list[str]:
    """The columns of the file that a field is made of."""
    if field.join:
        return field.join.columns
    return [] if field.from_ is None else [field.from_]


def reported_column(field: FieldMapping) -> str:
    """What the quarantine calls the field: its columns of the file, or, of a constant, its own name."""
    return ", ".join(source_columns(field)) or field.to


def needed_columns(definition: MigrationObject) -> list[str]:
    """The columns of the file that the mapping speaks of."""
    needed = [name for field in definition.fields for name in source_columns(field)]
    needed += [found.column for found in definition.where]
    if definition.source_duplicates.order_by:
        needed.append(definition.source_duplicates.order_by)
    return needed


def read_header(texts: Sequence[str], definition: MigrationObject, file: str) -> list[str]:
    """Column names of the file. Raises Halt when one is missing that the mapping needs, or is there twice."""
    header = [unicodedata.normalize("NFC", text.strip().lstrip("\ufeff")) for text in texts]
    needed = needed_columns(definition)
    missing = sorted({name for name in needed if name not in header})
    if missing:
        raise Halt(
            "ColumnsMissing",
            f"{file} has no column {', '.join(missing)} (object {definition.name}); its header names "
            f"{', '.join(header[:40])}: is the delimiter right?",
        )
    twice = sorted({name for name in needed if header.count(name) > 1})
    if twice:
        raise Halt("ColumnsAmbiguous", f"{file} has more than one column {', '.join(twice)}")
    return header
