"""Cuts a file's bytes into CSV records without decoding them, so that offsets and original bytes stay exact.

In GB18030 and UTF-8 alike, newline and quote bytes never occur inside a character.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

MAX_RECORD_LINES: Final = 200
MAX_RECORD_BYTES: Final = 1 << 20
# In characters: what the csv module takes.
MAX_FIELD_LENGTH: Final = csv.field_size_limit()


@dataclass(frozen=True)
class Record:
    """One CSV record: its bytes with line ends, where it starts (bytes from 0, lines from 1), how many lines it has.

    `torn` says that a quote was opened and not closed within reach: only its first line is taken.
    """

    raw: bytes
    offset: int
    line: int
    lines: int = 1
    torn: bool = False

    @property
    def blank(self) -> bool:
        """Whether nothing but white space stands on the line."""
        return not self.raw.strip()


def read_records(file: BinaryIO, *, offset: int, line: int, end: int) -> Iterator[Record]:
    """Records from `offset` up to `end`. Both must be record boundaries: then any cut gives the same records."""
    file.seek(offset)
    waiting: deque[bytes] = deque()

    def next_line(position: int) -> bytes:
        return waiting.popleft() if waiting else file.readline(max(0, end - position))

    position = offset
    while position < end:
        first = next_line(position)
        if not first:
            return
        taken, size, quotes = [first], len(first), first.count(b'"')
        while quotes % 2 and len(taken) < MAX_RECORD_LINES and size < MAX_RECORD_BYTES and position + size < end:
            following = next_line(position + size)
            if not following:
                break
            taken.append(following)
            size += len(following)
            quotes += following.count(b'"')
        if quotes % 2:
            waiting.extendleft(reversed(taken[1:]))
            yield Record(first, position, line, torn=True)
            position += len(first)
            line += 1
        else:
            yield Record(b"".join(taken), position, line, len(taken))
            position += size
            line += len(taken)


def split_fields(text: str, delimiter: str) -> list[str]:
    """The fields of one decoded record. Raises csv.Error when quotes are misplaced."""
    rows = list(csv.reader([text.rstrip("\r\n")], delimiter=delimiter, strict=True))
    return rows[0] if rows else []
