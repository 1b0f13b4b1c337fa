"""Helm's rules of merging, values from ConfigMaps and Secrets, config items, and the digest that names the result."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import yaml

from pilotage.api.v1alpha1.implementation import ConfigItem, ConfigType
from pilotage.api.yaml_text import MAX_DEPTH, MAX_NUMBER, FastLoader, is_endless_number

MAX_DOCUMENT: Final = 512 * 1024

Path = tuple[str, ...]

_TYPES: Final[dict[ConfigType, tuple[type, ...]]] = {
    ConfigType.STRING: (str,),
    ConfigType.INTEGER: (int,),
    ConfigType.NUMBER: (int, float),
    ConfigType.BOOLEAN: (bool,),
    ConfigType.LIST: (list,),
    ConfigType.OBJECT: (dict,),
}


class ValuesError(Exception):
    """Values that cannot be used; `path` names the field."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base` as Helm lays one values file on another: mappings merge, everything else replaces.

    A null replaces too and stays: it is what tells Helm to take the chart's own default away.
    """
    result = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merge(result[key], value)
        else:
            result[key] = value
    return result


def nest(path: str, value: Any) -> dict[str, Any]:
    """A structure that holds the value at a dotted path."""
    for part in reversed(path.split(".")):
        value = {part: value}
    return {**value}


def parse_document(text: str, where: str) -> dict[str, Any]:
    """The mapping in a YAML document from a ConfigMap or Secret. Raises ValuesError.

    Size, aliases, depth and long numbers are refused before anything is built: an alias bomb of 500 bytes means
    gigabytes.
    """
    if len(text) > MAX_DOCUMENT:
        raise ValuesError(where, f"longer than {MAX_DOCUMENT} characters")
    try:
        depth = 0
        for event in yaml.parse(text, Loader=FastLoader):
            if isinstance(event, yaml.AliasEvent):
                raise ValuesError(where, "YAML aliases are not taken: write the value out")
            if isinstance(event, yaml.ScalarEvent) and is_endless_number(event):
                raise ValuesError(where, f"a number of more than {MAX_NUMBER} characters: write it as text, in quotes")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise ValuesError(where, f"nested deeper than {MAX_DEPTH} levels")
        document = yaml.load(text, Loader=FastLoader)  # noqa: S506 (the fast loader is a safe one)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValuesError(where, "is no YAML document") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ValuesError(where, "must hold a mapping")
    return {str(key): _with_json_scalars(value, where) for key, value in document.items()}


def _with_json_scalars(value: Any, where: str) -> Any:
    """YAML dates and other scalars without a JSON form become text. Raises ValuesError for infinity and the like."""
    if isinstance(value, dict):
        return {str(key): _with_json_scalars(item, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_json_scalars(item, where) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValuesError(where, f"{value} is no number that JSON knows: write it as text")
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def parse_scalar(text: str) -> Any:
    """A value at a target path, with Flux's meaning: numbers and booleans by their form, else text."""
    if text in {"true", "false"}:
        return text == "true"
    # isdigit alone takes superscripts, which int() does not.
    if text.isascii() and text.isdigit() and (text == "0" or not text.startswith("0")) and len(text) < 16:
        return int(text)
    return text


def check_config(items: Iterable[ConfigItem], rendered: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The structure that the config items make of their rendered values. Raises ValuesError by the item's key."""
    result: dict[str, Any] = {}
    for item in items:
        value = rendered.get(item.key)
        place = f"{where}.config[{item.key}]{' (' + item.title + ')' if item.title else ''}"
        if value is None:
            if item.required:
                raise ValuesError(place, "is required and has no value: set config[].value")
            continue
        if item.type:
            fits = isinstance(value, _TYPES[item.type]) and not (
                isinstance(value, bool) and item.type is not ConfigType.BOOLEAN
            )
            if not fits:
                raise ValuesError(place, f"must be of type {item.type}, but is {type(value).__name__}")
        if item.enum is not None and value not in item.enum:
            raise ValuesError(place, f"must be one of {json.dumps(item.enum, ensure_ascii=False)}")
        result = merge(result, nest(item.key, value))
    return result


def leaves(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """All leaves with their paths; empty mappings and lists count as leaves."""
    if isinstance(tree, Mapping) and tree:
        for key in sorted(tree):
            yield from leaves(tree[key], (*path, str(key)))
    elif isinstance(tree, list) and tree:
        for at, item in enumerate(tree):
            yield from leaves(item, (*path, str(at)))
    else:
        yield path, tree


def values_digest(values: Mapping[str, Any], secret_texts: Sequence[str], key: bytes) -> str:
    """A digest of the values in which every leaf that holds a secret's text enters by HMAC with the installation's key.

    A plain hash of a short secret could be guessed; this one cannot without the key.
    """
    digest = hashlib.sha256()
    for path, value in leaves(values):
        text = json.dumps(value, ensure_ascii=False, sort_keys=True)
        if any(secret and secret in str(value) for secret in secret_texts):
            text = "hmac:" + hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        digest.update(json.dumps([list(path), text], ensure_ascii=False).encode())
    return "sha256:" + digest.hexdigest()
