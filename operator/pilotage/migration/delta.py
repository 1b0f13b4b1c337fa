"""A Delta: which rows of the source are new, changed or gone since they were loaded. These alone are written.

The rows of then and now are compared by sums over buckets of their keys, in the database that has both. Only where the
sums of a bucket differ, smaller buckets are looked at, and in the end the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from psycopg import sql

from pilotage.api.v1alpha1.migrationjob import DeletePolicy, ErrorBudget
from pilotage.migration.crosswalk import current, source_digest, stored_digest
from pilotage.migration.database import Connection, table_identifier
from pilotage.migration.duplicates import key_text
from pilotage.migration.merge import assigned, key_match, typed, write
from pilotage.migration.plan import ObjectPlan
from pilotage.migration.quarantine import put_away

# In hexadecimal digits of the key's digest: 4096 buckets, each of which falls into 256 smaller ones, and so on.
FIRST_WIDTH: Final = 3
STEP: Final = 2
LAST_WIDTH: Final = 31
# A bucket of so many rows, of then and now together, is looked at row by row.
LEAF_ROWS: Final = 1000

_NOW: Final = sql.Identifier("pilotage_now")
_BEFORE: Final = sql.Identifier("pilotage_before")
_BUCKETS: Final = """
select left(bucket, {width}) as bucket, count(*) as rows,
       sum(source_digest) as checksum
  from {rows} where {within} group by 1
"""
_DIFFERING: Final = """
select coalesce(n.bucket, b.bucket), coalesce(n.rows, 0) + coalesce(b.rows, 0)
  from ({now}) n full join ({before}) b on b.bucket = n.bucket
 where n.rows is distinct from b.rows or n.checksum is distinct from b.checksum
