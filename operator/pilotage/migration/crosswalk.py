"""The crosswalk: what became of each staged row and, of those that a loading run brought, digests of then.

They are what a Delta compares with. A row that a Delta changed is not written over but replaced, so that a Delta that
is taken back leaves what was known before it.
"""

from __future__ import annotations

from psycopg import sql

from pilotage.api.v1alpha1.migrationjob import RunKind
from pilotage.migration import ledger
from pilotage.migration.database import Connection, table_identifier
from pilotage.migration.duplicates import key_text
from pilotage.migration.merge import key_match, outcome
from pilotage.migration.plan import ObjectPlan


def source_digest(plan: ObjectPlan, alias: str) -> sql.Composed:
    """The digest of what the source gives for a staged row, before references are followed."""
    return _digest([sql.SQL("{}.{}").format(sql.Identifier(alias), plan.staged(name)) for name in _columns(plan)])


def stored_digest(plan: ObjectPlan, alias: str) -> sql.Composed:
    """The digest of what the target has in the columns that the object fills."""
    return _digest([sql.SQL("{}.{}").format(sql.Identifier(alias), sql.Identifier(name)) for name in _columns(plan)])


def current(plan: ObjectPlan) -> sql.Composed:
    """The condition that a row `d` of mig.crosswalk is what the chain of a Delta has brought of this object last."""
    return sql.SQL(
        "d.run_id in (select r.run_id from mig.run r where r.plan->>'chain' = {}) and d.object = {}"
        " and d.source_digest is not null and d.replaced_by is null"
    ).format(sql.Literal(plan.chain), sql.Literal(plan.definition.name))


def write_crosswalk(connection: Connection, found: ledger.RunRow, schema: str, plan: ObjectPlan) -> None:
    """Write down what became of an object's staged rows, when all objects are merged and nothing is decided any more.

    Rows that a Delta inserted, changed, deleted or found there already take the place of what was known of them.
    """
    parts = {
        "key": key_text(plan, "s"),
        "outcome": outcome("s"),
        "staging": sql.Identifier("mig_stg", plan.staging),
    }
    names = {"run": found.run, "object": plan.definition.name}
    if not found.kind.loads or "chain" not in found.plan:
        connection.execute(
            sql.SQL(
                "insert into mig.crosswalk (run_id, object, src_offset, target_key, outcome)"
                " select %(run)s, %(object)s, s._seq, {key}, {outcome} from {staging} s"
                " where {outcome} not in ('quarantined', 'filtered')"
            ).format(**parts),
            names,
        )
        return
    connection.execute(
        sql.SQL(
            "insert into mig.crosswalk (run_id, object, src_offset, target_key, outcome, source_digest, stored_digest,"
            " inserted) select %(run)s, %(object)s, s._seq, {key}, {outcome}, case when {brought} then {source} end,"
            " case when t.{first} is not null then {stored} end, coalesce(s._inserted, s._outcome is null)"
            " from {staging} s left join {table} t on {same} and {brought}"
            " where {outcome} not in ('quarantined', 'filtered')"
        ).format(
            **parts,
            brought=sql.SQL("{} in ('loaded', 'updated', 'kept')").format(outcome("s")),
            source=source_digest(plan, "s"),
            stored=stored_digest(plan, "t"),
            first=sql.Identifier(plan.definition.key[0]),
            table=table_identifier(schema, plan.definition.to),
            same=key_match(plan, source="s", target="t"),
        ),
        names,
    )
    if found.kind is RunKind.DELTA:
        connection.execute(
            sql.SQL(
                "update mig.crosswalk d set replaced_by = %(run)s where {current} and d.run_id <> %(run)s and ("
                " exists (select 1 from mig.crosswalk n where n.run_id = %(run)s and n.object = %(object)s"
                " and n.source_digest is not null and n.target_key = d.target_key)"
                " or exists (select 1 from mig.gone g where g.run_id = %(run)s and g.object = %(object)s"
                " and g.target_key = d.target_key and g.outcome in ('deleted', 'absent')))"
            ).format(current=current(plan)),
            names,
        )


def restore(connection: Connection, run: str) -> None:
    """Let what was known before the run be known again: it is taken back."""
    connection.execute("update mig.crosswalk set replaced_by = null where replaced_by = %s", (run,))


def _digest(values: list[sql.Composed]) -> sql.Composed:
    return sql.SQL("hash_record_extended(row({}), 0)").format(sql.SQL(", ").join(values))


def _columns(plan: ObjectPlan) -> list[str]:
    return sorted(field.to for field in plan.definition.fields)
