"""The error budget of one object, against what the ledger counts so far."""

from __future__ import annotations

from decimal import Decimal

from pilotage.api.v1alpha1.migrationjob import ErrorBudget
from pilotage.migration.database import Connection


def over_budget(connection: Connection, run: str, name: str, budget: ErrorBudget, *, final: bool) -> str | None:
    """What is exceeded, in words, or None. With `final`, percent counts however few rows were read."""
    read, rows = _count(connection, run, name)
    if budget.rows is not None and rows > budget.rows:
        return f"object {name}: {rows} rows quarantined of {read} read, the budget allows {budget.rows}"
    if budget.percent and read and (final or read >= budget.min_rows_before_percent):
        share = Decimal(100 * rows) / read
        if share > Decimal(budget.percent.rstrip("%")):
            text = f"{rows} of {read} rows quarantined ({share:.2f}%)"
            return f"object {name}: {text}, the budget allows {budget.percent}"
    for limit in budget.per_code:
        counted = connection.execute(
            "select count(distinct src_offset) from mig.quarantine where run_id = %s and object = %s and code = %s",
            (run, name, limit.code),
        ).fetchone()
        if counted and counted[0] > limit.rows:
            return f"object {name}: {counted[0]} rows quarantined for {limit.code}, the budget allows {limit.rows}"
    return None


def _count(connection: Connection, run: str, name: str) -> tuple[int, int]:
    found = connection.execute(
        "select (select coalesce(sum(rows_read), 0) from mig.chunk where run_id = %(run)s and object = %(object)s),"
        " (select count(distinct src_offset) from mig.quarantine where run_id = %(run)s and object = %(object)s)",
        {"run": run, "object": name},
    ).fetchone()
    return (int(found[0]), int(found[1])) if found else (0, 0)
