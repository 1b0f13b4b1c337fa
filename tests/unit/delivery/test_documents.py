"""YAML that a chart brings along is judged before anything is built from it."""

from __future__ import annotations

import time

import pytest

from pilotage.delivery.documents import load_documents


def layers(count: int) -> str:
    """Each layer repeats the one before ten times."""
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, count)]
    return "\n".join(lines)


def merge_keys(count: int) -> str:
    """Each layer takes the one before in by merge keys, twice."""
    lines = [f"l0: &l0 {{{', '.join(f'k{n}: 1' for n in range(100))}}}"]
    lines += [f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 40)}]}}" for n in range(1, count)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (layers(9), "repeat more than"),
        (merge_keys(5), "repeat more than"),
        ("a: &a [*a]", "inside of what it repeats"),
        ("a: &a {b: {c: *a}}", "inside of what it repeats"),
        ("a: *nobody", "no YAML"),
        ("[" * 100 + "]" * 100, "nested deeper"),
        ("{a: " * 100 + "}" * 100, "nested deeper"),
        ("[" * 400_000, "nested deeper|no YAML"),
        ("a: " + "7" * 5_000, "a number of more than"),
        ("a: 0x" + "f" * 5_000, "a number of more than"),
        ("a: " + ":".join(["59"] * 20_000), "a number of more than"),
        ("a: !!int '" + "7" * 5_000 + "'", "a number of more than"),
        ("a: !!python/object/apply:os.system [id]", "no YAML"),
        ("a: [", "no YAML"),
        ("a: \x00", "no YAML"),
    ],
)
def test_a_text_that_could_do_harm_is_refused_before_it_is_built(text, message):
    begun = time.monotonic()
    with pytest.raises(ValueError, match=message):
        load_documents(text)
    assert time.monotonic() - begun < 20


def test_anchors_as_charts_use_them_are_taken():
    text = "base: &base {a: 1, b: [1, 2]}\nmore: {<<: *base, c: 3}\nagain: [*base, *base]\n---\nb: '" + "7" * 500 + "'"
    first, second = load_documents(text)
    assert first["more"] == {"a": 1, "b": [1, 2], "c": 3}
    assert second == {"b": "7" * 500}
