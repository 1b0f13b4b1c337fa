"""Merging JSON trees as server-side apply does for fields without list keys."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any


def merge(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """`present` with what `wanted` says; maps go together, everything else is replaced."""
    merged = copy.deepcopy(dict(present))
    for key, value in wanted.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else copy.deepcopy(value)
    return merged


def applied_paths(body: Mapping[str, Any], before: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """The paths of the leaves: what a field manager owns after it applied the body."""
    paths: set[tuple[str, ...]] = set()
    for key, value in body.items():
        path = (*before, key)
        paths |= applied_paths(value, path) if isinstance(value, Mapping) and value else {path}
    return paths


def remove(tree: dict[str, Any], path: tuple[str, ...]) -> None:
    """Take the leaf out of the tree, and maps that become empty by it."""
    key, *rest = path
    if rest and isinstance(tree.get(key), dict):
        remove(tree[key], tuple(rest))
        if not tree[key]:
            del tree[key]
    elif not rest:
        tree.pop(key, None)
