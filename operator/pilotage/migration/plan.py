"""The plan of a run: proved files, checked target, and chunks that every worker cuts alike."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

from psycopg import sql
from psycopg.types.json import Jsonb

from pilotage.api.v1alpha1.migrationjob import (
    Consistency,
    Encoding,
    MigrationJobSpec,
    MigrationObject,
    spec_problem,
)
from pilotage.migration import ledger
from pilotage.migration.baseline import compared, find_baseline
from pilotage.migration.conversion import Column
from pilotage.migration.database import Connection, require_columns, require_references
from pilotage.migration.encoding import decode
from pilotage.migration.errors import Halt
from pilotage.migration.mapping import field_rules, filter_rules, read_header
from pilotage.migration.order import Late, arrange, late_from_json, late_to_json, read_ties
from pilotage.migration.records import read_records, split_fields
from pilotage.migration.rehearsal import hold_to_rehearsal
from pilotage.migration.source.door import Opened, open_source
from pilotage.migration.source.download import download, file_server
from pilotage.migration.source.forms import Form, line_texts
from pilotage.migration.source.lines import Readable, read_lines
from pilotage.migration.source.table import row_lines

DEFAULT_CHUNK_ROWS: Final = 25_000
# A worker takes some sixty times as much memory at its peak.
MAX_CHUNK_BYTES: Final = 4 << 20
# States of a run whose staged rows are gone: it can only be left alone or planned anew.
LEFT: Final = frozenset({"succeeded", "rolledback"})
# PostgreSQL 14 has hash_record_extended.
DIGESTING_VERSION: Final = 140_000
READ_BYTES: Final = 1 << 20
UNKNOWN_END: Final = 1 << 62
PART_LEVEL: Final = 1
WRITTEN_PARTS: Final = 4


@dataclass(frozen=True)
class ObjectPlan:
    """One object as the workers need it. `order` is its place in the spec; `late` are columns that are filled last.

    `kept` says that its lines are in the ledger's `mig.part`, because no worker could read a range of the file, or has
    it. `chain` is what a Delta goes on with: the id of the Final run that began it.
    """

    definition: MigrationObject
    order: int
    file: str
    encoding: Encoding
    delimiter: str
    header: list[str]
    columns: dict[str, Column]
    sha256: str
    staging: str
    form: Form = Form.CSV
    kept: bool = False
    consistency: Consistency | None = None
    late: tuple[Late, ...] = ()
    chain: str | None = None

    def line_texts(self, raw: bytes) -> list[str]:
        """The texts of one record, in the order of the header. Raises Refused, csv.Error and UnicodeDecodeError."""
        if self.form is Form.CSV:
            return split_fields(decode(raw, self.encoding), self.delimiter)
        return line_texts(self.form, raw, self.encoding, self.header, self.definition.from_.columns)

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
            "form": self.form.value,
            "kept": self.kept,
            "consistency": self.consistency.value if self.consistency else None,
            "late": late_to_json(self.late),
            "chain": self.chain,
        }

    @staticmethod
    def from_json(found: dict[str, Any]) -> ObjectPlan:
        """The plan out of the ledger."""
        return ObjectPlan(
            **{
                **found,
                "definition": MigrationObject.model_validate(found["definition"]),
                "encoding": Encoding(found["encoding"]),
                "form": Form(found["form"]),
                "consistency": Consistency(found["consistency"]) if found["consistency"] else None,
                "columns": {name: Column(**column) for name, column in found["columns"].items()},
                "late": tuple(map(late_from_json, found.get("late", ()))),
            }
        )


@dataclass(frozen=True)
class Chunk:
    """A range of bytes of a file, as it is unpacked, that starts and ends between records."""

    low: int
    high: int
    line: int
    sha256: str


def plan_object(
    spec: MigrationJobSpec, found: MigrationObject, order: int, root: Path, columns: dict[str, Column], run: str
) -> tuple[ObjectPlan, Opened]:
    """Look at the object's source, and check the mapping against its header."""
    opened = open_source(spec.source, found, root)
    header = read_header(opened.header, found, opened.name)
    field_rules(found, columns, header)
    filter_rules(found, header)
    planned = ObjectPlan(
        found,
        order,
        found.from_.file or opened.name,
        opened.encoding,
        opened.delimiter,
        header,
        columns,
        opened.sha256,
        f"r{run.replace('-', '')[:16]}_{order}",
        opened.form,
        kept=opened.content is None or opened.content.packed or spec.source.server is not None,
        consistency=opened.consistency,
    )
    return planned, opened


