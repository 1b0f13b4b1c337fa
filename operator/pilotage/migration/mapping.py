"""The rules of one field: a text cleaned, mapped, checked and converted, or the reason against it.

This is what a mapping means, value by value. `expressions` does the same to whole columns, for plain values only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from pilotage.api.v1alpha1.migrationjob import FieldMapping, MigrationObject, OnUnmapped, Transform
from pilotage.migration.conversion import Column, Refused, convert, decimal_text
from pilotage.migration.errors import Halt

SHOWN_VALUE: Final = 200
HALFWIDTH: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_CLEANERS: Final[dict[Transform, Callable[[str], str]]] = {
    Transform.TRIM: str.strip,
    Transform.HALFWIDTH: lambda text: text.translate(HALFWIDTH),
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


class FieldRules:
    """What is to be done to the texts of one field, and what they must be.

    `position` is that of the column in the file, None for a constant; `required` holds for whatever reason.
    """

    def __init__(self, field: FieldMapping, column: Column, position: int | None, *, required: bool) -> None:
        self.field = field
        self.column = column
        self.position = position
        self.required = required
        self.default = field.default if field.default and field.default.strip() else None
        self.cleaners = [_CLEANERS[step] for step in field.transform]
        self.enum = frozenset(field.enum)
        self.pattern = re.compile(field.pattern) if field.pattern else None
        self.constant = None if field.value is None else constant_text(field.value)

    @property
    def may_be_empty(self) -> bool:
        """Whether an empty text is a value, which is null."""
        return not self.required and self.default is None

    def clean(self, text: str) -> str:
        """The text after the transforms."""
        for cleaner in self.cleaners:
            text = cleaner(text)
        return text

    def read(self, text: str) -> str | None:
        """The value of a cleaned text in canonical form, None for an empty one. Raises Refused."""
        if not text.strip():
            text = self.default or ""
        if not text:
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

    def amount(self, text: str) -> Decimal | None:
        """The number in a cleaned text, whatever else is wrong with it; None when there is none."""
        try:
            return Decimal(decimal_text(text or self.field.default or ""))
        except Refused:
            return None

    def against(self, text: str, refused: Refused) -> Reject:
        """The reason as the quarantine keeps it, for a cleaned text."""
        shown = text[:SHOWN_VALUE].replace("\x00", "\\0")
        return Reject(refused.code, self.field.from_ or self.field.to, shown, str(refused))

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


def field_rules(definition: MigrationObject, columns: dict[str, Column], header: Sequence[str]) -> list[FieldRules]:
    """The rules of an object's fields, in their order."""
    positions = {name: index for index, name in enumerate(header)}
    return [
        FieldRules(
            field,
            columns[field.to],
            None if field.from_ is None else positions[field.from_],
            required=field.required or field.to in definition.key or columns[field.to].not_null,
        )
        for field in definition.fields
    ]


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
