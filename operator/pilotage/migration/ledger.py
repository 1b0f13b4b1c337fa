"""The ledger in the target database: rows, rejects and "done" commit together, so that every chunk counts once."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from psycopg import errors, sql
from psycopg.types.json import Jsonb

from pilotage.api.v1alpha1.migrationjob import RunKind
from pilotage.migration.database import Connection
from pilotage.migration.errors import Halt

# The crosswalk has no foreign key to its run: a line is written for each row, and only when the run succeeds. A ledger
# of an earlier version gets its new columns once: an ALTER TABLE locks it even where there is nothing to do.
SCHEMA: Final = """
create schema if not exists mig;
create schema if not exists mig_stg;
create table if not exists mig.run (
  run_id text primary key, attempt text not null, plan_hash text not null, plan jsonb not null,
  state text not null default 'loading', reason text not null default '', message text not null default '',
  result jsonb, certificate jsonb, certificate_digest text,
  started_at timestamptz not null default now(), finished_at timestamptz);
create table if not exists mig.chunk (
  run_id text not null references mig.run on delete cascade, object_order int not null, object text not null,
  chunk_id int not null, lo bigint not null, hi bigint not null, line bigint not null, sha256 text not null,
  state text not null default 'pending', attempt int not null default 0, owner text, lease_until timestamptz,
  rows_read bigint, rows_filtered bigint, rows_staged bigint, rows_quarantined bigint,
  totals jsonb, excluded jsonb, done_at timestamptz,
  primary key (run_id, object, chunk_id));
create table if not exists mig.part (
  run_id text not null references mig.run on delete cascade, object text not null, chunk_id int not null,
  content bytea not null, primary key (run_id, object, chunk_id));
create table if not exists mig.quarantine (
  run_id text not null references mig.run on delete cascade, object text not null, chunk_id int not null,
  src_offset bigint not null, src_line bigint not null, rule int not null, stage text not null, code text not null,
  column_name text not null, bad_value text not null, message text not null, src_encoding text not null,
  src_raw bytea not null, primary key (run_id, object, chunk_id, src_offset, stage, rule));
create table if not exists mig.crosswalk (
  run_id text not null, object text not null, src_offset bigint not null,
  target_key jsonb not null, outcome text not null, source_digest bigint, stored_digest bigint, inserted boolean,
  replaced_by text, primary key (run_id, object, src_offset));
do $$ begin
  if not exists (select from pg_attribute where attrelid = 'mig.crosswalk'::regclass and attname = 'replaced_by') then
    alter table mig.crosswalk add source_digest bigint, add stored_digest bigint, add inserted boolean,
      add replaced_by text;
  end if;
end $$;
create table if not exists mig.undo (
  run_id text not null, object text not null, src_offset bigint not null, src_line bigint not null,
  target_key jsonb not null, before jsonb, digest text, primary key (run_id, object, src_offset));
create table if not exists mig.refusal (
  run_id text not null, object text not null, src_offset bigint not null, src_line bigint not null,
  target_key jsonb not null, reason text not null);
create table if not exists mig.gone (
  run_id text not null references mig.run on delete cascade, object text not null, target_key jsonb not null,
  stored_digest bigint, inserted boolean not null, outcome text not null default 'kept',
  reason text not null default '', primary key (run_id, object, target_key));
create table if not exists mig.push (
  run_id text not null references mig.run on delete cascade, object text not null, destination text not null,
  batch int not null, rows int not null, sha256 text not null, content bytea not null,
  state text not null default 'pending', job_id text, tries int not null default 0, results bytea,
  primary key (run_id, object, destination, batch));
"""

_CLAIM: Final = """
update mig.chunk set attempt = attempt + 1, owner = %(owner)s, lease_until = now() + %(lease)s * interval '1 second'
 where (run_id, object, chunk_id) in (
   select run_id, object, chunk_id from mig.chunk
    where run_id = %(run)s and state = 'pending' and (lease_until is null or lease_until < now())
    order by object_order, chunk_id for update skip locked limit 1)