class Cutter:
    """Gathers records into chunks of at most `rows` records and 4 MiB; a longer record is a chunk of its own.

    Each chunk goes to `take`, with its bytes where they are `kept`.
    """

    def __init__(
        self, offset: int, line: int, rows: int, take: Callable[[Chunk, bytes], None], *, kept: bool = False
    ) -> None:
        self._take = take
        self._kept: list[bytes] | None = [] if kept else None
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
        if self._kept is not None:
            self._kept.append(raw)
        self._count += records
        self.position += len(raw)
        self.line += lines

    def end_chunk(self) -> None:
        """Close the chunk at hand, unless it is empty."""
        if self._count:
            chunk = Chunk(self._low, self.position, self._first, self._digest.hexdigest())
            self._take(chunk, b"".join(self._kept or ()))
        self._begin()

    def _begin(self) -> None:
        self._low, self._first, self._count, self._digest = self.position, self.line, 0, hashlib.sha256()
        if self._kept is not None:
            self._kept.clear()


def cut_chunks(source: Readable, offset: int, line: int, rows: int) -> list[Chunk]:
    """Chunks of at most `rows` CSV records, from `offset` to the end of the file."""
    chunks: list[Chunk] = []
    _cut_records(source, Cutter(offset, line, rows, lambda chunk, _data: chunks.append(chunk)))
    return chunks


def _cut_records(source: Readable, cutter: Cutter) -> None:
    with source.open("rb") as file:
        while lines := _lines(file, cutter, source.name):
            upto = cutter.position + sum(map(len, lines))
            if all(raw.count(b'"') % 2 == 0 for raw in lines):
                cutter.add_lines(lines)
                continue
            for record in read_records(file, offset=cutter.position, line=cutter.line, end=UNKNOWN_END):
                cutter.add(record.raw, 1, record.lines)
                if cutter.position >= upto:
                    break
    cutter.end_chunk()


def _cut_lines(source: Readable, cutter: Cutter) -> None:
    with source.open("rb") as file:
        while lines := _lines(file, cutter, source.name):
            cutter.add_lines(lines)
    cutter.end_chunk()


def _cut_rows(lines: Iterable[bytes], cutter: Cutter) -> None:
    for raw in lines:
        cutter.add(raw, 1, 1)
    cutter.end_chunk()


def _lines(file: BinaryIO, cutter: Cutter, name: str) -> list[bytes]:
    file.seek(cutter.position)
    return read_lines(file, READ_BYTES, name=name, line=cutter.line, offset=cutter.position)


def cut_source(opened: Opened, rows: int, take: Callable[[Chunk, bytes], None], *, kept: bool) -> None:
    """Cut all of a source's lines into chunks, each of which goes to `take`, with its bytes where they are `kept`."""
    if opened.table is not None:
        cutter = Cutter(0, opened.table.first, rows, take, kept=kept)
        _cut_rows(row_lines(opened.table.rows, opened.name, opened.table.first), cutter)
    elif opened.content is not None:
        cutter = Cutter(opened.offset, opened.line, rows, take, kept=kept)
        (_cut_records if opened.form is Form.CSV else _cut_lines)(opened.content, cutter)


def make_plan(
    connection: Connection, spec: MigrationJobSpec, *, run: str, job: str, attempt: str, root: Path, chunk_rows: int
) -> str:
    """Plan the run into the ledger, or take up the one that is there; returns the run's state.

    `job` is what the MigrationJob is called; without a name a Final run is held to no Rehearsal. A Final run that
    succeeded stays so; a Mock or a Rehearsal is made anew with a new attempt. A source or mapping that moved since is
    refused, except with a new attempt and as long as nothing reached the target, which is only ever touched by the
    last step.
    """
    if problem := spec_problem(spec):
        raise Halt("SpecInvalid", problem)
    ledger.create_schema(connection)
    known = ledger.read_run(connection, run)
    if known and known.state in LEFT and not _repeatable(known, attempt):
        return known.state
    schema, by_name = spec.target.schema_, {found.name: found for found in spec.objects}
    columns = {found.name: require_columns(connection, schema, found) for found in spec.objects}
    for found in spec.objects:
        require_references(connection, schema, by_name, found)
    baseline = find_baseline(connection, spec, job)
    order = arrange(list(by_name), read_ties(connection, schema, spec.objects, columns))
    with _source_root(spec, root) as folder:
        looked_at = {}
        for place, found in enumerate(spec.objects):
            planned, opened = plan_object(spec, found, place, folder, columns[found.name], run)
            late, chain = tuple(order.late.get(found.name, ())), baseline["chain"] if baseline else None
            looked_at[found.name] = replace(planned, late=late, chain=chain), opened
        objects = [looked_at[name] for name in order.objects]
        settings = {"job": job, "order": order.to_json(), **_chain(connection, run, baseline)}
        return _write_plan(
            connection, spec, objects, settings, run=run, attempt=attempt, chunk_rows=chunk_rows, baseline=baseline
        )


def _chain(connection: Connection, run: str, baseline: Mapping[str, Any] | None) -> dict[str, str]:
    """The Final run that this one's rows go back to; nothing where the server cannot digest rows for a later Delta."""
    if connection.info.server_version < DIGESTING_VERSION:
        return {}
    return {"chain": baseline["chain"] if baseline else run}


