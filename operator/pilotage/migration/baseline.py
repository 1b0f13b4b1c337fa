"""The run that a Delta goes on from: the last one of its job that loaded. A Final run begins a chain of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pilotage.api.v1alpha1.migrationjob import MigrationJobSpec, RunKind
from pilotage.migration import ledger
from pilotage.migration.database import Connection
from pilotage.migration.errors import Halt, Undecided
from pilotage.migration.rehearsal import fingerprint

_LATEST: Final = """
select run_id, plan, certificate_digest from mig.run
 where plan->>'job' = %s and plan->'spec'->>'run' in ('Final', 'Delta') and state = 'succeeded'
 order by finished_at desc, started_at desc limit 1
"""


def find_baseline(connection: Connection, spec: MigrationJobSpec, job: str) -> dict[str, Any] | None:
    """The run that a Delta goes on from, the first run of its chain, and its plan; None for a run that is no Delta.

    Raises Halt (BaselineMissing) when nothing of this job is loaded, or it was by a version that kept no baseline.
    """
    if spec.run is not RunKind.DELTA:
        return None
    if not job:
        raise Halt(
            "BaselineMissing", "a Delta is found by metadata.namespace and metadata.name: the manifest has no name"
        )
    found = connection.execute(_LATEST, (job,)).fetchone()
    if found is None:
        raise Halt("BaselineMissing", f"no Final run of MigrationJob {job} is loaded in this database: load it first")
    run, plan, digest = found
    if "chain" not in plan:
        text = f"run {run} was loaded by an earlier version, or into PostgreSQL 13: its rows have no digests"
        raise Halt("BaselineMissing", f"{text}: nobody can tell what changed since")
    return {"run": run, "chain": plan["chain"], "certificateDigest": digest, "plan": plan}


def compared(baseline: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    """What the ledger keeps of the baseline, with the objects whose mapping is another one by now.

    Raises Halt (BaselineDiffers) when the rows of then and now cannot be compared.
    """
    before, now = baseline["plan"], plan
    then, here = (fingerprint(one) for one in (before, now))
    problems = ["spec.target"] if then["target"] != here["target"] else []
    shapes_before, shapes_now = (
        {found["definition"]["name"]: _shape(found) for found in one["objects"]} for one in (before, now)
    )
    problems += [f"object {name}, which was not loaded" for name in shapes_now if name not in shapes_before]
    problems += [f"object {name}, which is gone" for name in shapes_before if name not in shapes_now]
    both = [name for name in shapes_now if name in shapes_before]
    problems += [f"table, key or columns of object {name}" for name in both if shapes_before[name] != shapes_now[name]]
    if problems:
        raise Halt(
            "BaselineDiffers",
            f"since run {baseline['run']}, which a Delta goes on from, these have changed: {', '.join(problems)}. A "
            "Delta brings other rows and values into the same columns (nothing was loaded)",
        )
    changed = [name for name in both if then["objects"][name]["mapping"] != here["objects"][name]["mapping"]]
    kept = {name: baseline[name] for name in ("run", "chain", "certificateDigest")}
    return {**kept, "mappingChanged": changed}


def hold(connection: Connection, found: ledger.RunRow) -> None:
    """Let no other run of the job be loaded, nor the baseline be taken back, until the end of the transaction.

    Raises Undecided when either has happened since a Delta was planned.
    """
    job = found.plan.get("job")
    if not job:
        return
    connection.execute("select pg_advisory_xact_lock(hashtext('pilotage.mig'), hashtext(%s))", (job,))
    if found.kind is not RunKind.DELTA:
        return
    baseline = found.plan["baseline"]
    ledger.read_run(connection, baseline["run"], lock=True)
    latest = connection.execute(_LATEST, (job,)).fetchone()
    if latest is None or latest[0] != baseline["run"]:
        raise Undecided(
            "BaselineMoved",
            f"this Delta goes on from run {baseline['run']}, and another was loaded, or that one taken back, since it "
            "was planned: plan it anew by pilotage.dev/retry-at (nothing was loaded)",
        )


def successor(connection: Connection, run: str) -> str | None:
    """The Delta that goes on from this run and is loaded."""
    found = connection.execute(
        "select run_id from mig.run where plan->'baseline'->>'run' = %s and state = 'succeeded' limit 1", (run,)
    ).fetchone()
    return found[0] if found else None


def _shape(found: Mapping[str, Any]) -> list[Any]:
    definition = found["definition"]
    return [
        definition["to"],
        definition["key"],
        sorted(field["to"] for field in definition["fields"]),
        found["columns"],
    ]
