"""The door through which an object's rows come in, whatever they are kept in: lines of a file, or rows of a table."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Final

from pilotage.api.v1alpha1.migrationjob import (
    Consistency,
    Encoding,
    FileFormat,
    FileSource,
    MigrationObject,
    MigrationSource,
)
from pilotage.migration.conversion import Refused
from pilotage.migration.encoding import decode, prove
from pilotage.migration.errors import Halt
from pilotage.migration.mapping import needed_columns
from pilotage.migration.records import read_records, split_fields
from pilotage.migration.source.content import Content, source_path
from pilotage.migration.source.forms import FORMS, Form, object_texts
from pilotage.migration.source.live import read_live, source_address
from pilotage.migration.source.table import Table

MAX_COLUMNS: Final = 2000
SAMPLED_LINES: Final = 1000
_ENDINGS: Final = {
    ".csv": FileFormat.CSV,
    ".tsv": FileFormat.TSV,
    ".xlsx": FileFormat.XLSX,
    ".xls": FileFormat.XLSX,
    ".xlsb": FileFormat.XLSX,
    ".ods": FileFormat.XLSX,
    ".jsonl": FileFormat.JSONL,
    ".ndjson": FileFormat.JSONL,
    ".parquet": FileFormat.PARQUET,
    ".sqlite": FileFormat.SQLITE,
    ".sqlite3": FileFormat.SQLITE,
    ".db": FileFormat.SQLITE,
    ".sql": FileFormat.DUMP,
}


@dataclass(frozen=True)
class Opened:
    """A source that was looked at: how its lines are to be read, and what they are.

    Exactly one of `content`, with lines from `offset` (bytes, from 0) and `line` (from 1) on, and `table` is given.
    `sha256` is that of the file as it was handed over; of a live database, which has none, it is empty, and
    `consistency` says what holds its rows together.
    """

    name: str
    form: Form
    encoding: Encoding
    delimiter: str
    header: list[str]
    sha256: str
    content: Content | None = None
    offset: int = 0
    line: int = 1
    table: Table | None = field(default=None, repr=False)
    consistency: Consistency | None = None


def format_of(name: str) -> FileFormat:
    """The format that a file's name promises."""
    return _ENDINGS.get(Path(name).suffix.lower(), FileFormat.CSV)


def open_source(source: MigrationSource, found: MigrationObject, root: Path) -> Opened:
    """Look at what an object comes from: a file's encoding over all of its bytes, the names of the columns.

    Raises Halt.
    """
    chosen = found.from_
    if source.connection is not None:
        return _open_live(source, chosen)
    content = Content(source_path(root, str(chosen.file)), chosen.member)
    form = chosen.format or source.format or format_of(content.inner)
    if form is FileFormat.FIXED and not chosen.columns:
        raise Halt("SpecInvalid", f"object {found.name}: a file of fixed width needs from.columns")
    encoding = chosen.encoding or source.encoding
    if form in FORMS:
        delimiter = "\t" if form is FileFormat.TSV else chosen.delimiter or source.delimiter
        return _open_lines(content, FORMS[form], encoding, delimiter, found)
    table = _read_table(content, form, encoding, chosen)
    _check_width(content.name, table.header)
    return Opened(content.name, Form.ROW, Encoding.UTF_8, ",", table.header, content.digest(), table=table)


def _open_live(source: MigrationSource, chosen: FileSource) -> Opened:
    consistency = source.consistency or Consistency.SNAPSHOT
    encoding = chosen.encoding or source.encoding
    table = read_live(source_address(), consistency, chosen.table, chosen.query, chosen.key, encoding)
    name = f"{source.connection}: {chosen.table or 'query'}"
    _check_width(name, table.header)
    return Opened(name, Form.ROW, Encoding.UTF_8, ",", table.header, "", table=table, consistency=consistency)


def _read_table(content: Content, form: FileFormat, encoding: Encoding, chosen: FileSource) -> Table:
    # Each reader brings a library of its own, and one run needs one or two of them.
    if form in {FileFormat.SQLITE, FileFormat.DUMP} and not (
        chosen.table or (chosen.query and form is FileFormat.SQLITE)
    ):
        raise Halt("SpecInvalid", f"{content.name} is a {form} file: say in from.table which table of it is meant")
    match form:
        case FileFormat.XLSX:
            from pilotage.migration.source.workbook_process import read_sheet_apart

            return read_sheet_apart(content, chosen.sheet, chosen.header_row)
        case FileFormat.PARQUET:
            from pilotage.migration.source.parquet import read_parquet

            return read_parquet(content)
        case FileFormat.SQLITE:
            from pilotage.migration.source.sqlite import read_sqlite

            return read_sqlite(content, chosen.table, chosen.query, encoding)
        case _:
            from pilotage.migration.source.dump import read_dump

            return read_dump(content, str(chosen.table), encoding)


def _open_lines(
    content: Content, form: Form, declared: Encoding, delimiter: str, definition: MigrationObject
) -> Opened:
    proof = prove(content, declared)
    sha256 = content.digest() if content.packed else proof.sha256
    opened = Opened(content.name, form, proof.encoding, delimiter, [], sha256, content, proof.mark)
    if form is Form.FIXED:
        return _with(opened, [column.name for column in definition.from_.columns])
    if form is Form.OBJECT:
        return _with(opened, _names_of_objects(opened, needed_columns(definition)))
    with content.open() as file:
        head = next(read_records(file, offset=proof.mark, line=1, end=proof.size), None)
    if head is None:
        raise Halt("SourceEmpty", f"{content.name} has no header line")
    try:
        names = split_fields(decode(head.raw, proof.encoding), delimiter)
    except (csv.Error, UnicodeDecodeError) as error:
        raise Halt("HeaderUnreadable", f"the header of {content.name} is not CSV: {error}") from error
    return replace(_with(opened, names), offset=head.offset + len(head.raw), line=1 + head.lines)


def _with(opened: Opened, header: list[str]) -> Opened:
    _check_width(opened.name, header)
    return replace(opened, header=header)


def _check_width(name: str, header: list[str]) -> None:
    if len(header) > MAX_COLUMNS:
        raise Halt(
            "TooManyColumns", f"{name} has {len(header)} columns, at most {MAX_COLUMNS} are read: is the format right?"
        )


def _names_of_objects(opened: Opened, needed: Iterable[str]) -> list[str]:
    """Names in the first lines, and in further ones until each that the mapping needs was seen."""
    if opened.content is None:
        return []
    names: dict[str, None] = {}
    with opened.content.open() as file:
        file.seek(opened.offset)
        lines = _texts_of(file, opened.encoding)
        for text in islice(lines, SAMPLED_LINES):
            names |= dict.fromkeys(text)
        missing = set(needed) - names.keys()
        for text in lines:
            if not missing:
                break
            names |= dict.fromkeys(missing & text.keys())
            missing -= text.keys()
    if not names:
        raise Halt("HeaderUnreadable", f"{opened.name}: none of its first {SAMPLED_LINES} lines is a JSON object")
    return list(names)


def _texts_of(file: Iterable[bytes], encoding: Encoding) -> Iterator[dict[str, str]]:
    for raw in file:
        try:
            yield object_texts(decode(raw, encoding))
        except (Refused, UnicodeDecodeError):
            continue
