"""A worker: claims chunks, writes each in one transaction, settles the run when the last chunk is done."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

import psycopg
from psycopg import sql

from pilotage.api.v1alpha1.migrationjob import CheckType, MigrationJobSpec, RunKind
from pilotage.migration import ledger
from pilotage.migration.budget import over_budget
from pilotage.migration.chunk import ChunkResult, read_chunk, read_range
from pilotage.migration.counting import run_result
from pilotage.migration.database import Connection, connect
from pilotage.migration.errors import BudgetExceeded, Halt, Rejected
from pilotage.migration.plan import ObjectPlan
from pilotage.migration.settlement import settle

PATIENCE: Final = 60.0
POLL: Final = 0.2
COPIED_ROWS: Final = 10_000
HALTS: Final = {"paused": BudgetExceeded, "rejected": Rejected}


@dataclass(frozen=True)
class WorkerSettings:
    """Who works, on what. `lease` in seconds."""

    run: str
    owner: str
    root: Path
    lease: float = 60.0
    report: Callable[[dict[str, int]], None] = lambda _progress: None


def work(settings: WorkerSettings) -> str:
    """Work until the run has ended; returns its state. Raises Halt when the run cannot succeed.

    A lost connection is made again, for up to a minute; whatever was not committed is done again. Whatever ends the
    work, its chunks are free for another worker at once.
    """
    try:
        return _work_until_ended(settings)
    except BaseException:
        # By owner, on a connection of its own: a claim may have been committed although its answer was never heard.
        with suppress(psycopg.Error), connect() as connection:
            ledger.give_back(connection, settings.run, settings.owner)
        raise


def _work_until_ended(settings: WorkerSettings) -> str:
    lost_since: float | None = None
    while True:
        try:
            with connect() as connection:
                lost_since = None
                ledger.give_back(connection, settings.run, settings.owner)
                return _work_connected(connection, settings)
        except psycopg.OperationalError:
            lost_since = lost_since or time.monotonic()
            if time.monotonic() - lost_since > PATIENCE:
                raise
            time.sleep(POLL)


def _work_connected(connection: Connection, settings: WorkerSettings) -> str:
    while True:
        found = ledger.read_run(connection, settings.run)
        if found is None:
            raise Halt("NotPlanned", f"run {settings.run} is not in the ledger")
        if found.state != "loading":
            return _ended(found)
        plans = {plan["definition"]["name"]: ObjectPlan.from_json(plan) for plan in found.plan["objects"]}
        spec = MigrationJobSpec.model_validate(found.plan["spec"])
        for held in _claims(connection, settings):
            _do_chunk(connection, settings, spec, plans[held.object], held)
        if ledger.all_done(connection, settings.run):
            settle(connection, settings.run)
        else:
            time.sleep(POLL)


def _ended(found: ledger.RunRow) -> str:
    if found.state == "succeeded":
        return found.state
    raise HALTS.get(found.state, Halt)(found.reason, found.message)


def _claims(connection: Connection, settings: WorkerSettings) -> Iterator[ledger.Claim]:
    while True:
        found = ledger.read_run(connection, settings.run)
        if found is None or found.state != "loading":
            return
        held = ledger.claim(connection, settings.run, settings.owner, settings.lease)
        if held is None:
            return
        yield held


def _do_chunk(
    connection: Connection, settings: WorkerSettings, spec: MigrationJobSpec, plan: ObjectPlan, held: ledger.Claim
) -> None:
    summed = [
        check.field
        for check in spec.reconcile
        if check.type is CheckType.CONTROL_TOTAL and check.field and check.object == held.object
    ]
    try:
        with _renewed(settings, held):
            if plan.kept:
                data = ledger.read_part(connection, settings.run, held)
            else:
                data = read_range(plan, held, settings.root)
            result = read_chunk(plan, held, data, sorted(set(summed)))
        with connection.transaction():
            if not ledger.still_held(connection, settings.run, held):
                return
            _write_chunk(connection, settings.run, plan, held, result)
    except Halt as error:
        _fail(connection, settings.run, error)
        raise
    settings.report(ledger.progress(connection, settings.run))
    if spec.run is RunKind.MOCK:
        # It is there to find everything at once: the budget is looked at in the end.
        return
    budget = plan.definition.error_budget or spec.error_budget
    if problem := over_budget(connection, settings.run, held.object, budget, final=False):
        halt = BudgetExceeded("ErrorBudgetExceeded", problem)
        _fail(connection, settings.run, halt)
        raise halt


@contextmanager
def _renewed(settings: WorkerSettings, held: ledger.Claim) -> Iterator[None]:
    """Renew the lease for as long as it takes; whoever reads and checks a chunk has no time to."""
    done = Event()
    renewing = Thread(target=_renew_until, args=(done, settings, held), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        done.set()
        renewing.join()


def _renew_until(done: Event, settings: WorkerSettings, held: ledger.Claim) -> None:
    while not done.wait(settings.lease / 3):
        # A renewal that fails costs no row: at worst another worker does the chunk, and this one is fenced off.
        with suppress(psycopg.Error), connect() as connection:
            ledger.renew(connection, settings.run, held, settings.lease)


def _fail(connection: Connection, run: str, halt: Halt) -> None:
    with connection.transaction():
        found = ledger.read_run(connection, run, lock=True)
        if found and found.state == "loading":
            result = run_result(connection, run)
            ledger.end_run(connection, run, halt.outcome.lower(), halt.reason, halt.message, result)


def _write_chunk(connection: Connection, run: str, plan: ObjectPlan, held: ledger.Claim, result: ChunkResult) -> None:
    columns = [plan.staged(field.to) for field in plan.definition.fields]
    statement = sql.SQL("copy {} (_seq, _chunk, _line, _raw, _order, {}) from stdin (format csv)").format(
        sql.Identifier("mig_stg", plan.staging), sql.SQL(", ").join(columns)
    )
    with connection.cursor().copy(statement) as copy:
        for rows in result.staged.iter_slices(COPIED_ROWS):
            payload = io.BytesIO()
            rows.write_csv(payload, include_header=False)
            copy.write(payload.getbuffer())
    ledger.add_quarantine(connection, _quarantine_rows(run, plan, held, result))
    ledger.finish_chunk(connection, run, held, result.numbers())


def _quarantine_rows(run: str, plan: ObjectPlan, held: ledger.Claim, result: ChunkResult) -> Iterator[tuple[Any, ...]]:
    for record, rejects in result.rejected:
        for rule, reject in enumerate(rejects):
            yield (
                run, held.object, held.chunk, record.offset, record.line, rule, "chunk", reject.code, reject.column,
                reject.value, reject.message, plan.encoding.value, record.raw,
            )  # fmt: skip
