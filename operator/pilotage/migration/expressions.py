"""The rules of a field as polars expressions, for whole columns at once.

An expression deals with plain values only and does to them what `FieldRules` does. All others, the unusual and the
wrong, become null and are judged by `FieldRules` one by one: so every reason has one place.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection
from typing import Final

import polars as pl

from pilotage.api.v1alpha1.migrationjob import FieldType, OnUnmapped, Transform
from pilotage.migration.cleaning import HALFWIDTH
from pilotage.migration.conversion import INTEGER_BITS, Column
from pilotage.migration.mapping import FieldRules

# What str.strip takes away.
WHITE_SPACE: Final = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
_WIDE: Final = [chr(code) for code in HALFWIDTH]
_NARROW: Final = [chr(code) for code in HALFWIDTH.values()]
# Letters outside ASCII and Chinese have cases of which Python and polars may know different versions.
_CASED_ELSEWHERE: Final = r"[^\x00-\x7F\u3000-\u303F\u4E00-\u9FFF\uFF01-\uFF20]"
# Patterns that mean the same to both engines. What this does not take is left to Python's.
_SAFE_PATTERN: Final = re.compile(
    r"(?:(?:\\d|\\[-.+()/]|\[\^?[A-Za-z0-9_.:/ \u4E00-\u9FFF](?:-?[A-Za-z0-9_.:/ \u4E00-\u9FFF])*\]|\((?:\?:)?|\)|\||\."
    r"|[A-Za-z0-9_ :/@,\u4E00-\u9FFF-])(?:(?:[?*+]|\{[0-9]+(?:,[0-9]*)?\})(?![?*+{]))?)+"
)
_DIVIDERS: Final = ["/", ".", "年", "月"]


def source(rules: FieldRules) -> pl.Expr:
    """The field's texts out of the table of all texts."""
    columns = [pl.col(str(position)) for position in rules.positions]
    text = columns[0] if columns else pl.lit(rules.constant)
    if join := rules.field.join:
        filled = [_where(~is_empty(column), column) for column in columns]
        text = pl.concat_str(filled, separator=join.separator, ignore_nulls=True)
    if split := rules.field.split:
        text = text.str.split(split.by).list.get(split.part - 1, null_on_oob=True).fill_null("")
    return text


def cleaned(rules: FieldRules, text: pl.Expr) -> pl.Expr:
    """The field's texts after the transforms, null where `FieldRules` has to say."""
    for step in rules.field.transform:
        text = _TRANSFORMS[step](text)
    return text


def read(rules: FieldRules, text: pl.Expr) -> pl.Expr:
    """The values of cleaned texts, null where `FieldRules` has to say."""
    field, column = rules.field, rules.column
    trimmed = field.transform[-1:] == [Transform.TRIM]
    value = _where((text if trimmed else text.str.strip_chars(WHITE_SPACE)) != "", text)
    value = _none_of(rules.nulls, value)
    if field.map:
        value = _mapped(rules, value)
    if rules.enum:
        value = _where(value.is_in(list(rules.enum)), value)
    if rules.pattern:
        value = _where(_matches(rules.pattern.pattern, value), value)
    if field.length:
        length = value.str.len_chars()
        value = _where((length >= field.length.min) & (length <= _or_any(field.length.max, length)), value)
    if field.reference:
        return _string(value)
    declared, taken = field.type, column.field_type or FieldType.STRING
    if declared and declared is not taken:
        value = _CONVERSIONS[declared](value)
    value = _none_of(rules.nulls, _fitting(_CONVERSIONS[taken](value), column))
    if field.add_hours:
        moment = value.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False) + pl.duration(hours=field.add_hours)
        value = _where(moment.dt.year().is_between(1000, 9999), moment.dt.to_string("%Y-%m-%d %H:%M:%S"))
    return _within(rules, value)


def is_empty(text: pl.Expr) -> pl.Expr:
    """Whether nothing but white space is there."""
    return text.str.strip_chars(WHITE_SPACE) == ""


def decimal(text: pl.Expr) -> pl.Expr:
    """Numbers in plain notation, without idle zeros; null for whatever is not plainly a number."""
    whole = text.str.contains(r"\A-?(?:0|[1-9][0-9]{0,17})\z")
    broken = text.str.contains(r"\A-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,18}\z")
    short = text.str.strip_chars_end("0").str.strip_chars_end(".")
    return pl.when(whole).then(text).when(broken).then(short).replace("-0", "0")


def _where(condition: pl.Expr, value: pl.Expr) -> pl.Expr:
    return pl.when(condition).then(value)


def _none_of(nulls: Collection[str], value: pl.Expr) -> pl.Expr:
    return _where(~value.is_in(list(nulls)), value) if nulls else value


def _or_any(bound: int | None, length: pl.Expr) -> pl.Expr:
    return length if bound is None else pl.lit(bound)


