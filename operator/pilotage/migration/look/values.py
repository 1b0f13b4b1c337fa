"""What one text of a legacy file looks like: its kind, and whatever is suspicious about it."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from operator import mul
from typing import Final, NamedTuple


class Kind(Enum):
    """What a trimmed, half-width text reads as."""

    # Members are counted for every value of a file: the default hash of an Enum is a call into Python.
    __hash__ = object.__hash__

    EMPTY = "empty"
    INTEGER = "integer"
    DECIMAL = "decimal"
    UNIT_NUMBER = "number with a unit"
    CODE = "digits that are no number"
    COMPACT_DATE = "date like 20240531"
    DATE = "date"
    BAD_DATE = "day that does not exist"
    TIMESTAMP = "moment"
    BOOLEAN = "yes or no"
    NULL_WORD = "word for empty"
    TEXT = "text"


NUMBERS: Final = frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.COMPACT_DATE})
DAYS: Final = frozenset({Kind.DATE, Kind.COMPACT_DATE})
_DATED_KINDS: Final = DAYS | {Kind.TIMESTAMP}
_WARNED_KINDS: Final = {Kind.UNIT_NUMBER: "W_UNIT", Kind.NULL_WORD: "W_NULL_WORD"}
MAX_INTEGER_DIGITS: Final = 18
_ENOUGH_FOR_MOJIBAKE: Final = 3

_HALFWIDTH: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_FULLWIDTH_SIGN: Final = re.compile("[\uff0d\uff0e\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\u3000]")
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]{1,38}\.[0-9]{0,38}|\.[0-9]{1,38})")
_DATE: Final = re.compile(r"([0-9]{4})(-|/|\.|年)([0-9]{1,2})(?:-|/|\.|月)([0-9]{1,2})(日?)")
_COMPACT_DATE: Final = re.compile(r"(?:19|20)[0-9]{6}")
_TIMESTAMP: Final = re.compile(r"[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?")
_SCIENTIFIC: Final = re.compile(r"[+-]?[0-9](?:\.[0-9]+)?[eE]\+?[0-9]{2,3}")
_UNIT_NUMBER: Final = re.compile(
    r"(?:[¥$€]\s*[+-]?[0-9][0-9,]*(?:\.[0-9]+)?"
    r"|[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?"
    r"|[+-]?[0-9][0-9,]*(?:\.[0-9]+)?\s*(?:万元|亿元|千元|万|亿|元|%))"
)
_WORDS: Final = {
    **dict.fromkeys(
        ("null", "none", "nil", "n/a", "#n/a", "na", "nan", "\\n", "无", "空", "-", "--", "/"), Kind.NULL_WORD
    ),
    **dict.fromkeys(("是", "否", "true", "false", "yes", "no", "y", "n", "t", "f"), Kind.BOOLEAN),
}
_PLACEHOLDER_DAYS: Final = frozenset({"1900-01-01", "1899-12-30", "1899-12-31", "9999-12-31", "0001-01-01"})
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\ufeff]")
_STARTS_OF_NUMBERS: Final = frozenset("0123456789+-.¥$€")
_LOOKED_AT: Final = 1000
_SCARS: Final = re.compile("锟斤拷|烫烫烫|屯屯屯|\ufffd")
_BEYOND_ASCII: Final = re.compile(rb"[\x80-\xff]+")
_CJK: Final = re.compile("[\u4e00-\u9fff]")
_RESIDENT: Final = re.compile(
    r"[1-9][0-9]{5}(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx]"
)
_CREDIT_SIGNS: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT_VALUES: Final = {sign: value for value, sign in enumerate(_CREDIT_SIGNS)}
_CREDIT_WEIGHTS: Final = [pow(3, index, 31) for index in range(17)]
_RESIDENT_WEIGHTS: Final = [pow(2, 17 - index, 11) for index in range(17)]
_CREDIT: Final = re.compile(rf"[159ANY][0-9A-HJ-NP-RT-UW-Y][0-9]{{6}}[{_CREDIT_SIGNS}]{{10}}")


class Inspected(NamedTuple):
    """One text: its kind, what it is after cleaning, what it is ordered by, and the codes of what is suspicious.

    `order` is an ISO text for days and moments, the cleaned text else. `form` is how a day is written, such as `年`.
    """

    kind: Kind
    cleaned: str
    order: str
    number: Decimal | None = None
    warnings: tuple[str, ...] = ()
    form: str = ""
    trimmed: bool = False


def inspect(text: str) -> Inspected:
    """What a text looks like."""
    plain = text.isascii()
    halfwidth = text if plain else text.translate(_HALFWIDTH)
    cleaned = halfwidth.strip()
    kind, order, form = _kind(cleaned)
    if kind is Kind.EMPTY:
        return Inspected(kind, "", "")
    number = Decimal(cleaned) if kind in NUMBERS else None
    warnings = _warnings(text, cleaned, kind, order)
    if not plain:
        warnings += _foreign_warnings(text, cleaned, kind)
    return Inspected(kind, cleaned, order, number, warnings, form, len(cleaned) != len(halfwidth))


def _warnings(text: str, cleaned: str, kind: Kind, order: str) -> tuple[str, ...]:
    warnings = [_WARNED_KINDS[kind]] if kind in _WARNED_KINDS else []
    if not text.isprintable() and _CONTROL.search(text):
        warnings.append("W_CONTROL")
    if order[:10] in _PLACEHOLDER_DAYS and kind in _DATED_KINDS:
        warnings.append("W_PLACEHOLDER_DATE")
    if kind is Kind.TEXT and _SCIENTIFIC.fullmatch(cleaned):
        warnings.append("W_SCIENTIFIC")
    if len(cleaned) == 18 and has_wrong_check_digit(cleaned.upper()):
        warnings.append("W_CHECK_DIGIT")
    return tuple(warnings)


def _foreign_warnings(text: str, cleaned: str, kind: Kind) -> tuple[str, ...]:
    warnings = []
    if _FULLWIDTH_SIGN.search(text) and (kind is not Kind.TEXT or _is_code(cleaned)):
        warnings.append("W_FULLWIDTH")
    if is_mojibake(text):
        warnings.append("W_MOJIBAKE")
    return tuple(warnings)


def _kind(text: str) -> tuple[Kind, str, str]:
    """Kind, what it is ordered by, and the form of a day."""
    if not text:
        return Kind.EMPTY, "", ""
    if text[0] not in _STARTS_OF_NUMBERS:
        return _WORDS.get(text.lower(), Kind.TEXT), text, ""
    if _INTEGER.fullmatch(text):
        return _digits(text)
    if _DECIMAL.fullmatch(text):
        return Kind.DECIMAL, text, ""
    if found := _DATE.fullmatch(text):
        year, form, month, number, _ = found.groups()
        day = _day(year, month, number)
        return (Kind.DATE, day, form) if day else (Kind.BAD_DATE, text, form)
    if _TIMESTAMP.fullmatch(text):
        return _moment(text)
    if _UNIT_NUMBER.fullmatch(text):
        return Kind.UNIT_NUMBER, text, ""
    return _WORDS.get(text.lower(), Kind.TEXT), text, ""


def _digits(text: str) -> tuple[Kind, str, str]:
    digits = text.lstrip("+-")
    if (digits[0] == "0" and len(digits) > 1) or len(digits) > MAX_INTEGER_DIGITS:
        return Kind.CODE, text, ""
    if _COMPACT_DATE.fullmatch(text) and (day := _day(text[:4], text[4:6], text[6:])):
        return Kind.COMPACT_DATE, day, "compact"
    return Kind.INTEGER, text, ""


def _moment(text: str) -> tuple[Kind, str, str]:
    try:
        return Kind.TIMESTAMP, datetime.fromisoformat(text.replace("/", "-")).isoformat(sep=" "), text[4]
    except ValueError:
        return Kind.BAD_DATE, text, ""


def _day(year: str, month: str, day: str) -> str | None:
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return None


def _is_code(cleaned: str) -> bool:
    return cleaned.isascii() and any(sign.isdigit() for sign in cleaned)


def has_wrong_check_digit(text: str) -> bool:
    """Whether an upper-case text of 18 characters has the shape of a resident's number (GB 11643) or of a unified
    social credit code (GB 32100), and its last character is not what the others give.
    """
    if _RESIDENT.fullmatch(text):
        total = sum(map(mul, map(int, text[:17]), _RESIDENT_WEIGHTS))
        return text[17] != "10X98765432"[total % 11]
    if _CREDIT.fullmatch(text):
        total = sum(map(mul, map(_CREDIT_VALUES.__getitem__, text[:17]), _CREDIT_WEIGHTS))
        return text[17] != _CREDIT_SIGNS[-total % 31]
    return False


def is_mojibake(text: str) -> bool:
    """Whether a text that is not ASCII was read in a wrong encoding before it reached this file.

    True for the scars that such readings leave, and for a text that turns into Chinese when the reading is undone.
    """
    start = text[:_LOOKED_AT]
    if _SCARS.search(start):
        return True
    if max(start) <= "\xff":
        raw = start.encode("latin-1")
        return _reads_as_chinese(raw, "utf-8") or (_in_pairs(raw) and _reads_as_chinese(raw, "gb18030"))
    return _reads_as_chinese(start.encode("gb18030"), "utf-8") and _foreign(start) >= _ENOUGH_FOR_MOJIBAKE


def _in_pairs(raw: bytes) -> bool:
    """Whether bytes beyond ASCII come two by two, as those of common Chinese characters do and umlauts do not."""
    return all(len(run) % 2 == 0 for run in _BEYOND_ASCII.findall(raw))


def _foreign(text: str) -> int:
    return sum(not sign.isascii() for sign in text)


def _reads_as_chinese(raw: bytes, encoding: str) -> bool:
    try:
        found = raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    return all(sign.isascii() or _CJK.match(sign) or sign in "，。、（）：；" for sign in found)
