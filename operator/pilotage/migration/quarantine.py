"""Puts staged rows away with the reason, their place in the file and their original bytes."""

from __future__ import annotations

from psycopg import sql

from pilotage.migration.database import Connection
from pilotage.migration.plan import ObjectPlan

_INSERT = """
insert into mig.quarantine (run_id, object, chunk_id, src_offset, src_line, rule, stage, code, column_name, bad_value,
                            message, src_encoding, src_raw)
select %(run)s, %(object)s, s._chunk, s._seq, s._line,
       (select count(*) from mig.quarantine q where q.run_id = %(run)s and q.object = %(object)s
           and q.chunk_id = s._chunk and q.src_offset = s._seq and q.stage = 'settle'),
       'settle', %(code)s, %(column)s, left({value}, 200), %(message)s, %(encoding)s, s._raw
  from {staging} s where (s._outcome is null or s._outcome = 'quarantined') and ({where})
"""


def put_away(
    connection: Connection,
    run: str,
    plan: ObjectPlan,
    *,
    where: sql.Composable,
    code: str,
    column: str,
    value: sql.Composable,
    message: str,
) -> int:
    """Quarantine the undecided rows `s` of the staging table for which `where` holds; a row may collect reasons.

    Returns how many rows were still undecided.
    """
    staging = sql.Identifier("mig_stg", plan.staging)
    value_of = sql.SQL("coalesce(s.{}, '')").format(value) if isinstance(value, sql.Identifier) else value
    connection.execute(
        sql.SQL(_INSERT).format(staging=staging, where=where, value=value_of),
        {
            "run": run,
            "object": plan.definition.name,
            "code": code,
            "column": column,
            "message": message,
            "encoding": plan.encoding.value,
        },
    )
    return connection.execute(
        sql.SQL("update {} s set _outcome = 'quarantined' where s._outcome is null and ({})").format(staging, where)
    ).rowcount
