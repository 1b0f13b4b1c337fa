"""What each transform makes of the texts that old systems hold."""

from __future__ import annotations

import pytest

from pilotage.migration.cleaning import id_number, mobile, money


@pytest.mark.parametrize(
    ("found", "amount"),
    [
        ("1.2万元", "12000"),
        ("￥1,234.50元", "1234.50"),
        ("¥3,000,000", "3000000"),
        ("-12万", "-120000"),
        ("0.00000001亿", "1"),
        ("8600元整", "8600"),
        ("1234.5", "1234.5"),
        ("007", "007"),
        ("1,23元", "1,23元"),
        ("十万", "十万"),
        ("", ""),
    ],
)
def test_amounts_come_out_in_yuan_and_what_is_none_stays(found, amount):
    assert money(found) == amount


@pytest.mark.parametrize(
    ("found", "number"),
    [
        ("+86 139-1234-5678", "13912345678"),
        ("0086（139）12345678", "13912345678"),
        ("8613912345678", "13912345678"),
        ("139 1234 5678", "13912345678"),
        ("0571-88888888", "0571-88888888"),
        ("1391234567", "1391234567"),
        ("无", "无"),
    ],
)
def test_mobile_numbers_lose_separators_and_country_and_others_stay(found, number):
    assert mobile(found) == number


@pytest.mark.parametrize(
    ("found", "number"),
    [
        # The example of GB 11643, given out in 1949 with 15 digits.
        ("110105491231002", "11010519491231002X"),
        ("11010519491231002x", "11010519491231002X"),
        ("440524188001010014", "440524188001010014"),
        ("11010549123100", "11010549123100"),
        ("", ""),
    ],
)
def test_identity_numbers_of_15_digits_get_century_and_check_digit(found, number):
    assert id_number(found) == number
