"""Rehearsals: a scratch schema that stands for the target, and what holds a Final run to what was tried.

The scratch schema has copies of the tables that are loaded, with their rows, constraints and indexes; tables that are
only referred to are seen through views while the rows are merged. So the merge itself does not know where it writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final

import psycopg
from psycopg import sql

from pilotage.api.v1alpha1.migrationjob import (
    ErrorBudget,
    MigrationJobSpec,
    MigrationObject,
    ReconcileCheck,
    RunKind,
)
from pilotage.migration import ledger
from pilotage.migration.database import Connection, read_columns, table_identifier
from pilotage.migration.errors import Undecided

# What of spec.source decides how its rows are read.
SOURCE_RULES: Final = {"encoding", "format", "delimiter", "connection", "consistency"}
_LATEST: Final = """
select run_id, plan, certificate, certificate_digest,
       (select count(*) from mig.chunk c where c.run_id = r.run_id)
  from mig.run r where plan->>'job' = %s and plan->'spec'->>'run' = 'Rehearsal' and state = 'succeeded'
 order by finished_at desc limit 1
"""
_FOREIGN_KEYS: Final = """
select c.conname, n.nspname, r.relname, c.condeferrable, c.condeferred,
       array(select attname from unnest(c.conkey) with ordinality k (number, place)
             join pg_attribute on attrelid = c.conrelid and attnum = number order by place),
       array(select attname from unnest(c.confkey) with ordinality k (number, place)
             join pg_attribute on attrelid = c.confrelid and attnum = number order by place)
  from pg_constraint c join pg_class r on r.oid = c.confrelid join pg_namespace n on n.oid = r.relnamespace
 where c.conrelid = %s::regclass and c.contype = 'f' order by 1
"""


def scratch_schema(job: str) -> str:
    """Name of the schema that this job's rehearsals load into; each replaces the one before."""
    return f"mig_rehearsal_{hashlib.sha256(job.encode()).hexdigest()[:12]}"


def open_scratch(connection: Connection, spec: MigrationJobSpec, scratch: str) -> MigrationJobSpec:
    """Make the scratch schema anew and return the spec with it as target."""
    live = spec.target.schema_
    connection.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(scratch)))
    connection.execute(sql.SQL("create schema {}").format(sql.Identifier(scratch)))
    tables = _tables(spec)
    for table in tables:
        _copy_table(connection, live, scratch, table)
    for table in _seen(spec):
        connection.execute(
            sql.SQL("create view {} as select * from {}").format(
                table_identifier(scratch, table), table_identifier(live, table)
            )
        )
    for table in tables:
        _copy_foreign_keys(connection, live, scratch, table, tables)
    return spec.model_copy(update={"target": spec.target.model_copy(update={"schema_": scratch})})


def close_scratch(connection: Connection, spec: MigrationJobSpec, scratch: str) -> None:
    """Cut what ties the scratch schema to live tables: nobody who changes those later shall stumble over it."""
    for table in _seen(spec):
        connection.execute(sql.SQL("drop view {}").format(table_identifier(scratch, table)))
    for table in _tables(spec):
        for name, schema, *_ in _foreign_keys(connection, scratch, table):
            if schema != scratch:
                connection.execute(
                    sql.SQL("alter table {} drop constraint {}").format(
                        table_identifier(scratch, table), sql.Identifier(name)
                    )
                )


def drop_scratch(connection: Connection, scratch: str) -> None:
    """Remove the scratch schema, unless somebody is looking at it just now."""
    with suppress(psycopg.Error), connection.transaction():
        connection.execute("set local lock_timeout = '2s'")
        connection.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(scratch)))


def triggers(connection: Connection, spec: MigrationJobSpec) -> list[str]:
    """Triggers of the tables that are loaded. A Rehearsal does not fire them: they might write to live tables."""
    return [
        f"{table}.{name}"
        for table in _tables(spec)
        for (name,) in connection.execute(
            "select tgname from pg_trigger where tgrelid = %s::regclass and not tgisinternal order by 1",
            (_quoted(spec.target.schema_, table),),
        )
    ]


