"""A chunk's bytes into a table of texts, CSV all rows at once; what is not a row of the file's width is set aside."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from pilotage.api.v1alpha1.migrationjob import Encoding
from pilotage.migration.conversion import Refused
from pilotage.migration.encoding import decode, to_utf8
from pilotage.migration.mapping import Reject
from pilotage.migration.records import MAX_FIELD_LENGTH, Record, read_records, split_fields

RECORD: Final = "record"
_BLANKS: Final = " \t\n\r\x0b\x0c"


@dataclass(frozen=True)
class Layout:
    """How a file is written: its encoding, its delimiter, the number of its columns."""

    encoding: Encoding
    delimiter: str
    width: int


@dataclass
class Block:
    """The records of a chunk.

    `texts` has a row for each record that was read: its number in `records`, and the columns "0", "1" and so on.
    `rejected` holds the others by number, except blank ones, which are only counted.
    """

    records: pl.DataFrame
    texts: pl.DataFrame
    rejected: dict[int, Reject] = field(default_factory=dict)
    blank: int = 0

    def record(self, number: int) -> Record:
        """One record with its bytes and its place."""
        raw, offset, line, torn = self.records.row(number)
        return Record(raw, offset, line, torn=torn)


def read_block(data: bytes, layout: Layout, *, offset: int, line: int) -> Block:
    """The records of these bytes, which start at a byte offset (from 0) and a line (from 1) of their file."""
    records = _cut(data, offset, line)
    rejected: dict[int, Reject] = {}
    texts = _decoded(data, records, layout, rejected)
    table = pl.DataFrame({"text": texts}).with_row_index(RECORD)
    table = table.with_columns(body=pl.col("text").str.strip_chars_end("\r\n"))
    is_blank = pl.col("text").str.strip_chars(_BLANKS).str.len_bytes() == 0
    blank = table.filter(is_blank).height
    if blank:
        table = table.filter(~is_blank)
    for number in records.with_row_index(RECORD).filter(pl.col("torn"))[RECORD]:
        rejected.setdefault(number, Reject("E_PARSE", "", "", "a quote is opened and never closed"))
    if rejected:
        table = table.filter(~pl.col(RECORD).is_in(list(rejected)))
    plain = pl.lit(value=True)
    if b'"' in data:
        plain &= ~pl.col("body").str.contains('"', literal=True)
    if b"\r" in data:
        plain &= ~pl.col("body").str.contains("\r", literal=True)
    plain &= pl.col("body").str.len_bytes() <= MAX_FIELD_LENGTH
    split = _split(table.filter(plain), layout, rejected)
    rest = table.filter(~plain)
    if rest.height:
        split = pl.concat([split, _parsed(rest, layout, rejected)])
    return Block(records, split, rejected, blank)


def read_line_block(data: bytes, width: int, read: Callable[[bytes], list[str]], *, offset: int, line: int) -> Block:
    """The same of lines each of which is a record, by a function that reads one.

    It raises Refused, or UnicodeDecodeError.
    """
    raw = io.BytesIO(data).readlines()
    records = _places(raw, offset, line)
    rejected: dict[int, Reject] = {}
    numbers, kept, blank = [], [], 0
    for number, (one, place) in enumerate(zip(raw, records["offset"], strict=True)):
        if not one.strip():
            blank += 1
            continue
        try:
            kept.append(read(one))
            numbers.append(number)
        except Refused as refused:
            rejected[number] = Reject(refused.code, "", "", str(refused))
        except UnicodeDecodeError as error:
            rejected[number] = _of_other_encoding(error, one, place, error.encoding)
    schema = {RECORD: pl.UInt32, **{str(position): pl.String for position in range(width)}}
    columns = {str(position): [texts[position] for texts in kept] for position in range(width)}
    return Block(records, pl.DataFrame({RECORD: numbers, **columns}, schema=schema), rejected, blank)


def _cut(data: bytes, offset: int, line: int) -> pl.DataFrame:
    """Bytes, place and state of each record. Where every line has its quotes in pairs, lines are records."""
    file = io.BytesIO(data)
    lines = file.readlines()
    schema = {"raw": pl.Binary, "offset": pl.Int64, "line": pl.Int64, "torn": pl.Boolean}
    if b'"' in data and any(raw.count(b'"') % 2 for raw in lines):
        found = list(read_records(file, offset=0, line=line, end=len(data)))
        places = [(record.raw, offset + record.offset, record.line, record.torn) for record in found]
        return pl.DataFrame(places, schema=schema, orient="row")
    return _places(lines, offset, line)


def _places(lines: list[bytes], offset: int, line: int) -> pl.DataFrame:
    raw = pl.Series("raw", lines, dtype=pl.Binary)
    return pl.DataFrame(raw).with_columns(
        offset=pl.col("raw").bin.size().cast(pl.Int64).cum_sum().shift(1, fill_value=0) + offset,
        line=pl.int_range(line, line + pl.len(), dtype=pl.Int64),
        torn=pl.lit(value=False),
    )


def _decoded(data: bytes, records: pl.DataFrame, layout: Layout, rejected: dict[int, Reject]) -> pl.Series:
    """The text of each record, null where its bytes are not of the encoding."""
    try:
        lines = to_utf8(data, layout.encoding).split(b"\n")
    except UnicodeDecodeError:
        return _decoded_one_by_one(records, layout, rejected)
    if not lines[-1]:
        lines.pop()
    if len(lines) == records.height:
        return pl.Series("text", lines, dtype=pl.Binary).cast(pl.String)
    return _decoded_one_by_one(records, layout, rejected)


def _decoded_one_by_one(records: pl.DataFrame, layout: Layout, rejected: dict[int, Reject]) -> pl.Series:
    texts: list[str | None] = []
    for number, (raw, offset) in enumerate(zip(records["raw"], records["offset"], strict=True)):
        try:
            texts.append(decode(raw, layout.encoding))
        except UnicodeDecodeError as error:
            rejected[number] = _of_other_encoding(error, raw, offset, layout.encoding)
            texts.append(None)
    return pl.Series("text", texts, dtype=pl.String)


def _of_other_encoding(error: UnicodeDecodeError, raw: bytes, offset: int, encoding: str) -> Reject:
    damaged = raw[error.start : max(error.end, error.start + 1)].hex(" ").upper()
    return Reject("E_ENCODING", "", damaged, f"byte offset {offset + error.start}: not {encoding}")


def _split(table: pl.DataFrame, layout: Layout, rejected: dict[int, Reject]) -> pl.DataFrame:
    """Rows without quotes: every delimiter divides."""
    counts = table["body"].str.count_matches(layout.delimiter, literal=True) + 1
    fitting = counts == layout.width
    if not fitting.all():
        numbers = table[RECORD].filter(~fitting)
        for number, count in zip(numbers, counts.filter(~fitting), strict=True):
            rejected[number] = _of_other_width(count, layout)
        table = table.filter(fitting)
    parts = table["body"].str.split_exact(layout.delimiter, layout.width - 1)
    fields = [parts.struct.field(f"field_{position}").alias(str(position)) for position in range(layout.width)]
    return pl.DataFrame([table[RECORD], *fields])


def _parsed(table: pl.DataFrame, layout: Layout, rejected: dict[int, Reject]) -> pl.DataFrame:
    """Rows with quotes, stray carriage returns or very long fields, by the csv module."""
    numbers, kept = [], []
    for number, fields in zip(table[RECORD], _rows(table["body"].to_list(), layout), strict=True):
        if isinstance(fields, csv.Error):
            rejected[number] = Reject("E_PARSE", "", "", str(fields))
        elif len(fields) != layout.width:
            rejected[number] = _of_other_width(len(fields), layout)
        else:
            numbers.append(number)
            kept.append(fields)
    columns = {str(position): [fields[position] for fields in kept] for position in range(layout.width)}
    schema = {RECORD: pl.UInt32, **dict.fromkeys(columns, pl.String)}
    return pl.DataFrame({RECORD: numbers, **columns}, schema=schema)


def _rows(bodies: list[str], layout: Layout) -> list[list[str] | csv.Error]:
    try:
        rows: list[list[str] | csv.Error] = list(csv.reader(bodies, delimiter=layout.delimiter, strict=True))
    except csv.Error:
        rows = []
    # A quote that stays open swallows the next text: then there are fewer rows than texts.
    return rows if len(rows) == len(bodies) else [_row(body, layout) for body in bodies]


def _row(body: str, layout: Layout) -> list[str] | csv.Error:
    try:
        return split_fields(body, layout.delimiter)
    except csv.Error as error:
        return error


def _of_other_width(count: int, layout: Layout) -> Reject:
    return Reject("E_COLUMNS", "", "", f"has {count} columns, the header has {layout.width}")
