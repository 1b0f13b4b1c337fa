"""Takes a loaded run back: what it inserted goes, what it overwrote or deleted is as before; all of it or nothing.

While a run is settled, every row that it writes is remembered with a digest of what was stored, and with the image of
the row that was there before. A row whose digest is another one by now is somebody's work, and the run stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from pilotage.api.v1alpha1.migrationjob import ConflictPolicy, MigrationJobSpec
from pilotage.migration import baseline, crosswalk, ledger
from pilotage.migration.database import Connection, one_form, table_identifier
from pilotage.migration.duplicates import key_text
from pilotage.migration.errors import Halt, Rejected
from pilotage.migration.merge import key_match, outcome, same_key
from pilotage.migration.plan import ObjectPlan

MAX_REFUSALS: Final = 20_000
MAX_NAMED: Final = 5
REFERRING: Final = """
select c.conname, n.nspname, r.relname,
       array(select attname from unnest(c.conkey) with ordinality k (number, place)
             join pg_attribute on attrelid = c.conrelid and attnum = number order by place),
       array(select attname from unnest(c.confkey) with ordinality k (number, place)
             join pg_attribute on attrelid = c.confrelid and attnum = number order by place)
  from pg_constraint c join pg_class r on r.oid = c.conrelid join pg_namespace n on n.oid = r.relnamespace
 where c.confrelid = %s::regclass and c.contype = 'f' order by 1
"""
CHANGES_ROWS: Final = frozenset({ConflictPolicy.OVERWRITE, ConflictPolicy.NEWER_WINS, ConflictPolicy.FILL_NULLS})
_RESTORABLE: Final = """
select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped
   and attgenerated = '' and attidentity <> 'a' order by attnum
"""
_INSERTABLE: Final = """
select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped
   and attgenerated = '' order by attnum
