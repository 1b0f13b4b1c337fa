"""Counts of a run out of the ledger: every row that was read has exactly one outcome."""

from __future__ import annotations

from typing import Any

from pilotage.api.v1alpha1.migrationjob import MAX_OPEN_MAPPINGS, Counts, ErrorCount, ObjectCounts, OpenMapping
from pilotage.migration.database import Connection

_COUNTS = """
select c.object, c.read, c.filtered, coalesce(q.rows, 0),
       coalesce(x.loaded, 0), coalesce(x.updated, 0), coalesce(x.kept, 0), coalesce(x.duplicates, 0),
       coalesce(x.unchanged, 0), coalesce(g.deleted, 0), coalesce(g.missing, 0), coalesce(f.rows, 0)
  from (select object, min(object_order) as ordinal, coalesce(sum(rows_read), 0)::bigint as read,
               coalesce(sum(rows_filtered), 0)::bigint as filtered
          from mig.chunk where run_id = %(run)s group by object) c
  left join (select object, count(distinct src_offset) as rows from mig.quarantine
              where run_id = %(run)s group by object) q using (object)
  left join (select object, count(*) filter (where outcome = 'loaded') as loaded,
                    count(*) filter (where outcome = 'updated') as updated,
                    count(*) filter (where outcome = 'kept') as kept,
                    count(*) filter (where outcome = 'duplicates') as duplicates,
                    count(*) filter (where outcome = 'unchanged') as unchanged
               from mig.crosswalk where run_id = %(run)s group by object) x using (object)
  left join (select object, count(*) filter (where outcome = 'deleted') as deleted,
                    count(*) filter (where outcome in ('kept', 'refused')) as missing
               from mig.gone where run_id = %(run)s group by object) g using (object)
  left join (select object, count(*) as rows from mig.refusal where run_id = %(run)s group by object) f using (object)
 order by c.ordinal
"""

_TOP_ERRORS = """
select object, code, column_name, count(distinct src_offset), min(src_line) from mig.quarantine
 where run_id = %s group by 1, 2, 3 order by 4 desc, 1, 2, 3 limit 8
"""

_OPEN_MAPPINGS = """
select object, column_name, left(bad_value, 40), count(*) from mig.quarantine
 where run_id = %s and code = 'E_MAPPING' group by 1, 2, 3 order by 4 desc, 1, 2, 3 limit %s
"""


def count_objects(connection: Connection, run: str) -> list[ObjectCounts]:
    """Counts of each object, in the order of the spec."""
    found = []
    for name, read, filtered, quarantined, loaded, updated, kept, duplicates, unchanged, *beside in connection.execute(
        _COUNTS, {"run": run}
    ):
        accounted = loaded + updated + kept + filtered + duplicates + unchanged + quarantined
        deleted, missing, refused = beside
        found.append(
            ObjectCounts(
                name=name,
                read=read,
                loaded=loaded,
                updated=updated,
                kept=kept,
                filtered=filtered,
                duplicates=duplicates,
                unchanged=unchanged,
                deleted=deleted,
                missing=missing,
                refused=refused,
                quarantined=quarantined,
                balanced=read == accounted,
            )
        )
    return found


def add_up(objects: list[ObjectCounts]) -> Counts:
    """Counts of the whole run; balanced when every object is."""
    names = [name for name in Counts.model_fields if name != "balanced"]
    sums = {name: sum(getattr(found, name) for found in objects) for name in names}
    return Counts(**sums, balanced=all(found.balanced for found in objects))


def top_errors(connection: Connection, run: str) -> list[ErrorCount]:
    """The most frequent reasons, each with the line of its first row."""
    return [
        ErrorCount(object=name, code=code, column=column[:200], rows=rows, line=line)
        for name, code, column, rows, line in connection.execute(_TOP_ERRORS, (run,))
    ]


def open_mappings(connection: Connection, run: str) -> list[OpenMapping]:
    """Values that no `map` knows, the most frequent first: somebody has to say what they mean."""
    return [
        OpenMapping(object=name, column=column[:200], value=value, rows=rows)
        for name, column, value, rows in connection.execute(_OPEN_MAPPINGS, (run, MAX_OPEN_MAPPINGS))
    ]


def run_result(connection: Connection, run: str) -> dict[str, Any]:
    """What the ledger says of the run, in the form that status and certificate take."""
    objects = count_objects(connection, run)
    return {
        "counts": add_up(objects).to_manifest(),
        "objects": [found.to_manifest() for found in objects],
        "topErrors": [found.to_manifest() for found in top_errors(connection, run)],
        "openMappings": [found.to_manifest() for found in open_mappings(connection, run)],
        "checks": [],
    }
