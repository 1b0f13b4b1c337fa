"""Applies the field mappings of an object to one row: cleaned, checked values, or every reason against it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pilotage.api.v1alpha1.migrationjob import FieldMapping, MigrationObject, OnUnmapped, Transform
from pilotage.migration.conversion import Column, Refused, convert, decimal_text
from pilotage.migration.errors import Halt

SHOWN_VALUE = 200
REMEMBERED = 1000
_HALFWIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_CLEANERS: dict[Transform, Callable[[str], str]] = {
    Transform.TRIM: str.strip,
    Transform.HALFWIDTH: lambda text: text.translate(_HALFWIDTH),
    Transform.UPPER: str.upper,
    Transform.LOWER: str.lower,
}


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


class FieldReader:
    """Reads one field of the target out of the row's texts."""

    def __init__(self, field: FieldMapping, column: Column, position: int | None, *, required: bool) -> None:
        self.field = field
        self.column = column
        self.position = position
        self.required = required
        self.cleaners = [_CLEANERS[step] for step in field.transform]
        self.enum = frozenset(field.enum)
        self.pattern = re.compile(field.pattern) if field.pattern else None
        self.constant = None if field.value is None else constant_text(field.value)
        # Legacy columns repeat few values; what was converted once is not converted again.
        self.known: dict[str, str | None] = {}

    def clean(self, texts: Sequence[str]) -> str:
        """The text after the transforms."""
        text = self.constant if self.position is None else texts[self.position]
        for cleaner in self.cleaners:
            text = cleaner(text or "")
        return text or ""

    def read(self, texts: Sequence[str]) -> str | None:
        """The value in canonical form, None for an empty one. Raises Refused."""
        text = self.clean(texts)
        if text in self.known:
            return self.known[text]
        value = self._value(text)
        if len(self.known) < REMEMBERED:
            self.known[text] = value
        return value

    def _value(self, text: str) -> str | None:
        if not text.strip():
            text = self.field.default or ""
        if not text.strip():
            if self.required:
                raise Refused("E_NULL", "is empty and must not be")
            return None
        mapped = self._mapped(text)
        if mapped is None:
            if self.required:
                raise Refused("E_NULL", "is mapped to nothing and must not be empty")
            return None
        if self.enum and mapped not in self.enum:
            raise Refused("E_ENUM", f"is not one of the {len(self.enum)} values allowed")
        if self.pattern and not self.pattern.fullmatch(mapped):
            raise Refused("E_PATTERN", "does not match the pattern")
        if self.field.reference:
            if "\x00" in mapped:
                raise Refused("E_NUL_BYTE", "holds U+0000, which PostgreSQL cannot store")
            return mapped
        return convert(mapped, self.field.type, self.column)

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


class RowReader:
    """Reads whole rows of one object."""

    def __init__(self, definition: MigrationObject, columns: Mapping[str, Column], header: Sequence[str]) -> None:
        self.width = len(header)
        positions = {name: index for index, name in enumerate(header)}
        self.order_by = positions.get(definition.source_duplicates.order_by or "")
        self.fields = [
            FieldReader(
                field,
                columns[field.to],
                None if field.from_ is None else positions[field.from_],
                required=field.required or field.to in definition.key or columns[field.to].not_null,
            )
            for field in definition.fields
        ]

    def read(self, texts: Sequence[str]) -> tuple[list[str | None], list[Reject]]:
        """Values in the order of the fields, and all reasons against the row."""
        if len(texts) != self.width:
            message = f"has {len(texts)} columns, the header has {self.width}"
            return [], [Reject("E_COLUMNS", "", "", message)]
        values: list[str | None] = []
        rejects: list[Reject] = []
        for reader in self.fields:
            try:
                values.append(reader.read(texts))
            except Refused as refused:
                values.append(None)
                shown = reader.clean(texts)[:SHOWN_VALUE].replace("\x00", "\\0")
                rejects.append(Reject(refused.code, reader.field.from_ or reader.field.to, shown, str(refused)))
        return values, rejects

    def amount(self, texts: Sequence[str], field: str) -> Decimal | None:
        """The number in one field, whatever else is wrong with the row; None when there is none."""
        reader = next(found for found in self.fields if found.field.to == field)
        if len(texts) != self.width:
            return None
        try:
            return Decimal(decimal_text(reader.clean(texts) or reader.field.default or ""))
        except Refused:
            return None


def read_header(texts: Sequence[str], definition: MigrationObject, file: str) -> list[str]:
    """Column names of the file. Raises Halt when one is missing that the mapping needs, or is there twice."""
    header = [unicodedata.normalize("NFC", text.strip().lstrip("\ufeff")) for text in texts]
    needed = [field.from_ for field in definition.fields if field.from_ is not None]
    if definition.source_duplicates.order_by:
        needed.append(definition.source_duplicates.order_by)
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
