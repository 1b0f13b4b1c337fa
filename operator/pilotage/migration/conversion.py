"""Texts into canonical texts of a type, so that PostgreSQL's own cast can no longer fail."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from pilotage.api.v1alpha1.migrationjob import FieldType

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,38}")
_DECIMAL: Final = re.compile(r"[+-]?([0-9]{1,38}(\.[0-9]{0,38})?|\.[0-9]{1,38})")
_DATE: Final = re.compile(r"([0-9]{4})(?:-|/|\.|年|)([0-9]{1,2})(?:-|/|\.|月|)([0-9]{1,2})日?")
INTEGER_BITS: Final = {"int2": 15, "int4": 31, "int8": 63}
_BOOLEANS: Final = {
    **dict.fromkeys(("true", "t", "yes", "y", "1", "是"), "true"),
    **dict.fromkeys(("false", "f", "no", "n", "0", "否"), "false"),
}
_TARGET_TYPES: Final = {
    **dict.fromkeys(("int2", "int4", "int8"), FieldType.INTEGER),
    **dict.fromkeys(("numeric", "float4", "float8"), FieldType.DECIMAL),
    **dict.fromkeys(("varchar", "text", "bpchar"), FieldType.STRING),
    **dict.fromkeys(("timestamp", "timestamptz"), FieldType.TIMESTAMP),
    "bool": FieldType.BOOLEAN,
    "date": FieldType.DATE,
}


class Refused(ValueError):
    """A value is not of its type; `code` is the stable name of the reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Column:
    """A column of the target as the catalogue describes it. `sql_type` is its type as SQL writes it."""

    name: str
    type_name: str
    sql_type: str
    max_length: int | None = None
    precision: int | None = None
    scale: int | None = None
    not_null: bool = False
    has_default: bool = False

    @property
    def field_type(self) -> FieldType | None:
        """The type that this column takes, None when it is not supported."""
        return _TARGET_TYPES.get(self.type_name)


def convert(text: str, declared: FieldType | None, column: Column) -> str:
    """The text in the form that both the declared type and the column take. Raises Refused."""
    taken = column.field_type or FieldType.STRING
    if declared and declared is not taken:
        text = _canonical(text, declared)
    text = _canonical(text, taken)
    return _fitting(text, column)


def _canonical(text: str, kind: FieldType) -> str:
    match kind:
        case FieldType.INTEGER:
            if not _INTEGER.fullmatch(text):
                raise Refused("E_TYPE", "not a whole number")
            return str(int(text))
        case FieldType.DECIMAL:
            return decimal_text(text)
        case FieldType.BOOLEAN:
            if (known := _BOOLEANS.get(text.lower())) is None:
                raise Refused("E_TYPE", "neither true nor false")
            return known
        case FieldType.DATE:
            return _date(text).isoformat()
        case FieldType.TIMESTAMP:
            return _timestamp(text)
        case FieldType.STRING:
            if "\x00" in text:
                raise Refused("E_NUL_BYTE", "holds U+0000, which PostgreSQL cannot store")
            return text


def decimal_text(text: str) -> str:
    """A decimal number in plain notation without idle zeros. Raises Refused."""
    if not _DECIMAL.fullmatch(text):
        raise Refused("E_TYPE", "not a number")
    plain = format(Decimal(text), "f")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if plain in {"-0", ""} else plain


def _date(text: str) -> date:
    found = _DATE.fullmatch(text)
    if not found:
        raise Refused("E_TYPE", "not a date such as 2024-05-31, 2024/5/31 or 20240531")
    if text.isdigit() and len(text) != 8:
        raise Refused("E_TYPE", "not a date such as 20240531")
    try:
        return date(*(int(part) for part in found.groups()))
    except ValueError:
        raise Refused("E_RANGE", "no such day") from None


def _timestamp(text: str) -> str:
    try:
        return _date(text).isoformat()
    except Refused:
        pass
    try:
        return datetime.fromisoformat(text.replace("/", "-")).isoformat(sep=" ")
    except ValueError:
        raise Refused("E_TYPE", "not a moment such as 2024-05-31 08:30:00") from None


def _fitting(text: str, column: Column) -> str:
    if column.max_length is not None and len(text) > column.max_length:
        raise Refused("E_LENGTH", f"{len(text)} characters, the column takes {column.max_length}")
    if bits := INTEGER_BITS.get(column.type_name):
        number = int(text)
        if not -(1 << bits) <= number < (1 << bits):
            raise Refused("E_RANGE", f"out of the range of {column.sql_type}")
    if column.type_name == "numeric" and column.precision is not None:
        scale = column.scale or 0
        whole, _, fraction = text.lstrip("-").partition(".")
        if len(fraction) > scale:
            raise Refused("E_RANGE", f"more than {scale} decimal places")
        if len(whole.lstrip("0")) > column.precision - scale:
            raise Refused("E_RANGE", f"out of the range of {column.sql_type}")
    return text


def shifted(text: str, hours: int) -> str:
    """A canonical date or moment so many hours later. Raises Refused."""
    try:
        return (datetime.fromisoformat(text) + timedelta(hours=hours)).isoformat(sep=" ")
    except OverflowError:
        raise Refused("E_RANGE", f"{hours} hours later is no moment any more") from None


def precedes(left: str, right: str, column: Column) -> bool:
    """Whether one canonical text of the column's type is less than another."""
    if column.field_type in {FieldType.INTEGER, FieldType.DECIMAL}:
        return Decimal(left) < Decimal(right)
    return left < right
