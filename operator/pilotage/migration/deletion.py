"""Rows that a Delta no longer finds in the source: they are listed or, where that is declared, deleted in the target.

Nobody's work is deleted: a row that was there before the first run, that somebody changed since it was loaded, or that
others refer to, stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from psycopg import sql

from pilotage.api.v1alpha1.migrationjob import DeletePolicy, MigrationJobSpec
from pilotage.migration.crosswalk import current, stored_digest
from pilotage.migration.database import Connection, one_form, table_identifier
from pilotage.migration.duplicates import key_text
from pilotage.migration.errors import Rejected, Undecided
from pilotage.migration.merge import same_key
from pilotage.migration.plan import ObjectPlan
from pilotage.migration.undo import REFERRING


def settle_gone(
    connection: Connection, run: str, spec: MigrationJobSpec, plans: Mapping[str, ObjectPlan], *, images: bool
) -> None:
    """Decide about every row that is gone from the source, and delete those that may be; after all objects are merged.

    Raises Undecided when more are gone than declared, or it is not certain that they are.
    """
    schema, policy = spec.target.schema_, spec.delta
    for plan in plans.values():
        _decide(
            connection,
            run,
            plan,
            "absent",
            sql.SQL("not exists (select 1 from {} t where {})").format(
                table_identifier(schema, plan.definition.to), same_key(plan, "t", "g")
            ),
        )
    if policy.deletes is not DeletePolicy.APPLY:
        return
    for plan in plans.values():
        _decide(connection, run, plan, "deleted", sql.SQL("g.inserted"))
        _decide(connection, run, plan, "kept", sql.SQL("not g.inserted"), "was there before the first run")
        _require_certain(connection, run, plan, policy.max_deleted)
        _decide(
            connection,
            run,
            plan,
            "refused",
            sql.SQL(
                "g.outcome = 'deleted' and not exists (select 1 from {} t where {} and {} = g.stored_digest)"
            ).format(table_identifier(schema, plan.definition.to), same_key(plan, "t", "g"), stored_digest(plan, "t")),
            "changed",
        )
    # A row that stays may refer to others that would go.
    while sum(_keep_referred(connection, run, schema, plan, plans) for plan in plans.values()):
        pass
    connection.execute(
        "insert into mig.refusal (run_id, object, src_offset, src_line, target_key, reason)"
        " select run_id, object, 0, 0, target_key, 'not deleted: ' || reason from mig.gone"
        " where run_id = %s and outcome = 'refused'",
        (run,),
    )
    if images:
        _keep_images(connection, run, schema, plans)
    for plan in plans.values():
        _loosen(connection, run, schema, plan)
    for plan in reversed(list(plans.values())):
        _delete(connection, run, schema, plan)


def _decide(
    connection: Connection, run: str, plan: ObjectPlan, outcome: str, where: sql.Composable, reason: str = ""
) -> int:
    """Give the rows `g` for which `where` holds the outcome, unless they are absent or refused; returns how many."""
    return connection.execute(
        sql.SQL(
            "update mig.gone g set outcome = %s, reason = %s where g.run_id = %s and g.object = %s"
            " and g.outcome not in ('absent', 'refused') and ({})"
        ).format(where),
        (outcome, reason, run, plan.definition.name),
    ).rowcount


def _require_certain(connection: Connection, run: str, plan: ObjectPlan, most: str) -> None:
    name = plan.definition.name
    going, known = _count(
        connection,
        sql.SQL(
            "select (select count(*) from mig.gone where run_id = %s and object = %s and outcome = 'deleted'),"
            " (select count(*) from mig.crosswalk d where {})"
        ).format(current(plan)),
        (run, name),
    )
    if going > known * Decimal(most.removesuffix("%")) / 100:
        raise Undecided(
            "TooManyDeleted",
            f"object {name}: {going} of {known} rows are gone from the source, spec.delta.maxDeleted is {most}: is the "
            "source whole? If so, raise it (nothing was loaded)",
        )
    # What every run so far has put away was never loaded, so it cannot be one of those that are gone.
    (unknown,) = _count(
        connection,
        sql.SQL(
            "select count(distinct q.src_offset) from mig.quarantine q"
            " left join {staging} s on s._seq = q.src_offset and q.stage = 'settle'"
            " where q.run_id = %s and q.object = %s and (s._seq is null or {key} @> '[null]')"
            " and exists (select 1 from mig.run r where r.plan->>'chain' = %s and r.state = 'succeeded'"
            " and not exists (select 1 from mig.quarantine b where b.run_id = r.run_id and b.object = q.object"
            " and b.src_raw = q.src_raw))"
        ).format(staging=sql.Identifier("mig_stg", plan.staging), key=key_text(plan, "s")),
        (run, name, plan.chain),
    )
    if going and unknown:
        raise Undecided(
            "DeletesUncertain",
            f"object {name}: {going} rows are gone from the source, but {unknown} rows were quarantined whose keys are "
            "not known and may be theirs: mend these, or set spec.delta.deletes to Report (nothing was loaded)",
        )


def _count(connection: Connection, query: sql.Composed, parameters: tuple[object, ...]) -> Sequence[int]:
    return connection.execute(query, parameters).fetchone() or ()


def _keep_referred(
    connection: Connection, run: str, schema: str, plan: ObjectPlan, plans: Mapping[str, ObjectPlan]
) -> int:
    """Refuse rows that somebody refers to who stays, also where the database would take those along."""
    kept = 0
    place = (f'"{schema}"."{plan.definition.to}"',)
    for name, child_schema, child, columns, referred in connection.execute(REFERRING, place).fetchall():
        refers = [
            sql.SQL("c.{} = t.{}").format(sql.Identifier(mine), sql.Identifier(theirs))
            for mine, theirs in zip(columns, referred, strict=True)
        ]
        going = [
            sql.SQL(
                "not exists (select 1 from mig.gone x where x.run_id = {run} and x.object = {name}"
                " and x.outcome = 'deleted' and {same})"
            ).format(run=sql.Literal(run), name=sql.Literal(other.definition.name), same=same_key(other, "c", "x"))
            for other in plans.values()
            if (child_schema, child) == (schema, other.definition.to)
        ]
        kept += _decide(
            connection,
            run,
            plan,
            "refused",
            sql.SQL(
                "g.outcome = 'deleted' and exists (select 1 from {table} t join {child} c on {who} where {same})"
            ).format(
                table=table_identifier(schema, plan.definition.to),
                child=table_identifier(child_schema, child),
                who=sql.SQL(" and ").join([*refers, *going]),
                same=same_key(plan, "t", "g"),
            ),
            f"referred to by {child} (constraint {name})",
        )
    return kept


def _keep_images(connection: Connection, run: str, schema: str, plans: Mapping[str, ObjectPlan]) -> None:
    """Remember the rows that go. They have no place in this source, and no digest, as nothing is left of them."""
    for plan in plans.values():
        with one_form(connection):
            connection.execute(
                sql.SQL(
                    "insert into mig.undo (run_id, object, src_offset, src_line, target_key, before)"
                    " select g.run_id, g.object, -row_number() over (order by g.target_key), 0, g.target_key,"
                    " to_jsonb(t) from mig.gone g join {table} t on {same}"
                    " where g.run_id = %s and g.object = %s and g.outcome = 'deleted'"
                ).format(table=table_identifier(schema, plan.definition.to), same=same_key(plan, "t", "g")),
                (run, plan.definition.name),
            )


def _loosen(connection: Connection, run: str, schema: str, plan: ObjectPlan) -> None:
    """Empty the columns of rows that go which were filled last: no order of deletion suits a circle."""
    if plan.late:
        connection.execute(
            sql.SQL(
                "update {table} t set {assignments} from mig.gone g where g.run_id = %s and g.object = %s"
                " and g.outcome = 'deleted' and {same}"
            ).format(
                table=table_identifier(schema, plan.definition.to),
                assignments=sql.SQL(", ").join(
                    sql.SQL("{} = null").format(sql.Identifier(one.column)) for one in plan.late
                ),
                same=same_key(plan, "t", "g"),
            ),
            (run, plan.definition.name),
        )


def _delete(connection: Connection, run: str, schema: str, plan: ObjectPlan) -> None:
    names = (run, plan.definition.name)
    done = connection.execute(
        sql.SQL(
            "delete from {table} t using mig.gone g where g.run_id = %s and g.object = %s and g.outcome = 'deleted'"
            " and {same}"
        ).format(table=table_identifier(schema, plan.definition.to), same=same_key(plan, "t", "g")),
        names,
    ).rowcount
    (wanted,) = _count(
        connection,
        sql.SQL("select count(*) from mig.gone where run_id = %s and object = %s and outcome = 'deleted'").format(),
        names,
    )
    if done != wanted:
        text = f"object {plan.definition.name}: {wanted} rows were to be deleted and the database did so for {done}"
        raise Rejected("DeletesRefused", f"{text} (nothing was loaded)")
