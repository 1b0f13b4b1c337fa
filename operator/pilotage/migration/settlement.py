"""The last step of a run, in one transaction: everything reaches the target together, or nothing does.

Duplicates, references and conflicts are decided here over all staged rows, so the order of chunks decides nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from pilotage.api.v1alpha1.migrationjob import MigrationJobSpec, RunKind, TargetChangedPolicy
from pilotage.migration import baseline, crosswalk, deletion, delta, late, ledger, rehearsal, undo
from pilotage.migration.budget import over_budget
from pilotage.migration.certificate import write_certificate
from pilotage.migration.checks import group_totals, run_checks
from pilotage.migration.counting import run_result
from pilotage.migration.database import Connection, table_identifier
from pilotage.migration.duplicates import settle_duplicates, settle_unique
from pilotage.migration.errors import BudgetExceeded, Halt, Rejected
from pilotage.migration.merge import merge_object, reset_sequences
from pilotage.migration.plan import ObjectPlan
from pilotage.migration.references import resolve_references
from pilotage.migration.statements import run_statements

MAX_KEPT_REASONS = 20_000
MAX_REFUSALS_NAMED = 5
REASONS = {
    RunKind.MOCK: "Mocked",
    RunKind.REHEARSAL: "Rehearsed",
    RunKind.FINAL: "Reconciled",
    RunKind.DELTA: "Reconciled",
}


@dataclass
class _Account:
    """What a settlement came to. It outlives the transaction in which it was found, which may be undone."""

    result: dict[str, Any] = field(default_factory=dict)
    kept: list[tuple[Any, ...]] = field(default_factory=list)
    refusals: list[tuple[Any, ...]] = field(default_factory=list)
    statements: list[dict[str, Any]] = field(default_factory=list)


def settle(connection: Connection, run: str) -> None:
    """Merge all staged rows and end the run: into the target, into a scratch schema, or to be undone.

    Whoever holds the run's row does it; a worker that comes second finds the run ended. When the numbers do not hold,
    the merge is undone, and the reasons found on the way are kept in the quarantine. Chunks whose staged rows a crash
    of the database took are made pending again instead, and the run goes on.
    """
    with connection.transaction():
        found = ledger.read_run(connection, run, lock=True)
        if found is None or found.state != "loading":
            return
        spec = MigrationJobSpec.model_validate(found.plan["spec"])
        plans = {plan["definition"]["name"]: ObjectPlan.from_json(plan) for plan in found.plan["objects"]}
        for name, plan in plans.items():
            ledger.reopen_lost_chunks(connection, run, name, plan.staging)
        # Asked under the lock: whoever held it before may have found chunks to be done again.
        if not ledger.all_done(connection, run):
            return
        connection.execute("delete from mig.quarantine where run_id = %s and stage = 'settle'", (run,))
        connection.execute("delete from mig.refusal where run_id = %s", (run,))
        scratch = rehearsal.scratch_schema(found.plan.get("job") or run)
        account = _Account()
        try:
            with connection.transaction():
                _settle_by_kind(connection, found, spec, plans, scratch, account)
                if spec.run is RunKind.MOCK:
                    raise psycopg.Rollback
        except Halt as halt:
            ledger.add_quarantine(connection, account.kept)
            ledger.add_refusals(connection, account.refusals)
            # Nothing was loaded: the counts of the attempt that was undone must not say so.
            undone = {**run_result(connection, run), "checks": account.result.get("checks", [])}
            ledger.end_run(connection, run, halt.outcome.lower(), halt.reason, halt.message, undone)
        except (psycopg.IntegrityError, psycopg.DataError, psycopg.ProgrammingError, psycopg.InternalError) as error:
            message = _refusal(error)
            ledger.end_run(connection, run, "failed", "DatabaseRefused", message, run_result(connection, run))
        else:
            ledger.add_quarantine(connection, account.kept)
            for plan in plans.values():
                connection.execute(sql.SQL("drop table {}").format(sql.Identifier("mig_stg", plan.staging)))
            connection.execute("delete from mig.part where run_id = %s", (run,))
            result = {**account.result, "durations": ledger.durations(connection, run)}
            ledger.end_run(connection, run, "succeeded", REASONS[spec.run], "", result)
            particulars = {"sql": account.statements, **_particulars(connection, spec, found, scratch)}
            write_certificate(connection, run, found, result, particulars)
    if spec.run is RunKind.FINAL:
        rehearsal.drop_scratch(connection, scratch)


def _settle_by_kind(
    connection: Connection,
    found: ledger.RunRow,
    spec: MigrationJobSpec,
    plans: dict[str, ObjectPlan],
    scratch: str,
    account: _Account,
) -> None:
    run = found.run
    try:
        placed = rehearsal.open_scratch(connection, spec, scratch) if spec.run is RunKind.REHEARSAL else spec
        account.statements, checks = _merge(connection, found, placed, plans)
        groups = group_totals(connection, placed, plans)
        account.result = {**run_result(connection, run), "checks": checks, "groups": groups}
        _judge(connection, run, spec, account.result)
        rehearsal.require_delta(found.plan.get("rehearsal"), spec, account.result["objects"])
    except Halt:
        account.kept = _reasons(connection, run)
        account.refusals = _refusals(connection, run)
        account.result = account.result or run_result(connection, run)
        raise
    if spec.run is RunKind.MOCK:
        account.kept = _reasons(connection, run)
    if spec.run is RunKind.REHEARSAL:
        rehearsal.close_scratch(connection, spec, scratch)
        # Its rows are nobody's: they are in no table that anybody works with.
        connection.execute("delete from mig.crosswalk where run_id = %s", (run,))


def _particulars(connection: Connection, spec: MigrationJobSpec, found: ledger.RunRow, scratch: str) -> dict[str, Any]:
    """What the certificate says of a run's kind."""
    if spec.run is RunKind.REHEARSAL:
        return {"scratchSchema": scratch, "notExercised": rehearsal.triggers(connection, spec)}
    if spec.run is RunKind.FINAL and found.plan.get("rehearsal"):
        return {"rehearsal": found.plan["rehearsal"]}
    if spec.run is RunKind.DELTA:
        return {"baseline": found.plan["baseline"], "delta": spec.delta.to_manifest()}
    return {}


