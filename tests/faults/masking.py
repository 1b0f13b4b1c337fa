"""The end state of a run as paths and values, without what differs from run to run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pilotage.delivery.records import decode_record
from pilotage.plan.delivery import INPUT_LABEL
from tests.faults.history import Place

RECORD = "helm.sh/release.v1"

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
KEPT_METADATA = ("name", "labels", "annotations", "finalizers", "generation")
# How often it was measured depends on how long it took, and a value's age on when it was read.
DEPENDS_ON_TIME = re.compile(r"\.(taken|samples|breaches|session|unsettled|rowsPerSecond|eta)$")
DEPENDS_ON_THE_WAY = re.compile(DEPENDS_ON_TIME.pattern + r"|^deployments/.*([gG]eneration)$")
# The names of what belongs to one run or one question end in a digest of their owner's uid.
OF_A_RUN = re.compile(r"((?:-(?:plan|load|report|spec|rollback)|preflight-[a-z0-9]+(?:-[a-z0-9]+)*)-)[0-9a-f]{10}\b")
Flat = dict[str, Any]


def flatten(objects: Mapping[Place, Mapping[str, Any]], namespace: str, abandoned: str = "") -> Flat:
    """Every leaf of every object that the operator has a hand in. Release records are opened.

    abandoned: the tag of an input that was given up on the way; whether a module had come to it depends on the moment.
    """
    flat: Flat = {}
    repeated = [objects[place] for place in {*failed_attempts(objects), *abandoned_inputs(objects, abandoned)}]
    for (resource, name), body in sorted(objects.items()):
        if (resource, name) == ("configmaps", "chart") or body in repeated:
            continue
        essence = _renumbered(_essence(resource, body), repeated)
        if body.get("type") == RECORD and _deployed_since(body, objects):
            _supersede(essence)
        text = json.dumps(essence).replace(namespace, "NAMESPACE").replace(namespace.replace("-", "_"), "NAMESPACE")
        text = lasting(TIME.sub("TIME", text))
        flat |= dict(_leaves(f"{resource}/{lasting(essence['metadata']['name'])}", json.loads(text)))
    depends = DEPENDS_ON_THE_WAY if abandoned else DEPENDS_ON_TIME
    return {path: value for path, value in flat.items() if not depends.search(path)}


def lasting(text: str) -> str:
    """The text with the digests in names taken out: the same in every run."""
    return OF_A_RUN.sub(r"\1DIGEST", text)


def differing(one: Flat, other: Flat) -> set[str]:
    """Paths at which the two say different things, or only one says something."""
    return {path for path in one.keys() | other.keys() if one.get(path) != other.get(path)}


def failed_attempts(objects: Mapping[Place, Mapping[str, Any]]) -> list[Place]:
    """Release records of attempts that failed and whose input a later revision carries: they were tried again."""
    records = {place: body for place, body in objects.items() if body.get("type") == RECORD}
    return [
        place
        for place, body in records.items()
        if " failed: " in decode_record(body)["info"].get("description", "")
        and any(_follows(later["metadata"]["labels"], body["metadata"]["labels"]) for later in records.values())
    ]


def abandoned_inputs(objects: Mapping[Place, Mapping[str, Any]], tag: str) -> list[Place]:
    """Release records of an input that is no longer wanted."""
    records = {place: body for place, body in objects.items() if tag and body.get("type") == RECORD}
    return [place for place, body in records.items() if (decode_record(body).get("config") or {}).get("tag") == tag]


def _deployed_since(body: Mapping[str, Any], objects: Mapping[Place, Mapping[str, Any]]) -> bool:
    """Whether a later revision of the release is deployed."""
    labels = body["metadata"]["labels"]
    others = (found["metadata"]["labels"] for found in objects.values() if found.get("type") == RECORD)
    return any(
        other["name"] == labels["name"]
        and other["status"] == "deployed"
        and int(other["version"]) > int(labels["version"])
        for other in others
    )


def _supersede(essence: dict[str, Any]) -> None:
    """Helm goes on without a word when it cannot mark the revision before as superseded, and never looks back."""
    for place in (essence["metadata"]["labels"], essence["record"]["info"]):
        if place["status"] == "deployed":
            place["status"] = "superseded"


def _follows(later: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    same = all(later.get(label) == labels.get(label) for label in ("name", INPUT_LABEL))
    return same and int(later["version"]) > int(labels["version"])


def _renumbered(essence: dict[str, Any], repeated: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The revisions counted as if the attempts that were repeated had not been: their numbers alone tell of them."""
    if not repeated:
        return essence
    record = essence.get("record")
    if record:
        metadata = essence["metadata"]
        record["version"] = _number(record["name"], record["version"], repeated)
        metadata["labels"]["version"] = str(record["version"])
        if record["version"] == 1:
            record["info"]["description"] = record["info"]["description"].replace("Upgrade", "Install")
        metadata["name"] = f"sh.helm.release.v1.{record['name']}.v{record['version']}"
    for module in (essence.get("status") or {}).get("modules") or []:
        release = module.get("release")
        for part in (release, module.get("lastGood")):
            if release and part:
                part["revision"] = _number(release["name"], part["revision"], repeated)
    return essence


def _number(release: str, version: int, repeated: list[Mapping[str, Any]]) -> int:
    labels = [body["metadata"]["labels"] for body in repeated]
    return version - sum(found["name"] == release and int(found["version"]) < version for found in labels)


def _essence(resource: str, body: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: body["metadata"][key] for key in KEPT_METADATA if key in body["metadata"]}
    rest = {key: value for key, value in body.items() if key not in {"metadata", "data", "apiVersion", "kind", "type"}}
    # A copy: the history's own bodies are judged by others too.
    rest = json.loads(json.dumps(rest))
    if resource == "secrets":
        labels = dict(metadata.get("labels") or {})
        for moment in ("createdAt", "modifiedAt"):
            labels.pop(moment, None)
        if body.get("type") != RECORD:
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
