"""The seeded bugs of `make test-mutants` still fit the code that they are put into."""

from __future__ import annotations

import ast

import pytest

from e2e.cluster.places import REPOSITORY
from tests.mutants.mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_seeded_bug_has_its_one_place_and_its_killers(mutant: Mutant) -> None:
    content = (REPOSITORY / "operator" / "pilotage" / mutant.file).read_text()
    assert content.count(mutant.old) == 1
    ast.parse(content.replace(mutant.old, mutant.new))
    assert [killer for killer in mutant.killers if not (REPOSITORY / killer).exists()] == []
