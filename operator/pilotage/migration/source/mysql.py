"""A table of a live MySQL or MariaDB, every value as the server's own text."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pymysql
from pymysql.converters import conversions
from pymysql.cursors import Cursor, SSCursor

from pilotage.api.v1alpha1.migrationjob import Consistency, Encoding
from pilotage.migration.encoding import CODECS
from pilotage.migration.errors import Halt, Unreachable
from pilotage.migration.source.live import PIECE_ROWS, Address, as_text

# Only what turns parameters into SQL: values that come back stay the server's texts.
_TO_SQL: Final[dict[Any, Any]] = {kind: to_sql for kind, to_sql in conversions.items() if not isinstance(kind, int)}
_LOST: Final = frozenset({2002, 2003, 2006, 2013, 2055, 1040, 1053, 1152, 1159, 1160, 1161})


def _connect(address: Address) -> pymysql.Connection[Cursor]:
    return pymysql.connect(
        host=address.host,
        port=address.port,
        user=address.user,
        password=address.password,
        database=address.database,
        charset="utf8mb4",
        connect_timeout=10,
        read_timeout=3600,
        autocommit=True,
        conv=_TO_SQL,
        local_infile=False,
    )


def server_answer(address: Address) -> str:
    """The server's version. Raises Halt when it does not answer."""
    with _errors(str(address)), _connect(address) as connection, connection.cursor() as cursor:
        cursor.execute("select version()")
        ((version,),) = cursor.fetchall()
        return str(version)


class MySQLTable:
    """See `live.LiveTable`."""

    def __init__(
        self,
        address: Address,
        consistency: Consistency,
        table: str | None,
        query: str | None,
        key: Sequence[str],
        encoding: Encoding,
    ) -> None:
        self._keys = [_quoted(name) for name in key]
        self._codec = CODECS.get(encoding)
        with _errors(str(address)):
            self._connection = _connect(address)
            self._execute("set session transaction read only")
            self._execute("set session transaction isolation level repeatable read")
            self._execute("set session net_write_timeout = 3600")
            # Quotes are names and bars are bars, whatever the server's own mode says.
            self._execute("set session sql_mode = ''")
        if consistency is Consistency.SNAPSHOT:
            self._require_transactions(table, query)
            self._execute("start transaction with consistent snapshot, read only")
        self._rows = f"({query.strip().rstrip(';')}\n) source" if query is not None else f"{_qualified(table)} source"
        with _errors(str(address)), self._connection.cursor() as cursor:
            cursor.execute(f"select * from {self._rows} limit 0")  # noqa: S608 (names are quoted, the query is the customer's)
            self.header = [column[0] for column in cursor.description or []]
        if self._codec:
            # A declared encoding says that the columns' own charset is not true: bytes come as they are.
            self._execute("set character_set_results = null")
            self._connection.encoding = "latin-1"

    def _require_transactions(self, table: str | None, query: str | None) -> None:
        """A snapshot holds only for tables that know transactions."""
        found = self._execute(
            "select table_name from information_schema.tables where table_schema = database() and engine is not null "
            "and engine not in ('InnoDB', 'ROCKSDB', 'TokuDB')"
        )
        words = set(re.findall(r"[^\s`.,();'\"]+", query or str(table)))
        if without := sorted(str(name) for (name,) in found if name in words):
            raise Halt(
                "SnapshotUnavailable",
                f"{', '.join(without)} has an engine without transactions, of which there is no snapshot: stop what "
                "writes to it and declare consistency Freeze",
            )

    def _execute(self, statement: str, values: Sequence[str] = ()) -> list[tuple[Any, ...]]:
        with _errors("the source"), self._connection.cursor(Cursor) as cursor:
            cursor.execute(statement, tuple(values) or None)
            return list(cursor.fetchall())

    def state(self) -> tuple[int, tuple[str, ...]]:
        """Number of rows, and the greatest key."""
        order = ", ".join(f"{key} desc" for key in self._keys)
        ((count,),) = self._execute(f"select count(*) from {self._rows}")  # noqa: S608
        last = self._execute(f"select {', '.join(self._keys)} from {self._rows} order by {order} limit 1")  # noqa: S608
        return int(count), tuple(self._texts(last[0])) if last else ()

    def stream(self) -> Iterator[Sequence[str]]:
        """All rows of one transaction's snapshot, in the order of the key where there is one."""
        order = f"order by {', '.join(self._keys)}" if self._keys else ""
        with _errors("the source"), self._connection.cursor(SSCursor) as cursor:
            cursor.execute(f"select * from {self._rows} {order}")  # noqa: S608
            while rows := cursor.fetchmany(PIECE_ROWS):
                for row in rows:
                    yield self._texts(row)

    def piece(self, after: Sequence[str] | None, size: int) -> list[Sequence[str]]:
        """The next rows in the order of the key, which has the server's own order."""
        keys = ", ".join(self._keys)
        where = "" if after is None else f"where ({keys}) > ({', '.join(['%s'] * len(self._keys))})"
        statement = f"select * from {self._rows} {where} order by {keys} limit {size}"  # noqa: S608
        return [self._texts(row) for row in self._execute(statement, after or ())]

    def _texts(self, row: Sequence[Any]) -> list[str]:
        if not self._codec:
            return [as_text(value) for value in row]
        return [
            value.encode("latin-1").decode(self._codec, errors="surrogateescape")
            if isinstance(value, str)
            else as_text(value)
            for value in row
        ]

    def close(self) -> None:
        """Hang up, whatever is still on its way."""
        self._connection._force_close()  # type: ignore[attr-defined]  # noqa: SLF001 (an orderly end would first read all that is left)


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _qualified(table: str | None) -> str:
    return ".".join(map(_quoted, str(table).split(".", 1)))


@contextmanager
def _errors(place: str) -> Iterator[None]:
    try:
        yield
    except pymysql.OperationalError as error:
        code, text = (*error.args, "", "")[:2]
        if code in _LOST:
            raise Unreachable("SourceUnreachable", f"{place}: {text}") from error
        raise Halt("SourceRefused", f"{place} refuses to be read: {text}") from error
    except (IndexError, ValueError, TypeError, AssertionError, struct.error) as error:
        # The driver trusts the server, and takes apart whatever it says.
        raise Halt("SourceRefused", f"{place} gives answers that are none of MySQL's") from error
    except pymysql.MySQLError as error:
        raise Halt("SourceRefused", f"{place} refuses to be read: {error.args[-1] if error.args else error}") from error
