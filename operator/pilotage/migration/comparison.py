"""Intended against stored: the rows as they were to be written, and as the target gives them back.

The bucket checksum is a sum over the md5 of an injective text of each row. A sum, for an exclusive or would lose a row
that is there twice; buckets by the hash of the key, which depends neither on gaps in the keys nor on a collation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from psycopg import sql

from pilotage.api.v1alpha1.migrationjob import ConflictPolicy
from pilotage.migration.database import Connection, table_identifier
from pilotage.migration.merge import key_match, outcome, typed
from pilotage.migration.plan import ObjectPlan

MAX_SHOWN: Final = 5
SEPARATOR: Final = "\x1f"


@dataclass(frozen=True)
class Sides:
    """Rows and checksum as intended and as stored. `first` names lines and columns of the first rows that differ."""

    rows: tuple[int, int]
    checksums: tuple[int, int]
    differing: int = 0
    first: Sequence[str] = ()


@dataclass(frozen=True)
class Group:
    """Rows and sum of one group, as intended and as stored."""

    name: str
    rows: tuple[int, int]
    totals: tuple[Decimal, Decimal]


def written_outcomes(plan: ObjectPlan) -> list[str]:
    """Outcomes of rows all of whose values were written: where gaps are filled, an updated row is a mixture."""
    fills = plan.definition.on_conflict.policy is ConflictPolicy.FILL_NULLS
    return ["loaded"] if fills else ["loaded", "updated"]


def compare_rows(connection: Connection, schema: str, plan: ObjectPlan) -> Sides:
    """All written rows by their checksums; row by row and column by column only where buckets differ."""
    buckets = connection.execute(
        sql.SQL(
            "select coalesce(i.bucket, t.bucket), coalesce(i.rows, 0), coalesce(t.rows, 0),"
            " coalesce(i.checksum, 0), coalesce(t.checksum, 0) from ({intended}) i"
            " full join ({stored}) t on t.bucket = i.bucket"
        ).format(
            intended=_buckets(plan, "s", _staged(plan)),
            stored=_buckets(plan, "t", _joined(plan, schema, sql.SQL("join"))),
        ),
        {"written": written_outcomes(plan)},
    ).fetchall()
    different = [found[0] for found in buckets if found[1] != found[2] or found[3] != found[4]]
    differing, first = _differences(connection, schema, plan, different) if different else (0, [])
    rows = sum(found[1] for found in buckets), sum(found[2] for found in buckets)
    return Sides(rows, (sum(found[3] for found in buckets), sum(found[4] for found in buckets)), differing, first)


def compare_groups(connection: Connection, schema: str, plan: ObjectPlan, field: str, group_by: str) -> list[Group]:
    """Rows and sums of the field by another field's values, in the order of these; a missing value is a group too."""

    def grouped(alias: str, rows: sql.Composed) -> sql.Composed:
        return sql.SQL(
            "select {name} as name, count(*) as rows, coalesce(sum({value}::numeric), 0) as total"
            " from {rows} group by 1"
        ).format(name=_text(plan, group_by, alias), value=_value(plan, field, alias), rows=rows)

    found = connection.execute(
        sql.SQL(
            "select coalesce(i.name, t.name), coalesce(i.rows, 0), coalesce(t.rows, 0), coalesce(i.total, 0),"
            " coalesce(t.total, 0) from ({intended}) i full join ({stored}) t on t.name = i.name order by 1"
        ).format(
            intended=grouped("s", _staged(plan)),
            stored=grouped("t", _joined(plan, schema, sql.SQL("join"))),
        ),
        {"written": written_outcomes(plan)},
    )
    return [Group(name, (rows, there), (total, stored)) for name, rows, there, total, stored in found]


def _columns(plan: ObjectPlan) -> list[str]:
    others = [field.to for field in plan.definition.fields if field.to not in plan.definition.key]
    return [*plan.definition.key, *others]


