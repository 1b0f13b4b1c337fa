"""The whole export: three files in GB18030, and planted.json with what is wrong in them and what a load must count."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from e2e.data.materials import PURCHASE_PRICE, make_materials
from e2e.data.parties import CODE, NAME, Parties, make_parties
from e2e.data.records import Defect, LegacyFile, Row
from e2e.data.vocabulary import Choices

SEED = 20_260_117
ENCODING = "GB18030"
# No character of GB18030 begins with this byte.
WRONG_BYTE = b"\xff"
MINIMUM_CUSTOMERS = 4_000
# Of the firms, how many the old system knows as suppliers, and how many of these are customers as well.
SUPPLIERS = 3_000
BOTH = 800
MATERIALS = 5_000
# Rows whose loss is planted, with the code under which the engine must report them.
LOST = {
    Defect.EMPTY_REQUIRED: "E_NULL",
    Defect.WRONG_BYTES: "E_ENCODING",
    Defect.UNKNOWN_ENUM: "E_MAPPING",
}


@dataclass(frozen=True)
class Export:
    """The files and what is known of them."""

    parties: Parties
    materials: LegacyFile

    @property
    def files(self) -> tuple[LegacyFile, ...]:
        return self.parties.customers, self.parties.suppliers, self.materials


def make_export(customers: int) -> Export:
    """The export with that many different customers; the same arguments give the same export.

    Raises ValueError below 4,000 customers, where the defects would crowd out the data.
    """
    if customers < MINIMUM_CUSTOMERS:
        message = f"the export needs at least {MINIMUM_CUSTOMERS} customers"
        raise ValueError(message)
    choices = Choices(SEED)
    parties = make_parties(customers, SUPPLIERS, BOTH, choices)
    return Export(parties, make_materials(MATERIALS, parties.usable_suppliers, choices))


def file_bytes(file: LegacyFile) -> bytes:
    """The file as the old system writes it: GB18030, lines end in CR LF, fields are quoted where they must be."""
    return b"".join((csv_line(file.columns), *(row_bytes(row) for row in file.rows)))


def row_bytes(row: Row) -> bytes:
    if row.broken is None:
        return csv_line(row.values)
    before, after = row.values[: row.broken], row.values[row.broken + 1 :]
    broken = row.values[row.broken].encode(ENCODING)
    middle = broken[:4] + WRONG_BYTE + broken[4:]
    return b"".join((fields_bytes(before), b",", middle, b",", csv_line(after)))


def csv_line(values: Iterable[str]) -> bytes:
    return fields_bytes(values) + b"\r\n"


def fields_bytes(values: Iterable[str]) -> bytes:
    return ",".join(quoted(value) for value in values).encode(ENCODING)


def quoted(value: str) -> str:
    if any(letter in value for letter in ',"\r\n'):
        return '"' + value.replace('"', '""') + '"'
    return value


def planted(export: Export) -> dict[str, object]:
    """What planted.json says: defects for each file and kind, and the counts that each object's load must give."""
    return {
        "seed": SEED,
        "files": {
            file.name: {
                "rows": len(file.rows),
                "defects": {kind.value: file.planted(kind) for kind in Defect if file.planted(kind)},
            }
            for file in export.files
        },
        "firmsInBothFiles": export.parties.both,
        "expected": expected_counts(export),
        "controlTotals": {"supply-prices.unit_price": str(purchase_total(export.materials))},
        "samples": samples(export),
    }


def expected_counts(export: Export) -> dict[str, dict[str, object]]:
    """Counts of the engine by object, as e2e/demo's migration jobs name them."""
    customers, suppliers, materials = export.files
    direct = {LOST[kind]: materials.planted(kind) for kind in LOST}
    # A row whose template was not loaded is refused by everything that refers to the template.
    without_template = materials.planted(Defect.EMPTY_REQUIRED) + materials.planted(Defect.UNKNOWN_ENUM)
    unreadable = {"E_ENCODING": materials.planted(Defect.WRONG_BYTES)}
    orphans = materials.planted(Defect.ORPHAN)
    return {
        "customers": counts(customers, quarantine(customers)),
        "suppliers": counts(suppliers, quarantine(suppliers), kept=export.parties.both),
        "materials": counts(materials, direct),
        "items": counts(materials, unreadable | {"E_FK": without_template}),
        "supplies": counts(materials, unreadable | {"E_FK": without_template + orphans}),
        "supply-prices": counts(materials, unreadable | {"E_FK": without_template + orphans}),
    }


def quarantine(file: LegacyFile) -> dict[str, int]:
    return {LOST[kind]: file.planted(kind) for kind in LOST}


def counts(file: LegacyFile, by_code: dict[str, int], kept: int = 0) -> dict[str, object]:
    duplicates = file.planted(Defect.OLDER_DUPLICATE)
    lost = sum(by_code.values())
    return {
        "read": len(file.rows),
        "loaded": len(file.rows) - duplicates - lost - kept,
        "kept": kept,
        "duplicates": duplicates,
        "quarantined": lost,
        "quarantinedByCode": by_code,
    }


def purchase_total(materials: LegacyFile) -> Decimal:
    """Sum of the purchase prices of the rows that are loaded, in yuan."""
    lost = {*LOST, Defect.ORPHAN, Defect.OLDER_DUPLICATE}
    return sum((Decimal(row.values[PURCHASE_PRICE]) for row in materials.rows if row.defect not in lost), Decimal(0))


def samples(export: Export) -> list[dict[str, str]]:
    """Firms to look up by code in the new system, with the name that each must have there and why it was chosen."""
    customers, suppliers = export.parties.customers, export.parties.suppliers
    chosen = [sample(customers.rows, kind, kind.value) for kind in (Defect.FULL_WIDTH, Defect.RARE_CHARACTER)]
    old = next(row for row in customers.rows if row.defect is Defect.OLDER_DUPLICATE)
    renamed = next(row for row in customers.rows if row.values[CODE] == old.values[CODE] and row is not old)
    merged = next(row for row in suppliers.rows if row.defect is Defect.FULL_WIDTH)
    return [
        *chosen,
        named(renamed, "newestDuplicate"),
        named(merged, "customerAndSupplier"),
        sample(suppliers.rows, Defect.RARE_CHARACTER, "supplierRareCharacter"),
    ]


def sample(rows: Iterable[Row], defect: Defect, reason: str) -> dict[str, str]:
    return named(next(row for row in rows if row.defect is defect), reason)


def named(row: Row, reason: str) -> dict[str, str]:
    half_width = str.maketrans("０１２３４５６７８９", "0123456789")
    return {"code": row.values[CODE].translate(half_width), "name": row.values[NAME], "reason": reason}


def generator_digest() -> str:
    """Names this generator: two with the same digest write the same bytes."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def write_export(export: Export, directory: Path) -> list[Path]:
    """Write the files and planted.json; each appears whole or not at all, planted.json last."""
    directory.mkdir(parents=True, exist_ok=True)
    contents = {file.name: file_bytes(file) for file in export.files}
    contents["planted.json"] = (json.dumps(planted(export), ensure_ascii=False, indent=2) + "\n").encode()
    written = []
    for name, content in contents.items():
        draft = directory / f".{name}.draft"
        draft.write_bytes(content)
        written.append(draft.replace(directory / name))
    return written
