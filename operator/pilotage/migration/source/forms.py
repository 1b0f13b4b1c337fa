"""The forms that a chunk's lines have, and how one line is read in each of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

from pilotage.api.v1alpha1.migrationjob import Encoding, FileFormat, FixedColumn
from pilotage.migration.conversion import Refused
from pilotage.migration.encoding import decode
from pilotage.migration.source.table import texts_of_line

MAX_DEPTH: Final = 16


class Form(StrEnum):
    """How the lines of a chunk are written: CSV; a JSON object; fields of fixed width; or what `row_lines` makes."""

    CSV = "csv"
    OBJECT = "object"
    FIXED = "fixed"
    ROW = "row"


FORMS: Final = {
    FileFormat.CSV: Form.CSV,
    FileFormat.TSV: Form.CSV,
    FileFormat.JSONL: Form.OBJECT,
    FileFormat.FIXED: Form.FIXED,
}


def line_texts(
    form: Form, raw: bytes, encoding: Encoding, header: Sequence[str], columns: Sequence[FixedColumn]
) -> list[str]:
    """The texts of one line, one for each name of the header. Raises Refused, and UnicodeDecodeError."""
    if form is Form.FIXED:
        return fixed_texts(raw, encoding, columns)
    text = decode(raw, encoding)
    if form is Form.ROW:
        return texts_of_line(text)
    found = object_texts(text)
    return [found.get(name, "") for name in header]


def fixed_texts(raw: bytes, encoding: Encoding, columns: Sequence[FixedColumn]) -> list[str]:
    """Fields by their place in the line's bytes, without the blanks that fill them up. Raises Refused."""
    line = raw.rstrip(b"\r\n")
    end = max(column.start + column.width - 1 for column in columns)
    if len(line) < end:
        raise Refused("E_COLUMNS", f"has {len(line)} bytes, its columns need {end}")
    texts = []
    for column in columns:
        part = line[column.start - 1 : column.start - 1 + column.width]
        try:
            texts.append(decode(part, encoding).rstrip(" "))
        except UnicodeDecodeError as error:
            message = (
                f"column {column.name} (bytes {column.start} to {column.start + column.width - 1}) cuts a character"
            )
            raise Refused("E_ENCODING", f"{message}, or its bytes are not {encoding}") from error
    return texts


def object_texts(text: str) -> dict[str, str]:
    """The values of a JSON object as texts; those of an object within it go by `outer.inner`. Raises Refused.

    Numbers stay as they are written, true and false are words, null is empty, a list stays JSON.
    """
    try:
        found = _DECODER.decode(text)
    except RecursionError as error:
        raise Refused("E_PARSE", f"is nested deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:
        raise Refused("E_PARSE", f"is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise Refused("E_PARSE", "is JSON, but no object")
    texts: dict[str, str] = {}
    _flatten(found, "", texts, MAX_DEPTH)
    if not text.isascii() or "\\u" in text:
        _refuse_halves(texts)
    return texts


class _Number(str):
    """A number as it was written, apart from texts, which JSON would put into quotes."""

    __slots__ = ()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is there twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_once, parse_int=_Number, parse_float=_Number, parse_constant=_refuse_constant
)


def _flatten(found: dict[str, Any], prefix: str, texts: dict[str, str], depth: int) -> None:
    if not depth:
        raise Refused("E_PARSE", f"is nested deeper than {MAX_DEPTH} levels")
    for name, value in found.items():
        if isinstance(value, str):
            texts[prefix + name] = value
        elif isinstance(value, dict):
            _flatten(value, f"{prefix}{name}.", texts, depth - 1)
        elif value is None:
            texts[prefix + name] = ""
        elif isinstance(value, bool):
            texts[prefix + name] = "true" if value else "false"
        else:
            texts[prefix + name] = _listed(value, depth - 1)


def _listed(value: Any, depth: int) -> str:
    """A list as compact JSON with its numbers as they were written."""
    if not depth:
        raise Refused("E_PARSE", f"is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, list):
        return f"[{','.join(_listed(one, depth - 1) for one in value)}]"
    if isinstance(value, dict):
        members = (f"{json.dumps(name, ensure_ascii=False)}:{_listed(one, depth - 1)}" for name, one in value.items())
        return f"{{{','.join(members)}}}"
    return str(value) if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False)


def _refuse_halves(texts: dict[str, str]) -> None:
    for name, text in texts.items():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Refused("E_ENCODING", f"{name} has half of a surrogate pair: no character") from error
