"""Which rows the runs of a chain have brought: digests of each as the source had it and as it was stored.

A row that a Delta changed is not written over but replaced, so that a Delta that is taken back leaves what was known
before it.
"""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

from pilotage.api.v1alpha1.migrationjob import RunKind
from pilotage.migration import ledger
from pilotage.migration.database import Connection, one_form, table_identifier
from pilotage.migration.duplicates import key_text
from pilotage.migration.merge import key_match, outcome
from pilotage.migration.plan import ObjectPlan


def source_digest(plan: ObjectPlan, alias: str) -> sql.Composed:
    """The digest of what the source gives for a staged row, before references are followed."""
    values = (sql.SQL("{}.{}").format(sql.Identifier(alias), plan.staged(name)) for name in _columns(plan))
    return sql.SQL("md5(row({})::text)::uuid").format(sql.SQL(", ").join(values))


def stored_digest(plan: ObjectPlan, alias: str) -> sql.Composed:
    """The digest of what the target has in the columns that the object fills."""
    values = (sql.SQL("{}.{}").format(sql.Identifier(alias), sql.Identifier(name)) for name in _columns(plan))
    return sql.SQL("md5(row({})::text)::uuid").format(sql.SQL(", ").join(values))


def current(plan: ObjectPlan) -> sql.Composed:
    """The condition that a row `d` of mig.delivered is what the chain has brought of this object last."""
    return sql.SQL("d.chain = {} and d.object = {} and d.replaced_by is null").format(
        sql.Literal(plan.chain), sql.Literal(plan.definition.name)
    )


def remember(connection: Connection, found: ledger.RunRow, schema: str, plans: Iterable[ObjectPlan]) -> None:
    """Write down all rows that the run inserted, changed or found there already, in place of what was known of them."""
    for plan in plans:
        with one_form(connection):
            connection.execute(
                sql.SQL(
                    "insert into mig.delivered (chain, run_id, object, target_key, source_digest, stored_digest,"
                    " inserted) select {chain}, %(run)s, %(object)s, {key}, {source}, {stored},"
                    " coalesce(s._inserted, s._outcome is null) from {staging} s join {table} t on {same}"
                    " where {outcome} in ('loaded', 'updated', 'kept')"
                ).format(
                    chain=sql.Literal(found.plan["chain"]),
                    key=key_text(plan, "s"),
                    source=source_digest(plan, "s"),
                    stored=stored_digest(plan, "t"),
                    staging=sql.Identifier("mig_stg", plan.staging),
                    table=table_identifier(schema, plan.definition.to),
                    same=key_match(plan, source="s", target="t"),
                    outcome=outcome("s"),
                ),
                {"run": found.run, "object": plan.definition.name},
            )
        if found.kind is RunKind.DELTA:
            connection.execute(
                sql.SQL(
                    "update mig.delivered d set replaced_by = %(run)s where {current} and d.run_id <> %(run)s and ("
                    " exists (select 1 from mig.delivered n where n.run_id = %(run)s and n.object = d.object"
                    " and n.target_key = d.target_key)"
                    " or exists (select 1 from mig.gone g where g.run_id = %(run)s and g.object = d.object"
                    " and g.target_key = d.target_key and g.outcome in ('deleted', 'absent')))"
                ).format(current=current(plan)),
                {"run": found.run},
            )


def forget(connection: Connection, run: str) -> None:
    """Put the baseline back as it was before the run, which was taken back."""
    connection.execute("delete from mig.delivered where run_id = %s", (run,))
    connection.execute("update mig.delivered set replaced_by = null where replaced_by = %s", (run,))


def _columns(plan: ObjectPlan) -> list[str]:
    return sorted(field.to for field in plan.definition.fields)
