"""Tables of live databases, read in one declared mode of consistency and checked for having stood still.

Snapshot: one transaction sees one state of the whole database. Freeze and Replica are the customer's word that nobody
writes: the table is read in short pieces by its key, and its number of rows and greatest key must be the same
before and after, and the rows read as many.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

from pilotage.api.v1alpha1.implementation import ConnectionType
from pilotage.api.v1alpha1.migrationjob import Consistency, Encoding
from pilotage.migration.errors import Halt
from pilotage.migration.source.table import Table

PIECE_ROWS: Final = 5000
_VARIABLES: Final = {
    "type": "SOURCE_TYPE",
    "host": "SOURCE_HOST",
    "port": "SOURCE_PORT",
    "database": "SOURCE_DATABASE",
    "user": "SOURCE_USER",
    "password": "SOURCE_PASSWORD",
}
DEFAULT_PORTS: Final = {ConnectionType.POSTGRESQL: 5432, ConnectionType.MYSQL: 3306}
_SCHEMES: Final = {
    "postgresql": ConnectionType.POSTGRESQL,
    "postgres": ConnectionType.POSTGRESQL,
    "mysql": ConnectionType.MYSQL,
    "mariadb": ConnectionType.MYSQL,
}


@dataclass(frozen=True)
class Address:
    """Where a live source is. The password never shows."""

    type: ConnectionType
    host: str
    port: int
    database: str
    user: str
    password: str

    def __repr__(self) -> str:
        return f"{self.type}://{self.host}:{self.port}/{self.database}"


def use_source_uri(uri: str) -> None:
    """Set the SOURCE_* variables of this process as the URI says. Raises Halt, without the URI in its message."""
    try:
        found = urlsplit(uri)
        port = found.port
    except ValueError:
        raise _invalid() from None
    if found.scheme not in _SCHEMES or not found.hostname:
        raise _invalid()
    given = {
        "type": _SCHEMES[found.scheme].value,
        "host": found.hostname,
        "port": str(port or ""),
        "database": unquote(found.path.lstrip("/")),
        "user": unquote(found.username or ""),
        "password": unquote(found.password or ""),
    }
    os.environ.update({_VARIABLES[name]: value for name, value in given.items()})


def _invalid() -> Halt:
    return Halt("ConnectionInvalid", "the source's connection is no postgresql:// or mysql://USER@HOST:PORT/DATABASE")


def source_address() -> Address:
    """The address in the SOURCE_* variables, which the operator sets. Raises Halt."""
    found = {name: os.environ.get(variable, "") for name, variable in _VARIABLES.items()}
    try:
        kind = ConnectionType(found["type"])
        port = int(found["port"] or DEFAULT_PORTS[kind])
    except ValueError:
        message = "the source is a connection: give --connection NAME=URI for it, or the variables SOURCE_*"
        raise Halt("ConnectionUnknown", message) from None
    return Address(kind, found["host"], port, found["database"], found["user"], found["password"])


class LiveTable(Protocol):
    """A table, or the result of a query, of one kind of server. All values come as texts."""

    header: list[str]

    def state(self) -> tuple[int, tuple[str, ...]]:
        """Number of rows, and the greatest key."""

    def stream(self) -> Iterator[Sequence[str]]:
        """All rows, out of one snapshot."""

    def piece(self, after: Sequence[str] | None, size: int) -> list[Sequence[str]]:
        """The next rows in the order of the key."""

    def close(self) -> None:
        """Hang up."""


def read_live(
    address: Address,
    consistency: Consistency,
    table: str | None,
    query: str | None,
    key: Sequence[str],
    encoding: Encoding,
) -> Table:
    """The rows of a live table or query. Raises Halt when it is not there, or did not stand still as declared."""
    # Each driver takes its time to load, and a run needs one of them.
    found: LiveTable
    if address.type is ConnectionType.MYSQL:
        from pilotage.migration.source.mysql import MySQLTable

        found = MySQLTable(address, consistency, table, query, key, encoding)
    else:
        from pilotage.migration.source.postgresql import PostgreSQLTable

        found = PostgreSQLTable(address, consistency, table, query, key, encoding)
    missing = [name for name in key if name not in found.header]
    if missing:
        found.close()
        raise Halt("ColumnsMissing", f"{table or 'the query'} has no column {', '.join(missing)} (from.key)")
    rows = _closing(found, found.stream() if consistency is Consistency.SNAPSHOT else _pieces(found, key))
    return Table(found.header, rows)


def _closing(found: LiveTable, rows: Iterator[Sequence[str]]) -> Iterator[Sequence[str]]:
    try:
        yield from rows
    finally:
        found.close()


def _pieces(found: LiveTable, key: Sequence[str]) -> Iterator[Sequence[str]]:
    positions = [found.header.index(name) for name in key]
    before, count = found.state(), 0
    after: list[str] | None = None
    while rows := found.piece(after, PIECE_ROWS):
        yield from rows
        count += len(rows)
        after = [rows[-1][position] for position in positions]
    now = found.state()
    if now != before:
        raise Halt(
            "SourceMoved",
            f"the source was declared to stand still and did not: {before[0]} rows and greatest key "
            f"{', '.join(before[1])} before, {now[0]} and {', '.join(now[1])} after; stop what writes, or use Snapshot",
        )
    if count != now[0]:
        raise Halt(
            "KeyAmbiguous",
            f"{count} rows were reached by the key {', '.join(key)}, there are {now[0]}: it must be unique, not null",
        )


def as_text(value: Any) -> str:
    """A value that the driver left as it came."""
    if value is None:
        return ""
    return value if isinstance(value, str) else bytes(value).hex()
