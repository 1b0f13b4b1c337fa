"""S07, S08, S21: values, YAML and release records that are built to cost more than they weigh."""

from __future__ import annotations

import base64
import gzip
import json
import time
from typing import Any

import pytest

from pilotage.api.v1alpha1.implementation import EnvironmentExpectations
from pilotage.delivery.documents import load_documents
from pilotage.delivery.records import MAX_RECORD, decode_record, parse_manifests, revision_of
from pilotage.plan.preflight import EnvironmentFacts, assess
from pilotage.render.renderer import MAX_REQUEST, ModuleTemplate, Renderer
from pilotage.render.values import ValuesError, merge, nest, parse_document, parse_scalar
from tests.unit.delivery.builders import record

BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 500)}]}}\n"
    for before, name in zip("abcd", "bcde", strict=True)
)
BOMBS = {
    "aliases": BOMB,
    "merge keys": MERGES,
    "an alias inside of itself": "a: &a {b: *a}",
    "64 brackets": "a: " + "[" * 64 + "]" * 64,
    "5,000 brackets": "a: " + "[" * 5000,
    "200,000 brackets": "a: " + "[" * 200_000,
    "200,000 braces": "a: " + "{b: " * 100_000,
    "200,000 dashes": "- " * 100_000,
    "nested question marks": "? " * 50_000,
    "a number in base 60": "a: 1" + ":59" * 20_000,
    "a number of 100,000 digits": "a: " + "9" * 100_000,
    "a hexadecimal number of 400,000 digits": "a: 0x" + "f" * 400_000,
    "a binary number of 400,000 digits": "a: 0b" + "1" * 400_000,
    "a number of underscores": "a: 1" + "_" * 100_000,
    "an object of Python": "a: !!python/object/apply:os.system [id]",
    "a module of Python": "a: !!python/module:os",
    "a name of Python": "a: !!python/name:os.system",
    "an object of its own tag": "a: !evil {b: 1}",
    "a tag with an address": "a: !<tag:example.org,2026:x> 1",
    "half a document": "a: {b: [",
    "an unknown alias": "a: *nobody",
    "a NUL character": "a: b\0c",
    "a directive": "%YAML 9.9\n---\na: 1",
    "half a character": 'a: "\\ud800"',
    "tabs": "a:\n\t- b",
}


@pytest.mark.parametrize("name", [name for name in BOMBS if name not in {"half a character", "a directive"}])
def test_s07_values_that_explode_are_refused_before_they_are_built(name):
    begun = time.monotonic()
    with pytest.raises(ValuesError):
        parse_document(BOMBS[name], "values")
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("name", [name for name in BOMBS if name not in {"half a character", "a directive"}])
def test_s07_so_is_what_a_chart_brings_along(name):
    begun = time.monotonic()
    with pytest.raises(ValueError):
        load_documents(BOMBS[name])
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    "text",
    ["x" * 600_000, "- a", "a", "1", "a: .inf", "a: [.nan]", "a: {b: -.inf}", "[]", "--- a\n--- b", "a: 1\n---\nb: 2"],
)
def test_s07_what_is_no_bounded_mapping_is_refused(text):
    with pytest.raises(ValuesError):
        parse_document(text, "values")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1\na: 2", {"a": 2}),
        ("a: 2026-11-23", {"a": "2026-11-23"}),
        ("1: 2", {"1": 2}),
        ("true: yes", {"True": True}),
        ("a: 0o17", {"a": "0o17"}),
        ("a: !!binary aGk=", {"a": "b'hi'"}),
        ("a: !!set {b, c}", {"a": "x"}),
        ("__proto__: {a: 1}", {"__proto__": {"a": 1}}),
    ],
)
def test_s07_odd_scalars_become_what_json_can_write(text, value):
    found = parse_document(text, "values")
    assert json.loads(json.dumps(found)) == found
    if text.startswith("a: !!set"):
        assert isinstance(found["a"], str)
    else:
        assert found == value


@pytest.mark.parametrize(
    "text", ["²", "٣", "9" * 400, "0x10", "1e9", "NaN", "Infinity", "-1", "1_000", " 1", "True", "null", "0755"]
)
def test_s08_a_scalar_at_a_path_stays_text_unless_it_is_plainly_a_number(text):
    assert parse_scalar(text) == text


async def test_s07_a_request_larger_than_all_values_may_be_starts_no_child():
    renderer = Renderer()
    module = ModuleTemplate("core", {}, {}, {"values": {"a": "[[ 1 ]]", "b": "x" * MAX_REQUEST}})
    assert (await renderer.render([module])).errors["core"].reason == "RenderLimit"
    renderer.close()


def test_s07_paths_and_layers_merge_without_touching_what_they_came_from():
    base: dict[str, Any] = {"a": {"b": 1}}
    assert merge(base, nest("a.__class__.x", 2)) == {"a": {"b": 1, "__class__": {"x": 2}}}
    assert base == {"a": {"b": 1}}


def packed(document: Any) -> str:
    data = document if isinstance(document, bytes) else gzip.compress(json.dumps(document).encode())
    return base64.b64encode(base64.b64encode(data)).decode()


