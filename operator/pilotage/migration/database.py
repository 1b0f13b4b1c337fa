"""The connection to the target database, and what its catalogue says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import sql

from pilotage.api.v1alpha1.migrationjob import FieldType, MigrationObject
from pilotage.migration.conversion import Column
from pilotage.migration.errors import Halt

Connection = psycopg.Connection[tuple[Any, ...]]

# A row's text must not depend on who asks for it.
_FORM: Final = {
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
}
_COLUMNS = """
select a.attname, t.typname, format_type(a.atttypid, a.atttypmod), a.atttypmod, a.attnotnull,
       a.atthasdef or a.attidentity <> '', a.attgenerated <> ''
  from pg_attribute a join pg_type t on t.oid = a.atttypid
 where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
"""


def connect() -> Connection:
    """A connection by the PG* variables. Raises psycopg.OperationalError when nobody answers."""
    return psycopg.connect(
        connect_timeout=10, application_name="pilotage-migrate", client_encoding="UTF8", autocommit=True
    )


def server_version(connection: Connection) -> str:
    """Version of the server, such as 15.18."""
    number = connection.info.server_version
    return f"{number // 10000}.{number % 10000}"


def table_identifier(schema: str, table: str) -> sql.Identifier:
    """A table's qualified name, quoted."""
    return sql.Identifier(schema, table)


@contextmanager
def one_form(connection: Connection) -> Iterator[None]:
    """Within this, a row's text does not depend on who asks for it. In a transaction only."""
    before = {name: _setting(connection, name, value) for name, value in _FORM.items()}
    yield
    for name, value in before.items():
        _setting(connection, name, value)


def _setting(connection: Connection, name: str, value: str) -> str:
    """Set it for this transaction, and return what it was."""
    found = connection.execute(
        "select was, set_config(%s, %s, true) from (select current_setting(%s) as was offset 0) s", (name, value, name)
    ).fetchone()
    return str(found[0]) if found else ""


def read_columns(connection: Connection, schema: str, table: str) -> dict[str, Column]:
    """Columns of a table by name. Raises Halt when there is no such table."""
    found = connection.execute("select to_regclass(%s)::oid", (f'"{schema}"."{table}"',)).fetchone()
    if found is None or found[0] is None:
        raise Halt("TargetTableMissing", f"table {schema}.{table} is not in database {connection.info.dbname}")
    columns = {}
    for name, type_name, sql_type, modifier, not_null, has_default, generated in connection.execute(
        _COLUMNS, (found[0],)
    ):
        if generated:
            continue
        limits = _limits(type_name, modifier)
        columns[name] = Column(name, type_name, sql_type, **limits, not_null=not_null, has_default=has_default)
    return columns


def _limits(type_name: str, modifier: int) -> dict[str, int | None]:
    if modifier < 0:
        return {}
    if type_name in {"varchar", "bpchar"}:
        return {"max_length": modifier - 4}
    if type_name == "numeric":
        return {"precision": ((modifier - 4) >> 16) & 0xFFFF, "scale": (modifier - 4) & 0x7FF}
    return {}


def require_columns(connection: Connection, schema: str, found: MigrationObject) -> dict[str, Column]:
    """The target's columns that an object fills. Raises Halt when one is missing, or a needed one is left out."""
    columns = read_columns(connection, schema, found.to)
    missing = [field.to for field in found.fields if field.to not in columns]
    if missing:
        raise Halt("TargetColumnMissing", f"table {schema}.{found.to} has no column {', '.join(missing)}")
    filled = {field.to for field in found.fields}
    for name, column in columns.items():
        if name not in filled and column.not_null and not column.has_default:
            raise Halt(
                "RequiredColumnUnmapped",
                f"column {name} of {schema}.{found.to} must not be empty and no field of object {found.name} fills it",
            )
    for field in found.fields:
        if field.reference is None and columns[field.to].field_type is None:
            raise Halt(
                "TargetTypeUnsupported",
                f"column {field.to} of {schema}.{found.to} has the type {columns[field.to].sql_type}: not supported",
            )
        if field.add_hours and columns[field.to].field_type is not FieldType.TIMESTAMP:
            raise Halt("SpecInvalid", f"field {field.to}: addHours needs a column of type timestamp")
    return {field.to: columns[field.to] for field in found.fields}


def require_references(
    connection: Connection, schema: str, objects: Mapping[str, MigrationObject], found: MigrationObject
) -> None:
    """Refuse references to tables or columns that are not there."""
    for field in found.fields:
        if not (reference := field.reference):
            continue
        table = objects[reference.object].to if reference.object else str(reference.table)
        columns = read_columns(connection, schema, table)
        if reference.use not in columns:
            raise Halt("TargetColumnMissing", f"table {schema}.{table} has no column {reference.use}")
        matching = {other.to for other in objects[reference.object].fields} if reference.object else set(columns)
        if reference.match not in matching:
            raise Halt("TargetColumnMissing", f"field {field.to}: {table} has no column {reference.match} to match")
