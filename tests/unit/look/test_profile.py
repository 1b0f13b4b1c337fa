"""Types, keys and numbers of columns."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.api.v1alpha1.migrationjob import FieldType
from pilotage.migration.look.profile import ColumnProfile, Distinct, TableProfile
from pilotage.migration.look.structure import Row


def rows(*texts: list[str]) -> list[Row]:
    return [Row(list(one), line, line * 10) for line, one in enumerate(texts, start=2)]


def column(*texts: str, name: str = "x") -> ColumnProfile:
    found = ColumnProfile(name, 0)
    found.observe(texts, rows(*([text] for text in texts)))
    return found


def table(header: str, *lines: str) -> TableProfile:
    found = TableProfile.of(header.split(","))
    found.observe(rows(*(line.split(",") for line in lines)))
    return found


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-22", ""], FieldType.INTEGER),
        (["1", "2.5"], FieldType.DECIMAL),
        (["20240531", "20240601"], FieldType.DATE),
        (["20240531", "17"], FieldType.INTEGER),
        (["2024-05-31", "2024年6月1日"], FieldType.DATE),
        (["2024-05-31", "2024-06-01 08:30"], FieldType.TIMESTAMP),
        (["是", "否"], FieldType.BOOLEAN),
        (["007", "008"], FieldType.STRING),
        (["13900000001", "13900000002"], FieldType.STRING),
        (["100000", "200000"], FieldType.STRING),
        (["华升", "1"], FieldType.STRING),
        (["", "", ""], FieldType.STRING),
        (["1"] * 98 + ["x", "y"], FieldType.INTEGER),
        (["1"] * 97 + ["x", "y", "z"], FieldType.STRING),
        (["1"] * 10 + ["x"], FieldType.INTEGER),
        (["1", "2", "x"], FieldType.STRING),
        (["5万元", "6万元", "7万元"], FieldType.STRING),
        (["5.5"] * 99 + ["7万元"], FieldType.DECIMAL),
        (["5.5"] * 50 + ["7万元"] * 50, FieldType.STRING),
    ],
)
def test_a_column_has_the_type_that_loads_nearly_all_of_it(texts, kind):
    assert column(*texts).type is kind


def test_what_was_meant_is_told_even_where_it_cannot_be_loaded():
    found = column(*["5.5"] * 50, *["7万元"] * 50)
    assert (found.meant, found.type) == (FieldType.DECIMAL, FieldType.STRING)
    assert [(one.code, one.count) for one in found.defects()] == [("W_UNIT", 50)]


def test_numbers_are_ordered_as_numbers_and_everything_is_measured():
    found = column("9", "10", "-5", "", "10 ", "１００")
    assert (found.range, found.min_length, found.max_length) == (("-5", "100"), 1, 3)
    assert (found.rows, found.filled, found.untrimmed, found.fullwidth) == (6, 5, 1, True)
    assert found.distinct.count == 4
    assert found.null_share == pytest.approx(1 / 6)


def test_a_column_of_few_values_lists_them_and_one_of_many_does_not():
    assert column("A", "B", "A ").values == {"A": 2, "B": 1}
    assert column(*map(str, range(21))).values is None


@settings(deadline=None)
@given(st.lists(st.sampled_from(["1", "2.5", "", "x", "2024-05-31", " 7", "是", "无"]), max_size=40))
def test_every_row_is_counted_once_however_it_is_cut_into_blocks(texts):
    whole, parts = column(*texts), ColumnProfile("x", 0)
    numbered = rows(*([text] for text in texts))
    for start in range(0, len(texts), 3):
        parts.observe(texts[start : start + 3], numbered[start : start + 3])
    assert whole.rows == parts.rows == len(texts)
    assert (whole.kinds, whole.range, whole.type) == (parts.kinds, parts.range, parts.type)
    assert sorted(map(str, whole.defects())) == sorted(map(str, parts.defects()))


@pytest.mark.parametrize(
    ("header", "lines", "key"),
    [
        ("name,code", ["a,1", "b,2"], ["code"]),
        ("code,name", ["1,a", "2,a"], ["code"]),
        ("a,b,c", ["x,1,p", "x,2,p", "y,1,p"], ["a", "b"]),
        ("a,b", ["x,1", "x,1"], []),
        ("a,b", ["x,1.5", "x,2.5"], []),
        ("a,b", ["x,1", "x,"], []),
        ("KHMC,KHBM", [f"n{n},K{n}" for n in range(99)] + ["n99,K5"], ["KHBM"]),
    ],
)
def test_the_key_is_what_identifies_rows(header, lines, key):
    assert [one.name for one in table(header, *lines).key()] == key


def test_values_that_occur_twice_are_told_with_both_lines():
    (found,) = table("code", *map(str, range(100)), "7").key()
    assert [(place.line, place.value) for place in found.repeated().places] == [(102, "7 (as in line 9)")]


def test_distinct_values_are_exact_up_to_a_limit_and_then_estimated_in_bounded_memory():
    found = Distinct(limit=1000)
    for number in range(50_000):
        found.add(str(number), Row([], number, 0))
    assert not found.exact
    assert found.count == pytest.approx(50_000, rel=0.25)
    assert len(found._first) <= 1001
