"""The findings for a terminal. Nothing that stands in the file reaches the terminal as a control sequence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from pilotage.api.text import printable
from pilotage.api.v1alpha1.migrationjob import FieldType
from pilotage.migration.errors import Halt
from pilotage.migration.look.defects import Defect
from pilotage.migration.look.examine import Look
from pilotage.migration.look.profile import ColumnProfile
from pilotage.migration.look.propose import Proposal

PIPED_WIDTH = 160
_DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}


def facts(look: Look) -> list[tuple[str, str]]:
    """The file in a few lines."""
    survey, tally = look.survey, look.tally
    rows = tally.records - tally.blank
    proof = "proved over every line" if look.verdict.proved else "declared; some lines are damaged"
    if look.survey.foreign_lines == 0:
        proof = "every byte is ASCII"
    found = [
        ("encoding", f"{look.verdict.encoding} ({proof})" + (", byte order mark" if look.verdict.mark else "")),
        ("delimiter", _DELIMITERS.get(look.layout.delimiter, printable(look.layout.delimiter))),
        ("line ends", survey.line_end),
        ("size", f"{survey.size:,} bytes, {survey.lines:,} lines"),
        ("rows", f"{rows:,}" + (f", and {tally.blank:,} blank lines" if tally.blank else "")),
        ("columns", str(len(look.layout.header))),
    ]
    if look.sampled:
        found.append(
            ("values", f"of {tally.profiled:,} rows, spread over the file; structure of all (--every-row: all)")
        )
    return found


def range_text(column: ColumnProfile) -> str:
    """Least and greatest value in one cell."""
    low, high = column.range
    return printable(low, 24) if low == high else f"{printable(low, 24)} … {printable(high, 24)}"


def distinct_text(column: ColumnProfile) -> str:
    """How many distinct values, `about` where it is an estimate."""
    return f"{column.distinct.count:,}" if column.distinct.exact else f"about {column.distinct.count:,}"


def length_text(column: ColumnProfile) -> str:
    """Least and greatest length in characters."""
    same = column.min_length == column.max_length
    return str(column.max_length) if same else f"{column.min_length}-{column.max_length}"


def values_text(column: ColumnProfile, limit: int = 5) -> str:
    """The most frequent values of a column that has few."""
    if column.values is None or len(column.values) == column.filled:
        return ""
    return ", ".join(f"{printable(value, 20)} {count:,}" for value, count in column.values.most_common(limit))


def places_text(defect: Defect, between: str = "; ") -> str:
    """The first places of a finding."""
    shown = [
        f"line {p.line}, byte {p.offset}" + (f": {printable(p.value, 40)}" if p.value else "")
        for p in defect.places[:3]
    ]
    more = [f"and {defect.count - len(shown):,} more"] if defect.count > len(shown) else []
    return between.join(shown + more)


def console(stream: IO[str]) -> Any:
    """A console of rich on this stream; wide where nobody looks at it. Raises Halt when rich is not installed."""
    try:
        from rich.console import Console
    except ImportError as error:
        raise Halt("ConsoleMissing", "the table needs rich: pip install 'pilotage[console]'") from error
    return Console(
        file=stream, width=None if stream.isatty() else PIPED_WIDTH, markup=False, highlight=False, emoji=False
    )


def show(look: Look, proposal: Proposal | None, stream: IO[str]) -> None:
    """Print everything."""
    screen = console(stream)
    screen.print(printable(look.path.name), style="bold")
    for name, text in facts(look):
        screen.print(f"  {name:<10} {text}")
    screen.print()
    screen.print(_columns(look))
    _print_defects(look, screen)
    if proposal:
        screen.print(_mapping(proposal))
        screen.print(f"key: {', '.join(proposal.key)}" + ("" if proposal.unique else " (not proved unique)"))
        for note in proposal.notes:
            screen.print(f"  note: {printable(note, 400)}")


def _columns(look: Look) -> Any:
    table = _table("column", "type", "empty", "distinct", "least … greatest", "length", "most frequent")
    key = {column.position for column in look.profile.key()}
    for column in look.profile.columns:
        name = printable(column.name, 30) + (" *" if column.position in key else "")
        kind = column.type.value
        if column.type is FieldType.STRING and column.meant not in {FieldType.STRING, FieldType.INTEGER}:
            kind += f" ({column.meant} meant)"
        cells = (name, kind, f"{column.null_share:.1%}", distinct_text(column))
        table.add_row(*cells, range_text(column), length_text(column), values_text(column))
    return table


def _mapping(proposal: Proposal) -> Any:
    table = _table("from", "to", "type", "cleaning", "how sure")
    for field in proposal.fields:
        manifest = field.to_manifest()
        sure = f"{field.match.confidence}: {field.match.why} ({field.match.score:.2f})" if field.match else ""
        cleaning = ", ".join(manifest.get("transform", []))
        table.add_row(printable(field.column.name, 30), field.to, field.type.value, cleaning, printable(sure, 80))
    table.title = f"proposed mapping into {proposal.schema}.{proposal.table}"
    return table


def _print_defects(look: Look, screen: Any) -> None:
    for problem in look.problems:
        screen.print(f"  {printable(problem, 400)}")
    screen.print(_findings(look) if look.defects else "  no defect was found")


def _findings(look: Look) -> Any:
    table = _table("code", "count", "column", "what", "first places")
    for defect in look.defects:
        row = (defect.code, f"{defect.count:,}", printable(defect.column, 30), defect.title, places_text(defect, "\n"))
        table.add_row(*row)
    return table


def defect_lines(look: Look) -> Iterator[str]:
    """One line for each finding."""
    for defect in look.defects:
        where = f"{printable(defect.column, 30)}: " if defect.column else ""
        yield f"{defect.code:<18} {defect.count:>8,}  {where}{defect.title} ({places_text(defect)})"


def _table(*titles: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for title in titles:
        table.add_column(title, justify="right" if title in {"count", "empty", "distinct", "length"} else "left")
    return table
