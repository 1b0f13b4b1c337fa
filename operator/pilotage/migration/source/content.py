"""A file's content, unpacked as it is read: plain, gzip, or one member of a zip archive, with limits against bombs."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Final, Literal

from pilotage.migration.errors import Halt
from pilotage.migration.source.lines import READ_BYTES, with_look_back

# Honest text shrinks to a fiftieth at best; what shrinks further was made to.
MAX_RATIO: Final = 250
RATIO_FROM_BYTES: Final = 64 << 20
MAX_UNPACKED_BYTES: Final = 64 << 30
# Formats that need the whole file at hand are unpacked in memory.
MAX_WHOLE_BYTES: Final = 64 << 20
_ZIP_UTF8: Final = 0x800
_ZIP_ENCRYPTED: Final = 0x1


def source_path(root: Path, file: str) -> Path:
    """The file below the root. Raises Halt when it is missing, unreadable or outside."""
    path = root / file
    if ".." in Path(file).parts:
        raise Halt("SourceOutside", f"{file} leads out of the source's folder")
    if not path.is_file():
        near = sorted(found.name for found in path.parent.iterdir())[:10] if path.parent.is_dir() else []
        there = f"; there are: {', '.join(near)}" if near else ""
        raise Halt("SourceMissing", f"{file} is not in the source{there}")
    if not os.access(path, os.R_OK):
        raise Halt("SourceUnreadable", f"{file} cannot be read by user {os.getuid()}: check its owner and mode")
    return path


class Content:
    """What a file holds. `inner` is the name by which its format goes: the member's, or without `.gz`."""

    def __init__(self, path: Path, member: str | None = None) -> None:
        self.path = path
        self.inner = path.name
        self._packed_size = path.stat().st_size
        self._member: zipfile.ZipInfo | None = None
        self._gzip = False
        lower = path.name.lower()
        if lower.endswith(".gz"):
            self._gzip = True
            self.inner = path.name[:-3]
        elif lower.endswith(".zip"):
            self._member = _choose(path, member)
            self.inner = _member_name(self._member).rpartition("/")[2]
            self._packed_size = self._member.compress_size
        elif member is not None:
            raise Halt("SpecInvalid", f"{path.name}: from.member goes with a zip archive")

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.path.name}: {_member_name(self._member)}" if self._member else self.path.name

    @property
    def packed(self) -> bool:
        """Whether it has to be unpacked."""
        return self._gzip or self._member is not None

    def open(self, _mode: Literal["rb"] = "rb", /) -> BinaryIO:
        """The unpacked bytes from the start; of what is packed only the last mebibytes can be sought back to."""
        if not self.packed:
            return self.path.open("rb")
        return with_look_back(io.BufferedReader(_Unpacked(self._opened(), self.name, self._packed_size), READ_BYTES))

    def _opened(self) -> BinaryIO:
        if self._member is None:
            return gzip.open(self.path, "rb")  # type: ignore[return-value]
        archive = zipfile.ZipFile(self.path)
        try:
            return archive.open(self._member)  # type: ignore[return-value]
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise Halt("SourceUnreadable", f"{self.name} cannot be unpacked: {error}") from error
        finally:
            archive.close()

    def whole(self, what: str) -> bytes:
        """All unpacked bytes, for a format `what` that needs them at once. Raises Halt when they are too many."""
        with self.open() as file:
            data = file.read(MAX_WHOLE_BYTES + 1)
        if len(data) > MAX_WHOLE_BYTES:
            raise Halt(
                "SourceTooLarge",
                f"{self.name}: {what} of more than {MAX_WHOLE_BYTES >> 20} MiB inside an archive: unpack it",
            )
        return data

    def digest(self) -> str:
        """sha256 of the file as it was handed over, packed or not."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


class _Unpacked(io.RawIOBase):
    """The unpacked bytes as long as their number is believable."""

    def __init__(self, stream: BinaryIO, name: str, packed_size: int) -> None:
        self._stream = stream
        self._name = name
        self._most = min(MAX_UNPACKED_BYTES, max(RATIO_FROM_BYTES, packed_size * MAX_RATIO))
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        try:
            data = self._stream.read(len(buffer))
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise Halt("SourceUnreadable", f"{self._name} cannot be unpacked: {error}") from error
        self._count += len(data)
        if self._count > self._most:
            raise Halt(
                "ArchiveSuspicious",
                f"{self._name} unpacks to more than {self._most} bytes, over {MAX_RATIO} times its size or "
                f"{MAX_UNPACKED_BYTES >> 30} GiB: if it is no bomb, hand it over unpacked",
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _choose(path: Path, wanted: str | None) -> zipfile.ZipInfo:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [found for found in archive.infolist() if not found.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        raise Halt("SourceUnreadable", f"{path.name} is no zip archive that can be read: {error}") from error
    names = [_member_name(found) for found in members]
    if wanted is None and len(members) == 1:
        chosen = members[0]
    elif wanted in names:
        chosen = members[names.index(wanted)]
    else:
        problem = f"has no member {wanted}" if wanted else f"has {len(names)} members: name one in from.member"
        raise Halt("MemberUnknown", f"{path.name} {problem}; there are: {', '.join(names[:10])}")
    if chosen.flag_bits & _ZIP_ENCRYPTED:
        raise Halt("SourceUnreadable", f"{path.name}: {_member_name(chosen)} is encrypted: unpack it")
    return chosen


def _member_name(member: zipfile.ZipInfo) -> str:
    """Its name; one without the mark of UTF-8 is as Chinese Windows wrote it, if that can be."""
    if member.flag_bits & _ZIP_UTF8:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("gb18030")
    except UnicodeError:
        return member.filename
