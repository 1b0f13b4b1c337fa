"""The table of docs/reliability.md, written by the run whose figures it shows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.faults.sweep import Sweep

BEGIN, END = "<!-- sweep: begin -->", "<!-- sweep: end -->"


def write_table(page: Path, found: Sweep, *, seed: int, minutes: float | None) -> None:
    """Put the run's figures between the page's two marks. Raises ValueError when they are not there."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        msg = f"{page} has no place for the table: {BEGIN} and {END} are missing"
        raise ValueError(msg)
    page.write_text(f"{before}{BEGIN}\n{table(found, seed=seed, minutes=minutes)}\n{END}{after}")


def table(found: Sweep, *, seed: int, minutes: float | None) -> str:
    """The figures in Markdown."""
    extent = "all plans" if minutes is None else f"a sample of {minutes:g} minutes"
    head = (
        f"Run of {datetime.now(UTC):%Y-%m-%d}, {extent}, seed {seed}: {len(found.results)} of {found.planned} planned"
    )
    lines = [
        f"{head} single faults ran, violations: {len(found.violations)}.",
        "",
        "| Fault | Plans run | Rules held | Not reached | Violations |",
        "|---|--:|--:|--:|--:|",
    ]
    for fault, counts in found.table():
        lines.append(
            f"| {fault} | {counts.total()} | {counts['held']} | {counts['not reached']} | {counts['violated']} |"
        )
    return "\n".join(lines)
