"""The numbers that must agree on both sides before the load is committed."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from psycopg import sql

from pilotage.api.v1alpha1.migrationjob import (
    CheckResult,
    CheckType,
    MigrationJobSpec,
    ReconcileCheck,
)
from pilotage.migration.comparison import Group, compare_groups, compare_rows, written_outcomes
from pilotage.migration.conversion import decimal_text
from pilotage.migration.database import Connection, table_identifier
from pilotage.migration.merge import key_match, outcome
from pilotage.migration.plan import ObjectPlan

MAX_GROUPS: Final = 1000
MAX_GROUPS_NAMED: Final = 5


def run_checks(
    connection: Connection, run: str, spec: MigrationJobSpec, plans: dict[str, ObjectPlan]
) -> list[dict[str, Any]]:
    """Results of all declared checks, within the transaction that loaded the rows."""
    measures = {
        CheckType.ROW_COUNT: _row_count,
        CheckType.CONTROL_TOTAL: _control_total,
        CheckType.CHECKSUM: _checksum,
    }
    return [
        measures[check.type](connection, run, spec.target.schema_, plans[check.object], check).to_manifest()
        for check in spec.reconcile
    ]


def group_totals(connection: Connection, spec: MigrationJobSpec, plans: dict[str, ObjectPlan]) -> list[dict[str, Any]]:
    """Rows and sums of every group of the checks that ask for groups: what a finance person signs."""
    return [
        {
            "check": check.name,
            "group": group.name,
            "rows": group.rows[1],
            "source": _shown(group.totals[0]),
            "target": _shown(group.totals[1]),
        }
        for check in spec.reconcile
        if check.field and check.group_by
        for group in compare_groups(connection, spec.target.schema_, plans[check.object], check.field, check.group_by)[
            :MAX_GROUPS
        ]
    ]


def _checksum(connection: Connection, _run: str, schema: str, plan: ObjectPlan, check: ReconcileCheck) -> CheckResult:
    found = compare_rows(connection, schema, plan)
    problems = []
    if found.rows[0] != found.rows[1] or found.checksums[0] != found.checksums[1]:
        more = f" and {found.differing - len(found.first)} more" if found.differing > len(found.first) else ""
        problems.append(f"rows stored otherwise than written: {found.differing} ({'; '.join(found.first)}{more})")
    text = f"rows stored as written: {found.rows[1]}"
    source, target = (Decimal(checksum) for checksum in found.checksums)
    return _result(check, source, target, problems, text)


def _row_count(connection: Connection, run: str, schema: str, plan: ObjectPlan, check: ReconcileCheck) -> CheckResult:
    read = _one(
        connection,
        sql.SQL("select coalesce(sum(rows_read - rows_filtered), 0) from mig.chunk where run_id = %s and object = %s"),
        (run, check.object),
    )
    claimed = _one(
        connection,
        sql.SQL(
            "select count(*) from mig.crosswalk where run_id = %s and object = %s"
            " and outcome in ('loaded', 'updated', 'kept')"
        ),
        (run, check.object),
    )
    there = _one(
        connection,
        sql.SQL("select count(*) from {} t where exists (select 1 from {} s where {} and {} in ({}))").format(
            table_identifier(schema, plan.definition.to),
            sql.Identifier("mig_stg", plan.staging),
            key_match(plan, source="s", target="t"),
            outcome("s"),
            sql.SQL("'loaded', 'updated', 'kept'"),
        ),
    )
    problems = []
    if abs(claimed - there) > Decimal(check.tolerance):
        problems.append(f"{claimed} rows count as there, the target has {there}")
    if check.expected is not None and abs(Decimal(check.expected) - read) > Decimal(check.tolerance):
        problems.append(f"{check.expected} rows expected, the file has {read}")
    if plan.chain:
        text = f"{read} rows in the file; {claimed} of them written or found there, {there} in the target"
        return _result(check, claimed, there, problems, text)
    return _result(check, read, there, problems, f"{read} rows in the file, {there} of them in the target")


def _control_total(
    connection: Connection, run: str, schema: str, plan: ObjectPlan, check: ReconcileCheck
) -> CheckResult:
    field = str(check.field)
    read, excluded = (
        _one(
            connection,
            sql.SQL(
                "select coalesce(sum(({} ->> %s)::numeric), 0) from mig.chunk where run_id = %s and object = %s"
            ).format(sql.Identifier(column)),
            (field, run, check.object),
        )
        for column in ("totals", "excluded")
    )
    written = written_outcomes(plan)
    staging, column = sql.Identifier("mig_stg", plan.staging), plan.staged(field)
    left_out = _one(
        connection,
        sql.SQL("select coalesce(sum(s.{}::numeric), 0) from {} s where not ({} = any(%s))").format(
            column, staging, outcome("s")
        ),
        (written,),
    )
    there = _one(
        connection,
        sql.SQL("select coalesce(sum(t.{}::numeric), 0) from {} t join {} s on {} where {} = any(%s)").format(
            sql.Identifier(field),
            table_identifier(schema, plan.definition.to),
            staging,
            key_match(plan, source="s", target="t"),
            outcome("s"),
        ),
        (written,),
    )
    source = read - excluded - left_out
    problems = []
    if abs(source - there) > Decimal(check.tolerance):
        problems.append(f"{_shown(source)} in the source, {_shown(there)} in the target")
    if check.expected is not None and abs(Decimal(check.expected) - read) > Decimal(check.tolerance):
        problems.append(f"{check.expected} expected, the file adds up to {_shown(read)}")
    if check.group_by:
        problems += _groups_apart(compare_groups(connection, schema, plan, field, check.group_by), check)
    left = "unchanged or left out" if plan.chain else "left out"
    text = f"{_shown(read)} in the file, {_shown(excluded + left_out)} {left}, {_shown(there)} in the target"
    return _result(check, source, there, problems, text)


def _groups_apart(groups: Sequence[Group], check: ReconcileCheck) -> list[str]:
    apart = [
        f"{check.group_by} {found.name}: {found.rows[0]} rows with {_shown(found.totals[0])} in the source, "
        f"{found.rows[1]} with {_shown(found.totals[1])} in the target"
        for found in groups
        if found.rows[0] != found.rows[1] or abs(found.totals[0] - found.totals[1]) > Decimal(check.tolerance)
    ]
    more = len(apart) - MAX_GROUPS_NAMED
    return [*apart[:MAX_GROUPS_NAMED], *([f"and {more} more groups"] if more > 0 else [])]


def _one(connection: Connection, query: sql.SQL | sql.Composed, parameters: tuple[Any, ...] = ()) -> Decimal:
    found = connection.execute(query, parameters).fetchone()
    return Decimal(found[0]) if found else Decimal(0)


def _result(check: ReconcileCheck, source: Decimal, target: Decimal, problems: list[str], text: str) -> CheckResult:
    message = "; ".join(problems) or text
    return CheckResult(
        name=check.name, passed=not problems, source=_shown(source), target=_shown(target), message=message
    )


def _shown(amount: Decimal) -> str:
    return decimal_text(format(amount, "f"))
