"""Objects in files, as the command line takes or refuses them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cluster.places import REPOSITORY
from pilotage.cli.decision import Refusal
from pilotage.cli.files import MODELS, documents, validate

EXAMPLES = [
    body
    for file in sorted((REPOSITORY / "manifests/examples").glob("*.yaml"))
    for body in documents(file)
    if body["kind"] in MODELS
]
OPEN = {"values", "expects"}


@pytest.mark.parametrize("body", EXAMPLES, ids=lambda body: f"{body['kind']} {body['metadata']['name']}")
def test_an_example_holds_no_field_that_is_not_there(body: dict[str, Any]) -> None:
    validate(body)


def mappings(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping of our own kinds below it; what a chart decides is open."""
    if isinstance(value, dict):
        yield value
        for name, content in value.items():
            if name not in OPEN:
                yield from mappings(content)
    elif isinstance(value, list):
        for item in value:
            yield from mappings(item)


@pytest.mark.parametrize("body", EXAMPLES, ids=lambda body: f"{body['kind']} {body['metadata']['name']}")
def test_a_field_that_is_not_there_is_named_wherever_it_stands(body: dict[str, Any]) -> None:
    places = len(list(mappings(body["spec"])))
    for number in range(places):
        changed = copy.deepcopy(body)
        list(mappings(changed["spec"]))[number]["zzz"] = 1
        free = list(mappings(body["spec"]))[number]
        if free.keys() & {"name", "kind", "to", "id"}:
            with pytest.raises(Refusal, match="zzz"):
                validate(changed)


def test_a_misspelt_field_is_named_with_the_one_that_was_meant() -> None:
    body = {
        "kind": "Implementation",
        "metadata": {"name": "erp"},
        "spec": {
            "customer": {"code": "x", "name": "X", "timezon": "Asia/Shanghai"},
            "modules": [{"name": "core", "chart": {"configMapRef": {"name": "c"}}, "rolout": 3}],
        },
    }
    with pytest.raises(Refusal) as refused:
        validate(body)
    assert str(refused.value).splitlines() == [
        "Implementation erp would be refused:",
        "  spec.customer.timezon: there is no such field; timezone is one",
        "  spec.modules[0].rolout: there is no such field",
    ]


def test_what_a_chart_decides_may_have_any_name() -> None:
    module = {"name": "core", "chart": {"configMapRef": {"name": "c"}}, "values": {"a": {"b": [{"c": 1}]}}}
    validate(
        {
            "kind": "Implementation",
            "metadata": {"name": "erp"},
            "spec": {"customer": {"code": "x", "name": "X"}, "values": {"any": 1}, "modules": [module]},
        }
    )
