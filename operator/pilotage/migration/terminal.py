"""What a person at a terminal sees of a run: a live bar, and the answer in words. Machines get JSON instead."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

COUNTS: Final = (
    "read",
    "loaded",
    "updated",
    "kept",
    "filtered",
    "duplicates",
    "unchanged",
    "quarantined",
    "deleted",
    "missing",
    "refused",
)


@contextmanager
def live_progress() -> Iterator[Callable[[dict[str, int]], None]]:
    """Hears the run's progress: a bar where standard error is a terminal, else JSON lines on standard output."""
    if not sys.stderr.isatty():
        yield _print_line
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=None)

        def hear(progress: dict[str, int]) -> None:
            done, total = progress["chunksDone"], progress["chunksTotal"]
            text = (
                f"{progress['rowsRead']:,} rows, {progress['rowsPerSecond']:,} a second, "
                f"{progress['quarantined']:,} quarantined" + ("; settling" if done == total else "")
            )
            bar.update(task, completed=done, total=total, description=text)

        yield hear


def _print_line(progress: dict[str, int]) -> None:
    sys.stdout.write(json.dumps(progress) + "\n")
    sys.stdout.flush()


def in_words(answer: Mapping[str, Any]) -> str:
    """The answer of `run` or `status` as lines of text."""
    said = ": ".join(filter(None, (answer["outcome"], answer.get("reason"), answer.get("message"))))
    lines = [said, f"run {answer['run']}"]
    counts = answer.get("counts", {})
    if counts:
        numbers = ", ".join(f"{name} {counts.get(name, 0):,}" for name in COUNTS if counts.get(name) or name == "read")
        lines.append(numbers + (" (balanced)" if counts.get("balanced") else " (not balanced)"))
    for check in answer.get("checks", []):
        mark = "passed" if check["passed"] else "FAILED"
        lines.append(
            f"check {check['name']}: {mark}, source {check.get('source', '')}, target {check.get('target', '')}"
        )
    for error in answer.get("topErrors", []):
        column = f" in {error['column']}" if error.get("column") else ""
        lines.append(
            f"{error['code']}{column}: {error['rows']:,} rows of {error['object']}, first in line {error['line']}"
        )
    if answer.get("certificateDigest"):
        lines.append(f"certificate {answer['certificateDigest']}")
    return "\n".join(lines) + "\n"