FORGED: dict[str, Any] = {
    "no base64": "%%%",
    "no gzip": base64.b64encode(base64.b64encode(b"{}")).decode(),
    "torn gzip": packed(gzip.compress(b"{" + b" " * 9999)[:20]),
    "a bomb": packed(gzip.compress(b'{"a": "' + b" " * (MAX_RECORD + 9) + b'"}')),
    "a list": packed([]),
    "a list of pairs": packed([["version", 1]]),
    "a number": packed(7),
    "text": packed("text"),
    "nothing": packed(None),
    "no JSON": packed(gzip.compress(b"hello")),
    "100,000 brackets": packed(gzip.compress(b"[" * 100_000)),
    "no version": packed({"info": {}}),
    "a version that is none": packed({"version": "many"}),
    "an empty version": packed({"version": None}),
    "a version that is a list": packed({"version": [1]}),
    "an endless version": packed(gzip.compress(b'{"version": ' + b"9" * 9999 + b"}")),
    "an infinite version": packed(gzip.compress(b'{"version": 1e999}')),
    "info that is a list": packed({"version": 1, "info": [1]}),
    "info that is text": packed({"version": 1, "info": "x"}),
    "a chart that is a list": packed({"version": 1, "chart": [1]}),
    "a chart whose metadata is text": packed({"version": 1, "chart": {"metadata": "x"}}),
    "a moment that is none": packed({"version": 1, "info": {"last_deployed": "yesterday"}}),
    "a moment that is a number": packed({"version": 1, "info": {"last_deployed": 7}}),
    "a moment in no year": packed({"version": 1, "info": {"last_deployed": "99999-01-01T00:00:00Z"}}),
    "a manifest that is a list": packed({"version": 1, "manifest": [1]}),
    "a manifest that is a number": packed({"version": 1, "manifest": 7}),
    "a manifest that explodes": packed({"version": 1, "manifest": BOMB}),
    "a manifest of objects of Python": packed({"version": 1, "manifest": "a: !!python/object/apply:os.system [id]"}),
}


@pytest.mark.parametrize("name", FORGED)
def test_s21_a_forged_release_record_is_unreadable_and_nothing_worse(name):
    secret = record() | {"data": {"release": FORGED[name]}}
    with pytest.raises(ValueError):
        revision_of(secret, with_manifest=True)


@pytest.mark.parametrize("data", [None, {}, {"release": None}, {"release": ""}, {"other": "x"}])
def test_s21_neither_is_a_record_without_its_document(data):
    with pytest.raises(ValueError):
        decode_record(record() | {"data": data})


MISSHAPEN = {
    "no metadata": {"metadata": None},
    "metadata that is text": {"metadata": "text"},
    "metadata that is a list": {"metadata": ["a"]},
    "no name": {"metadata": {}},
    "a name that is a list": {"metadata": {"name": ["a"]}},
    "a name that is a number": {"metadata": {"name": 7}},
    "labels that are text": {"metadata": {"name": "a", "labels": "text"}},
    "annotations that are a list": {"metadata": {"name": "a", "annotations": [1]}},
    "a namespace that is a map": {"metadata": {"name": "a", "namespace": {}}},
    "a kind that is a list": {"kind": ["Deployment"]},
    "no kind": {"kind": None},
    "no version": {"apiVersion": None},
    "a spec that is text": {"spec": "text"},
    "replicas that are text": {"spec": {"replicas": "many"}},
    "replicas without end": {"spec": {"replicas": 10**18}},
    "fewer replicas than none": {"spec": {"replicas": -1}},
    "half a replica": {"spec": {"replicas": 1.5}},
    "endless replicas": {"spec": {"replicas": float("inf")}},
    "parallelism that is a list": {"spec": {"parallelism": []}},
    "a template that is text": {"spec": {"template": "text"}},
    "containers that are a map": {"spec": {"template": {"spec": {"containers": {"a": 1}}}}},
    "containers that are texts": {"spec": {"template": {"spec": {"containers": ["a"]}}}},
    "first containers that are numbers": {"spec": {"template": {"spec": {"initContainers": [1]}}}},
    "claims that are text": {"spec": {"volumeClaimTemplates": "a"}},
    "claims that are texts": {"spec": {"volumeClaimTemplates": ["a"]}},
    "a class that is a list": {"spec": {"volumeClaimTemplates": [{"spec": {"storageClassName": ["a"]}}]}},
} | {
    f"a request of {amount!r:.20}": {
        "spec": {"template": {"spec": {"containers": [{"resources": {"requests": {"cpu": amount}}}]}}}
    }
    for amount in ("much", "-1", "1e999999999", "9" * 100, [], {"a": 1}, float("inf"), None, "1\n1")
}
WORKLOAD = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "a"}, "spec": {}}


@pytest.mark.parametrize("name", MISSHAPEN)
def test_s35_a_chart_s_object_that_is_none_is_told_and_breaks_nothing(name):
    with pytest.raises(ValueError, match="cannot be read"):
        parse_manifests(json.dumps(WORKLOAD | MISSHAPEN[name]))


@pytest.mark.parametrize("text", ["- a", "7", "text", "a: 1\n---\n- b", "true"])
def test_s35_neither_is_what_is_no_object_at_all(text):
    with pytest.raises(ValueError, match="cannot be read"):
        parse_manifests(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "---\n---\n",
        "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: a}\nspec: text",
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:",
    ],
)
def test_s35_what_is_odd_but_an_object_is_taken_and_measured(text):
    facts = EnvironmentFacts("v1.37.0", [], [], [], parse_manifests(text))
    assert assess(EnvironmentExpectations(), facts, "pilotage-deployer")
