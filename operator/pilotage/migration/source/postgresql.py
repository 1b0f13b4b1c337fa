"""A table of a live PostgreSQL, every value as the server's own text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.adapt import Loader

from pilotage.api.v1alpha1.migrationjob import Consistency, Encoding
from pilotage.migration.encoding import CODECS
from pilotage.migration.errors import Halt, Unreachable
from pilotage.migration.source.live import PIECE_ROWS, Address, as_text

_SETTINGS: Final = (
    "-c default_transaction_read_only=on -c default_transaction_isolation=repeatable\\ read -c datestyle=ISO "
    "-c timezone=UTC -c intervalstyle=iso_8601 -c extra_float_digits=1 -c bytea_output=hex"
)


class PostgreSQLTable:
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
        # With the table's name: by itself it would be the text that comes out, which has another order.
        self._key = sql.SQL(", ").join(sql.Identifier("source", name) for name in key)
        self._keys = list(key)
        try:
            self._connection = psycopg.connect(
                host=address.host,
                port=address.port,
                dbname=address.database,
                user=address.user,
                password=address.password,
                connect_timeout=10,
                application_name="pilotage-migrate",
                options=_SETTINGS,
                autocommit=consistency is not Consistency.SNAPSHOT,
            )
        except psycopg.OperationalError as error:
            raise Unreachable("SourceUnreachable", f"{address}: {' '.join(str(error).split())}") from error
        self._codec = self._encode(encoding)
        self._rows = self._relation(table, query)
        try:
            described = self._connection.execute(sql.SQL("select * from {} limit 0").format(self._rows))
        except psycopg.Error as error:
            raise _refused(error) from error
        self.header = [column.name for column in described.description or []]

    def _encode(self, encoding: Encoding) -> str:
        """What texts are decoded with: a server that knows no encoding gives bytes as somebody put them there."""
        server = self._connection.info.parameter_status("server_encoding")
        codec = CODECS.get(encoding, "utf-8") if server == "SQL_ASCII" else "utf-8"
        if server != "SQL_ASCII":
            self._connection.execute("set client_encoding to 'UTF8'")
        self._connection.adapters.register_loader("text", _loader(codec))
        return codec

    def _relation(self, table: str | None, query: str | None) -> sql.Composed:
        if query is not None:
            # The customer's own query, with the rights of the customer's own account, in a transaction that only reads.
            return sql.SQL("({}\n) source").format(sql.SQL(query.strip().rstrip(";")))
        name = str(table).split(".", 1)
        return sql.SQL("{} source").format(sql.Identifier(*name))

    def state(self) -> tuple[int, tuple[str, ...]]:
        """Number of rows, and the greatest key."""
        keys = self._texts(self._keys)
        row = self._connection.execute(sql.SQL("select count(*) from {}").format(self._rows)).fetchone()
        last = self._connection.execute(
            sql.SQL("select {} from {} order by {} limit 1").format(
                keys,
                self._rows,
                sql.SQL(", ").join(sql.SQL("{} desc").format(sql.Identifier("source", key)) for key in self._keys),
            )
        ).fetchone()
        return (row[0] if row else 0), tuple(map(as_text, last or ()))

    def stream(self) -> Iterator[Sequence[str]]:
        """All rows of one transaction's snapshot, in the order of the key where there is one."""
        order = sql.SQL("order by {}").format(self._key) if self._keys else sql.SQL("")
        statement = sql.SQL("select {} from {} {}").format(self._texts(self.header), self._rows, order)
        try:
            with self._connection.cursor(name="rows") as cursor:
                cursor.itersize = PIECE_ROWS
                for row in cursor.execute(statement):
                    yield [as_text(value) for value in row]
        except psycopg.OperationalError as error:
            raise Unreachable("SourceUnreachable", f"the source hung up: {' '.join(str(error).split())}") from error
        except psycopg.Error as error:
            raise _refused(error) from error

    def piece(self, after: Sequence[str] | None, size: int) -> list[Sequence[str]]:
        """The next rows in the order of the key, which has the server's own order."""
        where, values = sql.SQL(""), []
        if after is not None:
            types = self._types()
            marks = [sql.SQL("%s::{}").format(sql.SQL(kind)) for kind in types]
            where = sql.SQL("where ({}) > ({})").format(self._key, sql.SQL(", ").join(marks))  # type: ignore[assignment]
            values = list(after)
        statement = sql.SQL("select {} from {} {} order by {} limit {}").format(
            self._texts(self.header), self._rows, where, self._key, sql.Literal(size)
        )
        try:
            return [[as_text(value) for value in row] for row in self._connection.execute(statement, values or None)]
        except psycopg.OperationalError as error:
            raise Unreachable("SourceUnreachable", f"the source hung up: {' '.join(str(error).split())}") from error
        except psycopg.Error as error:
            raise _refused(error) from error

    def _types(self) -> list[str]:
        """Types of the key's columns, as the server writes them."""
        asked = sql.SQL(", ").join(sql.SQL("pg_typeof({})::text").format(sql.Identifier(key)) for key in self._keys)
        row = self._connection.execute(sql.SQL("select {} from {} limit 1").format(asked, self._rows)).fetchone()
        return list(row or ())

    def _texts(self, columns: Sequence[str]) -> sql.Composed:
        return sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier("source", name)) for name in columns)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def _loader(codec: str) -> type[Loader]:
    class Text(Loader):
        def load(self, data: Buffer) -> Any:
            return bytes(data).decode(codec, errors="surrogateescape")

    return Text


def _refused(error: psycopg.Error) -> Halt:
    return Halt("SourceRefused", f"the source refuses to be read: {error.diag.message_primary or error}")
