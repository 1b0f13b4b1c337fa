"""Bounded lines out of a stream, and a look back over what was just read of one that cannot go back."""

from __future__ import annotations

import io
from typing import BinaryIO, Final, Literal, Protocol

from pilotage.migration.errors import Halt
from pilotage.migration.records import MAX_RECORD_BYTES

MAX_LINE_BYTES: Final = MAX_RECORD_BYTES
READ_BYTES: Final = 1 << 20
# What cutting a record ever goes back over: its own most, the lines read ahead, and the buffer between.
LOOK_BACK_BYTES: Final = 8 << 20


class Readable(Protocol):
    """Something with a name whose bytes can be read from the start, any number of times: a Path is one."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Its bytes from the start."""


def read_lines(file: BinaryIO, size: int, *, name: str, line: int, offset: int) -> list[bytes]:
    """The next lines of about `size` bytes together; the first of them is `line`, at `offset`.

    Raises Halt at a line that is longer than MAX_LINE_BYTES: whatever it is, it must not fill the memory.
    """
    data = file.read(size)
    if data and not data.endswith(b"\n"):
        data += file.readline(MAX_LINE_BYTES)
    last = data.rfind(b"\n", 0, -1) + 1
    if len(data) - last > MAX_LINE_BYTES:
        raise Halt(
            "LineTooLong",
            f"{name}: line {line + data.count(bytes([10]), 0, last)} (byte offset {offset + last}) is longer than "
            f"{MAX_LINE_BYTES} bytes: is it a file of lines, in the format that the spec says? else repair that line",
        )
    return io.BytesIO(data).readlines()


class _Window(io.RawIOBase):
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._kept = bytearray()
        self._start = 0
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or position < self._start:
            raise io.UnsupportedOperation(f"cannot go back to {position}")
        while position > self._start + len(self._kept) and self._read_on(READ_BYTES):
            pass
        self._position = min(position, self._start + len(self._kept))
        return self._position

    def _read_on(self, size: int) -> int:
        data = self._stream.read(size)
        self._kept += data
        if excess := max(0, len(self._kept) - LOOK_BACK_BYTES):
            del self._kept[:excess]
            self._start += excess
        return len(data)

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if self._position == self._start + len(self._kept):
            self._read_on(len(buffer))
        within = self._position - self._start
        found = self._kept[within : within + len(buffer)]
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)

    def close(self) -> None:
        self._stream.close()
        super().close()


def with_look_back(stream: BinaryIO) -> BinaryIO:
    """The stream, seekable as far back as LOOK_BACK_BYTES from what was read of it."""
    return io.BufferedReader(_Window(stream), READ_BYTES)
