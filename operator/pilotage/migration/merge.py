"""Staged rows into the target table, in key order, by the object's conflict policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import psycopg
from psycopg import errors, sql

from pilotage.api.v1alpha1.migrationjob import ConflictPolicy, ErrorBudget
from pilotage.migration.budget import over_budget
from pilotage.migration.database import Connection, table_identifier
from pilotage.migration.duplicates import key_text
from pilotage.migration.errors import BudgetExceeded, Rejected
from pilotage.migration.plan import ObjectPlan
from pilotage.migration.quarantine import put_away

# Each is found by some twenty insertions: beyond this many, the mapping is wrong and not the rows.
MAX_REFUSED: Final = 1000


def outcome(alias: str) -> sql.Composed:
    """What became of a staged row of an object that is merged. Most rows are loaded: they are not written again."""
    return sql.SQL("coalesce({}._outcome, 'loaded')").format(sql.Identifier(alias))


def typed(plan: ObjectPlan, column: str, source: str) -> sql.Composed:
    """A staged value in the column's own type."""
    return sql.SQL("{}.{}::{}").format(
        sql.Identifier(source), plan.resolved(column), sql.SQL(plan.columns[column].sql_type)
    )


def key_match(plan: ObjectPlan, *, source: str, target: str) -> sql.Composed:
    """The condition that a staged row and a row of the target have the same key."""
    return sql.SQL(" and ").join(
        sql.SQL("{}.{} = {}").format(sql.Identifier(target), sql.Identifier(column), typed(plan, column, source))
        for column in plan.definition.key
    )


def same_key(plan: ObjectPlan, alias: str, remembered: str) -> sql.Composed:
    """The condition that a row of the target is the one that a remembered row speaks of."""
    return sql.SQL(" and ").join(
        sql.SQL("{}.{} = ({}.target_key ->> {})::{}").format(
            sql.Identifier(alias),
            sql.Identifier(column),
            sql.Identifier(remembered),
            sql.Literal(place),
            sql.SQL(plan.columns[column].sql_type),
        )
        for place, column in enumerate(plan.definition.key)
    )


def merge_object(connection: Connection, run: str, schema: str, plan: ObjectPlan, budget: ErrorBudget) -> None:
    """Decide conflicts, update and insert; rows that the database refuses are put away, each with its reason.

    Raises Rejected under the policy Fail when a key is there already, BudgetExceeded when too many rows are refused.
    """
    table, staging = table_identifier(schema, plan.definition.to), sql.Identifier("mig_stg", plan.staging)
    matches = sql.SQL(
        "select s._seq, count(*) as rows from {staging} s join {table} t on {same} where s._outcome is null group by 1"
    ).format(staging=staging, table=table, same=key_match(plan, source="s", target="t"))
    _refuse_ambiguous(connection, run, plan, matches)
    policy = plan.definition.on_conflict.policy
    matching = sql.SQL("exists (select 1 from {table} t where {same})").format(
        table=table, same=key_match(plan, source="s", target="t")
    )
    if policy is ConflictPolicy.FAIL:
        _refuse_conflicts(connection, plan, matching)
    elif policy is ConflictPolicy.QUARANTINE:
        _put_away(connection, run, plan, matching, "the target has this key already")
    else:
        connection.execute(
            sql.SQL("update {} s set _outcome = 'kept' where s._outcome is null and {}").format(staging, matching)
        )
        if statement := _update_statement(table, plan):
            write(connection, run, plan, budget, sql.SQL("_outcome = 'kept'"), statement)
    write(connection, run, plan, budget, sql.SQL("_outcome is null"), _insert_statement(table, plan))


def _refuse_ambiguous(connection: Connection, run: str, plan: ObjectPlan, matches: sql.Composed) -> None:
    several = sql.SQL("s._seq in (select m._seq from ({}) m where m.rows > 1)").format(matches)
    _put_away(connection, run, plan, several, "the target has this key more than once")


def _put_away(connection: Connection, run: str, plan: ObjectPlan, where: sql.Composed, message: str) -> None:
    put_away(
        connection,
        run,
        plan,
        where=where,
        code="E_PK_CONFLICT",
        column=", ".join(plan.definition.key),
        value=sql.SQL("{}::text").format(key_text(plan, "s")),
        message=message,
    )


def _refuse_conflicts(connection: Connection, plan: ObjectPlan, matching: sql.Composed) -> None:
    found = connection.execute(
        sql.SQL("select count(*), min(s._line) from {} s where s._outcome is null and {}").format(
            sql.Identifier("mig_stg", plan.staging), matching
        )
    ).fetchone()
    if found and found[0]:
        raise Rejected(
            "KeyConflict",
            f"object {plan.definition.name}: the target has the keys of {found[0]} rows already, the first at line "
            f"{found[1]} of {plan.file}; choose onConflict.policy KeepTarget, Overwrite, NewerWins, FillNulls or "
            f"Quarantine",
        )


def _update_statement(table: sql.Identifier, plan: ObjectPlan) -> sql.Composed | None:
    """Changes rows that are there by the rows that are kept, between two places; None when nothing is to change."""
    policy = plan.definition.on_conflict.policy
    left = {*plan.definition.key, *(one.column for one in plan.late)}
    columns = [field.to for field in plan.definition.fields if field.to not in left]
    if policy is ConflictPolicy.FILL_NULLS:
        form = "{column} = coalesce(t.{column}, {value})"
        changed = sql.SQL(" or ").join(
            sql.SQL("(t.{} is null and {} is not null)").format(sql.Identifier(column), typed(plan, column, "s"))
            for column in columns
        )
    else:
        form = "{column} = {value}"
        changed = sql.SQL(" or ").join(
            sql.SQL("t.{} is distinct from {}").format(sql.Identifier(column), typed(plan, column, "s"))
            for column in columns
        )
    if policy is ConflictPolicy.KEEP_TARGET or not columns:
        return None
    assignments = assigned(plan, columns, form)
    return sql.SQL(
        "with changed as (update {table} t set {assignments} from {staging} s"
        " where s._outcome = 'kept' and s._seq between %s and %s and {same} and ({changed}) returning s._seq)"
        " update {staging} s set _outcome = 'updated' from changed where changed._seq = s._seq"
    ).format(
        table=table,
        assignments=assignments,
        staging=sql.Identifier("mig_stg", plan.staging),
        same=key_match(plan, source="s", target="t"),
        changed=sql.SQL("({}) and ({})").format(changed, _wins(plan)),
    )