def fingerprint(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Digests of what a run reads and by what rules. What only says where and how it is run is not part of it."""
    spec = MigrationJobSpec.model_validate(plan["spec"])
    source = spec.source.model_dump(mode="json", include=SOURCE_RULES, exclude_defaults=True)
    rules = [_plain(spec.error_budget), [_plain(check, "expected") for check in spec.reconcile]]
    return {
        "target": _digest([spec.target.connection, spec.target.schema_]),
        "rules": _digest(rules),
        "objects": {
            found["definition"]["name"]: {
                "source": found["sha256"],
                "mapping": _digest([source, _mapping(MigrationObject.model_validate(found["definition"]))]),
                "columns": _digest(found["columns"]),
            }
            for found in plan["objects"]
        },
    }


def hold_to_rehearsal(
    connection: Connection, spec: MigrationJobSpec, job: str, content: Mapping[str, Any], chunks: int
) -> dict[str, Any] | None:
    """What the last Rehearsal of the job says of this Final run; None when there is none to be held to.

    Raises Undecided (RehearsalOutdated) when anything differs that `spec.rehearsal` does not allow.
    """
    if spec.run is not RunKind.FINAL or not job:
        return None
    found = connection.execute(_LATEST, (job,)).fetchone()
    if found is None:
        return None
    run, plan, certificate, digest, rehearsed_chunks = found
    moved, problems = differences(fingerprint(plan), fingerprint(content))
    if not _share(spec):
        problems += [f"the source of object {name}" for name in moved]
    if problems:
        raise Undecided(
            "RehearsalOutdated",
            f"since the Rehearsal {run} these have changed: {', '.join(problems)}. Rehearse again (spec.run: "
            "Rehearsal), or, where only the source went on, say how far it may: spec.rehearsal.maxDelta",
        )
    seconds = sum(Decimal(str(seconds)) for seconds in certificate["durations"].values())
    return {
        "id": run,
        "certificateDigest": digest,
        "predictedSeconds": max(1, round(seconds * chunks / max(rehearsed_chunks, 1))),
        "moved": {found["name"]: found["read"] for found in certificate["objects"] if found["name"] in moved},
    }


def require_delta(
    rehearsal: Mapping[str, Any] | None, spec: MigrationJobSpec, objects: Sequence[Mapping[str, Any]]
) -> None:
    """Refuse a source that moved since the Rehearsal by more rows than were declared. Raises Undecided."""
    for counts in objects:
        rehearsed = (rehearsal or {}).get("moved", {}).get(counts["name"])
        if rehearsed is not None and abs(counts["read"] - rehearsed) > rehearsed * _share(spec) / 100:
            raise Undecided(
                "RehearsalOutdated",
                f"object {counts['name']} has {counts['read']} rows, {rehearsed} were rehearsed, and "
                f"spec.rehearsal.maxDelta is {spec.rehearsal.max_delta}: rehearse again, or raise it "
                "(nothing was loaded)",
            )


def differences(rehearsed: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The objects whose source is another one, and everything else that differs, in words."""
    problems = [
        text
        for part, text in (("target", "spec.target"), ("rules", "spec.errorBudget or spec.reconcile"))
        if rehearsed[part] != now[part]
    ]
    before, after = rehearsed["objects"], now["objects"]
    problems += [f"object {name}, which was not rehearsed" for name in after if name not in before]
    problems += [f"object {name}, which is gone" for name in before if name not in after]
    both = [name for name in after if name in before]
    problems += [f"the mapping of object {name}" for name in both if before[name]["mapping"] != after[name]["mapping"]]
    problems += [
        f"the target's columns of object {name}" for name in both if before[name]["columns"] != after[name]["columns"]
    ]
    return [name for name in both if before[name]["source"] != after[name]["source"]], problems


def _share(spec: MigrationJobSpec) -> Decimal:
    return Decimal(spec.rehearsal.max_delta.removesuffix("%"))


def _plain(found: ErrorBudget | ReconcileCheck, *without: str) -> dict[str, Any]:
    return found.model_dump(mode="json", exclude_defaults=True, exclude=set(without))


def _mapping(found: MigrationObject) -> dict[str, Any]:
    return found.model_dump(mode="json", exclude_defaults=True, exclude={"from_": {"file"}})


def _digest(value: Any) -> str:
    return hashlib.sha256(ledger.canonical(value).encode()).hexdigest()


def _tables(spec: MigrationJobSpec) -> list[str]:
    return sorted({found.to for found in spec.objects})


def _seen(spec: MigrationJobSpec) -> list[str]:
    """Tables that are referred to and not loaded."""
    named = {field.reference.table for found in spec.objects for field in found.fields if field.reference}
    return sorted(table for table in named if table and table not in _tables(spec))


def _quoted(schema: str, table: str) -> str:
    return f'"{schema}"."{table}"'


def _copy_table(connection: Connection, live: str, scratch: str, table: str) -> None:
    original, copy = table_identifier(live, table), table_identifier(scratch, table)
    connection.execute(sql.SQL("create table {} (like {} including all)").format(copy, original))
    columns = list(read_columns(connection, live, table))
    for number, column in enumerate(columns):
        _copy_sequence(connection, (live, scratch), table, column, f"{table[:40]}_{number}_seq")
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    connection.execute(
        sql.SQL("insert into {copy} ({names}) overriding system value select {names} from {original}").format(
            copy=copy, names=names, original=original
        )
    )


def _copy_sequence(connection: Connection, schemas: tuple[str, str], table: str, column: str, name: str) -> None:
    """Let a filled column count by a sequence of its own: the live one must not move."""
    theirs, ours = (_sequence(connection, schema, table, column) for schema in schemas)
    if theirs is None:
        return
    if ours is None:
        made = sql.Identifier(schemas[1], name)
        place = sql.SQL("{}.{}").format(table_identifier(schemas[1], table), sql.Identifier(column))
        connection.execute(sql.SQL("create sequence {} owned by {}").format(made, place))
        connection.execute(
            sql.SQL("alter table {} alter {} set default nextval({})").format(
                table_identifier(schemas[1], table), sql.Identifier(column), sql.Literal(_quoted(schemas[1], name))
            )
        )
        ours = _quoted(schemas[1], name)
    connection.execute(
        sql.SQL("select setval(%s, last_value, is_called) from {}").format(sql.SQL(theirs)),
        (ours,),
    )


def _sequence(connection: Connection, schema: str, table: str, column: str) -> str | None:
    found = connection.execute("select pg_get_serial_sequence(%s, %s)", (_quoted(schema, table), column)).fetchone()
    return found[0] if found else None


def _foreign_keys(connection: Connection, schema: str, table: str) -> list[tuple[Any, ...]]:
    return connection.execute(_FOREIGN_KEYS, (_quoted(schema, table),)).fetchall()


def _copy_foreign_keys(connection: Connection, live: str, scratch: str, table: str, tables: Sequence[str]) -> None:
    """The foreign keys, to the copy where there is one. NOT VALID: rows that were there before are not judged."""
    for name, schema, target, deferrable, deferred, columns, referred in _foreign_keys(connection, live, table):
        place = scratch if schema == live and target in tables else schema
        connection.execute(
            sql.SQL(
                "alter table {table} add constraint {name} foreign key ({columns}) references {target} ({referred})"
                " {when} not valid"
            ).format(
                table=table_identifier(scratch, table),
                name=sql.Identifier(name),
                columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
                target=table_identifier(place, target),
                referred=sql.SQL(", ").join(map(sql.Identifier, referred)),
                when=sql.SQL(
                    f"{'deferrable' if deferrable else 'not deferrable'} initially "
                    f"{'deferred' if deferred else 'immediate'}"
                ),
            )
        )
