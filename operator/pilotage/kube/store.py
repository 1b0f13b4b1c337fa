"""What is known of the cluster: plain dicts by key, with indexes by owner and label, and whom a change concerns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from pilotage.kube.client import Objects
from pilotage.kube.resources import Resource


class Key(NamedTuple):
    """One object of a kind of ours, as the queue names it."""

    plural: str
    namespace: str
    name: str


Dependents = Callable[[Resource, Mapping[str, Any], "Store"], Iterable[Key]]
_Place = tuple[str, str, str]

# Late news of a deleted object comes within seconds; what is older is forgotten, lest the memory grow with every Job.
REMEMBERED_DELETIONS = 10_000


class Store:
    """The newest body of every watched object. Bodies are never changed in place: a new one takes the old one's place.

    `dependents` names the keys whose decision may rest on an object; they are computed for the body before
    and after a change, so that nobody misses that something left them.
    """

    def __init__(self, dependents: Dependents) -> None:
        self._dependents = dependents
        self._bodies: dict[_Place, dict[str, Any]] = {}
        self._namespaces: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        self._deleted: dict[_Place, tuple[str, int]] = {}

    def observe(self, resource: Resource, event_type: str | None, body: Mapping[str, Any]) -> set[Key]:
        """Take in one event or one answer to a write, and return the keys to look at again.

        A body with an older resourceVersion than the one known is ignored, a predecessor's of the same name too,
        and so is news of an object that is known to be deleted.
        """
        metadata = dict(body["metadata"])
        metadata.pop("managedFields", None)
        place = (resource.plural, metadata.get("namespace", ""), metadata["name"])
        current = self._bodies.get(place)
        version = _version(metadata)
        if event_type == "DELETED":
            return self._evict(resource, place, metadata)
        gone = self._deleted.get(place)
        if gone and gone[0] == metadata.get("uid") and version <= gone[1]:
            return set()
        if current is not None and version and version <= _version(current["metadata"]):
            return set()
        fresh = {"apiVersion": resource.api_version, "kind": resource.kind, **body, "metadata": metadata}
        self._put(place, fresh)
        return self._woken(resource, current, fresh)

    def _evict(self, resource: Resource, place: _Place, metadata: Mapping[str, Any]) -> set[Key]:
        current = self._bodies.get(place)
        known = current["metadata"] if current else metadata
        if known.get("uid") != metadata.get("uid"):
            return set()
        self._remember_deletion(place, str(known.get("uid")), max(_version(metadata), _version(known)))
        if current is None:
            return set()
        del self._bodies[place]
        neighbours = self._namespaces[place[0], place[1]]
        del neighbours[place[2]]
        if not neighbours:
            del self._namespaces[place[0], place[1]]
        return self._woken(resource, current, None)

    def _remember_deletion(self, place: _Place, uid: str, version: int) -> None:
        self._deleted.pop(place, None)
        self._deleted[place] = (uid, version)
        while len(self._deleted) > REMEMBERED_DELETIONS:
            del self._deleted[next(iter(self._deleted))]

    def _put(self, place: _Place, body: dict[str, Any]) -> None:
        self._deleted.pop(place, None)
        self._bodies[place] = body
        self._namespaces.setdefault((place[0], place[1]), {})[place[2]] = body

    def _woken(self, resource: Resource, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> set[Key]:
        woken: set[Key] = set()
        for body in (before, after):
            if body is not None:
                woken.update(self._dependents(resource, body, self))
        return woken

    def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        """The object as last seen, or None."""
        return self._bodies.get((resource.plural, namespace, name))

    def list(self, resource: Resource, namespace: str | None = None) -> Objects:
        """All objects of the kind, of one namespace or of all."""
        if namespace is not None:
            return list(self._namespaces.get((resource.plural, namespace), {}).values())
        return [body for place, body in self._bodies.items() if place[0] == resource.plural]

    def by_label(self, resource: Resource, namespace: str, label: str, value: str) -> Objects:
        """The objects of the namespace whose label has that value."""
        return [
            body
            for body in self.list(resource, namespace)
            if (body["metadata"].get("labels") or {}).get(label) == value
        ]

    def by_owner(self, resource: Resource, namespace: str, uid: str) -> Objects:
        """The objects of the namespace that name this uid as an owner."""
        return [
            body
            for body in self.list(resource, namespace)
            if any(owner.get("uid") == uid for owner in body["metadata"].get("ownerReferences") or [])
        ]

    def missing(self, resource: Resource, listed: Iterable[Mapping[str, Any]]) -> Objects:
        """Of the listed metadata, what the store does not hold yet, or holds only in an older version."""
        absent: Objects = []
        for item in listed:
            metadata = item["metadata"]
            known = self.get(resource, metadata.get("namespace", ""), metadata["name"])
            held = known["metadata"] if known else {}
            if held.get("uid") != metadata.get("uid") or _version(held) < _version(metadata):
                absent.append(dict(item))
        return absent

    def vanished(self, resource: Resource, listed: Iterable[Mapping[str, Any]]) -> Objects:
        """Of the objects held, those that the list no longer names."""
        there = {item["metadata"].get("uid") for item in listed}
        return [body for body in self.list(resource) if body["metadata"].get("uid") not in there]


def _version(metadata: Mapping[str, Any]) -> int:
    """ResourceVersions are ordered within one object; a server that gives none orders nothing."""
    text = str(metadata.get("resourceVersion") or "0")
    return int(text) if text.isdigit() else 0
