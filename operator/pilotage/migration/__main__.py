"""`pilotage-migrate`: looks at legacy files, loads them and proves it. It never speaks to Kubernetes."""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final

import psycopg
import pydantic
import yaml

from pilotage.api.v1alpha1.migrationjob import MigrationJobSpec, RunKind
from pilotage.migration import ledger, mapping_sheet, quarantine_file
from pilotage.migration.bulk import BulkApi
from pilotage.migration.certificate import certificate_digest
from pilotage.migration.certificate_page import LANGUAGES, certificate_page
from pilotage.migration.connection import use_connection, use_source
from pilotage.migration.counting import run_result
from pilotage.migration.database import Connection, connect
from pilotage.migration.errors import EXIT_BAD_PLAN, EXIT_TERMINATED, EXIT_TRANSIENT, Halt, Rejected, Terminated
from pilotage.migration.look import command as look
from pilotage.migration.plan import DEFAULT_CHUNK_ROWS, ObjectPlan, make_plan
from pilotage.migration.probe import Probe, run_probe
from pilotage.migration.push import BATCH_ROWS, Destination, push
from pilotage.migration.terminal import in_words, live_progress
from pilotage.migration.termination import write_termination
from pilotage.migration.undo import refusals, roll_back

OUTCOMES = {
    "succeeded": "Succeeded",
    "rejected": "Rejected",
    "paused": "Paused",
    "failed": "Failed",
    "rolledback": "RolledBack",
}


def read_job(path: Path) -> tuple[str, MigrationJobSpec]:
    """Name and spec out of a manifest of a MigrationJob; a file may hold the spec alone. Raises Halt."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        metadata = found.get("metadata") or {}
        name = "/".join(filter(None, (metadata.get("namespace"), metadata.get("name"))))
        return name, MigrationJobSpec.model_validate(found.get("spec", found))
    except (OSError, yaml.YAMLError, AttributeError, TypeError, pydantic.ValidationError) as error:
        raise Halt("SpecInvalid", f"{path.name}: {error}") from error


def _job(arguments: argparse.Namespace) -> tuple[str, MigrationJobSpec]:
    if arguments.manifest is None:
        raise Halt("RunUnknown", "which run? give the MigrationJob's manifest")
    name, spec = read_job(arguments.manifest)
    return name, spec.model_copy(update={"run": RunKind(arguments.run)}) if arguments.run else spec


def _spec(arguments: argparse.Namespace) -> MigrationJobSpec:
    return _job(arguments)[1]


def run_identifier(arguments: argparse.Namespace) -> str:
    """The run's id: given, or derived from spec and database, so that the same run is found again."""
    if arguments.run_id:
        return str(arguments.run_id)
    place = f"{os.environ.get('PGHOST', '')}/{os.environ.get('PGDATABASE', '')}"
    spec = _spec(arguments).to_manifest()
    # Whether it can and shall be taken back does not make it another run.
    del spec["rollback"]
    if spec["run"] != RunKind.DELTA:
        del spec["delta"]
    content = ledger.canonical([spec, place])
    return str(uuid.UUID(hashlib.sha256(content.encode()).hexdigest()[:32]))


def plan(arguments: argparse.Namespace) -> dict[str, Any]:
    """Plan the run into the ledger."""
    run = run_identifier(arguments)
    job, spec = _job(arguments)
    with connect() as connection:
        state = make_plan(
            connection,
            spec,
            run=run,
            job=job,
            attempt=arguments.attempt,
            root=arguments.source_root,
            chunk_rows=arguments.chunk_rows,
        )
        progress = ledger.progress(connection, run)
        held = _known_run(connection, run).plan.get("rehearsal")
    rehearsal = {"rehearsal": {name: value for name, value in held.items() if name != "moved"}} if held else {}
    return {"outcome": "Planned", "reason": state, "run": run, "progress": progress, **rehearsal}


