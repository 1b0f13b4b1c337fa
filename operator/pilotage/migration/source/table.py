"""Rows of what has no lines of its own, as lines: one JSON array of texts for each row, in UTF-8."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final

from pilotage.migration.errors import Halt

MAX_ROW_BYTES: Final = 4 << 20


@dataclass(frozen=True)
class Table:
    """Column names, the rows as texts, and the number by which a person finds the first of them.

    A row of no texts is a blank one. Bytes that are not of the encoding come as `surrogateescape` has them.
    """

    header: list[str]
    rows: Iterable[Sequence[str]]
    first: int = 1


def canonical_text(value: Any) -> str:
    """The one text of a value: nothing is empty, numbers have no exponent, dates and times are ISO 8601."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float():
            return _number(value)
        case datetime():
            return value.isoformat(" ")
        case date() | time():
            return value.isoformat()
        case Decimal():
            return format(value, "f")
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case dict() | list():
            return json.dumps(value, ensure_ascii=False, default=canonical_text)
        case _:
            return str(value)


def _number(value: float) -> str:
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    text = repr(value)
    return format(Decimal(text), "f") if "e" in text else text


def row_lines(rows: Iterable[Sequence[str]], name: str, first: int) -> Iterator[bytes]:
    """A line for each row, an empty one for a blank row. Raises Halt at a row that is longer than MAX_ROW_BYTES."""
    for number, row in enumerate(rows, start=first):
        line = _line(row) if row else b"\n"
        if len(line) > MAX_ROW_BYTES:
            raise Halt("LineTooLong", f"{name}: row {number} is longer than {MAX_ROW_BYTES >> 20} MiB: leave it out")
        yield line


def _line(row: Sequence[str]) -> bytes:
    text = json.dumps(row, ensure_ascii=False) + "\n"
    try:
        return text.encode()
    except UnicodeEncodeError:
        raw = text.encode(errors="surrogateescape") if _is_escaped(text) else text.encode(errors="surrogatepass")
    try:
        raw.decode()
    except UnicodeDecodeError:
        return raw
    # Damaged bytes side by side may happen to be UTF-8. They are not text of the source all the same.
    return raw[:-1] + b"\xff\n"


def _is_escaped(text: str) -> bool:
    return not any("\ud800" <= sign < "\udc80" or "\udcff" < sign <= "\udfff" for sign in text)


def texts_of_line(text: str) -> list[str]:
    """The texts of a line that `row_lines` wrote."""
    found: list[str] = json.loads(text)
    return found
