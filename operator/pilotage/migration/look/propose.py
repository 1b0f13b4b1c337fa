"""A proposal how to load the file: a MigrationJob that is valid as it is, and the table that it would fill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from pilotage.api.v1alpha1.common import API_VERSION
from pilotage.api.v1alpha1.migrationjob import MAX_FIELDS, Encoding, FieldType, Transform
from pilotage.migration.look.defects import Defect
from pilotage.migration.look.match import Match, Target, match_columns
from pilotage.migration.look.names import distinct_identifiers, identifier, label
from pilotage.migration.look.profile import ColumnProfile, TableProfile

MAX_HEADER: Final = 200
MAX_TOTALS: Final = 4
CONNECTION: Final = "erp-db"
_SQL_TYPES: Final = {
    FieldType.STRING: "text",
    FieldType.INTEGER: "bigint",
    FieldType.DECIMAL: "numeric",
    FieldType.BOOLEAN: "boolean",
    FieldType.DATE: "date",
    FieldType.TIMESTAMP: "timestamp",
}


@dataclass(frozen=True)
class ProposedField:
    """A column of the file for a column of the target; `match` is None where there is no target to compare with."""

    column: ColumnProfile
    to: str
    type: FieldType
    match: Match | None = None

    def to_manifest(self) -> dict[str, Any]:
        """The field as a MigrationJob writes it."""
        found: dict[str, Any] = {"to": self.to, "from": self.column.name}
        steps = [Transform.TRIM] if self.column.untrimmed else []
        steps += [Transform.HALFWIDTH] if self.column.fullwidth else []
        if steps:
            found["transform"] = [step.value for step in steps]
        if self.type is not FieldType.STRING:
            found["type"] = self.type.value
        return found


@dataclass(frozen=True)
class Proposal:
    """What to load and how. `notes` say what a person has to decide."""

    file: str
    encoding: Encoding
    delimiter: str
    schema: str
    table: str
    fields: Sequence[ProposedField]
    key: Sequence[str]
    unique: bool
    budget: int
    notes: Sequence[str]

    def to_manifest(self) -> dict[str, Any]:
        """The MigrationJob."""
        name = label(self.file.rpartition(".")[0], self.table)
        found: dict[str, Any] = {
            "name": name,
            "from": {"file": self.file},
            "to": self.table,
            "key": list(self.key),
            "fields": [field.to_manifest() for field in self.fields],
        }
        if not self.unique:
            found["sourceDuplicates"] = {"policy": "QuarantineAll"}
        sums = [field.to for field in self.fields if field.type is FieldType.DECIMAL][:MAX_TOTALS]
        return {
            "apiVersion": API_VERSION,
            "kind": "MigrationJob",
            "metadata": {"name": name},
            "spec": {
                "implementationRef": {"name": "erp"},
                "module": "core",
                "source": {
                    "volume": {"claimName": "legacy-export"},
                    "encoding": self.encoding.value,
                    "delimiter": self.delimiter,
                },
                "target": {"connection": CONNECTION, "schema": self.schema},
                "errorBudget": {"rows": self.budget},
                "objects": [found],
                "reconcile": [
                    {"name": f"{name}-rows"[:63].strip("-"), "object": name, "type": "RowCount"},
                    *(
                        {"name": f"total-{number}", "object": name, "type": "ControlTotal", "field": field}
                        for number, field in enumerate(sums, start=1)
                    ),
                    {"name": f"{name}-stored"[:63].strip("-"), "object": name, "type": "Checksum"},
                ],
            },
        }

    def to_sql(self) -> str:
        """A statement that makes the table which the proposal fills."""
        lines = [f'  "{field.to}" {_SQL_TYPES[field.type]}' for field in self.fields]
        names = ", ".join(f'"{column}"' for column in self.key)
        return (
            f'create table "{self.schema}"."{self.table}" (\n'
            + ",\n".join([*lines, f"  primary key ({names})"])
            + "\n);\n"
        )


def propose(
    profile: TableProfile,
    defects: Sequence[Defect],
    *,
    file: str,
    encoding: Encoding,
    delimiter: str,
    share: float,
    target: Target | None = None,
    schema: str = "public",
    table: str | None = None,
) -> Proposal | None:
    """Propose a mapping; None when no column can be mapped. `share` is the part of the rows that was looked at."""
    usable, notes = _usable(profile.columns)
    if target:
        fields, more = _matched(usable, target)
        notes += more
    else:
        names = distinct_identifiers(column.name for column in usable)
        fields = [ProposedField(column, to, column.type) for column, to in zip(usable, names, strict=True)]
    if len(fields) > MAX_FIELDS:
        notes.append(f"only the first {MAX_FIELDS} columns are mapped: an object takes no more")
        fields = fields[:MAX_FIELDS]
    if not fields:
        return None
    key, unique, said = _key(profile, fields, target)
    if unique and share < 1:
        unique = False
        said = [
            f"{', '.join(key)} is unique in the rows that were looked at; if not in all, those go to the quarantine"
        ]
    notes += said
    budget = ceil(_lost(defects) / share) if share else 0
    if share < 1:
        # Rare faults are found by luck: a run that stops at the first one missed would help nobody.
        budget = 2 * budget + 10
        notes.append(f"errorBudget.rows {budget} is an estimate from {share:.0%} of the rows")
    return Proposal(
        file=file,
        encoding=encoding,
        delimiter=delimiter,
        schema=schema,
        table=table or identifier(file.rpartition(".")[0]) or "legacy",
        fields=fields,
        key=key,
        unique=unique,
        budget=budget,
        notes=notes,
    )


def _lost(defects: Sequence[Defect]) -> int:
    """Rows that these defects put into the quarantine, at most; a value that occurs twice costs both rows."""
    return sum(
        defect.count * (2 if defect.code == "E_DUP_SOURCE" else 1) for defect in defects if defect.code.startswith("E_")
    )


def _usable(columns: Sequence[ColumnProfile]) -> tuple[list[ColumnProfile], list[str]]:
    names = Counter(column.name for column in columns)
    usable = [column for column in columns if names[column.name] == 1 and 0 < len(column.name) <= MAX_HEADER]
    left = len(columns) - len(usable)
    return usable, [f"{left} columns without a name of their own are left out"] if left else []


def _matched(columns: Sequence[ColumnProfile], target: Target) -> tuple[list[ProposedField], list[str]]:
    matches = match_columns(columns, target)
    fields, notes = [], []
    for column in columns:
        if match := matches.get(column.position):
            taken = target.columns[match.to].field_type or FieldType.STRING
            fields.append(ProposedField(column, match.to, taken, match))
    if lost := [column.name for column in columns if column.position not in matches]:
        notes.append(f"no column of {target.table} was found for: {', '.join(lost[:20])}")
    filled = {field.to for field in fields}
    for name, wanted in target.columns.items():
        if name not in filled and wanted.not_null and not wanted.has_default:
            notes.append(
                f"{target.table}.{name} must not be empty and nothing fills it: add a field with from or value"
            )
    return fields, notes


def _key(
    profile: TableProfile, fields: Sequence[ProposedField], target: Target | None
) -> tuple[list[str], bool, list[str]]:
    by_target = {field.to: field for field in fields}
    for names in target.keys if target else ():
        if names and all(name in by_target for name in names):
            alone = len(names) == 1 and by_target[names[0]].column.unique
            return list(names), alone, []
    mapped = {field.column.position: field.to for field in fields}
    found = profile.key()
    if found and all(column.position in mapped for column in found):
        names = [mapped[column.position] for column in found]
        if len(found) > 1:
            return (
                names,
                False,
                [f"{' and '.join(names)} identify the first rows together: check whether they always do"],
            )
        if found[0].unique:
            return names, True, []
        return names, False, [f"{names[0]} looks like the key, but values occur twice: those rows go to the quarantine"]
    return (
        [fields[0].to],
        False,
        [f"no column identifies a row: {fields[0].to} stands in as the key, choose a better one"],
    )