def assigned(plan: ObjectPlan, columns: Sequence[str], form: str = "{column} = {value}") -> sql.Composed:
    """What an UPDATE sets, from the staged row `s`."""
    return sql.SQL(", ").join(
        sql.SQL(form).format(column=sql.Identifier(column), value=typed(plan, column, "s")) for column in columns
    )


def _wins(plan: ObjectPlan) -> sql.Composable:
    """The condition that a kept row is to replace the target's. A row without a date is older than any that has one."""
    column = plan.definition.on_conflict.column
    if column is None:
        return sql.SQL("true")
    return sql.SQL("{value} > t.{column} or (t.{column} is null and {value} is not null)").format(
        value=typed(plan, column, "s"), column=sql.Identifier(column)
    )


def write(
    connection: Connection,
    run: str,
    plan: ObjectPlan,
    budget: ErrorBudget,
    waiting: sql.SQL,
    statement: sql.Composed,
) -> None:
    """Write all waiting rows at once; where the database refuses, halve until the row is found that it means."""
    waiting_between: Callable[[int, int | None], list[tuple[int, int]]] = partial(_waiting, connection, plan, waiting)
    ranges = waiting_between(0, None)
    refused = 0
    while ranges:
        first, last = ranges.pop()
        try:
            with connection.transaction():
                connection.execute(statement, (first, last))
        except (psycopg.IntegrityError, psycopg.DataError, errors.RaiseException) as error:
            if first == last:
                refused += 1
                _put_refused_away(connection, run, plan, first, error)
                _stop_refusals(connection, run, plan, budget, refused)
            else:
                middle = (first + last) // 2
                ranges += waiting_between(middle + 1, last) + waiting_between(first, middle)


def _waiting(
    connection: Connection, plan: ObjectPlan, waiting: sql.SQL, first: int, last: int | None
) -> list[tuple[int, int]]:
    """The first and the last waiting row between these two, if there is any."""
    found = connection.execute(
        sql.SQL(
            "select min(_seq), max(_seq) from {} where {} and _seq >= %s and (%s::bigint is null or _seq <= %s)"
        ).format(sql.Identifier("mig_stg", plan.staging), waiting),
        (first, last, last),
    ).fetchone()
    return [(found[0], found[1])] if found and found[0] is not None else []


def _insert_statement(table: sql.Identifier, plan: ObjectPlan) -> sql.Composed:
    """Adds the undecided rows between two places. What is filled last is empty, whatever the column's default."""
    columns = [field.to for field in plan.definition.fields]
    late = {one.column for one in plan.late}
    return sql.SQL(
        "insert into {table} ({columns}) select {values} from {staging} s"
        " where s._outcome is null and s._seq between %s and %s order by {key}"
    ).format(
        table=table,
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        values=sql.SQL(", ").join(sql.NULL if column in late else typed(plan, column, "s") for column in columns),
        staging=sql.Identifier("mig_stg", plan.staging),
        key=sql.SQL(", ").join(typed(plan, column, "s") for column in plan.definition.key),
    )


def _put_refused_away(connection: Connection, run: str, plan: ObjectPlan, row: int, error: psycopg.Error) -> None:
    constraint = f" (constraint {error.diag.constraint_name})" if error.diag.constraint_name else ""
    # A row that was to change one of the target is undecided again: only such a row can be put away.
    connection.execute(
        sql.SQL("update {} set _outcome = null where _seq = %s and _outcome is not null").format(
            sql.Identifier("mig_stg", plan.staging)
        ),
        (row,),
    )
    put_away(
        connection,
        run,
        plan,
        where=sql.SQL("s._seq = {}").format(sql.Literal(row)),
        code="E_DB",
        column=error.diag.column_name or "",
        value=sql.SQL("''"),
        message=f"the database refuses the row: {error.diag.message_primary}{constraint}",
    )


def _stop_refusals(connection: Connection, run: str, plan: ObjectPlan, budget: ErrorBudget, refused: int) -> None:
    name = plan.definition.name
    if problem := over_budget(connection, run, name, budget, final=True):
        raise BudgetExceeded("ErrorBudgetExceeded", problem)
    if refused == MAX_REFUSED:
        raise BudgetExceeded(
            "ErrorBudgetExceeded", f"object {name}: the database refused {refused} rows (E_DB) before this was stopped"
        )


def reset_sequences(connection: Connection, schema: str, plan: ObjectPlan) -> None:
    """Move the sequences behind filled columns past the highest value: else the first new row after go-live fails."""
    table = table_identifier(schema, plan.definition.to)
    for field in plan.definition.fields:
        found = connection.execute(
            "select pg_get_serial_sequence(%s, %s)", (f'"{schema}"."{plan.definition.to}"', field.to)
        ).fetchone()
        if found and found[0]:
            connection.execute(
                sql.SQL(
                    "select setval(%s, greatest("
                    "(select max({column}) from {table}), (select last_value from {sequence})))"
                ).format(column=sql.Identifier(field.to), table=table, sequence=sql.SQL(found[0])),
                (found[0],),
            )
