"""Cleaning of texts: what each transform makes of one text. Whatever it does not understand it leaves alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from pilotage.api.v1alpha1.migrationjob import Transform

HALFWIDTH: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_MONEY: Final = re.compile(
    r"[¥￥]?(-?)([0-9]{1,3}(?:,[0-9]{3}){1,5}|[0-9]{1,18})(\.[0-9]{1,8})?(元|百元|千元|万元|万|百万元|亿元|亿)?整?"
)
_UNITS: Final = {
    "": 0, "元": 0, "百元": 2, "千元": 3, "万元": 4, "万": 4, "百万元": 6, "亿元": 8, "亿": 8,
}  # fmt: skip
_MOBILE: Final = re.compile(r"(?:(?:\+|00)?86)?(1[0-9]{10})")
_MOBILE_IDLE: Final = str.maketrans("", "", " -\u3000()（）\t")
_OLD_ID: Final = re.compile(r"[0-9]{15}")
_NEW_ID: Final = re.compile(r"[0-9]{17}x")
_ID_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def money(text: str) -> str:
    """The amount in yuan: without currency sign and thousands separators, units such as 万元 multiplied out."""
    found = _MONEY.fullmatch(text)
    if not found:
        return text
    sign, whole, fraction, unit = (part or "" for part in found.groups())
    amount = whole.replace(",", "") + fraction
    return sign + (format(Decimal(amount).scaleb(_UNITS[unit]), "f") if _UNITS[unit] else amount)


def mobile(text: str) -> str:
    """A mobile number of eleven digits, without separators and the country's code."""
    found = _MOBILE.fullmatch(text.translate(_MOBILE_IDLE))
    return found[1] if found else text


def id_number(text: str) -> str:
    """An identity number of 18 characters: of the 15 digits given out before 1999 too, and with a capital X."""
    if _NEW_ID.fullmatch(text):
        return text.upper()
    if not _OLD_ID.fullmatch(text):
        return text
    digits = f"{text[:6]}19{text[6:]}"
    weighted = sum(int(digit) * weight for digit, weight in zip(digits, _ID_WEIGHTS, strict=True))
    return digits + "10X98765432"[weighted % 11]


CLEANERS: Final[dict[Transform, Callable[[str], str]]] = {
    Transform.TRIM: str.strip,
    Transform.HALFWIDTH: lambda text: text.translate(HALFWIDTH),
    Transform.UPPER: str.upper,
    Transform.LOWER: str.lower,
    Transform.MONEY: money,
    Transform.MOBILE: mobile,
    Transform.ID_NUMBER: id_number,
}
