"""A user's own SQL over the staged rows of an object: what no mapping can say."""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import sql

from pilotage.migration.database import Connection
from pilotage.migration.errors import Halt
from pilotage.migration.plan import ObjectPlan

VIEW: Final = sql.Identifier("staged")
FILTERED: Final = "filtered"


def run_statements(connection: Connection, run: str, plan: ObjectPlan) -> list[dict[str, Any]]:
    """Carry the object's statements out, before anything is decided about its rows; says how many rows each changed.

    They see the staged rows as the view `staged`, by the names of the target's columns; `_outcome` set to `filtered`
    leaves a row out. Raises Halt when the database refuses one, or a row is given another outcome.
    """
    name = plan.definition.name
    if not plan.definition.sql:
        return []
    connection.execute(
        sql.SQL("create temporary view {} as select {}, _outcome, _line + 0 as _line from {}").format(
            VIEW,
            sql.SQL(", ").join(
                sql.SQL("{} as {}").format(plan.staged(field.to), sql.Identifier(field.to))
                for field in plan.definition.fields
            ),
            sql.Identifier("mig_stg", plan.staging),
        )
    )
    done = []
    for number, statement in enumerate(plan.definition.sql):
        try:
            with connection.transaction():
                # Prepared, it can be one statement only, and what begins with UPDATE ends no transaction.
                rows = connection.execute(statement.encode(), prepare=True).rowcount
        except (psycopg.DataError, psycopg.ProgrammingError, psycopg.InternalError, psycopg.NotSupportedError) as error:
            text = f"object {name}: sql[{number}]: the database refuses it: {error.diag.message_primary}"
            raise Halt("SqlRefused", f"{text}; nothing was loaded") from error
        done.append({"object": name, "statement": statement, "rows": rows})
    connection.execute(sql.SQL("drop view {}").format(VIEW))
    _require_outcomes(connection, plan)
    connection.execute(
        sql.SQL(
            "update mig.chunk c set rows_filtered = c.rows_filtered + f.rows from ("
            " select _chunk, count(*) as rows from {} where _outcome = {} group by 1) f"
            " where c.run_id = %s and c.object = %s and c.chunk_id = f._chunk"
        ).format(sql.Identifier("mig_stg", plan.staging), sql.Literal(FILTERED)),
        (run, name),
    )
    return done


def _require_outcomes(connection: Connection, plan: ObjectPlan) -> None:
    found = connection.execute(
        sql.SQL("select _outcome, min(_line) from {} where _outcome <> {} group by 1 limit 1").format(
            sql.Identifier("mig_stg", plan.staging), sql.Literal(FILTERED)
        )
    ).fetchone()
    if found:
        name = plan.definition.name
        text = f"object {name}: sql gives the row at line {found[1]} the _outcome {found[0]!r}"
        raise Halt("SqlRefused", f"{text}: only '{FILTERED}' can be given; nothing was loaded")
