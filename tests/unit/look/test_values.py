"""What one text looks like."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.api.v1alpha1.migrationjob import FieldType
from pilotage.migration.conversion import Column, Refused, convert
from pilotage.migration.look.values import Kind, has_wrong_check_digit, inspect, is_mojibake

COLUMNS = {
    FieldType.INTEGER: Column("n", "int8", "bigint"),
    FieldType.DECIMAL: Column("n", "numeric", "numeric"),
    FieldType.DATE: Column("n", "date", "date"),
    FieldType.TIMESTAMP: Column("n", "timestamp", "timestamp"),
    FieldType.BOOLEAN: Column("n", "bool", "boolean"),
}
ACCEPTED = {
    Kind.INTEGER: (FieldType.INTEGER, FieldType.DECIMAL),
    Kind.DECIMAL: (FieldType.DECIMAL,),
    Kind.COMPACT_DATE: (FieldType.DATE, FieldType.TIMESTAMP, FieldType.INTEGER, FieldType.DECIMAL),
    Kind.DATE: (FieldType.DATE, FieldType.TIMESTAMP),
    Kind.TIMESTAMP: (FieldType.TIMESTAMP,),
    Kind.BOOLEAN: (FieldType.BOOLEAN,),
}
NEARLY_TYPED = st.one_of(
    st.text("0123456789+-.,/年月日: T万元¥eE", max_size=20),
    st.dates().map(str),
    st.datetimes().map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.sampled_from(["是", "否", "Yes", "无", "2024年5月31日", "20240531", "20240230", "2024/5/31"]),
)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", Kind.EMPTY),
        (" \u3000", Kind.EMPTY),
        ("42", Kind.INTEGER),
        ("-42", Kind.INTEGER),
        ("１２３", Kind.INTEGER),
        ("007", Kind.CODE),
        ("1234567890123456789", Kind.CODE),
        ("4.50", Kind.DECIMAL),
        (".5", Kind.DECIMAL),
        ("20240531", Kind.COMPACT_DATE),
        ("20241399", Kind.INTEGER),
        ("2024-5-1", Kind.DATE),
        ("2024/05/31", Kind.DATE),
        ("2024年5月31日", Kind.DATE),
        ("2024-02-30", Kind.BAD_DATE),
        ("0000-00-00", Kind.BAD_DATE),
        ("2024-05-31 08:30:00", Kind.TIMESTAMP),
        ("2024-05-31 25:30:00", Kind.BAD_DATE),
        ("12.5万元", Kind.UNIT_NUMBER),
        ("¥1,234.50", Kind.UNIT_NUMBER),
        ("1,234,567", Kind.UNIT_NUMBER),
        ("是", Kind.BOOLEAN),
        ("N/A", Kind.NULL_WORD),
        ("无", Kind.NULL_WORD),
        ("华升贸易", Kind.TEXT),
        ("3楼", Kind.TEXT),
    ],
)
def test_a_text_has_a_kind(text, kind):
    assert inspect(text).kind is kind


@settings(deadline=None)
@given(NEARLY_TYPED)
def test_whatever_counts_as_typed_is_taken_by_the_engine_as_that_type(text):
    found = inspect(text)
    for accepted in ACCEPTED.get(found.kind, ()):
        assert convert(found.cleaned, accepted, COLUMNS[accepted])


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_inspected_and_cleaned_once_and_for_all(text):
    cleaned = inspect(text).cleaned
    assert inspect(cleaned).cleaned == cleaned


@pytest.mark.parametrize("text", ["2024-02-30", "12.5万元", "无"])
def test_whatever_counts_as_a_stray_is_refused_by_the_engine(text):
    with pytest.raises(Refused):
        convert(text, FieldType.DATE, COLUMNS[FieldType.DATE])
    with pytest.raises(Refused):
        convert(text, FieldType.DECIMAL, COLUMNS[FieldType.DECIMAL])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("１２３", "W_FULLWIDTH"),
        ("Ｋ００１", "W_FULLWIDTH"),
        ("1900-01-01", "W_PLACEHOLDER_DATE"),
        ("1900年1月1日", "W_PLACEHOLDER_DATE"),
        ("9999-12-31 00:00:00", "W_PLACEHOLDER_DATE"),
        ("a\x01b", "W_CONTROL"),
        ("a\u200bb", "W_CONTROL"),
        ("12.5万元", "W_UNIT"),
        ("NULL", "W_NULL_WORD"),
        ("1.23457E+17", "W_SCIENTIFIC"),
        ("11010519491231002X", ""),
        ("110105194912310021", "W_CHECK_DIGIT"),
        ("锟斤拷", "W_MOJIBAKE"),
        ("1900", ""),
        ("2024-05-31", ""),
        ("第１回", ""),
        ("华升（上海）贸易有限公司", ""),
    ],
)
def test_what_is_suspicious_has_a_code(text, code):
    assert inspect(text).warnings == ((code,) if code else ())


@pytest.mark.parametrize("right", ["11010519491231002X", "91350100M000100Y43"])
def test_check_digits_follow_the_published_examples(right):
    assert not has_wrong_check_digit(right)
    for position in (14, 15, 16):
        changed = right[:position] + ("1" if right[position] != "1" else "2") + right[position + 1 :]
        assert has_wrong_check_digit(changed)


CHINESE = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=3, max_size=30)


@settings(deadline=None)
@given(CHINESE)
def test_utf8_that_was_read_as_gb18030_is_found_where_it_could_be_read_at_all(text):
    try:
        garbled = text.encode().decode("gb18030")
    except UnicodeDecodeError:
        return
    assert is_mojibake(garbled)


@settings(deadline=None)
@given(CHINESE.filter(lambda text: len(text.encode("gb2312", "ignore")) == 2 * len(text)))
def test_gb18030_that_was_read_as_latin1_is_found(text):
    assert is_mojibake(text.encode("gb18030").decode("latin-1"))


@pytest.mark.parametrize(
    "text", ["客户", "café", "联通", "上海华升贸易有限公司", "Müller & Söhne", "１２３", "…", "±0.5"]
)
def test_plain_foreign_text_is_no_mojibake(text):
    assert not is_mojibake(text)