"""


def keep_images(connection: Connection, run: str, schema: str, plan: ObjectPlan) -> None:
    """Remember the rows that merging the object may overwrite, as they are now."""
    if plan.definition.on_conflict.policy not in CHANGES_ROWS and plan.chain is None:
        return
    with one_form(connection):
        connection.execute(
            sql.SQL(
                "insert into mig.undo (run_id, object, src_offset, src_line, target_key, before)"
                " select %s, %s, s._seq, s._line, {key}, to_jsonb(t) from {staging} s join {table} t on {same}"
                " where s._outcome is null or s._outcome = 'changed' on conflict do nothing"
            ).format(
                key=key_text(plan, "s"),
                staging=sql.Identifier("mig_stg", plan.staging),
                table=table_identifier(schema, plan.definition.to),
                same=key_match(plan, source="s", target="t"),
            ),
            (run, plan.definition.name),
        )


def keep_digests(connection: Connection, run: str, schema: str, plan: ObjectPlan) -> None:
    """Remember what is stored now for each row that the run inserted or changed, after all objects are merged."""
    parts = {
        "staging": sql.Identifier("mig_stg", plan.staging),
        "table": table_identifier(schema, plan.definition.to),
        "same": key_match(plan, source="s", target="t"),
        "outcome": outcome("s"),
        "key": key_text(plan, "s"),
    }
    names = {"run": run, "object": plan.definition.name}
    connection.execute(
        sql.SQL(
            "delete from mig.undo u using {staging} s where u.run_id = %(run)s and u.object = %(object)s"
            " and s._seq = u.src_offset and {outcome} <> 'updated'"
        ).format(**parts),
        names,
    )
    with one_form(connection):
        connection.execute(
            sql.SQL(
                "insert into mig.undo (run_id, object, src_offset, src_line, target_key, digest)"
                " select %(run)s, %(object)s, s._seq, s._line, {key}, coalesce(md5(to_jsonb(t)::text), '')"
                " from {staging} s left join {table} t on {same} where {outcome} in ('loaded', 'updated')"
                " on conflict (run_id, object, src_offset) do update set digest = excluded.digest"
            ).format(**parts),
            names,
        )


def roll_back(connection: Connection, run: str) -> Mapping[str, Any]:
    """Take the run back in one transaction; returns how many rows were removed and restored. Repeating it is no harm.

    Raises Rejected (RollbackRefused) when rows changed since or are referred to by others; `mig.refusal` lists them.
    """
    with connection.transaction():
        found = ledger.read_run(connection, run, lock=True)
        if found is None:
            raise Halt("NotPlanned", f"run {run} is not in the ledger of database {connection.info.dbname}")
        if found.state == "rolledback":
            return dict((found.result or {}).get("rollback", {}))
        spec = _require_loaded(found)
        if later := baseline.successor(connection, run):
            raise Rejected("RollbackRefused", f"the Delta {later} goes on from run {run}: take that back first")
        plans = [ObjectPlan.from_json(plan) for plan in found.plan["objects"]]
        connection.execute("delete from mig.refusal where run_id = %s", (run,))
        connection.execute("set local lock_timeout = '60s'")
        schema = spec.target.schema_
        for table in sorted({plan.definition.to for plan in plans}):
            connection.execute(
                sql.SQL("lock table {} in share row exclusive mode").format(table_identifier(schema, table))
            )
        try:
            with connection.transaction():
                done = _undo(connection, run, schema, plans)
        except _Refused as refused:
            ledger.add_refusals(connection, ((run, *row[:3], Jsonb(row[3]), row[4]) for row in refused.rows))
            problem = refused.message
        else:
            problem = ""
            for table in ("undo", "crosswalk"):
                connection.execute(
                    sql.SQL("delete from mig.{} where run_id = %s").format(sql.Identifier(table)), (run,)
                )
            crosswalk.restore(connection, run)
            connection.execute(
                "update mig.run set state = 'rolledback', reason = 'RolledBack', result = result || %s"
                " where run_id = %s",
                (Jsonb({"rollback": done}), run),
            )
    if problem:
        raise Rejected("RollbackRefused", problem)
    return done


def refusals(connection: Connection, run: str) -> Iterator[tuple[Any, ...]]:
    """Object, line, key and reason of every row that stands against taking the run back."""
    yield from connection.execute(
        "select object, src_line, target_key::text, reason from mig.refusal where run_id = %s order by 1, 2, 4", (run,)
    )


class _Refused(Exception):
    def __init__(self, rows: Sequence[tuple[Any, ...]], message: str) -> None:
        super().__init__(message)
        self.rows, self.message = rows, message


def _require_loaded(found: ledger.RunRow) -> MigrationJobSpec:
    if found.state != "succeeded" or not found.kind.loads:
        text = f"run {found.run}, a {found.kind}, is {found.state}: nothing of it is in the target"
        raise Halt("NothingToRollBack", text)
    spec = MigrationJobSpec.model_validate(found.plan["spec"])
    if not spec.rollback.before_images:
        raise Halt(
            "NoBeforeImages",
            f"run {found.run} was made without spec.rollback.beforeImages: nobody knows what was there before; "
            "restore the database from its backup",
        )
    return spec


def _undo(connection: Connection, run: str, schema: str, plans: Sequence[ObjectPlan]) -> dict[str, int]:
    with one_form(connection):
        changed = [row for plan in plans for row in _changed(connection, run, schema, plan)]
        _refuse(changed, "rows that the run wrote were changed since")
        connection.execute("set constraints all deferred")
        try:
            restored = sum(_bring_back(connection, run, schema, plan) for plan in plans)
            restored += sum(_restore(connection, run, schema, plan) for plan in reversed(plans))
            referred = [row for plan in plans for row in _referred(connection, run, schema, plan, plans)]
            _refuse(referred, "rows that the run inserted are referred to by others")
            for plan in plans:
                _loosen(connection, run, schema, plan)
            removed = sum(_remove(connection, run, schema, plan) for plan in reversed(plans))
            connection.execute("set constraints all immediate")
        except (psycopg.IntegrityError, psycopg.errors.RaiseException) as error:
            constraint = f" (constraint {error.diag.constraint_name})" if error.diag.constraint_name else ""
            text = f"the database refuses to take the run back: {error.diag.message_primary}{constraint}"
            raise _Refused([], f"{text}; nothing was changed") from error
    return {"removed": removed, "restored": restored}


def _refuse(rows: Sequence[tuple[Any, ...]], what: str) -> None:
    if rows:
        first = "; ".join(f"{name}, line {line}: {reason}" for name, _, line, _, reason in rows[:MAX_NAMED])
        more = f"; and {len(rows) - MAX_NAMED} more" if len(rows) > MAX_NAMED else ""
        raise _Refused(rows, f"{what}: {first}{more}. mig.refusal lists them; nothing was changed")


def _changed(connection: Connection, run: str, schema: str, plan: ObjectPlan) -> list[tuple[Any, ...]]:
    return connection.execute(
        sql.SQL(
            "select u.object, u.src_offset, u.src_line, u.target_key,"
            " case when t.{first} is null then 'gone' else 'changed' end"
            " from mig.undo u left join {table} t on {same} where u.run_id = %s and u.object = %s"
            " and md5(to_jsonb(t)::text) is distinct from u.digest order by u.src_offset limit {limit}"
        ).format(
            first=sql.Identifier(plan.definition.key[0]),
            table=table_identifier(schema, plan.definition.to),
            same=same_key(plan, "t", "u"),
            limit=sql.Literal(MAX_REFUSALS),
        ),
        (run, plan.definition.name),
    ).fetchall()


def _referred(
    connection: Connection, run: str, schema: str, plan: ObjectPlan, plans: Sequence[ObjectPlan]
) -> list[tuple[Any, ...]]:
    """Rows that would go and that somebody refers to who stays, also where the database would take those along."""
    found: list[tuple[Any, ...]] = []
    place = (f'"{schema}"."{plan.definition.to}"',)
    for name, child_schema, child, columns, referred in connection.execute(REFERRING, place).fetchall():
        refers = sql.SQL(" and ").join(
            sql.SQL("c.{} = t.{}").format(sql.Identifier(mine), sql.Identifier(theirs))
            for mine, theirs in zip(columns, referred, strict=True)
        )
        going = [
            sql.SQL(
                "not exists (select 1 from mig.undo x where x.run_id = {run} and x.object = {name}"
                " and x.before is null and {same})"
            ).format(run=sql.Literal(run), name=sql.Literal(other.definition.name), same=same_key(other, "c", "x"))
            for other in plans
            if (child_schema, child) == (schema, other.definition.to)
        ]
        found += connection.execute(
            sql.SQL(
                "select u.object, u.src_offset, u.src_line, u.target_key, {reason} from mig.undo u"
                " join {table} t on {same} where u.run_id = %s and u.object = %s and u.before is null"
                " and exists (select 1 from {child} c where {who}) order by u.src_offset limit {limit}"
            ).format(
                reason=sql.Literal(f"referred to by {child} (constraint {name})"),
                table=table_identifier(schema, plan.definition.to),
                same=same_key(plan, "t", "u"),
                child=table_identifier(child_schema, child),
                who=sql.SQL(" and ").join([refers, *going]),
                limit=sql.Literal(MAX_REFUSALS),
            ),
            (run, plan.definition.name),
        ).fetchall()
    return found


def _restore(connection: Connection, run: str, schema: str, plan: ObjectPlan) -> int:
    table = table_identifier(schema, plan.definition.to)
    columns = connection.execute(_RESTORABLE, (f'"{schema}"."{plan.definition.to}"',)).fetchall()
    return _counted(
        connection,
        run,
        plan,
        sql.SQL(
            "update {table} t set {assignments} from mig.undo u, jsonb_populate_record(null::{table}, u.before) b"
            " where u.run_id = %s and u.object = %s and u.before is not null and u.digest is not null and {same}"
        ).format(
            table=table,
            assignments=sql.SQL(", ").join(
                sql.SQL("{column} = b.{column}").format(column=sql.Identifier(column)) for (column,) in columns
            ),
            same=same_key(plan, "t", "u"),
        ),
        sql.SQL("before is not null and digest is not null"),
    )


def _bring_back(connection: Connection, run: str, schema: str, plan: ObjectPlan) -> int:
    """Insert the rows again that a Delta deleted; they are remembered without a digest."""
    table = table_identifier(schema, plan.definition.to)
    found = connection.execute(_INSERTABLE, (f'"{schema}"."{plan.definition.to}"',)).fetchall()
    columns = sql.SQL(", ").join(sql.Identifier(column) for (column,) in found)
    return _counted(
        connection,
        run,
        plan,
        sql.SQL(
            "insert into {table} ({columns}) overriding system value select {columns} from ("
            " select b.* from mig.undo u, jsonb_populate_record(null::{table}, u.before) b"
            " where u.run_id = %s and u.object = %s and u.before is not null and u.digest is null) r"
        ).format(table=table, columns=columns),
        sql.SQL("before is not null and digest is null"),
    )


def _loosen(connection: Connection, run: str, schema: str, plan: ObjectPlan) -> None:
    """Empty the columns of rows that go which were filled last: no order of removal suits a circle."""
    if plan.late:
        connection.execute(
            sql.SQL(
                "update {table} t set {assignments} from mig.undo u where u.run_id = %s and u.object = %s"
                " and u.before is null and {same}"
            ).format(
                table=table_identifier(schema, plan.definition.to),
                assignments=sql.SQL(", ").join(
                    sql.SQL("{} = null").format(sql.Identifier(one.column)) for one in plan.late
                ),
                same=same_key(plan, "t", "u"),
            ),
            (run, plan.definition.name),
        )


def _remove(connection: Connection, run: str, schema: str, plan: ObjectPlan) -> int:
    return _counted(
        connection,
        run,
        plan,
        sql.SQL(
            "delete from {table} t using mig.undo u where u.run_id = %s and u.object = %s and u.before is null"
            " and {same}"
        ).format(table=table_identifier(schema, plan.definition.to), same=same_key(plan, "t", "u")),
        sql.SQL("before is null"),
    )


def _counted(connection: Connection, run: str, plan: ObjectPlan, statement: sql.Composed, which: sql.SQL) -> int:
    """Carry it out, and refuse when a trigger or a rule kept it from doing so for every row."""
    name = plan.definition.name
    done = connection.execute(statement, (run, name)).rowcount
    wanted = connection.execute(
        sql.SQL("select count(*) from mig.undo where run_id = %s and object = %s and {}").format(which), (run, name)
    ).fetchone()
    if wanted and done != wanted[0]:
        text = f"object {name}: {wanted[0]} rows were to be taken back and the database did so for {done}"
        raise _Refused([], f"{text}; nothing was changed")
    return done
