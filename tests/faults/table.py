"""The table of docs/reliability.md, written by the run whose figures it shows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.faults.sweep import Sweep
from tests.support.pages import write_between


def write_table(page: Path, found: Sweep, *, seed: int, minutes: float | None) -> None:
    """Put the run's figures into the page. Raises ValueError when it has no place for them."""
    write_between(page, "sweep", table(found, seed=seed, minutes=minutes))


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