returning object, chunk_id, lo, hi, line, sha256, attempt
"""

_PROGRESS: Final = """
select count(*) filter (where state = 'done'), count(*), coalesce(sum(rows_read), 0),
       coalesce(sum(rows_quarantined), 0),
       extract(epoch from now() - (select started_at from mig.run where run_id = %(run)s))
  from mig.chunk where run_id = %(run)s
"""


@dataclass(frozen=True)
class Claim:
    """A chunk that this worker holds until its lease ends. `attempt` fences off whoever held it before."""

    object: str
    chunk: int
    low: int
    high: int
    line: int
    sha256: str
    attempt: int


@dataclass(frozen=True)
class RunRow:
    """A run as the ledger knows it."""

    run: str
    attempt: str
    plan_hash: str
    plan: Mapping[str, Any]
    state: str
    reason: str
    message: str
    result: Mapping[str, Any] | None
    certificate_digest: str | None

    @property
    def kind(self) -> RunKind:
        """How far the run goes; what an earlier version planned knows no other kind."""
        return RunKind(self.plan["spec"].get("run", RunKind.FINAL))


def create_schema(connection: Connection) -> None:
    """Make the ledger's tables. Raises Halt when the account may not."""
    try:
        with connection.transaction():
            connection.execute("select pg_advisory_xact_lock(hashtext('pilotage.mig'))")
            connection.execute(SCHEMA)
    except errors.InsufficientPrivilege as error:
        raise Halt(
            "LedgerForbidden",
            f"the account may not create the ledger's schema in database {connection.info.dbname}: grant create on "
            f"database {connection.info.dbname} to {connection.info.user} ({error.diag.message_primary})",
        ) from error


def read_run(connection: Connection, run: str, *, lock: bool = False) -> RunRow | None:
    """The run, locked until the end of the transaction if asked for; None when it was never planned."""
    query = sql.SQL(
        "select run_id, attempt, plan_hash, plan, state, reason, message, result, certificate_digest from mig.run"
        " where run_id = %s {}"
    ).format(sql.SQL("for update" if lock else ""))
    found = connection.execute(query, (run,)).fetchone()
    return RunRow(*found) if found else None


def claim(connection: Connection, run: str, owner: str, lease: float) -> Claim | None:
    """Take the next free chunk, or one whose lease ran out; None when every chunk is done or held."""
    found = connection.execute(_CLAIM, {"run": run, "owner": owner, "lease": lease}).fetchone()
    return Claim(*found) if found else None


def read_part(connection: Connection, run: str, held: Claim) -> bytes:
    """The lines of a chunk that was kept in the ledger. Raises Halt when they are gone."""
    found = connection.execute(
        "select content from mig.part where run_id = %s and object = %s and chunk_id = %s",
        (run, held.object, held.chunk),
        binary=True,
    ).fetchone()
    if found is None:
        raise Halt("PartMissing", f"chunk {held.chunk} of object {held.object} is not in mig.part: plan the run anew")
    return zlib.decompress(found[0])


def renew(connection: Connection, run: str, held: Claim, lease: float) -> None:
    """Hold the chunk for another `lease` seconds from now, unless somebody else has taken it."""
    connection.execute(
        "update mig.chunk set lease_until = now() + %s * interval '1 second'"
        " where run_id = %s and object = %s and chunk_id = %s and attempt = %s and state = 'pending'",
        (lease, run, held.object, held.chunk, held.attempt),
    )


def give_back(connection: Connection, run: str, owner: str) -> None:
    """End the leases of all chunks that this owner holds and is not going to do."""
    connection.execute(
        "update mig.chunk set lease_until = null where run_id = %s and owner = %s and state = 'pending'", (run, owner)
    )


def still_held(connection: Connection, run: str, held: Claim) -> bool:
    """Whether the chunk is still ours, under a row lock: a worker that overslept its lease is fenced off here."""
    found = connection.execute(
        "select state, attempt from mig.chunk where run_id = %s and object = %s and chunk_id = %s for update",
        (run, held.object, held.chunk),
    ).fetchone()
    return found == ("pending", held.attempt)


