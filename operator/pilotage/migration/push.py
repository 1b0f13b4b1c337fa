"""What a run has loaded goes on to an HTTP API: batches that the ledger holds, upserted by an external id.

Rows of the API and "done" in the ledger cannot be one transaction. What stands in for it: a batch is written to the
ledger before its first byte is sent, a job of the API begins only when all of its rows are there, and a batch whose
fate is unknown is sent again, which the external id turns into no change.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from psycopg import sql

from pilotage.api.v1alpha1.migrationjob import MigrationJobSpec, RunKind
from pilotage.migration import ledger
from pilotage.migration.bulk import CREATED, ERROR, ID, BulkApi, Job, UploadLost, outcome_of
from pilotage.migration.database import Connection, table_identifier
from pilotage.migration.errors import BudgetExceeded, Halt, Rejected, Unreachable
from pilotage.migration.plan import ObjectPlan
from pilotage.migration.quarantine_file import neutralise

BATCH_ROWS: Final = 10_000
BATCH_BYTES: Final = 32 << 20
FETCHED_ROWS: Final = 1000
TRIES: Final = 3
JOB_SECONDS: Final = 3600.0
POLL_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
NULL: Final = "#N/A"
LONGEST_VALUE: Final = 131_072
GUARANTEE: Final = "UpsertByExternalId"
UNPROCESSED: Final = "the API did not process the row"


@dataclass(frozen=True)
class Destination:
    """Where the rows of one object go: `names` are the API's for the columns of the table, in order."""

    url: str
    target: str
    external_id: str
    names: dict[str, str]

    @property
    def digest(self) -> str:
        """What the ledger knows it by: the same rows to another place are another push."""
        parts = [self.url.rstrip("/"), self.target, self.external_id, list(self.names.items())]
        return hashlib.sha256(ledger.canonical(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Batch:
    """Rows that go in one job. `number` is its place among the batches, from 0."""

    number: int
    content: bytes
    job: str | None
    tries: int


def push(
    connection: Connection,
    api: BulkApi,
    run: str,
    name: str,
    destination: Destination,
    *,
    folder: Path,
    batch_rows: int = BATCH_ROWS,
    again: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Send all rows that a run has in the table of one object, and write what became of each into `folder`.

    The same call goes on after an interruption and sends nothing that is done; `again` sends every row anew, as the
    table has it by then. Raises BudgetExceeded when the API refused rows.
    """
    with _alone(connection, destination):
        if again:
            _end_jobs(connection, api, run, name, destination, pause)
        _cut(connection, run, name, destination, batch_rows, again=again)
        while batch := _next(connection, run, name, destination):
            results = _send(connection, api, run, name, destination, batch, pause)
            connection.execute(
                "update mig.push set state = 'done', results = %s"
                " where run_id = %s and object = %s and destination = %s and batch = %s",
                (zlib.compress(json.dumps(results).encode()), run, name, destination.digest, batch.number),
            )
        return _account(connection, run, name, destination, folder)


@contextmanager
def _alone(connection: Connection, destination: Destination) -> Iterator[None]:
    """One process for each destination; the lock goes with its connection, and so does everything it may write."""
    key = int(destination.digest[:15], 16)
    found = connection.execute("select pg_try_advisory_lock(%s)", (key,)).fetchone()
    if not found or not found[0]:
        raise Unreachable("PushUnderWay", "another process pushes to this destination; let it end")
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("select pg_advisory_unlock(%s)", (key,))


def _end_jobs(
    connection: Connection,
    api: BulkApi,
    run: str,
    name: str,
    destination: Destination,
    pause: Callable[[float], None],
) -> None:
    """See jobs that an earlier process left to their end: their rows must not come after newer ones."""
    for (job,) in connection.execute(
        "select job_id from mig.push where run_id = %s and object = %s and destination = %s"
        " and state = 'pending' and job_id is not null",
        (run, name, destination.digest),
    ).fetchall():
        begun = _taken_up(api, job)
        if begun:
            _wait(api, begun, pause)


def _cut(connection: Connection, run: str, name: str, destination: Destination, rows: int, *, again: bool) -> None:
    """Write all batches to the ledger, once: from here on nothing that happens to the table changes them."""
    place = (run, name, destination.digest)
    with connection.transaction():
        found = ledger.read_run(connection, run, lock=True)
        if found is None or found.state != "succeeded" or found.kind is not RunKind.FINAL:
            raise Halt("NotSucceeded", f"run {run} is no Final run that has succeeded: it has nothing to push")
        plan = _plan(found, name)
        _require_names(plan, destination)
        if again:
            connection.execute("delete from mig.push where run_id = %s and object = %s and destination = %s", place)
        elif connection.execute(
            "select 1 from mig.push where run_id = %s and object = %s and destination = %s limit 1", place
        ).fetchone():
            return
        schema = MigrationJobSpec.model_validate(found.plan["spec"]).target.schema_
        total = 0
        for number, (count, content) in enumerate(_batches(_rows(connection, run, schema, plan, destination), rows)):
            total += count
            connection.execute(
                "insert into mig.push (run_id, object, destination, batch, rows, sha256, content)"
                " values (%s, %s, %s, %s, %s, %s, %s)",
                (*place, number, count, hashlib.sha256(content).hexdigest(), zlib.compress(content)),
            )
        counts = next(one for one in (found.result or {})["objects"] if one["name"] == name)
        expected = counts["loaded"] + counts["updated"] + counts["kept"]
        if total != expected:
            raise Rejected(
                "RowsMoved",
                f"object {name}: the run has {expected} rows in {plan.definition.to}, but {total} of them are there "
                "now; nothing was pushed",
            )


def _plan(found: ledger.RunRow, name: str) -> ObjectPlan:
    for plan in found.plan["objects"]:
        if plan["definition"]["name"] == name:
            return ObjectPlan.from_json(plan)
    raise Halt("ObjectUnknown", f"run {found.run} has no object {name}")


def _require_names(plan: ObjectPlan, destination: Destination) -> None:
    unknown = [column for column in destination.names if column not in plan.columns]
    if unknown:
        raise Halt("ColumnUnknown", f"--column: object {plan.definition.name} fills no column {', '.join(unknown)}")
    names = list(destination.names.values())
    if destination.external_id not in names or len(set(names)) != len(names) or "" in names:
        raise Halt(
            "ColumnUnknown",
            f"--column must name every field of the API once, and one of them {destination.external_id}",
        )


def _rows(
    connection: Connection, run: str, schema: str, plan: ObjectPlan, destination: Destination
) -> Iterator[list[str]]:
    """Header and rows as texts, by external id. Raises Halt where an id is missing, doubled or a value cannot be sent.

    The API refuses rows that share an id within a job and would take one for the other between jobs.
    """
    identity = next(column for column, name in destination.names.items() if name == destination.external_id)
    same = sql.SQL(" and ").join(
        sql.SQL("t.{} = (c.target_key ->> {})::{}").format(
            sql.Identifier(column), sql.Literal(place), sql.SQL(plan.columns[column].sql_type)
        )
        for place, column in enumerate(plan.definition.key)
    )
    query = sql.SQL(
        "select {columns} from {table} t where exists (select 1 from mig.crosswalk c where c.run_id = {run}"
        " and c.object = {object} and {same}) order by to_jsonb(t) ->> {identity}"
    ).format(
        columns=sql.SQL(", ").join(
            sql.SQL("to_jsonb(t) ->> {}").format(sql.Literal(name)) for name in destination.names
        ),
        table=table_identifier(schema, plan.definition.to),
        run=sql.Literal(run),
        object=sql.Literal(plan.definition.name),
        same=same,
        identity=sql.Literal(identity),
    )
    connection.execute("set local timezone = 'UTC'")
    yield list(destination.names.values())
    place, before = list(destination.names).index(identity), None
    with connection.cursor(name="push") as cursor:
        cursor.itersize = FETCHED_ROWS
        for row in cursor.execute(query):
            if not row[place] or row[place] == before:
                text = "is empty" if not row[place] else f"{row[place]!r} is there more than once"
                raise Halt("ExternalIdNotUnique", f"column {identity} of {plan.definition.to}: {text}")
            if NULL in row:
                raise Halt("ValueUnsendable", f"row {row[place]!r}: the API would take the text {NULL} for no value")
            if any(value and len(value) >= LONGEST_VALUE for value in row):
                text = f"row {row[place]!r} has a value of {LONGEST_VALUE} characters or more"
                raise Halt("ValueUnsendable", text)
            before = row[place]
            # The API would take an empty text for "leave it as it is".
            yield [value or NULL for value in row]


def _batches(rows: Iterator[list[str]], limit: int) -> Iterator[tuple[int, bytes]]:
    """Number of rows and CSV of each batch, all with the header."""
    header = _line(next(rows))
    count, content = 0, bytearray(header)
    for row in rows:
        line = _line(row)
        if count == limit or (count and len(content) + len(line) > BATCH_BYTES):
            yield count, bytes(content)
            count, content = 0, bytearray(header)
        count += 1
        content += line
    if count:
        yield count, bytes(content)


def _line(row: Sequence[str]) -> bytes:
    text = io.StringIO()
    # All are quoted, as a carriage return within a value would otherwise end the row.
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(row)
    return text.getvalue().encode()


def _next(connection: Connection, run: str, name: str, destination: Destination) -> Batch | None:
    found = connection.execute(
        "select batch, content, sha256, job_id, tries from mig.push"
        " where run_id = %s and object = %s and destination = %s and state = 'pending' order by batch limit 1",
        (run, name, destination.digest),
        binary=True,
    ).fetchone()
    if found is None:
        return None
    content = zlib.decompress(found[1])
    if hashlib.sha256(content).hexdigest() != found[2]:
        raise Halt("BatchAltered", f"batch {found[0]} of object {name} in mig.push is not the one that was written")
    return Batch(found[0], content, found[3], found[4])


def _send(
    connection: Connection,
    api: BulkApi,
    run: str,
    name: str,
    destination: Destination,
    batch: Batch,
    pause: Callable[[float], None],
) -> dict[str, list[str]]:
    """See one batch through to its results: id, created and error of each external id."""
    place = (run, name, destination.digest, batch.number)
    job, tries, problem = _taken_up(api, batch.job), batch.tries, ""
    while tries < TRIES or job:
        if job is None:
            tries += 1
            job = _begin(connection, api, destination, batch, place)
        ended = _wait(api, job, pause) if job else None
        if ended and ended.state == "JobComplete":
            return _results(api, ended, destination, batch)
        problem = f"job {ended.id} has {ended.state}: {ended.error}" if ended else "the upload was lost"
        # Some of its rows may have arrived: sent again, they change nothing.
        connection.execute(
            "update mig.push set job_id = null, tries = %s"
            " where run_id = %s and object = %s and destination = %s and batch = %s",
            (tries, *place),
        )
        job = None
    connection.execute(
        "update mig.push set tries = 0 where run_id = %s and object = %s and destination = %s and batch = %s", place
    )
    raise Halt(
        "BatchFailed",
        f"object {name}: batch {batch.number} was given up after {TRIES} jobs, {problem}; some of its rows may be "
        "there; run the same again when the cause is mended",
    )


def _taken_up(api: BulkApi, left: str | None) -> Job | None:
    """The job that an earlier process left: one that has begun goes on, of an open one nobody knows what it holds."""
    job = api.job(left) if left else None
    if job and job.state == "Open":
        api.abort(job.id)
        return None
    return job if job and job.state != "Aborted" else None


def _begin(
    connection: Connection, api: BulkApi, destination: Destination, batch: Batch, place: tuple[Any, ...]
) -> Job | None:
    """A job that has all rows of the batch and was told to begin; None when its upload was lost."""
    job = api.create(destination.target, destination.external_id)
    # In the ledger before its rows: whoever takes over aborts it as long as it has not begun.
    connection.execute(
        "update mig.push set job_id = %s where run_id = %s and object = %s and destination = %s and batch = %s",
        (job.id, *place),
    )
    try:
        api.upload(job.id, batch.content)
    except UploadLost:
        api.abort(job.id)
        return None
    # Who has lost its connection meanwhile stops here, before it could change anything.
    connection.execute("select 1")
    return api.close(job.id)


def _wait(api: BulkApi, job: Job, pause: Callable[[float], None]) -> Job | None:
    """The job when it has ended; None when the API has forgotten it."""
    waited, found = 0.0, job
    polls = iter(POLL_SECONDS)
    while found.state in {"Open", "UploadComplete", "InProgress"}:
        if waited > JOB_SECONDS:
            raise Unreachable("JobUnderWay", f"job {job.id} is {found.state} after {int(waited)} s; run the same again")
        seconds = next(polls, POLL_SECONDS[-1])
        pause(seconds)
        waited += seconds
        asked = api.job(job.id)
        if asked is None:
            return None
        found = asked
    return found


def _results(api: BulkApi, job: Job, destination: Destination, batch: Batch) -> dict[str, list[str]]:
    """What became of each row; every row of the batch has exactly one outcome. Raises Halt where that is not so."""
    identity, found = destination.external_id, []
    for row in api.results(job.id, "successfulResults"):
        found.append((outcome_of(row, identity), [outcome_of(row, ID), outcome_of(row, CREATED).lower(), ""]))
    for row in api.results(job.id, "failedResults"):
        found.append((outcome_of(row, identity), [row.get(ID, ""), "", outcome_of(row, ERROR) or "refused"]))
    for row in api.results(job.id, "unprocessedrecords"):
        found.append((outcome_of(row, identity), ["", "", UNPROCESSED]))
    sent = Counter(row[identity] for row in _sent(batch.content))
    if Counter(name for name, _ in found) != sent:
        raise Halt(
            "AnswerUnusable",
            f"job {job.id}: the results are not those of the {sent.total()} rows that were sent; the batch stays open",
        )
    return dict(found)


def _sent(content: bytes) -> Iterator[dict[str, str]]:
    yield from csv.DictReader(io.StringIO(content.decode(), newline=""))


def _account(connection: Connection, run: str, name: str, destination: Destination, folder: Path) -> dict[str, Any]:
    """Write the files of successes and errors and count them. Raises BudgetExceeded when there are errors."""
    folder.mkdir(parents=True, exist_ok=True)
    success, errors = folder / f"{name}.success.csv", folder / f"{name}.error.csv"
    names = list(destination.names.values())
    counts: Counter[str] = Counter()
    digest = hashlib.sha256()
    with (
        success.open("w", encoding="utf-8-sig", newline="") as good,
        errors.open("w", encoding="utf-8-sig", newline="") as bad,
    ):
        loaded, refused = csv.writer(good), csv.writer(bad)
        loaded.writerow(["ID", *names, "STATUS"])
        refused.writerow(["ID", *names, "ERROR"])
        for number in _numbers(connection, run, name, destination):
            content, results = _done(connection, run, name, destination, number)
            digest.update(content)
            for row in _sent(content):
                cells = [neutralise("" if row[column] == NULL else row[column]) for column in names]
                key, created, error = results[row[destination.external_id]]
                counts["failed" if error else "created" if created == "true" else "updated"] += 1
                if error:
                    refused.writerow([neutralise(key), *cells, neutralise(error)])
                else:
                    loaded.writerow([neutralise(key), *cells, f"Item {'Created' if created == 'true' else 'Updated'}"])
    if counts["failed"]:
        raise BudgetExceeded(
            "RowsRefused",
            f"object {name}: the API refused {counts['failed']} of {counts.total()} rows, each with its words in "
            f"{errors}; mend them in {name}'s table or in the API, then push with --again",
        )
    return {
        "rows": counts.total(),
        "created": counts["created"],
        "updated": counts["updated"],
        "guarantee": GUARANTEE,
        "digest": f"sha256:{digest.hexdigest()}",
        "files": [str(success), str(errors)],
    }


def _numbers(connection: Connection, run: str, name: str, destination: Destination) -> list[int]:
    return [
        number
        for (number,) in connection.execute(
            "select batch from mig.push where run_id = %s and object = %s and destination = %s order by batch",
            (run, name, destination.digest),
        )
    ]


def _done(
    connection: Connection, run: str, name: str, destination: Destination, number: int
) -> tuple[bytes, dict[str, list[str]]]:
    found = connection.execute(
        "select content, results from mig.push where run_id = %s and object = %s and destination = %s and batch = %s",
        (run, name, destination.digest, number),
        binary=True,
    ).fetchone()
    if found is None:
        msg = f"batch {number} was listed under the lock"
        raise AssertionError(msg)
    return zlib.decompress(found[0]), json.loads(zlib.decompress(found[1]))
