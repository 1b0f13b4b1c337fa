"""`pilotage-migrate`: plan, work, report, run and probe. It speaks to a database and files, never to Kubernetes."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg
import pydantic
import yaml

from pilotage.api.v1alpha1.migrationjob import MigrationJobSpec
from pilotage.migration import ledger
from pilotage.migration.database import connect
from pilotage.migration.errors import EXIT_BAD_PLAN, EXIT_TERMINATED, EXIT_TRANSIENT, Halt, Terminated
from pilotage.migration.plan import DEFAULT_CHUNK_ROWS, make_plan
from pilotage.migration.probe import Probe, run_probe
from pilotage.migration.termination import write_termination

OUTCOMES = {"succeeded": "Succeeded", "rejected": "Rejected", "paused": "Paused", "failed": "Failed"}


def read_spec(path: Path) -> MigrationJobSpec:
    """The spec out of a manifest of a MigrationJob, or out of a file that holds the spec alone. Raises Halt."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        return MigrationJobSpec.model_validate(found.get("spec", found))
    except (OSError, yaml.YAMLError, AttributeError, pydantic.ValidationError) as error:
        raise Halt("SpecInvalid", f"{path.name}: {error}") from error


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="pilotage-migrate", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("plan", "prove the files, check the target, cut the chunks"),
        ("work", "load chunks until the run has ended; any number of workers side by side"),
        ("report", "print how the run ended, with its counts and its certificate's digest"),
        ("run", "plan, work and report in one process"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--run-id", help="default: derived from the spec and the database")
        command.add_argument("--attempt", default="", help="a new value takes up a paused, rejected or failed run")
        command.add_argument("--source-root", type=Path, default=Path(os.environ.get("PILOTAGE_SOURCE", ".")))
        command.add_argument("--lease", type=float, default=60.0, help="seconds that a worker may hold a chunk")
        command.add_argument("--chunk-rows", type=int, default=DEFAULT_CHUNK_ROWS)
        command.add_argument("--spec", type=Path, required=name in {"plan", "run"}, help="MigrationJob manifest")
    commands.add_parser("probe", help="ask the database what the variable PILOTAGE_PROBE says, read-only")
    return parser.parse_args(arguments)


def run_identifier(arguments: argparse.Namespace) -> str:
    """The run's id: given, or derived from spec and database, so that the same run is found again."""
    if arguments.run_id:
        return str(arguments.run_id)
    if arguments.spec is None:
        raise Halt("RunUnknown", "give --run-id or --spec")
    place = f"{os.environ.get('PGHOST', '')}/{os.environ.get('PGDATABASE', '')}"
    content = ledger.canonical([read_spec(arguments.spec).to_manifest(), place])
    return str(uuid.UUID(hashlib.sha256(content.encode()).hexdigest()[:32]))


def plan(arguments: argparse.Namespace) -> dict[str, Any]:
    """Plan the run into the ledger."""
    run = run_identifier(arguments)
    with connect() as connection:
        state = make_plan(
            connection,
            read_spec(arguments.spec),
            run=run,
            attempt=arguments.attempt,
            root=arguments.source_root,
            chunk_rows=arguments.chunk_rows,
        )
        progress = ledger.progress(connection, run)
    return {"outcome": "Planned", "reason": state, "run": run, "progress": progress}


def load(arguments: argparse.Namespace) -> dict[str, Any]:
    """Work until the run has ended."""
    # One worker, one core: `parallelism` is there for more. Polars reads this when it is loaded, which is here, because
    # it takes most of a second and planning and probing do not need it.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from pilotage.migration.worker import WorkerSettings, work

    owner = f"{socket.gethostname()}/{os.environ.get('JOB_COMPLETION_INDEX', '0')}/{os.getpid()}"
    settings = WorkerSettings(
        run_identifier(arguments), owner, arguments.source_root, arguments.lease, report=_print_progress
    )
    return {"outcome": "Loaded", "reason": work(settings)}


def report(arguments: argparse.Namespace) -> dict[str, Any]:
    """How the run ended, from the ledger alone."""
    run = run_identifier(arguments)
    with connect() as connection:
        found = ledger.read_run(connection, run)
    if found is None:
        raise Halt("NotPlanned", f"run {run} is not in the ledger")
    if found.state not in OUTCOMES:
        raise Halt("NotEnded", f"run {run} is still {found.state}")
    return {
        "outcome": OUTCOMES[found.state],
        "reason": found.reason,
        "message": found.message,
        "certificateDigest": found.certificate_digest,
        **(found.result or {}),
    }


def run_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Plan, work and report in one process."""
    plan(arguments)
    try:
        load(arguments)
    except Halt:
        answer = report(arguments)
        write_termination(answer)
        raise
    return report(arguments)


def probe(_arguments: argparse.Namespace) -> dict[str, Any]:
    """Ask the database."""
    try:
        question = Probe.model_validate_json(os.environ.get("PILOTAGE_PROBE", ""))
    except pydantic.ValidationError as error:
        raise Halt("ProbeInvalid", f"PILOTAGE_PROBE: {error}") from error
    return {"results": run_probe(question)}


COMMANDS: Mapping[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "plan": plan,
    "work": load,
    "report": report,
    "run": run_all,
    "probe": probe,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: done; 42: cannot succeed; 43: paused, a person has to decide; 44: rejected; 143: told to stop; 1: try again.
    """
    chosen = parse(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        write_termination(COMMANDS[chosen.command](chosen))
    except Halt as halt:
        if chosen.command != "run":
            write_termination({"outcome": halt.outcome, "reason": halt.reason, "message": halt.message})
        else:
            sys.stderr.write(f"{halt.outcome}: {halt.reason}: {halt.message}\n")
        return halt.exit_code
    except Terminated:
        write_termination({"outcome": "Terminated", "reason": "Terminated", "message": "told to stop"})
        return EXIT_TERMINATED
    except psycopg.OperationalError as error:
        text = " ".join(str(error).split())
        write_termination({"outcome": "Unreachable", "reason": "DatabaseUnreachable", "message": text})
        return EXIT_TRANSIENT
    except psycopg.Error as error:
        message = error.diag.message_primary or "the database refused a statement"
        write_termination({"outcome": "Failed", "reason": "DatabaseRefused", "message": message})
        return EXIT_BAD_PLAN
    return 0


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


def _print_progress(progress: dict[str, int]) -> None:
    sys.stdout.write(json.dumps(progress) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
