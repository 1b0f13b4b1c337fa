"""物料.csv: what the firm trades in, each with the supplier it is bought from and two prices."""

from __future__ import annotations

from e2e.data.credit_code import credit_code
from e2e.data.records import MATERIAL_DEFECTS, Defect, LegacyFile, Row, full_width, insert_rows, place_defects
from e2e.data.vocabulary import GOODS, MATERIALS, RARE_CHARACTERS, UNITS, Choices

COLUMNS = ("WLBM", "WLMC", "GGXH", "DW", "LB", "LSJ", "CGJ", "GYSDM", "GYSWLBM", "XGRQ")
CODE, NAME, KIND, PURCHASE_PRICE, SUPPLIER, CHANGED = 0, 1, 4, 6, 7, 9
# A code of nobody: firms of the export have serials far below.
NOBODY = 90_000_000


def material_row(number: int, defect: Defect | None, suppliers: tuple[str, ...], choices: Choices) -> Row:
    """The line of a material with what is planted in it."""
    size = f"M{4 + choices.below(40)}×{10 + choices.below(400)}"
    rare = RARE_CHARACTERS[number % len(RARE_CHARACTERS)] if defect is Defect.RARE_CHARACTER else ""
    purchase = 100 + choices.below(99_900)
    values = [
        f"WL{number:06d}",
        f"{choices.one(MATERIALS)}{choices.one(GOODS)}{rare}",
        size,
        choices.one(UNITS),
        "商品",
        money(purchase * 13 // 10),
        money(purchase),
        choices.one(suppliers),
        f"S{number:07d}",
        f"20{10 + choices.below(15)}{1 + choices.below(12):02d}{1 + choices.below(28):02d}",
    ]
    match defect:
        case Defect.EMPTY_REQUIRED:
            values[NAME] = ""
        case Defect.FULL_WIDTH:
            values[CODE] = full_width(values[CODE])
        case Defect.UNKNOWN_ENUM:
            values[KIND] = choices.one(("未分类", "X"))
        case Defect.QUOTES:
            values[NAME] += '"出口型", 加厚'
        case Defect.ORPHAN:
            values[SUPPLIER] = credit_code("990000", NOBODY + number)
    return Row(tuple(values), defect, NAME if defect is Defect.WRONG_BYTES else None)


def money(fen: int) -> str:
    """An amount of fen as yuan with two decimals."""
    return f"{fen // 100}.{fen % 100:02d}"


def older(row: Row) -> Row:
    """The same material at the price of years before."""
    values = list(row.values)
    values[PURCHASE_PRICE] = "0.01"
    values[CHANGED] = f"2009{values[CHANGED][4:]}"
    return Row(tuple(values), Defect.OLDER_DUPLICATE)


def make_materials(count: int, suppliers: tuple[str, ...], choices: Choices) -> LegacyFile:
    """`count` different materials, and the older lines of some of them."""
    defects = place_defects(MATERIAL_DEFECTS, range(count), choices)
    rows, duplicates = [], []
    for number in range(count):
        kind = defects.get(number)
        if kind is Defect.OLDER_DUPLICATE:
            rows.append(material_row(number, None, suppliers, choices))
            duplicates.append(older(rows[-1]))
        else:
            rows.append(material_row(number, kind, suppliers, choices))
    return LegacyFile("物料.csv", COLUMNS, insert_rows(rows, duplicates, choices))
