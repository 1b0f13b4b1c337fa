"""How a file's text is cut: delimiter, header, and records in blocks that are checked or handed on."""

from __future__ import annotations

import csv
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import Final, NamedTuple

from pilotage.api.text import printable
from pilotage.api.v1alpha1.migrationjob import Encoding
from pilotage.migration.encoding import decode
from pilotage.migration.errors import Halt
from pilotage.migration.look.defects import DefectLog, Place
from pilotage.migration.look.survey import BLOCK_BYTES, Verdict
from pilotage.migration.records import Record, read_records, split_fields

DELIMITERS: Final = ",\t;|"
MAX_COLUMNS: Final = 2000
_RECORDS_FOR_DELIMITER: Final = 200


@dataclass(frozen=True)
class Layout:
    """Delimiter and header of a file, and where its rows start (byte offset, line)."""

    delimiter: str
    header: list[str]
    offset: int
    line: int


class Row(NamedTuple):
    """The texts of one record that has as many columns as the header."""

    texts: list[str]
    line: int
    offset: int


@dataclass
class Tally:
    """How many records the file has, and how many of them are blank, damaged or were handed on."""

    records: int = 0
    blank: int = 0
    damaged: int = 0
    profiled: int = 0


def read_layout(path: Path, verdict: Verdict, size: int, delimiter: str | None) -> Layout:
    """Find delimiter and header. Raises Halt when there is no header that can be read."""
    with path.open("rb") as file:
        records = []
        for record in read_records(file, offset=verdict.mark, line=1, end=size):
            records.append(record)
            if len(records) == _RECORDS_FOR_DELIMITER or record.offset > BLOCK_BYTES:
                break
    if not records:
        raise Halt("SourceEmpty", f"{path.name} has no header line")
    head = records[0]
    try:
        chosen = delimiter or choose_delimiter(_texts(records, verdict.encoding))
        names = split_fields(decode(head.raw, verdict.encoding), chosen)
    except (csv.Error, UnicodeDecodeError) as error:
        raise Halt("HeaderUnreadable", f"{path.name}: the first line cannot be read as a header: {error}") from error
    if len(names) > MAX_COLUMNS:
        raise Halt("TooManyColumns", f"{path.name}: the first line has {len(names)} columns, at most {MAX_COLUMNS} are")
    header = [unicodedata.normalize("NFC", name.strip().lstrip("\ufeff")) for name in names]
    return Layout(chosen, header, head.offset + len(head.raw), 1 + head.lines)


def _texts(records: Sequence[Record], encoding: Encoding) -> list[str]:
    found = [decode(records[0].raw, encoding)]
    for record in records[1:]:
        try:
            found.append(decode(record.raw, encoding))
        except UnicodeDecodeError:
            continue
    return found


def choose_delimiter(texts: Sequence[str]) -> str:
    """The delimiter that cuts most records into as many columns as the first, which must be at least two.

    A tie goes to the one that gives more columns; a file of one column gets a comma.
    """

    def quality(delimiter: str) -> tuple[float, int]:
        try:
            widths = [len(split_fields(text, delimiter)) for text in texts if text.strip()]
        except csv.Error:
            return 0.0, 0
        if not widths or widths[0] < 2:
            return 0.0, 0
        return round(widths.count(widths[0]) / len(widths), 1), widths[0]

    best = max(DELIMITERS, key=quality)
    return best if quality(best)[1] else ","


def header_problems(header: Sequence[str]) -> list[str]:
    """What keeps columns of this header from being mapped, in words."""
    problems = []
    if empty := [str(index) for index, name in enumerate(header, start=1) if not name]:
        problems.append(f"column {', '.join(empty[:10])} has no name: it cannot be mapped")
    twice = [name for name, count in Counter(name for name in header if name).items() if count > 1]
    for name in twice[:10]:
        problems.append(f"the name {printable(name)} stands for several columns: none of them can be mapped")
    if long := [name for name in header if len(name) > 200]:
        problems.append(f"{len(long)} names are longer than 200 characters: they cannot be mapped")
    named = [name for name in header if name]
    if named and all(any(sign.isdigit() for sign in name) for name in named):
        problems.append("every name in the first line holds digits: is it a row, and the header missing?")
    return problems


