"""Proves a file's encoding over all of its bytes, and decodes strictly: no replacement characters, ever."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from pilotage.api.v1alpha1.migrationjob import Encoding
from pilotage.migration.errors import Halt, Undecided
from pilotage.migration.source.lines import Readable, read_lines

CODECS: Final = {Encoding.UTF_8: "utf-8", Encoding.GB18030: "gb18030", Encoding.GBK: "gbk"}
BYTE_ORDER_MARKS: Final = {Encoding.UTF_8: b"\xef\xbb\xbf", Encoding.GB18030: b"\x84\x31\x95\x33"}
MAX_DAMAGED_SHARE: Final = 0.1
ENOUGH_LINES: Final = 3
READ_BYTES: Final = 1 << 20

# Two-byte codes that Python reads as of GB18030-2000 (private use) and everybody else as of 2005 or 2022.
# Without this, old and new text differ for nobody's fault.
_REASSIGNED: Final = {
    0xE78D: 0xFE10, 0xE78E: 0xFE12, 0xE78F: 0xFE11, 0xE790: 0xFE13, 0xE791: 0xFE14,
    0xE792: 0xFE15, 0xE793: 0xFE16, 0xE794: 0xFE17, 0xE795: 0xFE18, 0xE796: 0xFE19,
    0xE7C7: 0x1E3F, 0xE816: 0x20087, 0xE817: 0x20089, 0xE818: 0x200CC, 0xE81E: 0x9FB4,
    0xE826: 0x9FB5, 0xE82B: 0x9FB6, 0xE82C: 0x9FB7, 0xE831: 0x215D7, 0xE832: 0x9FB8,
    0xE83B: 0x2298F, 0xE843: 0x9FB9, 0xE854: 0x9FBA, 0xE855: 0x241FE, 0xE864: 0x9FBB,
}  # fmt: skip
_REASSIGNED_CLASS: Final = re.compile("[" + "".join(map(chr, _REASSIGNED)) + "]")
# With this byte UTF-8 writes every code that is reassigned, and hardly any other character of a text.
_REASSIGNED_LEAD: Final = b"\xee"


@dataclass
class Damage:
    """Lines that an encoding cannot read, and the first such place: line from 1, byte offset from 0, bytes as hex."""

    lines: int = 0
    line: int = 0
    offset: int = 0
    bytes_hex: str = ""

    def __str__(self) -> str:
        return f"line {self.line}, byte offset {self.offset} (bytes {self.bytes_hex})"


@dataclass
class Survey:
    """What one pass over a file found."""

    size: int = 0
    lines: int = 0
    foreign_lines: int = 0
    sha256: str = ""
    damage: dict[Encoding, Damage] = field(default_factory=dict)


@dataclass(frozen=True)
class Proof:
    """The encoding that a file is read with, the length of its byte order mark, and its fingerprint."""

    encoding: Encoding
    mark: int
    size: int
    sha256: str


def survey(path: Readable, candidates: Iterable[Encoding], counted: Encoding | None = None) -> Survey:
    """Try each candidate strictly on every line of the file; newline bytes never occur inside a character.

    Of the encoding `counted` every damaged line is counted, of the others only the first.
    """
    found = Survey(damage={candidate: Damage() for candidate in candidates})
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while lines := read_lines(file, READ_BYTES, name=path.name, line=found.lines + 1, offset=found.size):
            block = b"".join(lines)
            digest.update(block)
            if not block.isascii():
                for candidate, damage in found.damage.items():
                    if candidate is counted or damage.lines == 0:
                        _try(block, lines, candidate, damage, found)
                found.foreign_lines += sum(not raw.isascii() for raw in lines)
            found.lines += len(lines)
            found.size += len(block)
    found.sha256 = digest.hexdigest()
    return found


def _try(block: bytes, lines: list[bytes], candidate: Encoding, damage: Damage, found: Survey) -> None:
    if _decodes(block, candidate):
        return
    position = found.size
    for number, raw in enumerate(lines, start=found.lines + 1):
        try:
            raw.decode(CODECS[candidate])
        except UnicodeDecodeError as error:
            if damage.lines == 0:
                damage.line, damage.offset = number, position + error.start
                damage.bytes_hex = raw[error.start : error.start + 4].hex(" ").upper()
            damage.lines += 1
        position += len(raw)


def _decodes(block: bytes, candidate: Encoding) -> bool:
    try:
        block.decode(CODECS[candidate])
    except UnicodeDecodeError:
        return False
    return True


def prove(path: Readable, declared: Encoding) -> Proof:
    """The encoding of the whole file.

    `auto` takes UTF-8 when every line is valid, else GB18030 when every line is valid, else raises Undecided. What is
    declared may fail on single lines, which are quarantined later; Halt is raised when it fails on the header or on
    many lines, or when the file is plainly UTF-8 and something else was declared.
    """
    candidates = {Encoding.UTF_8, Encoding.GB18030} | ({declared} - {Encoding.AUTO})
    found = survey(path, sorted(candidates), declared)
    utf8, gb = found.damage[Encoding.UTF_8], found.damage[Encoding.GB18030]
    if declared is Encoding.AUTO:
        if utf8.lines and gb.lines:
            raise Undecided(
                "EncodingUnproven",
                f"{path.name} is neither UTF-8 (first fault: {utf8}) nor GB18030 (first fault: {gb}) throughout: "
                "repair it, or declare source.encoding; then lines that cannot be read are quarantined",
            )
        chosen = Encoding.GB18030 if utf8.lines else Encoding.UTF_8
    else:
        chosen = declared
        _refuse_wrong(path, declared, found)
    with path.open("rb") as file:
        mark = BYTE_ORDER_MARKS.get(chosen, b"")
        length = len(mark) if mark and file.read(len(mark)) == mark else 0
    return Proof(chosen, length, found.size, found.sha256)


def _refuse_wrong(path: Readable, declared: Encoding, found: Survey) -> None:
    damage, utf8 = found.damage[declared], found.damage[Encoding.UTF_8]
    many = damage.lines >= ENOUGH_LINES and damage.lines > MAX_DAMAGED_SHARE * found.foreign_lines
    if damage.lines and (many or damage.line == 1):
        raise Halt(
            "WrongEncoding",
            f"{path.name} is not {declared}: {damage.lines} of {found.foreign_lines} lines with Chinese text cannot be "
            f"read, the first at {damage}; set source.encoding to what the file really is, or to auto",
            line=damage.line,
            offset=damage.offset,
        )
    if declared is not Encoding.UTF_8 and not utf8.lines and found.foreign_lines >= ENOUGH_LINES:
        line, offset = _first_foreign(path)
        raise Halt(
            "WrongEncoding",
            f"{path.name} is UTF-8 throughout, not {declared} (first Chinese text at line {line}, byte offset "
            f"{offset}): {declared} would turn it into other characters; set source.encoding to UTF-8 or auto",
            line=line,
            offset=offset,
        )


def _first_foreign(path: Readable) -> tuple[int, int]:
    position = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.isascii():
                return number, position + next(index for index, byte in enumerate(raw) if byte > 0x7F)
            position += len(raw)
    return 1, 0


def decode(raw: bytes, encoding: Encoding) -> str:
    """The text of these bytes, with reassigned GB18030 codes in their present form. Raises UnicodeDecodeError."""
    text = raw.decode(CODECS[encoding])
    return present_form(text) if encoding is Encoding.GB18030 else text


def present_form(text: str) -> str:
    """Text out of GB18030 with the reassigned codes as they are today."""
    return text.translate(_REASSIGNED) if _REASSIGNED_CLASS.search(text) else text


def to_utf8(raw: bytes, encoding: Encoding) -> bytes:
    """The same text as `decode` gives, in UTF-8; many times faster for long texts. Raises UnicodeDecodeError."""
    text = raw.decode(CODECS[encoding])
    if encoding is Encoding.UTF_8:
        return raw
    converted = text.encode()
    if encoding is Encoding.GB18030 and _REASSIGNED_LEAD in converted:
        return text.translate(_REASSIGNED).encode()
    return converted
