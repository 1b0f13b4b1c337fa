"""A sheet read in a process of its own, whose memory is limited.

A few bytes of a workbook may ask for any amount of memory: a cell in the last row and column, or one long text that a
million cells share. The reader of sheets then dies with its process, and this one is there to say why.
"""

from __future__ import annotations

import io
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pilotage.migration.errors import Halt
from pilotage.migration.source.content import Content
from pilotage.migration.source.table import Table

# With the planner itself, this fits into the 512 MiB that a worker's pod has by default.
MEMORY_BYTES: Final = 320 << 20
_STANDARD_INPUT: Final = "-"


def read_sheet_apart(content: Content, sheet: str | None, header_row: int) -> Table:
    """See `workbook.read_sheet`. Raises Halt, also when the sheet needs more than MEMORY_BYTES."""
    data = content.whole("a workbook") if content.packed else None
    place = _STANDARD_INPUT if data is not None else str(content.path)
    order = json.dumps({"place": place, "name": content.name, "sheet": sheet, "headerRow": header_row})
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, order],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    answers = _answers(process, data, content.name)
    head = next(answers)
    return Table(head["header"], answers, head["first"])


def _answers(process: subprocess.Popen[bytes], data: bytes | None, name: str) -> Iterator[Any]:
    """What the process says, a line at a time."""
    with process:
        if process.stdin is None or process.stdout is None:
            return
        try:
            process.stdin.write(data or b"")
            process.stdin.close()
        except BrokenPipeError:
            pass
        for line in process.stdout:
            if not line.endswith(b"\n"):
                break
            answer = json.loads(line)
            if isinstance(answer, dict) and "reason" in answer:
                raise Halt(answer["reason"], answer["message"])
            yield answer
    if process.returncode:
        raise Halt(
            "SourceTooLarge",
            f"{name} cannot be read in {MEMORY_BYTES >> 20} MiB of memory: save the sheet as CSV UTF-8 (cells "
            "far below or beside the others count, too)",
        )


def main(order: dict[str, Any]) -> None:
    """Read the sheet and print header and rows, each as a line of JSON, or why it cannot be read."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    from pilotage.migration.source.workbook import read_sheet

    place = order["place"]
    source = io.BytesIO(sys.stdin.buffer.read()) if place == _STANDARD_INPUT else Path(place)
    try:
        table = read_sheet(source, order["name"], order["sheet"], order["headerRow"])
        _say({"header": table.header, "first": table.first})
        for row in table.rows:
            _say(row)
    except Halt as halt:
        _say({"reason": halt.reason, "message": halt.message})


def _say(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