@contextmanager
def _source_root(spec: MigrationJobSpec, root: Path) -> Iterator[Path]:
    """The folder with the source's files; those of a server are fetched, for as long as it takes to plan."""
    if spec.source.server is None:
        yield root
        return
    with tempfile.TemporaryDirectory(prefix="pilotage-source-") as folder:
        files = [str(found.from_.file) for found in spec.objects]
        download(file_server(), spec.source.server.path or "", files, Path(folder))
        yield Path(folder)


def _write_plan(
    connection: Connection,
    spec: MigrationJobSpec,
    objects: Sequence[tuple[ObjectPlan, Opened]],
    settings: dict[str, Any],
    *,
    run: str,
    attempt: str,
    chunk_rows: int,
    baseline: Mapping[str, Any] | None,
) -> str:
    # Whether a run is to be taken back is no part of what it is.
    kept = spec.model_copy(update={"rollback": spec.rollback.model_copy(update={"run": None})})
    content: dict[str, Any] = {"spec": kept.to_manifest(), "objects": [planned.to_json() for planned, _ in objects]}
    if baseline:
        content["baseline"] = compared(baseline, content)
    # What a live database held cannot be told before it is read: each attempt reads it anew.
    once = attempt if spec.source.connection else ""
    plan_hash = hashlib.sha256(ledger.canonical([content, chunk_rows, once]).encode()).hexdigest()
    return _record(connection, run, attempt, plan_hash, {**content, **settings}, objects, chunk_rows)


def _repeatable(known: ledger.RunRow, attempt: str) -> bool:
    """Whether the run is over, nothing of it is in the target, and somebody wants it anew."""
    nothing_there = known.state == "rolledback" or not known.kind.loads
    return known.attempt != attempt and known.state in LEFT and nothing_there


def _record(
    connection: Connection,
    run: str,
    attempt: str,
    plan_hash: str,
    content: dict[str, Any],
    objects: Sequence[tuple[ObjectPlan, Opened]],
    chunk_rows: int,
) -> str:
    with connection.transaction():
        known = ledger.read_run(connection, run, lock=True)
        again = known is not None and _repeatable(known, attempt)
        if known and known.state in LEFT and not again:
            return known.state
        if known and known.plan_hash == plan_hash and not again:
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
        for order, (planned, opened) in enumerate(objects):
            _create_staging(connection, planned)
            sha256 = _write_chunks(connection, run, planned, opened, chunk_rows)
            if not planned.sha256:
                connection.execute(
                    "update mig.run set plan = jsonb_set(plan, %s, %s) where run_id = %s",
                    (["objects", str(order), "sha256"], Jsonb(sha256), run),
                )
        _hold(connection, run)
    return "loading"


def _hold(connection: Connection, run: str) -> None:
    """Hold the run that has just been planned to its Rehearsal: only now is known what a live source held."""
    planned = ledger.read_run(connection, run)
    counted = connection.execute("select count(*) from mig.chunk where run_id = %s", (run,)).fetchone()
    if planned is None or counted is None:
        msg = f"run {run} has just been written"
        raise AssertionError(msg)
    spec = MigrationJobSpec.model_validate(planned.plan["spec"])
    held = hold_to_rehearsal(connection, spec, planned.plan["job"], planned.plan, counted[0])
    connection.execute(
        "update mig.run set plan = jsonb_set(plan, '{rehearsal}', %s) where run_id = %s", (Jsonb(held), run)
    )


def _write_chunks(connection: Connection, run: str, planned: ObjectPlan, opened: Opened, chunk_rows: int) -> str:
    """Cut the source into the ledger, a batch at a time: of what is kept there may be more than memory holds.

    Returns the sha256 of the chunks' own.
    """
    digest = hashlib.sha256()
    name = planned.definition.name
    chunks: list[tuple[Any, ...]] = []
    parts: list[tuple[Any, ...]] = []
    number = itertools.count()

    def write() -> None:
        with connection.cursor().copy(
            "copy mig.chunk (run_id, object_order, object, chunk_id, lo, hi, line, sha256) from stdin"
        ) as copy:
            for row in chunks:
                copy.write_row(row)
        with connection.cursor().copy("copy mig.part (run_id, object, chunk_id, content) from stdin") as copy:
            for part in parts:
                copy.write_row(part)
        chunks.clear()
        parts.clear()

    def take(chunk: Chunk, data: bytes) -> None:
        one = next(number)
        digest.update(bytes.fromhex(chunk.sha256))
        chunks.append((run, planned.order, name, one, chunk.low, chunk.high, chunk.line, chunk.sha256))
        if planned.kept:
            parts.append((run, name, one, zlib.compress(data, PART_LEVEL)))
        if len(parts) >= WRITTEN_PARTS:
            write()

    cut_source(opened, chunk_rows, take, kept=planned.kept)
    write()
    return digest.hexdigest()


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
            ' _raw bytea not null, _order text collate "C", _outcome text, _inserted boolean, _stored bigint, {})'
        ).format(table, sql.SQL(", ").join(columns))
    )
