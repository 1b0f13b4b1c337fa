"""Every case of the threat model is attacked, or the page says why not."""

from __future__ import annotations

import re
from pathlib import Path

from e2e.cluster.places import REPOSITORY
from tests.attacks.__main__ import CASE
from tests.attacks.cases import CASES, NOT_YET

PAGE = (REPOSITORY / "docs/security.md").read_text()


def test_every_case_is_attacked_or_named_as_not_covered():
    named = {f"S{number:02}" for number in range(1, 41)}
    attacked = {
        found.upper() for file in Path(__file__).parent.glob("test_*.py") for found in CASE.findall(file.read_text())
    }
    assert attacked == set(CASES)
    assert set(CASES) | set(NOT_YET) == named
    assert not set(CASES) & set(NOT_YET)


def test_the_page_tells_all_of_them():
    rows = dict(re.findall(r"^\| (S\d\d) \| ([^|]+) \|", PAGE, flags=re.MULTILINE))
    assert rows == CASES | NOT_YET
