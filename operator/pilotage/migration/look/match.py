"""Which column of the file may be meant for which column of the target, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any, Final

from pilotage.api.v1alpha1.migrationjob import FieldType
from pilotage.migration.conversion import Column
from pilotage.migration.database import Connection, read_columns
from pilotage.migration.look.names import identifier
from pilotage.migration.look.profile import ColumnProfile

SURE: Final = 0.9
LIKELY: Final = 0.7
_WORTH_SAYING: Final = 0.55
_SIMILAR: Final = 0.7

_CATALOGUE: Final = """
select a.attname, coalesce(col_description(a.attrelid, a.attnum), '') from pg_attribute a
 where a.attrelid = to_regclass(%s) and a.attnum > 0 and not a.attisdropped
"""
_KEYS: Final = """
select array(select a.attname::text from pg_attribute a where a.attrelid = i.indrelid and a.attnum = any(i.indkey)
              order by array_position(i.indkey::int2[], a.attnum))
  from pg_index i where i.indrelid = to_regclass(%s) and i.indisunique and i.indpred is null and i.indexprs is null
 order by i.indisprimary desc, i.indnatts
"""
_WIDENS: Final = {
    (FieldType.INTEGER, FieldType.DECIMAL),
    (FieldType.DATE, FieldType.TIMESTAMP),
    (FieldType.INTEGER, FieldType.BOOLEAN),
}


@dataclass(frozen=True)
class Target:
    """A table of the target: its columns, their comments, and the sets of columns that identify a row."""

    schema: str
    table: str
    columns: Mapping[str, Column]
    comments: Mapping[str, str] = field(default_factory=dict)
    keys: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class Match:
    """A column of the target, a score from 0 to 1, and why."""

    to: str
    score: float
    why: str

    @property
    def confidence(self) -> str:
        """The score in a word."""
        return "sure" if self.score >= SURE else "likely" if self.score >= LIKELY else "a guess"


def read_target(connection: Connection, schema: str, table: str) -> Target:
    """The table as the catalogue describes it; nothing is written. Raises Halt when it is not there."""
    name = f'"{schema}"."{table}"'
    columns = read_columns(connection, schema, table)
    comments: list[Any] = connection.execute(_CATALOGUE, (name,)).fetchall()
    keys = [list(found) for (found,) in connection.execute(_KEYS, (name,))]
    return Target(schema, table, columns, dict(comments), keys)


def match_columns(profiles: Sequence[ColumnProfile], target: Target) -> dict[int, Match]:
    """The best match of each column of the file by position, each column of the target given once, best first."""
    scored = [
        (score, profile.position, name, why)
        for profile in profiles
        for name in target.columns
        if profile.name
        for score, why in (_score(profile, target, name),)
        if score >= _WORTH_SAYING
    ]
    found: dict[int, Match] = {}
    given: set[str] = set()
    for score, position, name, why in sorted(scored, key=lambda one: (-one[0], one[1], one[2])):
        if position not in found and name not in given:
            found[position] = Match(name, score, why)
            given.add(name)
    return found


def _score(profile: ColumnProfile, target: Target, name: str) -> tuple[float, str]:
    likeness, why = _likeness(profile.name, name, target.comments.get(name, ""))
    fit, doubt = fits(profile, target.columns[name])
    return round(likeness * fit, 2), ", ".join(filter(None, (why, doubt)))


def _likeness(header: str, name: str, comment: str) -> tuple[float, str]:
    if header.lower() == name:
        return 1.0, "same name"
    if comment and header == comment.strip():
        return 0.95, "the column's comment"
    translated = identifier(header)
    if translated is None:
        return 0.0, ""
    if translated == name:
        return 0.9, "same words"
    mine, theirs = set(translated.split("_")), set(name.split("_"))
    if mine <= theirs or theirs <= mine:
        return 0.75, "shared words"
    ratio = SequenceMatcher(None, translated, name).ratio()
    return (ratio * 0.8, "similar name") if ratio >= _SIMILAR else (0.0, "")


def fits(profile: ColumnProfile, column: Column) -> tuple[float, str]:
    """How well the values go into the column, 0 to 1, and what speaks against it."""
    wanted, mine = column.field_type, profile.type
    if wanted is None:
        return 0.0, f"{column.sql_type} is not supported"
    if wanted is FieldType.STRING:
        if column.max_length is not None and profile.max_length > column.max_length:
            return 0.9, f"up to {profile.max_length} characters, the column takes {column.max_length}"
        return 1.0, ""
    if not profile.filled or wanted is mine or (mine, wanted) in _WIDENS:
        return 1.0, ""
    strays = profile.strays(wanted)
    if strays < profile.filled:
        return 0.8, f"{strays} of {profile.filled} values are not {wanted}"
    return 0.6, f"no value is {wanted}"
