"""The end state of a run as paths and values, without what differs from run to run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pilotage.delivery.records import decode_record
from tests.faults.history import Place

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
KEPT_METADATA = ("name", "labels", "annotations", "finalizers", "generation")
# How often it was measured depends on how long it took, and a value's age on when it was read.
DEPENDS_ON_TIME = re.compile(r"\.(taken|samples|breaches|session|unsettled)$")
Flat = dict[str, Any]


def flatten(objects: Mapping[Place, Mapping[str, Any]], namespace: str) -> Flat:
    """Every leaf of every object that the operator has a hand in. Release records are opened."""
    flat: Flat = {}
    for (resource, name), body in sorted(objects.items()):
        if (resource, name) == ("configmaps", "chart"):
            continue
        text = json.dumps(_essence(resource, body)).replace(namespace, "NAMESPACE")
        flat |= dict(_leaves(f"{resource}/{name}", json.loads(TIME.sub("TIME", text))))
    return {path: value for path, value in flat.items() if not DEPENDS_ON_TIME.search(path)}


def differing(one: Flat, other: Flat) -> set[str]:
    """Paths at which the two say different things, or only one says something."""
    return {path for path in one.keys() | other.keys() if one.get(path) != other.get(path)}


def _essence(resource: str, body: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: body["metadata"][key] for key in KEPT_METADATA if key in body["metadata"]}
    rest = {key: value for key, value in body.items() if key not in {"metadata", "data", "apiVersion", "kind", "type"}}
    if resource == "secrets":
        labels = dict(metadata.get("labels") or {})
        labels.pop("modifiedAt", None)
        if body.get("type") != "helm.sh/release.v1":
            return {"metadata": metadata, "keys": sorted(body.get("data") or {})}
        document = decode_record(body)
        info = {key: document["info"].get(key) for key in ("status", "description")}
        parts = {key: document.get(key) for key in ("name", "version", "config", "manifest")}
        return {"metadata": metadata | {"labels": labels}, "record": parts | {"info": info}}
    return {"metadata": metadata, "data": body.get("data"), **rest}


def _leaves(path: str, tree: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from _leaves(f"{path}.{key}", value)
    elif isinstance(tree, list) and tree:
        for place, value in enumerate(tree):
            yield from _leaves(f"{path}[{place}]", value)
    else:
        yield path, tree
