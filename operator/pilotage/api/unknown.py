"""Fields that no schema knows: what the API server refuses under --validate=strict, found without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any


def unknown_fields(schema: Mapping[str, Any], value: object, path: str) -> Iterator[tuple[str, str]]:
    """Path of each field of the value that a structural schema does not have, and the name that was probably meant.

    The name is empty where none is near. What the schema leaves open (values of a chart) holds none.
    """
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from unknown_fields(schema.get("items") or {}, item, f"{path}[{number}]")
    elif isinstance(value, dict):
        known: Mapping[str, Any] = schema.get("properties") or {}
        others = schema.get("additionalProperties")
        for name, content in value.items():
            if name in known or isinstance(others, dict):
                yield from unknown_fields(known.get(name, others), content, f"{path}.{name}")
            elif known:
                yield f"{path}.{name}", next(iter(get_close_matches(str(name), known, n=1)), "")
