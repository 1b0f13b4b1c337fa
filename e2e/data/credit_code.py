"""Unified social credit codes (统一社会信用代码, GB 32100-2015) with correct check characters."""

from __future__ import annotations

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
WEIGHTS = tuple(pow(3, position, 31) for position in range(17))
BODY_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
BODY_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)


def credit_code(region: str, serial: int) -> str:
    """The 18 characters of an enterprise (91) registered in `region` (six digits); other serials give other codes.

    Serials below 100,000,000 are told apart.
    """
    body = f"{serial:08d}"
    without_check = f"91{region}{body}{body_check(body)}"
    return without_check + check_character(without_check)


def body_check(body: str) -> str:
    """Check character of the organisation code inside (GB 11714)."""
    total = sum(BODY_ALPHABET.index(letter) * weight for letter, weight in zip(body, BODY_WEIGHTS, strict=True))
    remainder = 11 - total % 11
    return {10: "X", 11: "0"}.get(remainder, str(remainder))


def check_character(first_seventeen: str) -> str:
    total = sum(ALPHABET.index(letter) * weight for letter, weight in zip(first_seventeen, WEIGHTS, strict=True))
    return ALPHABET[(31 - total % 31) % 31]
