from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.observability.redaction import MASK, redact

CANARY = "kö nary/7+%&\"'\\好"
RAW = CANARY.encode()


@pytest.mark.parametrize(
    "encoded",
    [
        CANARY,
        quote(CANARY, safe=""),
        quote_plus(CANARY),
        json.dumps(CANARY)[1:-1],
        json.dumps(CANARY, ensure_ascii=False)[1:-1],
        repr(CANARY),
        repr(RAW),
        RAW.hex(),
        RAW.hex().upper(),
    ],
)
def test_a_known_secret_is_masked_in_every_encoding(encoded):
    masked = redact(f"before {encoded} after", [CANARY])
    assert encoded not in masked
    assert MASK in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("prefix", ["", "a", "ab", "abc", "user:", "数据"])
@pytest.mark.parametrize("suffix", ["", "x", "xy", "xyz"])
def test_a_secret_inside_a_longer_base64_text_is_masked(encode, prefix, suffix):
    encoded = encode((prefix + CANARY + suffix).encode()).decode()
    masked = redact(encoded, [CANARY])
    # At most the characters that share bits with a neighbour are left of it.
    left = masked.replace(MASK, "")
    assert len(left) <= len(base64.b64encode((prefix + suffix).encode())) + 8


def test_a_line_of_a_secret_with_several_lines_is_masked():
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END PRIVATE KEY-----"
    assert "MIIEvQIBADANBgkqhkiG9w0" not in redact("read: MIIEvQIBADANBgkqhkiG9w0", [key])


def test_a_secret_that_contains_another_is_masked_whole():
    assert redact("hunter2000", ["hunter", "hunter2000"]) == MASK


def test_very_short_values_do_not_mask_ordinary_words():
    assert redact("the database", ["a", "the"]) == "the database"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://erp:hunter2@db:5432/erp", f"postgresql://erp:{MASK}@db:5432/erp"),
        ("Authorization: Bearer abcdefgh.ijkl", f"Authorization: Bearer {MASK}"),
        ("connect host=db password=hunter2 dbname=erp", f"connect host=db password={MASK} dbname=erp"),
        ('{"password": "hunter 2", "host": "db"}', f'{{"password": {MASK}, "host": "db"}}'),
        ("api_key=abc&x=1", f"api_key={MASK}&x=1"),
        ("token eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl here", f"token {MASK} here"),
    ],
)
def test_credentials_are_recognised_by_their_form(text, masked):
    assert redact(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "helm: chart core-8.2.3 installed as revision 2 of erp-core in huasheng",
        "GET http://portal.huasheng.svc:8080/ answered 503",
        "system:serviceaccount:huasheng:pilotage-deployer",
        "module finance: Configuring → Migrating",
    ],
)
def test_ordinary_texts_are_left_alone(text):
    assert redact(text) == text


# The mask could complete a secret that is made of asterisks.
WORDS = st.characters(exclude_characters="*")


@given(
    secret=st.text(WORDS, min_size=4, max_size=40),
    before=st.text(WORDS, max_size=20),
    after=st.text(WORDS, max_size=20),
)
def test_no_text_keeps_the_secret(secret, before, after):
    assert secret not in redact(before + secret + after, [secret])
