"""Pydantic's JSON schema into the structural schema that the API server takes, and a lint for what it would refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

PRESERVE = "x-kubernetes-preserve-unknown-fields"
DROPPED = {"title", "default", "examples", "$defs"}
FORBIDDEN = {
    "$ref",
    "$defs",
    "const",
    "default",
    "definitions",
    "dependencies",
    "discriminator",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "patternProperties",
    "prefixItems",
    "propertyNames",
    "title",
    "uniqueItems",
}
"""Keywords that the API server refuses, and those that this project does without (unions, frozen defaults)."""


class NotStructuralError(ValueError):
    """A model uses a construct that has no structural schema; the message names the path and the remedy."""


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Schema of one model: references inlined, `T | None` as T, no titles, no defaults.

    Raises NotStructuralError for recursive models and for unions of anything but a type and None.
    """
    schema = model.model_json_schema(by_alias=True)
    return _convert(_documented(schema), _Place(model.__name__, schema.get("$defs", {})))


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, on one line."""
    line = " ".join(text.split())
    found = re.match(r"(.+?[.!?])(?=\s|$)", line)
    return found.group(1) if found else line


def _documented(definition: Mapping[str, Any]) -> dict[str, Any]:
    # A class's docstring speaks to programmers beyond its first sentence; a field's description is meant for users.
    if "description" not in definition:
        return dict(definition)
    return {**definition, "description": first_sentence(definition["description"])}


@dataclass(frozen=True)
class _Place:
    """Where the conversion stands: the path for messages, and the models that are being inlined around it."""

    path: str
    definitions: Mapping[str, Any]
    inside: tuple[str, ...] = ()

    def below(self, step: str) -> _Place:
        return replace(self, path=f"{self.path}{step}")


def _convert(node: Mapping[str, Any], place: _Place) -> dict[str, Any]:
    if "$ref" in node:
        name = node["$ref"].removeprefix("#/$defs/")
        if name in place.inside:
            raise NotStructuralError(f"{place.path}: {name} contains itself; a structural schema cannot be recursive")
        return _convert(
            {**_documented(place.definitions[name]), **_without(node, "$ref")},
            replace(place, inside=(*place.inside, name)),
        )
    if "anyOf" in node:
        variants = [variant for variant in node["anyOf"] if variant.get("type") != "null"]
        if len(variants) != 1:
            raise NotStructuralError(f"{place.path}: a union; write one optional field for each variant and a CEL rule")
        return _convert({**variants[0], **_without(node, "anyOf")}, place)
    converted = _without(node, *DROPPED)
    _rewrite_keywords(converted)
    for keyword in ("items", "additionalProperties"):
        if keyword in converted:
            converted[keyword] = _convert(converted[keyword], place.below("[]"))
    if "properties" in converted:
        converted["properties"] = {
            name: _field(field, place.below(f".{name}")) for name, field in converted["properties"].items()
        }
    return _ordered(converted)


def _without(node: Mapping[str, Any], *keywords: str) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key not in keywords}


def _rewrite_keywords(schema: dict[str, Any]) -> None:
    """What JSON Schema says in one way and OpenAPI 3.0 in another."""
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if exclusive in schema:
            schema[limit], schema[exclusive] = schema[exclusive], True
    if isinstance(schema.get("additionalProperties"), bool):
        del schema["additionalProperties"]


def _field(field: Mapping[str, Any], place: _Place) -> dict[str, Any]:
    converted = _convert(field, place)
    default = field.get("default")
    # The default is applied when the operator reads the object, so `kubectl explain` is where users meet it.
    if isinstance(default, str | int) and default not in {"", False}:
        description = converted.get("description", "").rstrip(".;, ")
        text = str(default).lower() if isinstance(default, bool) else default
        converted["description"] = f"{description}; default {text}" if description else f"default {text}"
    return _ordered(converted)


def _ordered(schema: dict[str, Any]) -> dict[str, Any]:
    first = [key for key in ("description", "type") if key in schema]
    return {key: schema[key] for key in [*first, *(key for key in schema if key not in first)]}


def lint(schema: Mapping[str, Any], path: str = "$") -> Iterator[str]:
    """What the API server, or CEL's cost budget, would refuse: one sentence each, with the path. Empty when fine."""
    for keyword in sorted(FORBIDDEN & schema.keys()):
        yield f"{path}: {keyword} is not structural"
    kind = schema.get("type")
    if not isinstance(kind, str) and not schema.get(PRESERVE):
        yield f"{path}: type is missing"
    if kind == "string" and not ({"maxLength", "enum"} & schema.keys()):
        yield f"{path}: a string without maxLength"
    if kind == "array":
        yield from _lint_array(schema, path)
    if kind == "object":
        yield from _lint_object(schema, path)


def _lint_array(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if "maxItems" not in schema:
        yield f"{path}: a list without maxItems"
    items = schema.get("items")
    if not items:
        yield f"{path}: a list without items"
        return
    missing = set(schema.get("x-kubernetes-list-map-keys", ())) - set(items.get("required", ()))
    yield from (f"{path}: list-map key {key} is not required in its items" for key in sorted(missing))
    if schema.get("x-kubernetes-list-type") is None:
        yield f"{path}: a list without x-kubernetes-list-type"
    yield from lint(items, f"{path}[]")


def _lint_object(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    properties, additional = schema.get("properties"), schema.get("additionalProperties")
    if properties and additional is not None:
        yield f"{path}: properties and additionalProperties exclude each other"
    if properties is None and additional is None and not schema.get(PRESERVE):
        yield f"{path}: an object without properties"
    if isinstance(additional, Mapping):
        if "maxProperties" not in schema:
            yield f"{path}: a map without maxProperties"
        yield from lint(additional, f"{path}{{}}")
    for name, field in (properties or {}).items():
        yield from lint(field, f"{path}.{name}")
