"""One pass over a file's bytes in blocks: which encoding is proved, how lines end, what is no text.

Its verdict on the encoding is that of `encoding.prove`; memory stays at a few blocks whatever the file holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pilotage.api.v1alpha1.migrationjob import Encoding
from pilotage.migration.encoding import BYTE_ORDER_MARKS, CODECS, Damage
from pilotage.migration.errors import Halt
from pilotage.migration.look.defects import Defect, DefectLog, Place
from pilotage.migration.records import MAX_RECORD_BYTES

BLOCK_BYTES: Final = 1 << 20
MAX_LINE_BYTES: Final = MAX_RECORD_BYTES
MAX_DAMAGED_SHARE: Final = 0.1

_CONTROLS: Final = bytes(code for code in (*range(0x20), 0x7F) if code not in b"\t\n\r")
_FORMATS: Final = {
    b"PK\x03\x04": "a workbook or an archive (zip): save the sheet as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (xls): save the sheet as CSV UTF-8",
    b"\x1f\x8b": "compressed (gzip): unpack it first",
    b"\xff\xfe": "UTF-16: save it as UTF-8",
    b"\xfe\xff": "UTF-16: save it as UTF-8",
    b"PAR1": "a Parquet file: write it out as CSV",
    b"SQLite format 3\x00": "a SQLite database: write its tables out as CSV",
    b"%PDF": "a PDF document",
}

Progress = Callable[[int], None]


@dataclass
class ByteSurvey:
    """What the bytes say. `damage` tells, for each encoding tried, how many lines it cannot read and where."""

    size: int = 0
    lines: int = 0
    foreign_lines: int = 0
    crlf: int = 0
    lone_lf: int = 0
    lone_cr: int = 0
    damage: dict[Encoding, Damage] = field(default_factory=dict)
    defects: list[Defect] = field(default_factory=list)
    euro_lines: int = 0

    @property
    def line_end(self) -> str:
        """How most lines end."""
        return "CRLF" if self.crlf > self.lone_lf else "LF"


@dataclass(frozen=True)
class Verdict:
    """The encoding that the file is read with. `proved` says that every line is valid in it."""

    encoding: Encoding
    mark: int
    proved: bool


def survey_bytes(path: Path, declared: Encoding, progress: Progress = lambda _bytes: None) -> ByteSurvey:
    """Read the whole file; `progress` hears how many bytes were read.

    Of an encoding that is not declared only the first damaged line is looked for, as long as another one is whole;
    when none is, the file is read once more to count them all.
    Raises Halt for a file that is no text, that is empty, or that has a line longer than MAX_LINE_BYTES.
    """
    found = _survey(path, declared, frozenset({declared}), progress)
    if declared is Encoding.AUTO and all(damage.lines for damage in found.damage.values()):
        return _survey(path, declared, frozenset(found.damage), progress)
    return found


def _survey(path: Path, declared: Encoding, counted: frozenset[Encoding], progress: Progress) -> ByteSurvey:
    candidates = sorted({Encoding.UTF_8, Encoding.GB18030} | ({declared} - {Encoding.AUTO}))
    found = ByteSurvey(damage={candidate: Damage() for candidate in candidates})
    log = DefectLog()
    with path.open("rb") as file:
        rest = b""
        while block := file.read(BLOCK_BYTES):
            if found.size == 0 and not rest:
                _refuse_binary(path, block)
            buffer = rest + block
            cut = buffer.rfind(b"\n") + 1
            _survey_lines(path, buffer[:cut], found, counted, log)
            rest = buffer[cut:]
            _refuse_long(path, rest, found)
            progress(len(block))
        _survey_lines(path, rest, found, counted, log)
    if not found.size:
        raise Halt("SourceEmpty", f"{path.name} is empty")
    found.defects = log.list()
    return found


def _refuse_binary(path: Path, start: bytes) -> None:
    for magic, what in _FORMATS.items():
        if start.startswith(magic):
            raise Halt("NotText", f"{path.name} is {what}")
    if start[:4096].count(0) > len(start[:4096]) // 4:
        raise Halt("NotText", f"{path.name} is no text: a quarter of its first bytes are zero (UTF-16 without mark?)")


def _refuse_long(path: Path, raw: bytes, found: ByteSurvey) -> None:
    if len(raw) > MAX_LINE_BYTES:
        raise Halt(
            "LineTooLong",
            f"{path.name}: line {found.lines + 1} (byte offset {found.size}) is longer than {MAX_LINE_BYTES} bytes"
            + (", and the file has no line end before it: is it a CSV file?" if not found.lines else ": repair it"),
        )


def _survey_lines(path: Path, raw: bytes, found: ByteSurvey, counted: frozenset[Encoding], log: DefectLog) -> None:
    """Take whole lines into account: block by block while nothing is wrong, line by line where something is."""
    if not raw:
        return
    lines = raw.count(b"\n") + (not raw.endswith(b"\n"))
    tried = [one for one, damage in found.damage.items() if one in counted or damage.lines == 0]
    broken = {candidate for candidate in tried if not raw.isascii() and not _reads(raw, candidate)}
    odd = len(raw.translate(None, _CONTROLS)) != len(raw)
    crlf, newlines, returns = raw.count(b"\r\n"), raw.count(b"\n"), raw.count(b"\r")
    pieces = raw.split(b"\n")
    if not (broken or odd or max(map(len, pieces)) > MAX_LINE_BYTES):
        found.foreign_lines += len(pieces) - sum(map(bytes.isascii, pieces))
    else:
        offset = found.size
        for number, line in enumerate(pieces, start=found.lines + 1):
            _refuse_long(path, line, found)
            _survey_line(line, Place(number, offset), found, broken, log)
            offset += len(line) + 1
    found.crlf += crlf
    found.lone_lf += newlines - crlf
    found.lone_cr += returns - crlf
    found.lines += lines
    found.size += len(raw)


def _survey_line(line: bytes, place: Place, found: ByteSurvey, broken: set[Encoding], log: DefectLog) -> None:
    if not line.isascii():
        found.foreign_lines += 1
        for candidate in broken:
            _try(line, candidate, place, found)
    if len(line.translate(None, _CONTROLS)) != len(line):
        for code, signs in (("E_NUL_BYTE", b"\x00"), ("W_CONTROL", _CONTROLS[1:])):
            if hit := next((index for index, byte in enumerate(line) if byte in signs), None):
                log.add(code, "", Place(place.line, place.offset + hit, f"0x{line[hit]:02X}"))


def _reads(raw: bytes, candidate: Encoding) -> bool:
    try:
        raw.decode(CODECS[candidate])
    except UnicodeDecodeError:
        return False
    return True


def _try(line: bytes, candidate: Encoding, place: Place, found: ByteSurvey) -> None:
    try:
        line.decode(CODECS[candidate])
    except UnicodeDecodeError as error:
        damage = found.damage[candidate]
        if damage.lines == 0:
            damage.line, damage.offset = place.line, place.offset + error.start
            damage.bytes_hex = line[error.start : error.start + 4].hex(" ").upper()
        damage.lines += 1
        found.euro_lines += candidate is Encoding.GB18030 and line[error.start] == 0x80


def decide_encoding(path: Path, declared: Encoding, found: ByteSurvey) -> Verdict:
    """UTF-8 when every line is valid, else GB18030 when every line is valid, else what was declared.

    Raises Halt with a hint when nothing is proved and nothing was declared, or when the declaration is plainly wrong.
    """
    utf8, gb18030 = found.damage[Encoding.UTF_8], found.damage[Encoding.GB18030]
    if declared is Encoding.AUTO:
        if utf8.lines and gb18030.lines:
            raise Halt("EncodingUnproven", _question(path, found))
        chosen = Encoding.GB18030 if utf8.lines else Encoding.UTF_8
    else:
        chosen = declared
        if chosen is not Encoding.UTF_8 and found.foreign_lines and not utf8.lines:
            raise Halt(
                "WrongEncoding", f"{path.name} is UTF-8 throughout: {chosen} would turn it into other characters"
            )
        if found.damage[chosen].lines > max(1, MAX_DAMAGED_SHARE * found.foreign_lines):
            raise Halt(
                "WrongEncoding",
                f"{path.name} is not {declared}: {found.damage[chosen].lines} of {found.foreign_lines} lines with "
                f"characters beyond ASCII cannot be read, the first at {found.damage[chosen]}",
            )
    with path.open("rb") as file:
        mark = BYTE_ORDER_MARKS.get(chosen, b"")
        length = len(mark) if mark and file.read(len(mark)) == mark else 0
    return Verdict(chosen, length, proved=not found.damage[chosen].lines)


def _question(path: Path, found: ByteSurvey) -> str:
    utf8, gb18030 = found.damage[Encoding.UTF_8], found.damage[Encoding.GB18030]
    foreign = found.foreign_lines
    text = (
        f"{path.name} is neither UTF-8 ({utf8.lines} of {foreign} lines fail, the first at {utf8}) nor GB18030 "
        f"({gb18030.lines} fail, the first at {gb18030}) throughout. "
    )
    if found.euro_lines:
        text += f"{found.euro_lines} lines hold the byte 80, the euro sign of Windows code page 936. "
    if max(utf8.lines, gb18030.lines) < foreign and min(utf8.lines, gb18030.lines) > MAX_DAMAGED_SHARE * foreign:
        return text + "It looks like files of two encodings put together: take them apart again."
    if min(utf8.lines, gb18030.lines) > MAX_DAMAGED_SHARE * foreign:
        return text + "It may be Big5, Shift-JIS or Windows-1252: ask where it comes from, and convert it to UTF-8."
    likely = Encoding.UTF_8 if utf8.lines < gb18030.lines else Encoding.GB18030
    return text + f"It is most likely {likely} with damaged lines: say --encoding {likely}, and they are quarantined."
