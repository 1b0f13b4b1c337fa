"""Asks a database for single values, read-only: the evidence of acceptance checks, and whether it can be reached."""

from __future__ import annotations

import os
from typing import Any, Final

import psycopg
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from pilotage.api.v1alpha1.implementation import ConnectionType
from pilotage.migration.database import Connection, connect, server_version
from pilotage.migration.errors import Halt
from pilotage.migration.source.download import file_server, reach
from pilotage.migration.source.live import DEFAULT_PORTS, Address

LONGEST_VALUE: Final = 256
LONGEST_ERROR: Final = 300


class ProbeQuery(BaseModel):
    """One query; its value is the first column of its only row."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    name: str
    query: str
    timeout_seconds: float = Field(default=10.0, gt=0, le=300)


class Probe(BaseModel):
    """What is asked: values, or only whether the database answers."""

    connect: bool = False
    type: ConnectionType = ConnectionType.POSTGRESQL
    queries: list[ProbeQuery] = []


def run_probe(probe: Probe) -> list[dict[str, Any]]:
    """A result for each question: name and either value or error. Passwords and row data never show in errors."""
    if probe.type is ConnectionType.MYSQL:
        return [_reach_mysql()]
    if probe.type.serves_files:
        return [_reach_files()]
    names = [query.name for query in probe.queries] or ["connect"]
    try:
        with connect() as connection:
            if not probe.queries:
                return [{"name": "connect", "value": server_version(connection), "error": None}]
            return [_ask(connection, query) for query in probe.queries]
    except psycopg.Error as error:
        text = _reason(error)
        return [{"name": name, "value": None, "error": text} for name in names]


def _reach_mysql() -> dict[str, Any]:
    # PyMySQL is loaded only where it is needed: probes are many, and they are PostgreSQL's.
    from pilotage.migration.source.mysql import server_answer

    host, database = os.environ.get("PGHOST", ""), os.environ.get("PGDATABASE", "")
    port = int(os.environ.get("PGPORT") or DEFAULT_PORTS[ConnectionType.MYSQL])
    user, password = os.environ.get("PGUSER", ""), os.environ.get("PGPASSWORD", "")
    try:
        version = server_answer(Address(ConnectionType.MYSQL, host, port, database, user, password))
    except Halt as halt:
        return {"name": "connect", "value": None, "error": _without_password(halt.message)}
    return {"name": "connect", "value": version, "error": None}


def _reach_files() -> dict[str, Any]:
    try:
        return {"name": "connect", "value": reach(file_server()), "error": None}
    except Halt as halt:
        return {"name": "connect", "value": None, "error": halt.message[:LONGEST_ERROR]}


def _ask(connection: Connection, query: ProbeQuery) -> dict[str, Any]:
    try:
        with connection.transaction():
            connection.execute("set transaction read only")
            connection.execute(
                "select set_config('statement_timeout', %s, true)", (str(int(query.timeout_seconds * 1000)),)
            )
            # Prepared, it can be one statement only: with a second one it could end the read-only transaction.
            rows = connection.execute(query.query.encode(), prepare=True).fetchmany(2)
    except psycopg.OperationalError as error:
        if connection.closed:
            raise
        return {"name": query.name, "value": None, "error": _reason(error)}
    except psycopg.Error as error:
        return {"name": query.name, "value": None, "error": _reason(error)}
    if len(rows) != 1:
        return {"name": query.name, "value": None, "error": f"{'several rows' if rows else 'no row'}: one is needed"}
    value = rows[0][0]
    if isinstance(value, bool):
        value = str(value).lower()
    return {"name": query.name, "value": None if value is None else str(value)[:LONGEST_VALUE], "error": None}


def _reason(error: psycopg.Error) -> str:
    return _without_password(error.diag.message_primary or " ".join(str(error).split()))


def _without_password(text: str) -> str:
    if password := os.environ.get("PGPASSWORD"):
        text = text.replace(password, "***")
    return text[:LONGEST_ERROR]
