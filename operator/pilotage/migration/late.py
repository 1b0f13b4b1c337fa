"""The second pass: columns whose values lead to rows that only another object brings, or the same one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from psycopg import sql

from pilotage.api.v1alpha1.migrationjob import ConflictPolicy, FieldMapping
from pilotage.migration.database import Connection, table_identifier
from pilotage.migration.merge import key_match, outcome, typed
from pilotage.migration.order import Late
from pilotage.migration.plan import ObjectPlan
from pilotage.migration.references import known_rows, put_dangling_away, resolve

# What leads nowhere although the staged rows promised it is found in rounds; each begins the merge anew.
ROUND_ROWS: Final = 100_000


@dataclass(frozen=True)
class Dangling:
    """Rows of an object, by their places in the source, whose value in one column leads nowhere once all are merged."""

    object: str
    column: str
    places: list[int]


def put_away_known(
    connection: Connection, run: str, schema: str, plans: Mapping[str, ObjectPlan], found: list[Dangling]
) -> None:
    """Quarantine rows that lead nowhere before anything is merged: those found in earlier rounds, and those that name
    no staged row, until no further one follows from that.
    """
    for one in found:
        plan = plans[one.object]
        places = sql.SQL("s._seq = any({})").format(sql.Literal(one.places))
        put_dangling_away(connection, run, plan, _field(plan, one.column), places)
    late = [(plan, one) for plan in plans.values() for one in plan.late]
    while sum(
        put_dangling_away(connection, run, plan, _field(plan, one.column), _promised_by_none(schema, plan, one, plans))
        for plan, one in late
    ):
        pass


def fill(connection: Connection, schema: str, plans: Mapping[str, ObjectPlan]) -> list[Dangling]:
    """Fill all late columns, as far as each object's conflict policy writes; or say what leads nowhere."""
    dangling = []
    for plan in plans.values():
        for one in plan.late:
            field = _field(plan, one.column)
            if field.reference:
                resolve(connection, schema, plan, field, plans)
                lost = sql.SQL("s.{} is null").format(plan.resolved(one.column))
            else:
                lost = _no_such_row(schema, plan, one)
            rows = connection.execute(
                sql.SQL(
                    "select s._seq from {staging} s where s.{given} is not null and {lost}"
                    " and {outcome} in ('loaded', 'updated', 'kept') limit {limit}"
                ).format(
                    staging=sql.Identifier("mig_stg", plan.staging),
                    given=plan.staged(one.column),
                    lost=lost,
                    outcome=outcome("s"),
                    limit=sql.Literal(ROUND_ROWS),
                )
            ).fetchall()
            if rows:
                dangling.append(Dangling(plan.definition.name, one.column, [place for (place,) in rows]))
    if not dangling:
        for plan in plans.values():
            if plan.late:
                _write(connection, schema, plan)
    return dangling


def _field(plan: ObjectPlan, column: str) -> FieldMapping:
    return next(field for field in plan.definition.fields if field.to == column)


def _no_such_row(schema: str, plan: ObjectPlan, late: Late) -> sql.Composed:
    return sql.SQL("not exists (select 1 from {} p where p.{} = {})").format(
        table_identifier(schema, late.table), sql.Identifier(late.match), typed(plan, late.column, "s")
    )


def _promised_by_none(schema: str, plan: ObjectPlan, late: Late, plans: Mapping[str, ObjectPlan]) -> sql.Composed:
    """The condition that no staged row that is not put away, and no row of the table, is what the value names."""
    reference = _field(plan, late.column).reference
    conditions: list[sql.Composable] = [
        sql.SQL("s._outcome is null and s.{} is not null").format(plan.staged(late.column))
    ]
    if reference:
        parents, match = [plans[str(reference.object)]], reference.match
    else:
        parents, match = [one for one in plans.values() if one.definition.to == late.table], late.match
        conditions.append(_no_such_row(schema, plan, late))
    for parent in parents:
        if reference:
            same = sql.SQL("p.{} = s.{}").format(parent.staged(match), plan.staged(late.column))
        elif match in parent.columns and not _field(parent, match).reference:
            same = sql.SQL("{} = {}").format(typed(parent, match, "p"), typed(plan, late.column, "s"))
        else:
            # The value comes out of the database: it shows only afterwards.
            return sql.SQL("false").format()
        conditions.append(
            sql.SQL("not exists (select 1 from {} p where {} and {} not in ('quarantined', 'filtered'))").format(
                sql.Identifier("mig_stg", parent.staging), same, outcome("p")
            )
        )
    if reference and (there := known_rows(schema, parents[0], match, match)):
        conditions.append(
            sql.SQL("not exists (select 1 from ({}) p where p.given = s.{})").format(there, plan.staged(late.column))
        )
    return sql.SQL(" and ").join(conditions)


def _write(connection: Connection, schema: str, plan: ObjectPlan) -> None:
    """Fill the late columns of rows that this chain inserted, and of those that were there as the policy has it."""
    columns = [one.column for one in plan.late]
    policy = plan.definition.on_conflict.policy
    brought = sql.SQL("(s._outcome is null or (s._outcome = 'updated' and s._inserted))")
    _update(connection, schema, plan, columns, brought, fills=False)
    if policy is ConflictPolicy.NEWER_WINS:
        _update(connection, schema, plan, columns, sql.SQL("s._outcome = 'updated'"), fills=False)
    elif policy in {ConflictPolicy.OVERWRITE, ConflictPolicy.FILL_NULLS}:
        was_there = sql.SQL("s._outcome in ('kept', 'updated')")
        _update(connection, schema, plan, columns, was_there, fills=policy is ConflictPolicy.FILL_NULLS)


def _update(
    connection: Connection,
    schema: str,
    plan: ObjectPlan,
    columns: list[str],
    which: sql.SQL,
    *,
    fills: bool,
) -> None:
    value = "coalesce(t.{column}, {value})" if fills else "{value}"
    changed = "(t.{column} is null and {value} is not null)" if fills else "t.{column} is distinct from {value}"
    parts = [{"column": sql.Identifier(column), "value": typed(plan, column, "s")} for column in columns]
    connection.execute(
        sql.SQL(
            "with changed as (update {table} t set {assignments} from {staging} s"
            " where {which} and {same} and ({changed}) returning s._seq)"
            " update {staging} s set _outcome = 'updated' from changed"
            " where changed._seq = s._seq and s._outcome = 'kept'"
        ).format(
            table=table_identifier(schema, plan.definition.to),
            staging=sql.Identifier("mig_stg", plan.staging),
            assignments=sql.SQL(", ").join(sql.SQL("{column} = " + value).format(**part) for part in parts),
            which=which,
            same=key_match(plan, source="s", target="t"),
            changed=sql.SQL(" or ").join(sql.SQL(changed).format(**part) for part in parts),
        )
    )
