"""SQLite files, opened so that nothing is ever written beside them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from urllib.parse import quote

from pilotage.api.v1alpha1.migrationjob import Encoding
from pilotage.migration.encoding import CODECS, present_form
from pilotage.migration.errors import Halt
from pilotage.migration.source.content import Content
from pilotage.migration.source.table import Table, canonical_text


def read_sqlite(content: Content, table: str | None, query: str | None, encoding: Encoding) -> Table:
    """A table in the order of its rows, or what a query gives. Raises Halt when the file or the table is not there.

    Texts are of the encoding that is declared, else UTF-8: old programs keep GBK in SQLite, too.
    """
    connection = _opened(content)
    try:
        if query is None:
            known = [name for (name,) in connection.execute(_TABLES)]
            if table not in known:
                raise Halt("TableUnknown", f"{content.name} has no table {table}; there are: {', '.join(known[:20])}")
            query = f"select * from {_quoted(table)}"  # noqa: S608 (the name is quoted, and one of the file's own)
        connection.text_factory = _decoder(CODECS.get(encoding, "utf-8"))
        cursor = connection.execute(query)
    except sqlite3.Error as error:
        raise Halt("SourceUnreadable", f"{content.name}: {error}") from error
    return Table([column[0] for column in cursor.description or []], _rows(cursor, content.name))


_TABLES = "select name from sqlite_master where type in ('table', 'view') and name not like 'sqlite_%' order by 1"


def _opened(content: Content) -> sqlite3.Connection:
    if content.packed:
        connection = sqlite3.connect(":memory:")
        connection.deserialize(content.whole("a SQLite file"))
        connection.execute("pragma query_only = on")
        return connection
    # `immutable` reads a file on a volume that cannot be written, where SQLite could make no lock.
    return sqlite3.connect(f"file:{quote(str(content.path.absolute()))}?mode=ro&immutable=1", uri=True)


def _decoder(codec: str) -> Callable[[bytes], str]:
    if codec == "gb18030":
        return lambda raw: present_form(raw.decode(codec, errors="surrogateescape"))
    return lambda raw: raw.decode(codec, errors="surrogateescape")


def _quoted(name: str | None) -> str:
    return '"' + str(name).replace('"', '""') + '"'


def _rows(cursor: sqlite3.Cursor, name: str) -> Iterator[list[str]]:
    try:
        for row in cursor:
            yield [canonical_text(value) for value in row]
    except sqlite3.Error as error:
        raise Halt("SourceUnreadable", f"{name}: {error}") from error
