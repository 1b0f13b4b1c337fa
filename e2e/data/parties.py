"""客户.csv and 供应商.csv: firms of the old system; some are in both, under one unified social credit code."""

from __future__ import annotations

from dataclasses import dataclass

from e2e.data.credit_code import credit_code
from e2e.data.records import (
    CUSTOMER_DEFECTS,
    SUPPLIER_DEFECTS,
    Defect,
    LegacyFile,
    Row,
    full_width,
    insert_rows,
    place_defects,
)
from e2e.data.vocabulary import (
    BRAND_FIRST,
    BRAND_SECOND,
    CITIES,
    GIVEN_NAMES,
    RARE_CHARACTERS,
    STREETS,
    SURNAMES,
    TRADES,
    Choices,
)

CUSTOMER_COLUMNS = ("KHBM", "KHMC", "TYXYDM", "LXR", "LXDH", "DZ", "ZT", "XGRQ")
SUPPLIER_COLUMNS = ("GYSBM", "GYSMC", "TYXYDM", "LXR", "LXDH", "DZ", "ZT", "XGRQ")
NAME, CODE, ADDRESS, STATE, CHANGED = 1, 2, 5, 6, 7


@dataclass(frozen=True)
class Firm:
    """A firm under the name that it bears in the register."""

    serial: int
    city: str
    name: str
    code: str


def firm(serial: int, rare: str = "") -> Firm:
    """The firm of that number; different numbers below 500,000 give different names and codes."""
    combinations = len(BRAND_FIRST) * len(BRAND_SECOND) * len(TRADES) * len(CITIES)
    # A factor that shares no divisor with the number of combinations walks through all of them before it repeats.
    mixed = serial * 7_368_787 % combinations
    mixed, city = divmod(mixed, len(CITIES))
    mixed, trade = divmod(mixed, len(TRADES))
    first, second = divmod(mixed, len(BRAND_SECOND))
    region, place = CITIES[city]
    name = f"{place}{BRAND_FIRST[first]}{BRAND_SECOND[second]}{rare}{TRADES[trade]}有限公司"
    return Firm(serial, place, name, credit_code(region, serial))


def values_of(party: Firm, legacy_code: str, choices: Choices) -> list[str]:
    contact = choices.one(SURNAMES) + choices.one(GIVEN_NAMES)
    telephone = f"1{choices.one('3578')}{choices.below(10**9):09d}"
    address = f"{party.city}市{choices.one(STREETS)}{1 + choices.below(999)}号"
    changed = f"20{10 + choices.below(15)}{1 + choices.below(12):02d}{1 + choices.below(28):02d}"
    return [legacy_code, party.name, party.code, contact, telephone, address, "正常", changed]


def party_row(party: Firm, legacy_code: str, defect: Defect | None, choices: Choices) -> Row:
    """The line of a firm with what is planted in it."""
    values = values_of(party, legacy_code, choices)
    match defect:
        case Defect.EMPTY_REQUIRED:
            values[NAME] = choices.one(("", "  ", "\u3000"))
        case Defect.FULL_WIDTH:
            values[CODE] = full_width(values[CODE])
        case Defect.UNKNOWN_ENUM:
            values[STATE] = choices.one(("待定", "9", "??"))
        case Defect.INACTIVE:
            values[STATE] = "停用"
        case Defect.QUOTES:
            values[ADDRESS] += '"老厂区", 东门'
        case Defect.LINE_BREAK:
            values[ADDRESS] += "\n二楼, 仓库旁"
    return Row(tuple(values), defect, NAME if defect is Defect.WRONG_BYTES else None)


def older(row: Row) -> Row:
    """The same firm as it was entered years before, under the name of that time."""
    values = list(row.values)
    values[NAME] = values[NAME].replace("有限公司", "经营部")
    values[CHANGED] = f"2009{values[CHANGED][4:]}"
    return Row(tuple(values), Defect.OLDER_DUPLICATE)


@dataclass(frozen=True)
class Parties:
    """Both files, and the numbers of the firms that are in both or may be referred to."""

    customers: LegacyFile
    suppliers: LegacyFile
    both: int
    usable_suppliers: tuple[str, ...]


def make_file(
    name: str, columns: tuple[str, ...], serials: list[int], defects: dict[int, Defect], prefix: str, choices: Choices
) -> LegacyFile:
    rows, duplicates = [], []
    for position, serial in enumerate(serials):
        kind = defects.get(serial)
        rare = RARE_CHARACTERS[serial % len(RARE_CHARACTERS)] if kind is Defect.RARE_CHARACTER else ""
        if kind is Defect.OLDER_DUPLICATE:
            rows.append(party_row(firm(serial), f"{prefix}{position + 1:06d}", None, choices))
            duplicates.append(older(rows[-1]))
        else:
            rows.append(party_row(firm(serial, rare), f"{prefix}{position + 1:06d}", kind, choices))
    return LegacyFile(name, columns, insert_rows(rows, duplicates, choices))


def make_parties(customer_count: int, supplier_count: int, both: int, choices: Choices) -> Parties:
    """Firms 0..customers are customers; the last `both` of them are suppliers too, and more firms follow.

    What is planted in 客户.csv spares the firms in both files, so that no defect there changes what is merged.
    Full-width codes in 供应商.csv fall on firms of both kinds: repaired, they must still find their customer.
    """
    customers = list(range(customer_count))
    only_customers = customers[: customer_count - both]
    suppliers = list(range(customer_count - both, customer_count - both + supplier_count))
    customer_defects = place_defects(CUSTOMER_DEFECTS, only_customers, choices)
    repairable = {Defect.FULL_WIDTH: SUPPLIER_DEFECTS[Defect.FULL_WIDTH]}
    others: dict[Defect, int] = {
        kind: count for kind, count in SUPPLIER_DEFECTS.items() if kind is not Defect.FULL_WIDTH
    }
    supplier_defects = place_defects(repairable, suppliers[:both], choices)
    supplier_defects |= place_defects(others, suppliers[both:], choices)
    lost = {Defect.EMPTY_REQUIRED, Defect.WRONG_BYTES, Defect.UNKNOWN_ENUM}
    usable = tuple(firm(serial).code for serial in suppliers if supplier_defects.get(serial) not in lost)
    return Parties(
        make_file("客户.csv", CUSTOMER_COLUMNS, customers, customer_defects, "KH", choices),
        make_file("供应商.csv", SUPPLIER_COLUMNS, suppliers, supplier_defects, "GYS", choices),
        both,
        usable,
    )