@dataclass(frozen=True)
class Block:
    """Whole records from `offset` (bytes) and `line` on. `records` is made at once where quotes make it necessary."""

    raw: bytes
    offset: int
    line: int
    quoted: Sequence[Record] = ()

    def records(self) -> Sequence[Record]:
        """The block's records; without a quote, every line is one."""
        if self.quoted:
            return self.quoted
        records, offset = [], self.offset
        for number, found in enumerate(self.raw.removesuffix(b"\n").split(b"\n"), start=self.line):
            raw = self.raw[offset - self.offset : offset - self.offset + len(found) + 1]
            records.append(Record(raw, offset, number))
            offset += len(raw)
        return records


def read_blocks(path: Path, layout: Layout, size: int) -> Iterator[Block]:
    """The file from its first row on, in blocks of about BLOCK_BYTES, cut as `records.read_records` cuts."""
    offset, line = layout.offset, layout.line
    with path.open("rb") as file:
        while offset < size:
            file.seek(offset)
            raw = file.read(min(BLOCK_BYTES, size - offset))
            if offset + len(raw) < size:
                raw = raw[: raw.rfind(b"\n") + 1] or raw + file.readline()
            records: list[Record] = []
            if b'"' in raw:
                for record in read_records(file, offset=offset, line=line, end=size):
                    records.append(record)
                    if record.offset + len(record.raw) >= offset + len(raw):
                        break
                raw = b"".join(record.raw for record in records)
            yield Block(raw, offset, line, records)
            offset += len(raw)
            line += raw.count(b"\n")


def read_rows(block: Block, layout: Layout, encoding: Encoding, tally: Tally, log: DefectLog) -> list[Row]:
    """The rows of a block that can be cut; the others go to the log."""
    rows, width = [], len(layout.header)
    for record in block.records():
        tally.records += 1
        if record.blank:
            tally.blank += 1
            continue
        texts = _cut(record, layout, encoding, log)
        if texts and len(texts) != width:
            _log_width(log, len(texts), width, record)
        if len(texts) != width:
            tally.damaged += 1
            continue
        rows.append(Row(texts, record.line, record.offset))
    tally.profiled += len(rows)
    return rows


def check_rows(block: Block, layout: Layout, verdict: Verdict, tally: Tally, log: DefectLog) -> None:
    """Find the records of a block that cannot be cut, without looking at values; quick where every line is a record."""
    # In GB18030 a character's second byte may be `|`; every other delimiter is never part of a character.
    inside = layout.delimiter == "|" and verdict.encoding is not Encoding.UTF_8
    if block.quoted or inside or not verdict.proved:
        tally.profiled -= len(read_rows(block, layout, verdict.encoding, tally, log))
        return
    delimiter, delimiters = layout.delimiter.encode(), len(layout.header) - 1
    lines = block.raw.removesuffix(b"\n").split(b"\n")
    tally.records += len(lines)
    if delimiters and set(map(methodcaller("count", delimiter), lines)) == {delimiters}:
        return
    for record in block.records():
        if record.blank:
            tally.blank += 1
        elif record.raw.count(delimiter) != delimiters:
            tally.damaged += 1
            _log_width(log, record.raw.count(delimiter) + 1, len(layout.header), record)


def _cut(record: Record, layout: Layout, encoding: Encoding, log: DefectLog) -> list[str]:
    place = Place(record.line, record.offset)
    try:
        text = decode(record.raw, encoding)
    except UnicodeDecodeError as error:
        damaged = record.raw[error.start : max(error.end, error.start + 1)].hex(" ").upper()
        log.add("E_ENCODING", "", Place(record.line, record.offset + error.start, damaged))
        return []
    if record.torn:
        log.add("E_PARSE", "", Place(place.line, place.offset, "a quote is opened and never closed"))
        return []
    try:
        return split_fields(text, layout.delimiter)
    except csv.Error as error:
        log.add("E_PARSE", "", Place(place.line, place.offset, str(error)))
        return []


def _log_width(log: DefectLog, found: int, width: int, record: Record) -> None:
    log.add("E_COLUMNS", "", Place(record.line, record.offset, f"{found} columns instead of {width}"))
