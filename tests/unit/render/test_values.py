"""Merging as Helm merges, documents from outside, config items, and the digest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.api.v1alpha1.implementation import ConfigItem
from pilotage.render.values import (
    ValuesError,
    check_config,
    merge,
    nest,
    parse_document,
    parse_scalar,
    values_digest,
)

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
MAPPINGS = st.dictionaries(st.sampled_from("abc"), TREES, max_size=3)
KEY = b"k" * 32


def test_mappings_merge_and_everything_else_replaces():
    base = {"image": {"tag": "1", "pull": "Always"}, "args": [1, 2], "a": 1}
    over = {"image": {"tag": "2"}, "args": [3], "a": {"b": 2}}
    assert merge(base, over) == {"image": {"tag": "2", "pull": "Always"}, "args": [3], "a": {"b": 2}}


def test_a_null_reaches_helm_which_takes_the_charts_default_away():
    assert merge({"a": {"b": 1}}, {"a": None}) == {"a": None}
    assert merge({"a": None}, {"a": {"b": 1}}) == {"a": {"b": 1}}


@given(MAPPINGS, MAPPINGS)
def test_every_leaf_of_the_upper_layer_is_in_the_result(base, over):
    found = dict(_leaves(merge(base, over)))
    kept = [path for path, value in _leaves(over) if value != "{}"]
    assert all(found[path] == dict(_leaves(over))[path] for path in kept)


@given(MAPPINGS)
def test_a_layer_merged_with_itself_or_nothing_is_itself(layer):
    assert merge(layer, layer) == merge(layer, {}) == merge({}, layer) == layer


def test_a_dotted_path_nests():
    assert nest("database.host", "a") == {"database": {"host": "a"}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("8080", 8080),
        ("0", 0),
        ("007", "007"),
        ("1" * 20, "1" * 20),
        ("a: b", "a: b"),
        ("²", "²"),
        ("٣", "٣"),
    ],
)
def test_a_value_for_a_target_path_is_read_by_its_form(text, value):
    assert parse_scalar(text) == value
    assert type(parse_scalar(text)) is type(value)


def test_a_document_is_a_mapping_of_json_values():
    assert parse_document("a: 1\nb: [x, null]\n2: 2026-01-02\n", "w") == {"a": 1, "b": ["x", None], "2": "2026-01-02"}
    assert parse_document("", "w") == {}


def test_expressions_in_a_document_stay_text():
    assert parse_document("a: '[[ customer.name ]]'", "w") == {"a": "[[ customer.name ]]"}


BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "aliases are not taken"),
        ("a: " + "[" * 70 + "]" * 70, "nested deeper"),
        ("[" * 400_000, "nested deeper|no YAML"),
        ("a" * 600_000, "longer than"),
        ("- a", "must hold a mapping"),
        ("a: !!python/object/apply:os.system [id]", "no YAML"),
        ("a: " + "7" * 5_000, "a number of more than"),
        ("a: " + ":".join(["59"] * 20_000), "a number of more than"),
        ("a: .inf", "no number that JSON knows"),
        ("a: [", "no YAML"),
    ],
)
def test_a_document_that_could_do_harm_is_refused_with_its_place(text, message):
    with pytest.raises(ValuesError, match=message) as caught:
        parse_document(text, "valuesFrom[Secret db]")
    assert caught.value.path == "valuesFrom[Secret db]"


def item(**fields) -> ConfigItem:
    return ConfigItem.model_validate({"key": "finance.currency", **fields})


def test_config_items_become_a_structure():
    items = [item(), item(key="finance.decimals", type="Integer")]
    found = check_config(items, {"finance.currency": "CNY", "finance.decimals": 2}, "m")
    assert found == {"finance": {"currency": "CNY", "decimals": 2}}


@pytest.mark.parametrize(
    ("fields", "value", "message"),
    [
        ({"required": True, "title": "本位币"}, None, "本位币.*is required"),
        ({"type": "Integer"}, "2", "must be of type Integer, but is str"),
        ({"type": "Integer"}, True, "must be of type Integer, but is bool"),
        ({"enum": ["CNY", "USD"]}, "EUR", 'must be one of \\["CNY", "USD"\\]'),
    ],
)
def test_a_config_item_that_does_not_fit_is_named(fields, value, message):
    with pytest.raises(ValuesError, match=message) as caught:
        check_config([item(**fields)], {"finance.currency": value}, "spec.modules[finance]")
    assert "config[finance.currency]" in caught.value.path


def test_the_digest_does_not_depend_on_the_order_of_keys():
    assert values_digest({"a": 1, "b": 2}, [], KEY) == values_digest({"b": 2, "a": 1}, [], KEY)


@given(MAPPINGS, MAPPINGS)
def test_different_values_have_different_digests(first, second):
    same = repr(sorted(_leaves(first))) == repr(sorted(_leaves(second)))
    assert (values_digest(first, [], KEY) == values_digest(second, [], KEY)) is same


def _leaves(tree, path=()):
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from _leaves(value, (*path, ("k", key)))
    elif isinstance(tree, list) and tree:
        for at, value in enumerate(tree):
            yield from _leaves(value, (*path, ("i", str(at))))
    else:
        yield path, repr(tree)


def test_a_secret_enters_the_digest_by_the_installations_key_alone():
    values = {"uri": "postgresql://erp:hunter2@db/erp"}
    assert values_digest(values, ["hunter2"], KEY) != values_digest(values, ["hunter2"], b"x" * 32)
    assert values_digest(values, [], KEY) == values_digest(values, [], b"x" * 32)
    other = {"uri": "postgresql://erp:hunter3@db/erp"}
    assert values_digest(values, ["hunter2"], KEY) != values_digest(other, ["hunter3"], KEY)
