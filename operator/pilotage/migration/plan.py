"""The plan of a run: proved files, checked target, and chunks that every worker cuts alike."""

from __future__ import annotations

import csv
import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from psycopg import sql
from psycopg.types.json import Jsonb

from pilotage.api.v1alpha1.migrationjob import Encoding, MigrationJobSpec, MigrationObject, spec_problem
from pilotage.migration import ledger
from pilotage.migration.conversion import Column
from pilotage.migration.database import Connection, require_columns, require_references
from pilotage.migration.encoding import decode, prove
from pilotage.migration.errors import Halt
from pilotage.migration.mapping import field_rules, filter_rules, read_header
from pilotage.migration.records import read_records, split_fields

DEFAULT_CHUNK_ROWS: Final = 25_000
# A worker takes some sixty times as much memory at its peak.
MAX_CHUNK_BYTES: Final = 4 << 20
READ_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class ObjectPlan:
    """One object as the workers need it."""

    definition: MigrationObject
    order: int
    file: str
    encoding: Encoding
    delimiter: str
    header: list[str]
    columns: dict[str, Column]
    sha256: str
    staging: str

    def staged(self, to: str) -> sql.Identifier:
        """Column of the staging table with the value that the source gives for this field."""
        return sql.Identifier(f"c{self._position(to)}")

    def resolved(self, to: str) -> sql.Identifier:
        """Column of the staging table with the value that is stored: what a reference led to, else the value itself."""
        index = self._position(to)
        return sql.Identifier(f"{'r' if self.definition.fields[index].reference else 'c'}{index}")

    def _position(self, to: str) -> int:
        return next(index for index, field in enumerate(self.definition.fields) if field.to == to)

    def to_json(self) -> dict[str, Any]:
        """The form in which the ledger keeps it."""
        return {
            "definition": self.definition.to_manifest(),
            "order": self.order,
            "file": self.file,
            "encoding": self.encoding.value,
            "delimiter": self.delimiter,
            "header": self.header,
            "columns": {name: asdict(column) for name, column in self.columns.items()},
            "sha256": self.sha256,
            "staging": self.staging,
        }

    @staticmethod
    def from_json(found: dict[str, Any]) -> ObjectPlan:
        """The plan out of the ledger."""
        return ObjectPlan(
            **{
                **found,
                "definition": MigrationObject.model_validate(found["definition"]),
                "encoding": Encoding(found["encoding"]),
                "columns": {name: Column(**column) for name, column in found["columns"].items()},
            }
        )


@dataclass(frozen=True)
class Chunk:
    """A byte range of a file that starts and ends between records."""

    low: int
    high: int
    line: int
    sha256: str


def source_path(root: Path, file: str) -> Path:
    """The file below the root. Raises Halt when it is missing, unreadable or outside."""
    path = root / file
    if ".." in Path(file).parts:
        raise Halt("SourceOutside", f"{file} leads out of the source's folder")
    if not path.is_file():
        near = sorted(found.name for found in path.parent.iterdir())[:10] if path.parent.is_dir() else []
        there = f"; there are: {', '.join(near)}" if near else ""
        raise Halt("SourceMissing", f"{file} is not in the source{there}")
    if not os.access(path, os.R_OK):
        raise Halt("SourceUnreadable", f"{file} cannot be read by user {os.getuid()}: check its owner and mode")
    return path


def plan_object(
    spec: MigrationJobSpec, found: MigrationObject, order: int, root: Path, columns: dict[str, Column], run: str
) -> tuple[ObjectPlan, int, int]:
    """Prove the file's encoding and read its header; returns where the rows start (byte offset, line)."""
    path = source_path(root, found.from_.file)
    proof = prove(path, found.from_.encoding or spec.source.encoding)
    delimiter = found.from_.delimiter or spec.source.delimiter
    with path.open("rb") as file:
        head = next(read_records(file, offset=proof.mark, line=1, end=proof.size), None)
    if head is None:
        raise Halt("SourceEmpty", f"{found.from_.file} has no header line")
    try:
        names = split_fields(decode(head.raw, proof.encoding), delimiter)
    except csv.Error as error:
        raise Halt("HeaderUnreadable", f"the header of {found.from_.file} is not CSV: {error}") from error
    header = read_header(names, found, found.from_.file)
    field_rules(found, columns, header)
    filter_rules(found, header)
    staging = f"r{run.replace('-', '')[:16]}_{order}"
    planned = ObjectPlan(
        found, order, found.from_.file, proof.encoding, delimiter, header, columns, proof.sha256, staging
    )
    return planned, head.offset + len(head.raw), 1 + head.lines


class Cutter:
    """Gathers records into chunks of at most `rows` records and 4 MiB; a longer record is a chunk of its own."""

    def __init__(self, offset: int, line: int, rows: int) -> None:
        self.chunks: list[Chunk] = []
        self.position = offset
        self.line = line
        self._rows = rows
        self._begin()

    def add_lines(self, lines: list[bytes]) -> None:
        """Take lines each of which is a record."""
        if self.position - self._low + sum(map(len, lines)) > MAX_CHUNK_BYTES:
            for raw in lines:
                self.add(raw, 1, 1)
            return
        while lines:
            group = lines[: self._rows - self._count or self._rows]
            self.add(b"".join(group), len(group), len(group))
            lines = lines[len(group) :]

    def add(self, raw: bytes, records: int, lines: int) -> None:
        """Take records together: as many as there is room for, or one."""
        too_large = self.position - self._low + len(raw) > MAX_CHUNK_BYTES
        if self._count and (too_large or self._count + records > self._rows):
            self.end_chunk()
        self._digest.update(raw)
        self._count += records
        self.position += len(raw)
        self.line += lines

    def end_chunk(self) -> None:
        """Close the chunk at hand, unless it is empty."""
        if self._count:
            self.chunks.append(Chunk(self._low, self.position, self._first, self._digest.hexdigest()))
        self._begin()

    def _begin(self) -> None:
        self._low, self._first, self._count, self._digest = self.position, self.line, 0, hashlib.sha256()


