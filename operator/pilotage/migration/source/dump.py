"""Tables out of dump files of MySQL, MariaDB and PostgreSQL: INSERT statements and COPY blocks, as a stream.

Bytes are decoded before anything is unescaped: the second byte of a GBK character may be that of a backslash.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Final

from pilotage.api.v1alpha1.migrationjob import Encoding
from pilotage.migration.encoding import CODECS, present_form
from pilotage.migration.errors import Halt, Undecided
from pilotage.migration.source.content import Content
from pilotage.migration.source.lines import READ_BYTES
from pilotage.migration.source.table import Table

# Longer than any value or name that a row may hold; what goes on for longer is no statement.
MAX_TOKEN: Final = 8 << 20
HEAD_BYTES: Final = 1 << 16

_NAME: Final = r'(?:`(?:[^`]|``)+`|"(?:[^"]|"")+"|[\w$]+)'
_QUALIFIED: Final = rf"{_NAME}(?:\s*\.\s*{_NAME})?"
_LIST: Final = rf"(?:\(\s*({_NAME}(?:\s*,\s*{_NAME})*)\s*\)\s*)?"
_INSERT: Final = re.compile(
    r"(?:insert|replace)\s+(?:low_priority\s+|delayed\s+|high_priority\s+)?(?:ignore\s+)?into\s+"
    rf"({_QUALIFIED})\s*{_LIST}(?:overriding\s+\w+\s+value\s+)?values?\s*(?=\()",
    re.IGNORECASE,
)
_COPY: Final = re.compile(rf"copy\s+({_QUALIFIED})\s*{_LIST}from\s+stdin([^;]*);[^\n]*\n", re.IGNORECASE)
_CREATE: Final = re.compile(rf"create\s+table\s+(?:if\s+not\s+exists\s+)?({_QUALIFIED})\s*(?=\()", re.IGNORECASE)
_CHARSET: Final = re.compile(
    r"(?:/\*!\d*\s*)?\bset\s+(?:names\s+'?(\w+)'?|client_encoding\s*(?:=|to)\s*'?([\w-]+)'?)", re.IGNORECASE
)
_SKIPPED: Final = re.compile(r"(?:\s+|--[^\n]*\n|#[^\n]*\n|\\\w[^\n]*\n|/\*(?!!).*?\*/)+", re.DOTALL)
_STRING: Final = {
    # What backslashes in a string mean is all that divides the dialects here; the first is MySQL's.
    True: r"'(?:[^'\\]++|\\.|'')*+'",
    False: r"(?:\b[eE]'(?:[^'\\]++|\\.|'')*+'|'(?:[^']++|'')*+')",
}
_PIECES: Final = {
    mysql: re.compile(rf'(?:{string}|`[^`]*+`|"[^"]*+"|[^\'"`;eE]++|[eE](?!\'))*+', re.DOTALL)
    for mysql, string in _STRING.items()
}
_VALUE: Final = {
    True: re.compile(r"\s*(?:(?:([A-Za-z_]\w*)\s*)?'((?:[^'\\]++|\\.|'')*+)'|([^'(),;\s]+))\s*([,)])", re.DOTALL),
    False: re.compile(
        r"\s*(?:([eE])'((?:[^'\\]++|\\.|'')*+)'|([A-Za-z]?)'((?:[^']++|'')*+)'|([^'(),;\s]+))\s*([,)])", re.DOTALL
    ),
}
_OPEN: Final = re.compile(r"\s*\(")
_AFTER_ROW: Final = re.compile(r"\s*(,|;|on\b|as\b)", re.IGNORECASE)
_CODECS: Final = {
    "utf8": "utf-8", "utf8mb3": "utf-8", "utf8mb4": "utf-8", "utf-8": "utf-8", "unicode": "utf-8",
    "gbk": "gb18030", "gb2312": "gb18030", "gb18030": "gb18030", "euc_cn": "gb18030", "ascii": "ascii",
    "latin1": "cp1252", "big5": "big5",
}  # fmt: skip
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b"}
_ESCAPES_MYSQL: Final = {**_ESCAPES, "Z": "\x1a"}
_ESCAPES_COPY: Final = {**_ESCAPES, "v": "\v", "f": "\f"}
_ESCAPED: Final = re.compile(r"\\(.)|''", re.DOTALL)
_COPY_ESCAPED: Final = re.compile(r"\\(.)")
_CONSTRAINTS: Final = frozenset(
    ["primary", "key", "unique", "constraint", "foreign", "index", "fulltext", "spatial", "check", "exclude", "like"]
)


def read_dump(content: Content, table: str, declared: Encoding) -> Table:
    """The rows that a dump holds for a table, named with or without its schema.

    A declared encoding is taken before what the dump says of itself. Raises Halt when the table is not in it, or when
    it says neither in INSERT nor in CREATE TABLE how the columns are called.
    """
    reader = _Reader(content, table, declared)
    rows = reader.rows()
    first = next(rows, None)
    if first is None and not reader.columns:
        there = ", ".join(sorted(reader.tables)[:20]) or "none"
        raise Halt("TableUnknown", f"{content.name} has no table {table}; there are: {there}")
    if not reader.columns:
        raise Halt(
            "ColumnsMissing",
            f"{content.name} does not say how the columns of {table} are called: it has no CREATE TABLE for it, and "
            "its INSERT has no list; dump with --complete-insert",
        )
    return Table(reader.columns, _following(first, rows))


def _following(first: list[str] | None, others: Iterator[list[str]]) -> Iterator[list[str]]:
    if first is not None:
        yield first
    yield from others


class _Reader:
    """One pass over a dump. `columns` is known when the first row has come."""

    def __init__(self, content: Content, table: str, declared: Encoding) -> None:
        self.columns: list[str] = []
        self.tables: set[str] = set()
        self._name = content.name
        self._wanted = _names(table, ".")
        with content.open() as file:
            head = file.read(HEAD_BYTES)
        if head.startswith(b"PGDMP"):
            raise Halt("SourceUnreadable", f"{content.name} is a binary dump: make text of it with pg_restore --file")
        self._mysql = b"PostgreSQL database dump" not in head and b"standard_conforming_strings" not in head
        self._codec = _codec(content, declared, head)
        self._declared = declared is not Encoding.AUTO
        self._file = content.open()
        self._decoder = codecs.getincrementaldecoder(self._codec)(errors="surrogateescape")
        self._text = ""
        self._at = 0
        self._ended = False

    def rows(self) -> Iterator[list[str]]:
        """Rows of the wanted table, in the order of the dump."""
        with self._file:
            while self._skip():
                if found := self._match(_INSERT):
                    yield from self._inserted(found[1], found[2])
                elif found := self._match(_COPY):
                    yield from self._copied(found[1], found[2], found[3])
                elif found := self._match(_CREATE):
                    self._created(found[1])
                else:
                    if found := self._match(_CHARSET):
                        self._check_charset(found[1] or found[2])
                    self._statement()

    def _fill(self) -> bool:
        """Read on; False when the file has ended."""
        if self._ended:
            return False
        if len(self._text) - self._at > MAX_TOKEN:
            raise Halt("LineTooLong", f"{self._name}: a row or a statement has more than {MAX_TOKEN} characters")
        data = self._file.read(READ_BYTES)
        self._ended = not data
        text = self._decoder.decode(data, final=self._ended)
        self._text = self._text[self._at :] + (present_form(text) if self._codec == "gb18030" else text)
        self._at = 0
        return True

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Take what the pattern is, reading on as long as the text's end may have cut it."""
        while True:
            found = pattern.match(self._text, self._at)
            cut = found.end() == len(self._text) if found else len(self._text) - self._at < HEAD_BYTES
            if not cut or not self._fill():
                break
        if found:
            self._at = found.end()
        return found

    def _skip(self) -> bool:
        """Pass white space and comments; False at the end of the file."""
        while self._match(_SKIPPED):
            pass
        return self._at < len(self._text)

    def _statement(self, *, kept: bool = False) -> str:
        """Pass the rest of a statement and its semicolon; returns its text where it is to be kept."""
        texts = []
        while True:
            found = _PIECES[self._mysql].match(self._text, self._at)
            if found and found.end() > self._at:
                if kept:
                    texts.append(found[0])
                self._at = found.end()
            if self._at < len(self._text) and self._text[self._at] == ";":
                self._at += 1
                return "".join(texts)
            if not self._fill():
                self._at = len(self._text)
                return "".join(texts)

    def _is_wanted(self, qualified: str) -> bool:
        parts = _names(qualified, ".")
        self.tables.add(".".join(parts))
        both = min(len(parts), len(self._wanted))
        return parts[-both:] == self._wanted[-both:]

    def _take_columns(self, columns: list[str]) -> None:
        if self.columns and self.columns != columns:
            raise Halt(
                "ColumnsAmbiguous",
                f"{self._name}: rows of one table come with different columns: {', '.join(self.columns)[:300]} and "
                f"{', '.join(columns)[:300]}",
            )
        self.columns = columns

    def _inserted(self, table: str, listed: str | None) -> Iterator[list[str]]:
        if not self._is_wanted(table):
            self._statement()
            return
        if listed:
            self._take_columns(_names(listed, ","))
        while True:
            self._match(_OPEN)
            yield self._row(table)
            after = self._match(_AFTER_ROW)
            if after is None:
                raise Halt("SourceUnreadable", f"{self._name}: an INSERT into {table} ends in the middle")
            if after[1] == ";":
                return
            if after[1] != ",":
                self._statement()
                return

    def _row(self, table: str) -> list[str]:
        texts: list[str] = []
        pattern, take = (_VALUE[True], _mysql_text) if self._mysql else (_VALUE[False], _postgresql_text)
        while True:
            found = self._value(pattern)
            if found is None:
                raise Halt(
                    "SourceUnreadable",
                    f"{self._name}: in an INSERT into {table} value {len(texts) + 1} of a row is neither a literal nor "
                    "whole: dump without expressions",
                )
            texts.append(take(found))
            if found[found.lastindex or 0] == ")":
                return texts

    def _value(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        while found is None and self._more_of_value():
            found = pattern.match(self._text, self._at)
        if found:
            self._at = found.end()
        return found

    def _more_of_value(self) -> bool:
        """Read on when the value may only be cut off: an expression is known by its bracket."""
        bare = self._text[self._at : self._at + 200].split("'", 1)[0]
        return "(" not in bare and self._fill()

    def _copied(self, table: str, listed: str | None, options: str) -> Iterator[list[str]]:
        wanted = self._is_wanted(table)
        if wanted and listed:
            self._take_columns(_names(listed, ","))
        if wanted and "csv" in options.lower():
            raise Halt("SourceUnreadable", f"{self._name}: COPY {table} is in CSV: dump with pg_dump's own format")
        while True:
            end = self._text.find("\n", self._at)
            if end < 0:
                if self._fill():
                    continue
                raise Halt("SourceUnreadable", f"{self._name}: the rows of COPY {table} have no end: it was cut off")
            line = self._text[self._at : end].removesuffix("\r")
            self._at = end + 1
            if line == "\\.":
                return
            if wanted:
                yield [_copy_text(text) for text in line.split("\t")]

    def _created(self, table: str) -> None:
        wanted = self._is_wanted(table)
        text = self._statement(kept=wanted)
        if wanted and not self.columns:
            self.columns = _defined_columns(text)

    def _check_charset(self, name: str) -> None:
        if not self._declared and _CODECS.get(name.lower()) != self._codec:
            raise Halt("WrongEncoding", f"{self._name} changes its encoding to {name}: split it, or declare encoding")


def _codec(content: Content, declared: Encoding, head: bytes) -> str:
    if declared is not Encoding.AUTO:
        return CODECS[declared]
    if found := _CHARSET.search(head.decode("latin-1")):
        name = found[1] or found[2]
        if name.lower() not in _CODECS:
            raise Undecided("EncodingUnproven", f"{content.name} is in {name}, which is not known: declare encoding")
        return _CODECS[name.lower()]
    for codec in ("utf-8", "gb18030"):
        if _is_all(content, codec):
            return codec
    raise Undecided(
        "EncodingUnproven",
        f"{content.name} does not say its encoding (SET NAMES) and is neither UTF-8 nor GB18030 throughout: declare it",
    )


def _is_all(content: Content, codec: str) -> bool:
    decoder = codecs.getincrementaldecoder(codec)()
    try:
        with content.open() as file:
            while data := file.read(READ_BYTES):
                decoder.decode(data)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _names(text: str, separator: str) -> list[str]:
    """Names without their quotes."""
    found = re.findall(rf"({_NAME})\s*(?:{re.escape(separator)}|$)", text.strip())
    return [_unquoted(name) for name in found]


def _unquoted(name: str) -> str:
    for quote in '`"':
        if name.startswith(quote):
            return name[1:-1].replace(quote * 2, quote)
    return name


def _defined_columns(text: str) -> list[str]:
    """Names of the columns out of what stands after CREATE TABLE."""
    columns, depth, starts = [], 0, False
    for token in re.finditer(rf"'(?:[^'\\]|\\.|'')*'|{_NAME}|[(),]", text, re.DOTALL):
        sign = token[0]
        if sign == "(":
            depth += 1
            starts = depth == 1
        elif sign == ")":
            depth -= 1
            if depth == 0:
                break
        elif sign == ",":
            starts = depth == 1
        else:
            if starts and sign.lower() not in _CONSTRAINTS:
                columns.append(_unquoted(sign))
            starts = False
    return columns


def _bare(text: str) -> str:
    return "" if text.lower() == "null" else text


def _mysql_text(found: re.Match[str]) -> str:
    prefix, quoted, bare, _ = found.groups()
    if quoted is None:
        return _bare(bare)
    text = _unescaped(quoted, _ESCAPES_MYSQL)
    return f"0x{text}" if prefix in {"x", "X"} else text


def _postgresql_text(found: re.Match[str]) -> str:
    _, escaped, _, quoted, bare, _ = found.groups()
    if escaped is not None:
        return _unescaped(escaped, _ESCAPES)
    return _bare(bare) if quoted is None else quoted.replace("''", "'")


def _copy_text(text: str) -> str:
    if "\\" not in text:
        return text
    return "" if text == "\\N" else _COPY_ESCAPED.sub(lambda sign: _ESCAPES_COPY.get(sign[1], sign[1]), text)


def _unescaped(text: str, escapes: dict[str, str]) -> str:
    return _ESCAPED.sub(lambda sign: escapes.get(sign[1], sign[1]) if sign[1] else "'", text)