def load(arguments: argparse.Namespace) -> dict[str, Any]:
    """Work until the run has ended."""
    # One worker, one core: `parallelism` is there for more. Polars reads this when it is loaded, which is here, because
    # it takes most of a second and planning and probing do not need it.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from pilotage.migration.worker import WorkerSettings, work

    owner = f"{socket.gethostname()}/{os.environ.get('JOB_COMPLETION_INDEX', '0')}/{os.getpid()}"
    run = run_identifier(arguments)
    with live_progress() as hear:
        settings = WorkerSettings(run, owner, arguments.source_root, arguments.lease, report=hear)
        return {"outcome": "Loaded", "reason": work(settings)}


def report(arguments: argparse.Namespace) -> dict[str, Any]:
    """How the run ended, from the ledger alone."""
    run = run_identifier(arguments)
    with connect() as connection:
        found = _known_run(connection, run)
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
    """Plan, work and report in one process. The same command takes up a run that was interrupted or has failed."""
    run = arguments.run_id = run_identifier(arguments)
    arguments.attempt = arguments.attempt or _new_attempt(run)
    sys.stderr.write(f"run {run}\n")
    try:
        plan(arguments)
        load(arguments)
    except Halt as halt:
        if halt.reason == "SourceMoved":
            halt.message = f"{halt.message}; without a cluster, say --attempt with a new value"
        raise
    return {"run": run, **report(arguments)}


def _new_attempt(run: str) -> str:
    """A value that takes up a run which left nothing in the target; an unfinished or loaded one keeps its attempt."""
    with connect() as connection:
        ledger.create_schema(connection)
        known = ledger.read_run(connection, run)
    if known is None:
        return ""
    loaded = known.state == "succeeded" and known.kind.loads
    return known.attempt if known.state == "loading" or loaded else datetime.now(UTC).isoformat()


def status(arguments: argparse.Namespace) -> dict[str, Any]:
    """Where a run stands, finished or not."""
    run = run_identifier(arguments)
    with connect() as connection:
        found = _known_run(connection, run)
        progress = ledger.progress(connection, run)
        result = found.result or run_result(connection, run)
    return {
        "run": run,
        "outcome": OUTCOMES.get(found.state, "Loading"),
        "reason": found.reason,
        "message": found.message,
        "certificateDigest": found.certificate_digest,
        "progress": progress,
        **result,
    }


def _known_run(connection: Connection, run: str) -> ledger.RunRow:
    try:
        found = ledger.read_run(connection, run)
    except psycopg.errors.UndefinedTable:
        found = None
    if found is None:
        raise Halt("NotPlanned", f"run {run} is not in the ledger of database {connection.info.dbname}")
    return found


def certificate(arguments: argparse.Namespace) -> None:
    """Print the certificate whole, after checking that it is the one whose digest the ledger has."""
    run = run_identifier(arguments)
    with connect() as connection:
        known = _known_run(connection, run)
        found = connection.execute(
            "select certificate, to_char(finished_at, 'YYYY-MM-DD HH24:MI:SS TZH:TZM') from mig.run where run_id = %s",
            (run,),
        ).fetchone()
    if not found or found[0] is None or known.state == "rolledback":
        raise Halt("NotCertified", f"run {run} has no certificate that holds: it is {known.state}")
    if certificate_digest(found[0]) != known.certificate_digest:
        raise Halt("CertificateAltered", f"the certificate of run {run} is not the one that was written")
    if arguments.format == "html":
        sys.stdout.write(certificate_page(found[0], str(known.certificate_digest), found[1], arguments.language))
    else:
        sys.stdout.write(json.dumps(found[0], ensure_ascii=False, indent=2) + "\n")


def rollback(arguments: argparse.Namespace) -> dict[str, Any]:
    """Take a Final run back, or list the rows that stand against it."""
    run = run_identifier(arguments)
    with connect() as connection:
        _known_run(connection, run)
        try:
            done = roll_back(connection, run)
        except Rejected:
            if arguments.refused:
                _write_refusals(arguments.refused, refusals(connection, run))
            raise
    return {"run": run, "outcome": "RolledBack", "reason": "RolledBack", **done}