def cut_chunks(path: Path, offset: int, line: int, rows: int) -> list[Chunk]:
    """Chunks of at most `rows` records, from `offset` to the end of the file."""
    cutter, end = Cutter(offset, line, rows), path.stat().st_size
    with path.open("rb") as file:
        while lines := _lines(file, cutter.position):
            upto = cutter.position + sum(map(len, lines))
            if all(raw.count(b'"') % 2 == 0 for raw in lines):
                cutter.add_lines(lines)
                continue
            for record in read_records(file, offset=cutter.position, line=cutter.line, end=end):
                cutter.add(record.raw, 1, record.lines)
                if cutter.position >= upto:
                    break
    cutter.end_chunk()
    return cutter.chunks


def _lines(file: BinaryIO, position: int) -> list[bytes]:
    file.seek(position)
    return file.readlines(READ_BYTES)


def make_plan(
    connection: Connection, spec: MigrationJobSpec, *, run: str, attempt: str, root: Path, chunk_rows: int
) -> str:
    """Plan the run into the ledger, or take up the one that is there; returns the run's state.

    A run that succeeded stays so. A source or mapping that moved since is refused, except with a new attempt
    and as long as nothing reached the target, which is only ever touched by the last step.
    """
    if problem := spec_problem(spec):
        raise Halt("SpecInvalid", problem)
    ledger.create_schema(connection)
    known = ledger.read_run(connection, run)
    if known and known.state == "succeeded":
        return known.state
    schema, by_name = spec.target.schema_, {found.name: found for found in spec.objects}
    plans: list[ObjectPlan] = []
    chunks: dict[str, list[Chunk]] = {}
    for order, found in enumerate(spec.objects):
        columns = require_columns(connection, schema, found)
        require_references(connection, schema, by_name, found)
        planned, offset, line = plan_object(spec, found, order, root, columns, run)
        plans.append(planned)
        chunks[found.name] = cut_chunks(root / planned.file, offset, line, chunk_rows)
    content = {"spec": spec.to_manifest(), "objects": [planned.to_json() for planned in plans]}
    plan_hash = hashlib.sha256(ledger.canonical([content, chunk_rows]).encode()).hexdigest()
    return _record(connection, run, attempt, plan_hash, content, plans, chunks)


def _record(
    connection: Connection,
    run: str,
    attempt: str,
    plan_hash: str,
    content: dict[str, Any],
    plans: list[ObjectPlan],
    chunks: dict[str, list[Chunk]],
) -> str:
    with connection.transaction():
        known = ledger.read_run(connection, run, lock=True)
        if known and known.state == "succeeded":
            return known.state
        if known and known.plan_hash == plan_hash:
            if known.attempt != attempt:
                connection.execute(
                    "update mig.run set attempt = %s, state = 'loading', reason = '', message = '', result = null,"
                    " finished_at = null where run_id = %s",
                    (attempt, run),
                )
                return "loading"
            return known.state
        if known and known.attempt == attempt:
            raise Halt(
                "SourceMoved",
                "the source, the mapping or the target's columns changed since this run was planned; set the "
                "annotation pilotage.dev/retry-at to plan it anew (nothing has reached the target)",
            )
        connection.execute("delete from mig.run where run_id = %s", (run,))
        connection.execute(
            "insert into mig.run (run_id, attempt, plan_hash, plan) values (%s, %s, %s, %s)",
            (run, attempt, plan_hash, Jsonb(content)),
        )
        for planned in plans:
            _create_staging(connection, planned)
            with connection.cursor().copy(
                "copy mig.chunk (run_id, object_order, object, chunk_id, lo, hi, line, sha256) from stdin"
            ) as copy:
                name = planned.definition.name
                for number, chunk in enumerate(chunks[name]):
                    place = (chunk.low, chunk.high, chunk.line, chunk.sha256)
                    copy.write_row((run, planned.order, name, number, *place))
    return "loading"


def _create_staging(connection: Connection, planned: ObjectPlan) -> None:
    table = sql.Identifier("mig_stg", planned.staging)
    columns = [sql.SQL("{} text").format(planned.staged(field.to)) for field in planned.definition.fields]
    columns += [
        sql.SQL("{} text").format(planned.resolved(field.to)) for field in planned.definition.fields if field.reference
    ]
    connection.execute(sql.SQL("drop table if exists {}").format(table))
    # Unlogged: a crash empties it, which the settlement notices.
    connection.execute(
        sql.SQL(
            "create unlogged table {} (_seq bigint primary key, _chunk int not null, _line bigint not null,"
            ' _raw bytea not null, _order text collate "C", _outcome text, {})'
        ).format(table, sql.SQL(", ").join(columns))
    )