def _merge(
    connection: Connection, found: ledger.RunRow, spec: MigrationJobSpec, plans: dict[str, ObjectPlan]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the user's own statements did, and the results of the checks."""
    run, schema = found.run, spec.target.schema_
    if spec.run.loads:
        baseline.hold(connection, found)
    connection.execute("set local lock_timeout = '60s'")
    connection.execute("set local work_mem = '64MB'")
    for table in sorted({plan.definition.to for plan in plans.values()}):
        # Reading goes on; nobody else writes until the commit, so a key that is free stays free.
        connection.execute(sql.SQL("lock table {} in share row exclusive mode").format(table_identifier(schema, table)))
    if (found.plan.get("order") or {}).get("deferred"):
        connection.execute("set constraints all deferred")
    statements = _merge_until_sound(connection, run, spec, plans)
    for plan in plans.values():
        crosswalk.write_crosswalk(connection, found, schema, plan)
    if _undoable(spec):
        for plan in plans.values():
            undo.keep_digests(connection, run, schema, plan)
    if spec.run is not RunKind.MOCK:
        # No rollback takes a sequence back.
        for plan in plans.values():
            reset_sequences(connection, schema, plan)
    return statements, run_checks(connection, run, spec, plans)


def _merge_until_sound(
    connection: Connection, run: str, spec: MigrationJobSpec, plans: dict[str, ObjectPlan]
) -> list[dict[str, Any]]:
    """Merge all objects, anew without each row of which only the end shows that it cannot stay.

    Returns what the user's own statements did.
    """
    # Not a nested transaction: reasons that a Halt leaves behind are read before anything is undone.
    connection.execute("savepoint unmerged")
    early: list[sql.Identifier] = []
    dangling: list[late.Dangling] = []
    while True:
        statements = _merge_objects(connection, run, spec, plans, early, dangling)
        if found := late.fill(connection, spec.target.schema_, plans):
            dangling += found
            connection.execute("rollback to savepoint unmerged")
            continue
        if spec.run is RunKind.DELTA:
            deletion.settle_gone(connection, run, spec, plans, images=_undoable(spec))
            _require_accepted(connection, run, spec)
        try:
            connection.execute("set constraints all immediate")
        except psycopg.IntegrityError as error:
            constraint = sql.Identifier(error.diag.schema_name or spec.target.schema_, error.diag.constraint_name or "")
            if constraint in early:
                raise
            # All at once, it cannot be told which row is refused: row by row, by a check at each statement, it can.
            early.append(constraint)
            connection.execute("rollback to savepoint unmerged")
        else:
            return statements


def _undoable(spec: MigrationJobSpec) -> bool:
    return spec.rollback.before_images and spec.run.loads


def _require_accepted(connection: Connection, run: str, spec: MigrationJobSpec) -> None:
    """Raises Rejected when people have changed rows that the Delta would write, unless that is to be quarantined."""
    found = _refusals(connection, run)
    if found and spec.delta.on_target_changed is TargetChangedPolicy.REFUSE:
        # A row that is gone from the source has no line there, and its key is customers' data.
        rows = (f"{name}{f', line {line}' if line else ''}: {reason}" for _, name, _, line, _, reason in found)
        first = "; ".join(itertools.islice(rows, MAX_REFUSALS_NAMED))
        more = f"; and {len(found) - MAX_REFUSALS_NAMED} more" if len(found) > MAX_REFUSALS_NAMED else ""
        raise Rejected(
            "TargetChanged",
            f"rows were changed in the target since they were loaded: {first}{more}. mig.refusal lists them; decide "
            "each in the target or the source, or set spec.delta.onTargetChanged to Quarantine (nothing was loaded)",
        )


def _merge_objects(
    connection: Connection,
    run: str,
    spec: MigrationJobSpec,
    plans: dict[str, ObjectPlan],
    early: Sequence[sql.Identifier],
    dangling: list[late.Dangling],
) -> list[dict[str, Any]]:
    """Merge all objects, in the plan's order; `early` are deferred constraints that are to be checked at once.

    `dangling` are rows that an earlier round has found to lead nowhere. Returns what the user's own statements did.
    """
    schema = spec.target.schema_
    for constraint in early:
        connection.execute(sql.SQL("set constraints {} immediate").format(constraint))
    statements = []
    for plan in plans.values():
        statements += run_statements(connection, run, plan)
        _analyze(connection, plan)
    late.put_away_known(connection, run, schema, plans, dangling)
    for plan in plans.values():
        found = plan.definition
        resolve_references(connection, run, schema, plan, plans)
        settle_duplicates(connection, run, plan)
        settle_unique(connection, run, plan)
        budget = found.error_budget or spec.error_budget
        if spec.run is RunKind.DELTA:
            delta.compare(connection, run, plan, spec.delta.deletes)
        if _undoable(spec):
            undo.keep_images(connection, run, schema, plan)
        if spec.run is RunKind.DELTA:
            delta.bring_changed(connection, run, schema, plan, budget)
        merge_object(connection, run, schema, plan, budget)
    return statements


def _analyze(connection: Connection, plan: ObjectPlan) -> None:
    """Tell the planner about the columns that rows are joined by; the others would cost the most and serve nobody."""
    joined = [field.to for field in plan.definition.fields if field.reference or field.to in plan.definition.key]
    columns = [sql.Identifier("_seq"), sql.Identifier("_outcome"), *map(plan.staged, joined)]
    connection.execute(
        sql.SQL("analyze {} ({})").format(sql.Identifier("mig_stg", plan.staging), sql.SQL(", ").join(columns))
    )


def _judge(connection: Connection, run: str, spec: MigrationJobSpec, result: dict[str, Any]) -> None:
    for found in spec.objects:
        if problem := over_budget(connection, run, found.name, found.error_budget or spec.error_budget, final=True):
            raise BudgetExceeded("ErrorBudgetExceeded", problem)
    for counts in result["objects"]:
        if not counts["balanced"]:
            raise Rejected("IdentityBroken", f"object {counts['name']}: the outcomes do not add up to the rows read")
    failed = [check for check in result["checks"] if not check["passed"]]
    if failed:
        texts = "; ".join(f"{check['name']}: {check['message']}" for check in failed)
        raise Rejected("ReconciliationFailed", f"{texts} (nothing was loaded)")


def _reasons(connection: Connection, run: str) -> list[tuple[Any, ...]]:
    return connection.execute(
        "select * from mig.quarantine where run_id = %s and stage = 'settle' order by object, src_offset limit %s",
        (run, MAX_KEPT_REASONS),
    ).fetchall()


def _refusals(connection: Connection, run: str) -> list[tuple[Any, ...]]:
    return connection.execute(
        "select run_id, object, src_offset, src_line, target_key::text, reason from mig.refusal where run_id = %s"
        " order by object, src_offset, target_key limit %s",
        (run, MAX_KEPT_REASONS),
    ).fetchall()


def _refusal(error: psycopg.Error) -> str:
    """What the database said, without the row's data, which its detail would show."""
    constraint = f" (constraint {error.diag.constraint_name})" if error.diag.constraint_name else ""
    return f"the database refused the rows: {error.diag.message_primary}{constraint}; nothing was loaded"
