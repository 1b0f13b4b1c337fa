"""A cycle means that nothing can ever move; whatever can be ordered is no cycle."""

from __future__ import annotations

from typing import Any

import pytest

from pilotage.api.v1alpha1.implementation import ModuleSpec
from pilotage.plan.dag import assign_waves, find_cycle
from pilotage.plan.graph import build_graph
from tests.support.builders import a_check, a_migration, a_module


def cycle(*modules: dict[str, Any], migrations: Any = (), checks: Any = ()) -> list[str] | None:
    specs = [ModuleSpec.model_validate(module) for module in modules]
    by_name = [{found.name: found for found in each} for each in (migrations, checks)]
    return find_cycle(build_graph(specs, assign_waves(specs), *by_name))


@pytest.mark.parametrize(
    ("modules", "others"),
    [
        ([a_module("core")], {}),
        ([a_module("core"), a_module("sale", "core"), a_module("stock", "core")], {}),
        ([a_module("core", wave=5), a_module("sale", "core", wave=5)], {}),
        ([a_module("core")], {"checks": [a_check("smoke")]}),
        ([a_module("core"), a_module("sale", "core")], {"checks": [a_check("smoke"), a_check("b", modules=["sale"])]}),
        ([a_module("core"), a_module("sale", "core")], {"checks": [a_check("end", "FinalAccepted", modules=["sale"])]}),
        (
            [a_module("core"), a_module("sale", "core")],
            {"migrations": [a_migration("p", "core"), a_migration("s", "sale", depends_on=("p",))]},
        ),
        ([a_module("core", migrations=["nobody-applied"])], {}),
        ([a_module("core", "unknown")], {}),
    ],
)
def test_what_can_be_ordered_is_no_cycle(modules: list[Any], others: dict[str, Any]) -> None:
    assert cycle(*modules, **others) is None


@pytest.mark.parametrize(
    ("modules", "others", "named"),
    [
        ([a_module("a", "b"), a_module("b", "a")], {}, {"module a starts", "module b is live"}),
        ([a_module("a", "a")], {}, {"module a starts", "module a is live"}),
        ([a_module("a", "b", wave=1), a_module("b", wave=2)], {}, {"wave 2 opens", "module a is live"}),
        (
            [a_module("a")],
            {"migrations": [a_migration("x", "a", depends_on=("y",)), a_migration("y", "a", depends_on=("x",))]},
            {"migration x", "migration y"},
        ),
        (
            [a_module("a"), a_module("b", "a")],
            {"migrations": [a_migration("x", "a", depends_on=("y",)), a_migration("y", "b")]},
            {"migration x", "migration y", "module b starts", "module a is live"},
        ),
    ],
)
def test_what_waits_for_itself_is_named(modules: list[Any], others: dict[str, Any], named: set[str]) -> None:
    found = cycle(*modules, **others)
    assert found is not None
    assert found[0] == found[-1]
    assert named <= set(found)


def test_a_hundred_modules_in_a_chain_are_ordered() -> None:
    chain = [a_module("m0"), *(a_module(f"m{number}", f"m{number - 1}") for number in range(1, 100))]
    assert cycle(*chain) is None
    assert cycle({**chain[0], "dependsOn": ["m99"]}, *chain[1:]) is not None
