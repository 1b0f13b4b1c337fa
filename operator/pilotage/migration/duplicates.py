"""Decides which of several rows with one key counts."""

from __future__ import annotations

from psycopg import sql

from pilotage.api.v1alpha1.migrationjob import DuplicatePolicy
from pilotage.migration.database import Connection
from pilotage.migration.errors import Rejected
from pilotage.migration.plan import ObjectPlan
from pilotage.migration.quarantine import put_away


def key_text(plan: ObjectPlan, alias: str) -> sql.Composed:
    """The key of a staged row as a JSON array of texts."""
    parts = [sql.SQL("{}.{}").format(sql.Identifier(alias), plan.resolved(column)) for column in plan.definition.key]
    return sql.SQL("jsonb_build_array({})").format(sql.SQL(", ").join(parts))


def key_columns(plan: ObjectPlan, alias: str) -> sql.Composed:
    """The columns of a staged row's key, one behind the other."""
    columns = (plan.resolved(column) for column in plan.definition.key)
    return sql.SQL(", ").join(sql.SQL("{}.{}").format(sql.Identifier(alias), column) for column in columns)


def settle_duplicates(connection: Connection, run: str, plan: ObjectPlan) -> None:
    """Apply the object's policy to rows of one key. Raises Rejected under the policy Fail."""
    policy = plan.definition.source_duplicates.policy
    staging = sql.Identifier("mig_stg", plan.staging)
    groups = sql.SQL(
        "select {key} from {staging} g where g._outcome is null group by {key} having count(*) > 1"
    ).format(key=key_columns(plan, "g"), staging=staging)
    if policy is DuplicatePolicy.FAIL:
        _refuse(connection, plan, groups)
    elif policy is DuplicatePolicy.QUARANTINE_ALL:
        put_away(
            connection,
            run,
            plan,
            where=sql.SQL("({}) in ({})").format(key_columns(plan, "s"), groups),
            code="E_DUP_SOURCE",
            column=", ".join(plan.definition.key),
            value=sql.SQL("{}::text").format(key_text(plan, "s")),
            message="another row of the file has the same key",
        )
    else:
        direction = sql.SQL("desc nulls last" if policy is DuplicatePolicy.LAST else "asc nulls last")
        sequence = sql.SQL("desc" if policy is DuplicatePolicy.LAST else "asc")
        connection.execute(
            sql.SQL(
                "update {staging} s set _outcome = 'duplicates' from ("
                " select _seq, row_number() over (partition by {key} order by d._order {direction}, d._seq {sequence})"
                " as place from {staging} d where d._outcome is null and ({key}) in ({groups})) r"
                " where r._seq = s._seq and r.place > 1"
            ).format(staging=staging, key=key_columns(plan, "d"), groups=groups, direction=direction, sequence=sequence)
        )


def settle_unique(connection: Connection, run: str, plan: ObjectPlan) -> None:
    """Put rows away that share a value of a field that is to be unique in the file."""
    for field in plan.definition.fields:
        if field.unique:
            groups = sql.SQL(
                "select g.{value} from {staging} g where g._outcome is null and g.{value} is not null"
                " group by 1 having count(*) > 1"
            ).format(value=plan.staged(field.to), staging=sql.Identifier("mig_stg", plan.staging))
            put_away(
                connection,
                run,
                plan,
                where=sql.SQL("s.{} in ({})").format(plan.staged(field.to), groups),
                code="E_DUP_SOURCE",
                column=field.from_ or field.to,
                value=plan.staged(field.to),
                message="another row of the file has the same value, which is to be unique",
            )


def _refuse(connection: Connection, plan: ObjectPlan, groups: sql.Composed) -> None:
    lines = connection.execute(
        sql.SQL("select s._line from {} s where s._outcome is null and ({}) in ({}) order by s._seq limit 6").format(
            sql.Identifier("mig_stg", plan.staging), key_columns(plan, "s"), groups
        )
    ).fetchall()
    if lines:
        shown = ", ".join(str(line) for (line,) in lines)
        raise Rejected(
            "DuplicateKeys",
            f"object {plan.definition.name}: rows of {plan.file} have the same key ({', '.join(plan.definition.key)}), "
            f"among them lines {shown}; choose sourceDuplicates.policy First, Last or QuarantineAll",
        )