def finish_chunk(connection: Connection, run: str, held: Claim, numbers: Mapping[str, Any]) -> None:
    """Write the chunk's numbers and "done", in the transaction that holds its rows."""
    connection.execute(
        "update mig.chunk set state = 'done', lease_until = null, done_at = now(), rows_read = %(read)s,"
        " rows_filtered = %(filtered)s, rows_staged = %(staged)s, rows_quarantined = %(quarantined)s,"
        " totals = %(totals)s, excluded = %(excluded)s where run_id = %(run)s and object = %(object)s"
        " and chunk_id = %(chunk)s",
        {
            **numbers,
            "totals": Jsonb(numbers["totals"]),
            "excluded": Jsonb(numbers["excluded"]),
            "run": run,
            "object": held.object,
            "chunk": held.chunk,
        },
    )


def all_done(connection: Connection, run: str) -> bool:
    """Whether no chunk of the run is left to do."""
    found = connection.execute(
        "select 1 from mig.chunk where run_id = %s and state <> 'done' limit 1", (run,)
    ).fetchone()
    return found is None


def reopen_lost_chunks(connection: Connection, run: str, name: str, staging: str) -> None:
    """Make chunks of an object pending again whose staged rows are gone.

    Staging tables are not in the write-ahead log: the database empties them when it recovers from a crash, and a
    standby that takes over has them empty, while the ledger there still says "done".
    """
    table = sql.Identifier("mig_stg", staging)
    lost = [
        chunk
        for (chunk,) in connection.execute(
            sql.SQL(
                "select c.chunk_id from mig.chunk c"
                " left join (select _chunk, count(*) as rows from {} group by 1) s on s._chunk = c.chunk_id"
                " where c.run_id = %s and c.object = %s and c.rows_staged <> coalesce(s.rows, 0)"
            ).format(table),
            (run, name),
        )
    ]
    if not lost:
        return
    connection.execute(sql.SQL("delete from {} where _chunk = any(%s)").format(table), (lost,))
    connection.execute(
        "delete from mig.quarantine where run_id = %s and object = %s and chunk_id = any(%s)", (run, name, lost)
    )
    connection.execute(
        "update mig.chunk set state = 'pending', lease_until = null, done_at = null, rows_read = null,"
        " rows_filtered = null, rows_staged = null, rows_quarantined = null, totals = null, excluded = null"
        " where run_id = %s and object = %s and chunk_id = any(%s)",
        (run, name, lost),
    )


def end_run(
    connection: Connection, run: str, state: str, reason: str, message: str, result: Mapping[str, Any] | None
) -> None:
    """Write how the run ended."""
    connection.execute(
        "update mig.run set state = %s, reason = %s, message = %s, result = %s, finished_at = now() where run_id = %s",
        (state, reason, message, Jsonb(result) if result is not None else None, run),
    )


def progress(connection: Connection, run: str) -> dict[str, int]:
    """How far all workers together are, from one aggregate."""
    row = connection.execute(_PROGRESS, {"run": run}).fetchone()
    done, total, rows, quarantined, seconds = row or (0, 0, 0, 0, 0)
    return {
        "chunksDone": done,
        "chunksTotal": total,
        "rowsRead": int(rows),
        "quarantined": int(quarantined),
        "rowsPerSecond": int(float(rows) / max(float(seconds or 0), 0.001)),
    }


def durations(connection: Connection, run: str) -> dict[str, float]:
    """Seconds from the plan to the last chunk, and of the settlement, in whose transaction this is asked."""
    row = connection.execute(
        "select extract(epoch from max(done_at) - (select started_at from mig.run where run_id = %(run)s)),"
        " extract(epoch from clock_timestamp() - now()) from mig.chunk where run_id = %(run)s",
        {"run": run},
    ).fetchone()
    loading, settling = row or (0, 0)
    return {"loading": round(float(loading or 0), 1), "settling": round(float(settling), 1)}


def add_quarantine(connection: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """Put rejected rows away: one line for each reason, in the order of the table's columns."""
    with connection.cursor().copy("copy mig.quarantine from stdin") as copy:
        for row in rows:
            copy.write_row(row)


def add_refusals(connection: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """Write down rows of the target that stand against a run, in the order of the table's columns."""
    with connection.cursor().copy("copy mig.refusal from stdin") as copy:
        for row in rows:
            copy.write_row(row)


def canonical(value: Any) -> str:
    """JSON of one form: sorted, without blanks."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
