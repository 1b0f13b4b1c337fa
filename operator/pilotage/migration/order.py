"""The order in which objects are merged: whoever is referred to comes first.

Where that goes in a circle, a column that may be empty is filled when all objects are merged, or a constraint that may
be deferred is: an employee has a department, and the department is led by an employee.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from pilotage.api.v1alpha1.migrationjob import MigrationObject
from pilotage.migration.conversion import Column
from pilotage.migration.database import Connection
from pilotage.migration.errors import Halt

_FOREIGN_KEYS: Final = """
select r.relname, c.condeferrable,
       array(select attname::text from unnest(c.conkey) with ordinality k (number, place)
             join pg_attribute on attrelid = c.conrelid and attnum = number order by place),
       array(select attname::text from unnest(c.confkey) with ordinality k (number, place)
             join pg_attribute on attrelid = c.confrelid and attnum = number order by place)
  from pg_constraint c join pg_class r on r.oid = c.confrelid join pg_class o on o.oid = c.conrelid
 where c.conrelid = %s::regclass and c.contype = 'f' and r.relnamespace = o.relnamespace order by c.conname
"""


@dataclass(frozen=True)
class Late:
    """A column that is filled when all objects are merged.

    Its values lead to rows by the field's reference or, where `table` is given, are themselves those of its column
    `match`.
    """

    column: str
    table: str = ""
    match: str = ""


@dataclass(frozen=True)
class Tie:
    """Rows of `child` lead to rows of `parent`, which is to come first. Without `late` and `deferrable` it must."""

    child: str
    parent: str
    columns: tuple[str, ...] = ()
    late: Late | None = None
    deferrable: bool = False


@dataclass(frozen=True)
class Order:
    """Names of the objects in order, what is filled after them, and columns whose constraints are deferred."""

    objects: Sequence[str]
    late: Mapping[str, Sequence[Late]] = field(default_factory=dict)
    deferred: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """The form in which ledger and certificate have it."""
        late = [f"{name}.{one.column}" for name, found in self.late.items() for one in found]
        return {"objects": list(self.objects), "filledAfterwards": late, "deferred": list(self.deferred)}


def late_from_json(found: Mapping[str, str]) -> Late:
    """A late column out of the ledger."""
    return Late(**found)


def late_to_json(late: Sequence[Late]) -> list[dict[str, str]]:
    """Late columns as the ledger keeps them."""
    return [asdict(one) for one in late]


def read_ties(
    connection: Connection,
    schema: str,
    objects: Sequence[MigrationObject],
    columns: Mapping[str, Mapping[str, Column]],
) -> list[Tie]:
    """What ties objects to one another: their references, and foreign keys of the tables that they fill."""
    ties = []
    by_table: dict[str, list[str]] = {}
    for found in objects:
        # Objects that fill one table do so in the order of the spec: the conflict policy of the later one decides.
        ties += [Tie(found.name, earlier) for earlier in by_table.get(found.to, ())]
        by_table.setdefault(found.to, []).append(found.name)
    for found in objects:
        filled = {one.to: one for one in found.fields}
        for one in found.fields:
            if one.reference and one.reference.object:
                late = Late(one.to) if _may_be_late(found, columns[found.name][one.to]) else None
                ties.append(Tie(found.name, one.reference.object, (one.to,), late))
        for table, deferrable, mine, theirs in connection.execute(_FOREIGN_KEYS, (f'"{schema}"."{found.to}"',)):
            # A reference says by itself where it leads: to a row of an object, above, or to one that is there already.
            if any(name not in filled or filled[name].reference for name in mine):
                continue
            late = None
            if len(mine) == 1 and _may_be_late(found, columns[found.name][mine[0]]):
                late = Late(mine[0], table, theirs[0])
            # Values of a row's own table that one statement writes are looked at when it ends.
            parents = [parent for parent in by_table.get(table, ()) if late or parent != found.name]
            ties += [Tie(found.name, parent, tuple(mine), late, deferrable) for parent in parents]
    return ties


def _may_be_late(found: MigrationObject, column: Column) -> bool:
    return not column.not_null and column.name not in {*found.key, found.on_conflict.column}


def arrange(names: Sequence[str], ties: Sequence[Tie]) -> Order:
    """Parents first, else as in the spec. Raises Halt where a circle cannot be opened."""
    order: list[str] = []
    broken: list[Tie] = []
    rest = list(names)
    while rest:
        unmet = {name: [tie for tie in ties if tie.child == name and tie.parent in rest] for name in rest}
        waits = {name: {tie.parent for tie in found} - {name} for name, found in unmet.items()}
        chosen = next((name for name in rest if not waits[name]), None)
        if chosen is None:
            circle = _circle(rest, waits)
            chosen = next((name for name in circle if all(_breakable(tie) for tie in unmet[name])), None)
            if chosen is None:
                raise _unbreakable([tie for name in circle for tie in unmet[name] if not _breakable(tie)])
        elif hard := [tie for tie in unmet[chosen] if not _breakable(tie)]:
            raise _unbreakable(hard)
        broken += unmet[chosen]
        order.append(chosen)
        rest.remove(chosen)
    late: dict[str, list[Late]] = {}
    for tie in broken:
        if tie.late and tie.late.column not in {one.column for one in late.get(tie.child, ())}:
            late.setdefault(tie.child, []).append(tie.late)
    deferred = {f"{tie.child}.{column}" for tie in broken if not tie.late for column in tie.columns}
    return Order(order, late, sorted(deferred))


def _breakable(tie: Tie) -> bool:
    return tie.late is not None or tie.deferrable


def _circle(rest: Sequence[str], waits: Mapping[str, set[str]]) -> list[str]:
    """Objects that wait for one another and for nobody else."""
    reached = {name: set(found) for name, found in waits.items()}
    for _ in rest:
        for found in reached.values():
            found |= {further for name in found for further in reached[name]}
    return next(
        [name for name in rest if name in reached[start]]
        for start in rest
        if all(start in reached[name] for name in reached[start])
    )


def _unbreakable(ties: Sequence[Tie]) -> Halt:
    columns = ", ".join(sorted({f"{tie.child}.{column}" for tie in ties for column in tie.columns}))
    return Halt(
        "CircularReferences",
        f"objects {', '.join(sorted({tie.child for tie in ties}))} refer to one another or to themselves, and none can "
        f"come first: let one of the columns {columns} be empty, so that it is filled afterwards, or make its foreign "
        "key deferrable",
    )