def _within(rules: FieldRules, value: pl.Expr) -> pl.Expr:
    number = rules.column.field_type in {FieldType.INTEGER, FieldType.DECIMAL}
    for bound, compare in ((rules.least, operator.ge), (rules.most, operator.le)):
        if bound is not None:
            kind = pl.Decimal(38, 18) if number else pl.String
            value = _where(compare(value.cast(kind, strict=False), pl.lit(bound).cast(kind, strict=False)), value)
    return value


def _upper(text: pl.Expr) -> pl.Expr:
    return _where(~text.str.contains(_CASED_ELSEWHERE), text.str.to_uppercase())


def _lower(text: pl.Expr) -> pl.Expr:
    return _where(~text.str.contains(_CASED_ELSEWHERE), text.str.to_lowercase())


_TRANSFORMS: Final[dict[Transform, Callable[[pl.Expr], pl.Expr]]] = {
    Transform.TRIM: lambda text: text.str.strip_chars(WHITE_SPACE),
    Transform.HALFWIDTH: lambda text: text.str.replace_many(_WIDE, _NARROW),
    Transform.UPPER: _upper,
    Transform.LOWER: _lower,
    Transform.MONEY: lambda text: _where(text.str.contains(r"\A[0-9]{1,18}(?:\.[0-9]{1,8})?\z"), text),
    Transform.MOBILE: lambda text: _where(text.str.contains(r"\A(?:1[0-9]{10})?\z"), text),
    Transform.ID_NUMBER: lambda text: _where(text.str.contains(r"\A(?:[0-9]{17}[0-9X])?\z"), text),
}


def _mapped(rules: FieldRules, text: pl.Expr) -> pl.Expr:
    known, values = list(rules.field.map), list(rules.field.map.values())
    keep = rules.field.on_unmapped is OnUnmapped.KEEP
    return text.replace_strict(known, values, default=text if keep else None, return_dtype=pl.String)


def _matches(pattern: str, text: pl.Expr) -> pl.Expr:
    if not _SAFE_PATTERN.fullmatch(pattern):
        return pl.lit(value=False)
    # Python's digits are of all scripts: those that are not of ASCII are left to it.
    ascii_digits = pattern.replace(r"\d", "[0-9]")
    return text.str.contains(rf"\A(?:{ascii_digits})\z")


def _string(text: pl.Expr) -> pl.Expr:
    return _where(~text.str.contains("\x00", literal=True), text)


def _integer(text: pl.Expr) -> pl.Expr:
    return _where(text.str.contains(r"\A-?[0-9]{1,18}\z"), text).cast(pl.Int64).cast(pl.String)


def _boolean(text: pl.Expr) -> pl.Expr:
    return _where(text.is_in(["true", "false"]), text)


def _date(text: pl.Expr) -> pl.Expr:
    plain = _where(text.str.contains(r"\A[1-9][0-9]{3}(?:[0-9]{4}|[-/.年][0-9]{1,2}[-/.月][0-9]{1,2}日?)\z"), text)
    divided = plain.str.replace_many(_DIVIDERS, ["-"] * len(_DIVIDERS)).str.strip_chars_end("日")
    joined = _where(plain.str.len_bytes() == 8, plain)
    day = pl.coalesce(
        divided.str.to_date("%Y-%m-%d", strict=False),
        joined.str.to_date("%Y%m%d", strict=False),
    )
    return day.cast(pl.String)


def _timestamp(text: pl.Expr) -> pl.Expr:
    exact = text.str.contains(r"\A[1-9][0-9]{3}[-/][0-9]{2}[-/][0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-5][0-9]\z")
    spaced = _where(exact, text).str.replace("T", " ", literal=True).str.replace_all("/", "-", literal=True)
    moment = spaced.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False)
    return pl.when(exact).then(_where(moment.is_not_null(), spaced)).otherwise(_date(text))


_CONVERSIONS: Final[dict[FieldType, Callable[[pl.Expr], pl.Expr]]] = {
    FieldType.STRING: _string,
    FieldType.INTEGER: _integer,
    FieldType.DECIMAL: decimal,
    FieldType.BOOLEAN: _boolean,
    FieldType.DATE: _date,
    FieldType.TIMESTAMP: _timestamp,
}


def _fitting(value: pl.Expr, column: Column) -> pl.Expr:
    if column.max_length is not None:
        return _where(value.str.len_chars() <= column.max_length, value)
    if bits := INTEGER_BITS.get(column.type_name):
        return _where(value.cast(pl.Int64).is_between(-(1 << bits), (1 << bits) - 1), value)
    if column.type_name == "numeric" and column.precision is not None:
        scale = column.scale or 0
        digits = column.precision - scale
        if scale < 0 or digits < 1:
            return _where(pl.lit(value=False), value)
        fraction = rf"(?:\.[0-9]{{1,{scale}}})?" if scale else ""
        return _where(value.str.contains(rf"\A-?[0-9]{{1,{digits}}}{fraction}\z"), value)
    return value