"""


def compare(connection: Connection, run: str, plan: ObjectPlan, policy: DeletePolicy) -> None:
    """Mark the undecided staged rows that are as they were loaded `unchanged`, and those that are not and that a run
    of this chain has inserted `changed`; write down what is gone from the source.

    New rows stay undecided, and so do changed ones whose row was there before the chain: the object's onConflict is
    for them, as it was when they were loaded.
    """
    parts = {
        "now": _NOW,
        "before": _BEFORE,
        "staging": sql.Identifier("mig_stg", plan.staging),
        "key": key_text(plan, "s"),
    }
    connection.execute(
        sql.SQL(
            "create temporary table {now} on commit drop as select s._seq, {key} as target_key,"
            " md5({key}::text) as bucket, {digest} as source_digest from {staging} s where s._outcome is null"
        ).format(**parts, digest=source_digest(plan, "s"))
    )
    connection.execute(
        sql.SQL(
            "create temporary view {before} as select d.target_key, md5(d.target_key::text) as bucket,"
            " d.source_digest, d.stored_digest, d.inserted from mig.crosswalk d where {current}"
        ).format(before=_BEFORE, current=current(plan))
    )
    within = _inside(differing_buckets(connection))
    connection.execute(
        sql.SQL(
            "update {staging} s set _outcome = 'unchanged' from ("
            " select _seq from {now} where not ({within})"
            " union all select n._seq from (select * from {now} where {within}) n"
            " join (select * from {before} where {within}) b using (target_key, source_digest)) same"
            " where same._seq = s._seq"
        ).format(**parts, within=within)
    )
    connection.execute(
        sql.SQL(
            "update {staging} s set _outcome = 'changed', _inserted = true, _stored = b.stored_digest"
            " from (select * from {now} where {within}) n join (select * from {before} where {within}) b"
            " using (target_key) where n._seq = s._seq and s._outcome is null and b.inserted"
        ).format(**parts, within=within)
    )
    if policy is not DeletePolicy.IGNORE:
        connection.execute(
            sql.SQL(
                "insert into mig.gone (run_id, object, target_key, stored_digest, inserted)"
                " select %s, %s, b.target_key, b.stored_digest, b.inserted from {before} b where ({within}) and not"
                " exists (select 1 from {staging} s where {key} = b.target_key"
                " and s._outcome is distinct from 'filtered')"
            ).format(**parts, within=within),
            (run, plan.definition.name),
        )
    connection.execute(sql.SQL("drop view {}").format(_BEFORE))
    connection.execute(sql.SQL("drop table {}").format(_NOW))


def differing_buckets(connection: Connection) -> dict[int, list[str]]:
    """The buckets that are to be looked at row by row, by the number of digits that name them."""
    leaves: dict[int, list[str]] = {}
    width, within = FIRST_WIDTH, sql.SQL("true").format()
    while True:
        now, before = (
            sql.SQL(_BUCKETS).format(width=sql.Literal(width), rows=rows, within=within) for rows in (_NOW, _BEFORE)
        )
        found = connection.execute(sql.SQL(_DIFFERING).format(now=now, before=before)).fetchall()
        small = [bucket for bucket, rows in found if rows <= LEAF_ROWS or width + STEP > LAST_WIDTH]
        large = [bucket for bucket, rows in found if bucket not in set(small)]
        if small:
            leaves[width] = small
        if not large:
            return leaves
        width, within = width + STEP, _within(width, large)


def _within(width: int, buckets: Sequence[str]) -> sql.Composed:
    return sql.SQL("left(bucket, {}) = any({})").format(sql.Literal(width), sql.Literal(list(buckets)))


def _inside(leaves: Mapping[int, Sequence[str]]) -> sql.Composed:
    if not leaves:
        return sql.SQL("false").format()
    return sql.SQL(" or ").join(_within(width, buckets) for width, buckets in leaves.items())


def bring_changed(connection: Connection, run: str, schema: str, plan: ObjectPlan, budget: ErrorBudget) -> None:
    """Write the changed rows, but for those that somebody changed or deleted in the target since they were loaded.

    These are quarantined, and written down as refused. A row that is there already as the source has it now is kept.
    """
    staging, table = sql.Identifier("mig_stg", plan.staging), table_identifier(schema, plan.definition.to)
    late = {one.column for one in plan.late}
    columns = [field.to for field in plan.definition.fields if field.to not in {*plan.definition.key, *late}]
    parts = {"staging": staging, "table": table, "same": key_match(plan, source="s", target="t")}
    moved = sql.SQL("not exists (select 1 from {table} t where {same} and {stored} = s._stored)").format(
        **parts, stored=stored_digest(plan, "t")
    )
    if columns and not late:
        # Whoever works with both systems enters the same change twice.
        connection.execute(
            sql.SQL(
                "update {staging} s set _outcome = 'kept' from {table} t where s._outcome = 'changed' and {same}"
                " and {moved} and row({there}) is not distinct from row({wanted})"
            ).format(
                **parts,
                moved=moved,
                there=sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(column)) for column in columns),
                wanted=sql.SQL(", ").join(typed(plan, column, "s") for column in columns),
            )
        )
    connection.execute(
        sql.SQL("update {staging} s set _outcome = null where s._outcome = 'changed' and {moved}").format(
            staging=staging, moved=moved
        )
    )
    _refuse_moved(connection, run, plan, parts)
    assignments = assigned(plan, columns) if columns else None
    source = (
        sql.SQL(
            "update {table} t set {assignments} from {staging} s"
            " where s._outcome = 'changed' and s._seq between %s and %s and {same} returning s._seq"
        ).format(**parts, assignments=assignments)
        if assignments
        else sql.SQL("select s._seq from {} s where s._outcome = 'changed' and s._seq between %s and %s").format(
            staging
        )
    )
    statement = sql.SQL(
        "with changed as ({source}) update {staging} s set _outcome = 'updated' from changed"
        " where changed._seq = s._seq"
    ).format(source=source, staging=staging)
    write(connection, run, plan, budget, sql.SQL("_outcome = 'changed'"), statement)


def _refuse_moved(connection: Connection, run: str, plan: ObjectPlan, parts: Mapping[str, sql.Composable]) -> None:
    undecided = sql.SQL("s._inserted and s._outcome is null")
    connection.execute(
        sql.SQL(
            "insert into mig.refusal (run_id, object, src_offset, src_line, target_key, reason)"
            " select %s, %s, s._seq, s._line, {key},"
            " case when exists (select 1 from {table} t where {same}) then 'changed' else 'deleted' end"
            " from {staging} s where {undecided}"
        ).format(**parts, key=key_text(plan, "s"), undecided=undecided),
        (run, plan.definition.name),
    )
    put_away(
        connection,
        run,
        plan,
        where=undecided,
        code="E_TARGET_CHANGED",
        column=", ".join(plan.definition.key),
        value=sql.SQL("{}::text").format(key_text(plan, "s")),
        message="somebody changed or deleted the row in the target since it was loaded",
    )
