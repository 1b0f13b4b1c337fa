"""Turns values that name another row into that row's column, over all staged rows at once."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

from pilotage.api.v1alpha1.migrationjob import FieldMapping
from pilotage.migration.crosswalk import current
from pilotage.migration.database import Connection, table_identifier
from pilotage.migration.merge import key_match, outcome, same_key
from pilotage.migration.plan import ObjectPlan
from pilotage.migration.quarantine import put_away


def resolve_references(
    connection: Connection, run: str, schema: str, plan: ObjectPlan, plans: Mapping[str, ObjectPlan]
) -> None:
    """Fill the resolved column of every reference; rows whose reference leads nowhere, or to several, are E_FK.

    References that are filled when all objects are merged are left out.
    """
    late = {one.column for one in plan.late}
    for field in plan.definition.fields:
        if field.reference and field.to not in late:
            resolve(connection, schema, plan, field, plans)
            put_dangling_away(
                connection,
                run,
                plan,
                field,
                sql.SQL("s.{} is not null and s.{} is null").format(plan.staged(field.to), plan.resolved(field.to)),
            )


def resolve(
    connection: Connection, schema: str, plan: ObjectPlan, field: FieldMapping, plans: Mapping[str, ObjectPlan]
) -> None:
    """Fill the resolved column of one reference."""
    if not (reference := field.reference):
        return
    if reference.object:
        parent = plans[reference.object]
        found = _loaded_rows(schema, parent, reference.match, reference.use)
        if there := known_rows(schema, parent, reference.match, reference.use):
            found = sql.SQL("{} union all {}").format(found, there)
    else:
        found = sql.SQL("select t.{match}::text as given, t.{use}::text as used from {table} t").format(
            match=sql.Identifier(reference.match),
            use=sql.Identifier(reference.use),
            table=table_identifier(schema, str(reference.table)),
        )
    connection.execute(
        sql.SQL(
            "update {staging} s set {resolved} = r.used from ("
            " select given, min(used) as used from ({found}) f group by given having count(distinct used) = 1) r"
            " where s.{given} = r.given"
        ).format(
            staging=sql.Identifier("mig_stg", plan.staging),
            resolved=plan.resolved(field.to),
            given=plan.staged(field.to),
            found=found,
        )
    )


def put_dangling_away(
    connection: Connection, run: str, plan: ObjectPlan, field: FieldMapping, where: sql.Composable
) -> int:
    """Quarantine the rows `s` whose value leads to no row, or to several; returns how many were undecided."""
    late = next((one for one in plan.late if one.column == field.to), None)
    if field.reference:
        place = f"object {field.reference.object}" if field.reference.object else f"table {field.reference.table}"
        match = field.reference.match
    else:
        place, match = f"table {late.table if late else ''}", late.match if late else ""
    return put_away(
        connection,
        run,
        plan,
        where=where,
        code="E_FK",
        column=field.from_ or field.to,
        value=plan.staged(field.to),
        message=f"names no row, or more than one, of {place} by {match}",
    )


def known_rows(schema: str, plan: ObjectPlan, match: str, use: str) -> sql.Composed | None:
    """Of a Delta: rows that are there by an earlier run, whatever became of them in the source; None when a row cannot
    be told by `match`, which then is no column of the key that has the source's own value.
    """
    named = {field.to for field in plan.definition.fields if not field.reference}
    if plan.chain is None or match not in plan.definition.key or match not in named:
        return None
    return sql.SQL(
        "select d.target_key ->> {place} as given, t.{use}::text as used from mig.crosswalk d join {table} t on {same}"
        " where {current}"
    ).format(
        place=sql.Literal(plan.definition.key.index(match)),
        use=sql.Identifier(use),
        table=table_identifier(schema, plan.definition.to),
        same=same_key(plan, "t", "d"),
        current=current(plan),
    )


def _loaded_rows(schema: str, plan: ObjectPlan, match: str, use: str) -> sql.Composed:
    """Rows of an object that are in the target now, by what the source calls them; a duplicate leads to its winner."""
    return sql.SQL(
        "select o.{match} as given, t.{use}::text as used from {staging} o join {table} t on {same}"
        " where {outcome} not in ('quarantined', 'filtered')"
    ).format(
        match=plan.staged(match),
        outcome=outcome("o"),
        use=sql.Identifier(use),
        staging=sql.Identifier("mig_stg", plan.staging),
        table=table_identifier(schema, plan.definition.to),
        same=key_match(plan, source="o", target="t"),
    )