def _value(plan: ObjectPlan, column: str, alias: str) -> sql.Composed:
    """The value on one side: `s` is the staged row, `t` the target's."""
    if alias == "s":
        return typed(plan, column, alias)
    return sql.SQL("{}.{}").format(sql.Identifier(alias), sql.Identifier(column))


def _text(plan: ObjectPlan, column: str, alias: str) -> sql.Composed:
    r"""The value as a text that no other value of its type has: \N for none, separators and backslashes escaped."""
    value, kind = _value(plan, column, alias), plan.columns[column].type_name
    if kind == "numeric":
        value = sql.SQL("trim_scale({})").format(value)
    elif kind == "bpchar":
        value = sql.SQL("rtrim({}::text)").format(value)
    return sql.SQL("coalesce(replace(replace({}::text, {}, {}), {}, {}), {})").format(
        value, *map(sql.Literal, ("\\", "\\\\", SEPARATOR, "\\u", "\\N"))
    )


def _texts(plan: ObjectPlan, columns: Sequence[str], alias: str) -> sql.Composed:
    # An array: a call takes 100 arguments at most.
    return sql.SQL("concat_ws({}, variadic array[{}])").format(
        sql.Literal(SEPARATOR), sql.SQL(", ").join(_text(plan, column, alias) for column in columns)
    )


def _staged(plan: ObjectPlan) -> sql.Composed:
    return sql.SQL("{} s where {} = any(%(written)s)").format(sql.Identifier("mig_stg", plan.staging), outcome("s"))


def _joined(plan: ObjectPlan, schema: str, join: sql.SQL) -> sql.Composed:
    return sql.SQL("{} s {} {} t on {} where {} = any(%(written)s)").format(
        sql.Identifier("mig_stg", plan.staging),
        join,
        table_identifier(schema, plan.definition.to),
        key_match(plan, source="s", target="t"),
        outcome("s"),
    )


def _bucket(plan: ObjectPlan, alias: str) -> sql.Composed:
    return sql.SQL("left(md5({}), 3)").format(_texts(plan, plan.definition.key, alias))


def _buckets(plan: ObjectPlan, alias: str, rows: sql.Composed) -> sql.Composed:
    return sql.SQL(
        "select {bucket} as bucket, count(*) as rows, sum(('x' || left(md5({row}), 15))::bit(60)::bigint) as checksum"
        " from {rows} group by 1"
    ).format(bucket=_bucket(plan, alias), row=_texts(plan, _columns(plan), alias), rows=rows)


def _differences(
    connection: Connection, schema: str, plan: ObjectPlan, buckets: Sequence[str]
) -> tuple[int, list[str]]:
    columns = _columns(plan)
    intended, stored = _texts(plan, columns, "s"), _texts(plan, columns, "t")
    found: list[tuple[Any, ...]] = connection.execute(
        sql.SQL(
            "select s._line, {intended}, {stored}, t.{key} is null, count(*) over () from {rows}"
            " and {bucket} = any(%(buckets)s) and ({intended} is distinct from {stored} or t.{key} is null)"
            " order by s._line limit {limit}"
        ).format(
            intended=intended,
            stored=stored,
            key=sql.Identifier(plan.definition.key[0]),
            rows=_joined(plan, schema, sql.SQL("left join")),
            bucket=_bucket(plan, "s"),
            limit=sql.Literal(MAX_SHOWN),
        ),
        {"written": written_outcomes(plan), "buckets": list(buckets)},
    ).fetchall()
    first = [
        f"line {line}: not in the target" if missing else f"line {line}: {_differing(columns, wanted, there)}"
        for line, wanted, there, missing, _ in found
    ]
    return (found[0][4] if found else 0), first


def _differing(columns: Sequence[str], intended: str, stored: str) -> str:
    both = zip(columns, intended.split(SEPARATOR), stored.split(SEPARATOR), strict=True)
    return ", ".join(column for column, wanted, there in both if wanted != there)