def _write_refusals(path: Path, found: Iterable[tuple[Any, ...]]) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("object", "line", "key", "reason"))
        writer.writerows([quarantine_file.neutralise(str(cell)) for cell in row] for row in found)


def quarantine_export(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the quarantined rows of a run into files."""
    run = run_identifier(arguments)
    with connect() as connection:
        plans = _plans(_known_run(connection, run))
        files = quarantine_file.export(connection, run, plans, arguments.output, arguments.format)
    return {"run": run, "outcome": "Exported", "files": [str(path) for path in files]}


def quarantine_replay(arguments: argparse.Namespace) -> dict[str, Any]:
    """Load repaired rows of one object as a run of their own, under the same mapping and the same rules."""
    run = run_identifier(arguments)
    with connect() as connection:
        known = _known_run(connection, run)
        if known.kind is RunKind.DELTA:
            raise Halt("NotSucceeded", f"run {run} is a Delta: mend the source and make another one (spec.delta.round)")
        if known.state != "succeeded" or known.kind is not RunKind.FINAL:
            text = f"run {run}, a {known.kind}, is {known.state} and has loaded nothing: repair the source"
            raise Halt("NotSucceeded", f"{text} and run it again")
        plan = next((found for found in _plans(known) if found.definition.name == arguments.object), None)
        if plan is None:
            raise Halt("ObjectUnknown", f"run {run} has no object {arguments.object}")
        whole = quarantine_file.unshowable(connection, run, plan)
        open_ = mapping_sheet.open_values(connection, run, plan)
    answers = mapping_sheet.read_answers(arguments.fixed, open_) if quarantine_file.is_workbook(arguments.fixed) else {}
    folder = arguments.fixed.parent
    content, manifest = folder / f"{arguments.object}.replay.csv", folder / f"{arguments.object}.replay.yaml"
    quarantine_file.write_fixed(content, arguments.fixed, plan, whole)
    spec = quarantine_file.replay_spec(dict(known.plan["spec"]), arguments.object, content.name, plan.delimiter)
    spec = mapping_sheet.with_answers(spec, answers)
    manifest.write_text(yaml.safe_dump({"spec": spec}, allow_unicode=True, sort_keys=False), encoding="utf-8")
    # The rows are part of the run's identity: other repairs are another run, the same ones are never loaded twice.
    repair = content.read_bytes() + (ledger.canonical(answers).encode() if answers else b"")
    digest = hashlib.sha256(f"{run}/{arguments.object}/".encode() + repair).hexdigest()
    arguments.run_id, arguments.manifest, arguments.source_root = str(uuid.UUID(digest[:32])), manifest, folder
    return run_all(arguments)


def push_rows(arguments: argparse.Namespace) -> dict[str, Any]:
    """Send what a run has loaded for one object on to an HTTP API."""
    run = run_identifier(arguments)
    api = BulkApi(arguments.url, os.environ.get("PILOTAGE_TOKEN", ""))
    names = dict(one.partition("=")[::2] for one in arguments.column)
    if len(names) != len(arguments.column):
        raise Halt("ColumnUnknown", "--column names a column of the table more than once")
    destination = Destination(arguments.url, arguments.to, arguments.external_id, names)
    with connect() as connection:
        _known_run(connection, run)
        ledger.create_schema(connection)
        done = push(
            connection,
            api,
            run,
            arguments.object,
            destination,
            folder=arguments.output,
            batch_rows=arguments.batch_rows,
            again=arguments.again,
        )
    return {"run": run, "outcome": "Pushed", "reason": "Pushed", **done}


def _plans(found: ledger.RunRow) -> list[ObjectPlan]:
    return [ObjectPlan.from_json(plan) for plan in found.plan["objects"]]


def probe(_arguments: argparse.Namespace) -> dict[str, Any]:
    """Ask the database."""
    try:
        question = Probe.model_validate_json(os.environ.get("PILOTAGE_PROBE", ""))
    except pydantic.ValidationError as error:
        raise Halt("ProbeInvalid", f"PILOTAGE_PROBE: {error}") from error
    return {"results": run_probe(question)}


@dataclass(frozen=True)
class Command:
    """A subcommand: what it says of itself, what it does, and which groups of options it takes.

    What `act` returns is its answer, printed as JSON or, where `words` is given and somebody looks, in words.
    """

    help: str
    act: Callable[[argparse.Namespace], Mapping[str, Any] | None]
    options: tuple[Callable[[argparse.ArgumentParser], None], ...] = ()
    words: Callable[[Mapping[str, Any]], str] | None = None


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", nargs="?", type=Path, metavar="MIGRATIONJOB", help="the MigrationJob's manifest")
    parser.add_argument("--run", choices=[kind.value for kind in RunKind], help="instead of the manifest's spec.run")
    parser.add_argument("--run-id", help="default: derived from the spec and the database")
    parser.add_argument(
        "--connection",
        action="append",
        default=[],
        metavar="NAME=URI",
        help="the target's connection, or the source's; default: the variables PG* (which also fill what the "
        "target's URI leaves out) and SOURCE_*",
    )


def _load_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--attempt", default="", help="a new value takes up a paused, rejected or failed run")
    parser.add_argument("--source-root", type=Path, default=Path(os.environ.get("PILOTAGE_SOURCE", ".")))
    parser.add_argument("--lease", type=float, default=60.0, help="seconds that a worker may hold a chunk")
    parser.add_argument("--chunk-rows", type=int, default=DEFAULT_CHUNK_ROWS)


def _rollback_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--refused", type=Path, help="CSV file for the rows that stand against it")


def _certificate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("json", "html"), default="json", help="html: a page to print and sign")
    parser.add_argument("--language", choices=LANGUAGES, default=LANGUAGES[0], help="of the page; default: zh-CN")


def _export_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("csv", "xlsx"), default="csv")
    parser.add_argument("--output", type=Path, default=Path("quarantine"), help="folder; default: quarantine")


def _replay_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--object", required=True, help="the object whose rows were repaired")
    parser.add_argument("--fixed", type=Path, required=True, help="its export, repaired: CSV or a workbook")


def _push_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--object", required=True, help="the object whose rows are sent")
    parser.add_argument("--url", required=True, help="of the API's version, https://HOST/services/data/v62.0")
    parser.add_argument("--to", required=True, metavar="NAME", help="the API's object, such as Account")
    parser.add_argument("--external-id", required=True, metavar="NAME", help="the API's field that identifies a row")
    parser.add_argument(
        "--column", required=True, action="append", metavar="COLUMN=NAME", help="a column of the table, the API's field"
    )
    parser.add_argument("--batch-rows", type=_positive, default=BATCH_ROWS, help="rows of one job")
    parser.add_argument("--again", action="store_true", help="send every row anew, as the table has it now")
    parser.add_argument("--output", type=Path, default=Path("push"), help="folder for success and error files")


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


_RUN, _LOAD = (_run_options,), (_run_options, _load_options)
COMMANDS: Final[Mapping[str, Command]] = {
    "look": Command("what is in a file: encoding, columns, defects, and a mapping", look.run, (look.add_arguments,)),
    "run": Command("plan, work and report in one process", run_all, _LOAD, in_words),
    "status": Command("where a run stands", status, _RUN, in_words),
    "certificate": Command("print the certificate of a run that succeeded", certificate, (*_RUN, _certificate_options)),
    "quarantine export": Command(
        "write rejected rows into files that Excel opens", quarantine_export, (_run_options, _export_options)
    ),
    "quarantine replay": Command(
        "load rejected rows that were repaired", quarantine_replay, (*_LOAD, _replay_options), in_words
    ),
    "rollback": Command(
        "take a Final run or a Delta back: remove what it inserted, restore what it overwrote",
        rollback,
        (*_LOAD, _rollback_options),
    ),
    "push": Command(
        "send what a run has loaded on to an HTTP API (Bulk API 2.0)", push_rows, (_run_options, _push_options)
    ),
    "plan": Command("prove the files, check the target, cut the chunks", plan, _LOAD),
    "work": Command("load chunks until the run has ended; any number of workers side by side", load, _LOAD),
    "report": Command("print how the run ended, with its counts and its certificate's digest", report, _LOAD),
    "probe": Command("ask the database what the variable PILOTAGE_PROBE says, read-only", probe),
}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line. A name of two words is a subcommand of a subcommand."""
    parser = argparse.ArgumentParser(prog="pilotage-migrate", description=__doc__)
    levels = {"": parser.add_subparsers(required=True, metavar="COMMAND")}
    for name, command in COMMANDS.items():
        group, _, last = name.rpartition(" ")
        if group not in levels:
            above = levels[""].add_parser(group, help=f"{group}: export and replay")
            levels[group] = above.add_subparsers(required=True, metavar="COMMAND")
        one = levels[group].add_parser(last, help=command.help, description=command.help)
        one.set_defaults(command=name)
        for add in command.options:
            add(one)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: done; 42: cannot succeed; 43: paused, a person has to decide; 44: rejected; 143: told to stop; 1: try again.
    """
    chosen = parse(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, _terminate)
    command = COMMANDS[chosen.command]
    try:
        if getattr(chosen, "connection", None):
            spec = _spec(chosen)
            use_connection(chosen.connection, spec.target.connection)
            if spec.source.connection_name:
                use_source(chosen.connection, spec.source.connection_name)
        _answer(command, command.act(chosen))
    except Halt as halt:
        _answer_halt(chosen, command, halt)
        return halt.exit_code
    except Terminated:
        _answer_failure(command, {"outcome": "Terminated", "reason": "Terminated", "message": "told to stop"})
        return EXIT_TERMINATED
    except psycopg.OperationalError as error:
        text = " ".join(str(error).split())
        _answer_failure(command, {"outcome": "Unreachable", "reason": "DatabaseUnreachable", "message": text})
        return EXIT_TRANSIENT
    except psycopg.Error as error:
        message = error.diag.message_primary or "the database refused a statement"
        _answer_failure(command, {"outcome": "Failed", "reason": "DatabaseRefused", "message": message})
        return EXIT_BAD_PLAN
    except OSError as error:
        message = f"{error.filename}: {error.strerror}"
        _answer_failure(command, {"outcome": "Failed", "reason": "FileUnusable", "message": message})
        return EXIT_BAD_PLAN
    return 0


def _answer(command: Command, answer: Mapping[str, Any] | None) -> None:
    if answer is None:
        return
    if command.words and sys.stdout.isatty():
        sys.stdout.write(command.words(answer))
    else:
        write_termination(answer)


def _answer_halt(chosen: argparse.Namespace, command: Command, halt: Halt) -> None:
    """Say why it stopped; a run that ended says in numbers what it had come to."""
    if command.act in {run_all, quarantine_replay} and chosen.run_id:
        with suppress(Halt, psycopg.Error):
            ended = {"run": chosen.run_id, **report(chosen)}
            if ended["reason"] == halt.reason:
                _answer(command, ended)
                return
    _answer_failure(command, {"outcome": halt.outcome, "reason": halt.reason, "message": halt.message})


def _answer_failure(command: Command, answer: Mapping[str, Any]) -> None:
    """In words on standard error for a person, and where standard output is for something else; JSON else."""
    if sys.stdout.isatty() or command.act in {look.run, certificate}:
        sys.stderr.write(": ".join((answer["outcome"], answer["reason"], answer["message"])) + "\n")
    else:
        write_termination(answer)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


if __name__ == "__main__":
    sys.exit(main())
