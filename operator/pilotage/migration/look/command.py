"""The subcommand `look`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pilotage.api.v1alpha1.migrationjob import Encoding
from pilotage.migration.connection import use_uri
from pilotage.migration.database import connect
from pilotage.migration.errors import Halt
from pilotage.migration.look.examine import Look, Progress, examine
from pilotage.migration.look.manifest import to_yaml
from pilotage.migration.look.match import read_target
from pilotage.migration.look.propose import Proposal, propose
from pilotage.migration.look.show import show
from pilotage.migration.look.workbook import write_look

FORMATS = ("table", "yaml", "xlsx", "sql")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `look`."""
    parser.add_argument("file", type=Path)
    parser.add_argument("--encoding", type=Encoding, choices=list(Encoding), default=Encoding.AUTO)
    parser.add_argument("--delimiter", help="one character; default: found in the file")
    parser.add_argument("--every-row", action="store_true", help="look at every value of a large file, too")
    parser.add_argument("--against", metavar="URI", help="postgresql://… of the target; the PG* variables fill gaps")
    parser.add_argument("--table", metavar="[SCHEMA.]TABLE", help="table to match with, or to propose")
    parser.add_argument("--format", choices=FORMATS, default="table", help="sql: a table that the mapping fills")
    parser.add_argument("--output", type=Path, help="file to write; needed for xlsx, else standard output")


def run(arguments: argparse.Namespace) -> None:
    """Look at a file and print what was found. Raises Halt."""
    _check(arguments)
    with _bar() as progress:
        found = examine(
            arguments.file,
            declared=arguments.encoding,
            delimiter=arguments.delimiter,
            every_row=arguments.every_row,
            progress=progress,
        )
    _write(arguments, found, _propose(arguments, found))


def _check(arguments: argparse.Namespace) -> None:
    if arguments.against and not arguments.table:
        raise Halt("TableUnnamed", "--against needs --table: which table is the file meant for?")
    if arguments.format == "xlsx" and not arguments.output:
        raise Halt("OutputUnnamed", "--format xlsx needs --output FILE.xlsx")
    if arguments.delimiter is not None and (len(arguments.delimiter) != 1 or arguments.delimiter in '"\r\n'):
        raise Halt("DelimiterInvalid", "--delimiter is one character, neither a quote nor a line end")


def _propose(arguments: argparse.Namespace, found: Look) -> Proposal | None:
    target = None
    schema, _, table = (arguments.table or "").rpartition(".")
    if arguments.against:
        use_uri(arguments.against)
        with connect() as connection:
            target = read_target(connection, schema or "public", table)
    return propose(
        found.profile,
        found.defects,
        file=found.path.name,
        encoding=found.verdict.encoding,
        delimiter=found.layout.delimiter,
        share=found.share,
        target=target,
        schema=schema or "public",
        table=table or None,
    )


def _write(arguments: argparse.Namespace, found: Look, proposal: Proposal | None) -> None:
    if arguments.format == "xlsx":
        write_look(arguments.output, found, proposal)
        return
    if arguments.format == "table":
        if arguments.output:
            with arguments.output.open("w", encoding="utf-8") as stream:
                show(found, proposal, stream)
        else:
            show(found, proposal, sys.stdout)
        return
    if proposal is None:
        raise Halt("NothingToMap", f"{found.path.name}: no column can be mapped; --format table says why")
    text = to_yaml(found, proposal) if arguments.format == "yaml" else proposal.to_sql()
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


@contextmanager
def _bar() -> Iterator[Progress]:
    """A bar on standard error where somebody looks at it, else silence."""
    if not sys.stderr.isatty():
        yield lambda _title, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda title, done, total: bar.update(task, description=title, completed=done, total=total)
