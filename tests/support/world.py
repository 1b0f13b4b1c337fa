"""An API server in memory: the same answers to the same requests, a clock that the test moves, and faults on demand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from pilotage.kube.client import Conflict, Forbidden, Invalid, NotFound, Objects
from pilotage.kube.resources import (
    ACCEPTANCE_CHECKS,
    CONFIG_MAPS,
    DAEMON_SETS,
    DEPLOYMENTS,
    IMPLEMENTATIONS,
    JOBS,
    MIGRATION_JOBS,
    NAMESPACES,
    SERVICES,
    STATEFUL_SETS,
    Resource,
)
from pilotage.plan.conditions import timestamp
from tests.support.trees import applied_paths, merge, remove

OWN = frozenset({IMPLEMENTATIONS, MIGRATION_JOBS, ACCEPTANCE_CHECKS})
SERVED = (CONFIG_MAPS, SERVICES, DEPLOYMENTS)
COUNTED = OWN | {DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS, JOBS}  # their metadata.generation counts changes of spec
Place = tuple[str, str, str]
Event = tuple[Resource, str, dict[str, Any]]
Write = tuple[str, str, str, str | None]

ALL_RIGHTS = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]


class World:
    """Implements `Cluster`. Nothing here awaits, so a request is one step that nobody else can get into.

    clock: gives the creation times. before, after: called around each write with (verb, plural, name, acting_as);
    what they raise is what the writer sees, `after` with the write done. may: called with (verb, resource, namespace,
    acting_as), may raise Forbidden. `rules` is what SelfSubjectRulesReview answers, `version` the server's version.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._bodies: dict[Place, dict[str, Any]] = {}
        self._resources: dict[str, Resource] = {}
        self._applied: dict[str, set[tuple[str, ...]]] = {}
        self._version = 100
        self._uids = 0
        self._subscribers: list[Callable[[Resource, str, dict[str, Any]], None]] = []
        self.writes: list[Write] = []
        self.no_ops: list[Write] = []
        self.before: Callable[[Write], None] = lambda _write: None
        self.after: Callable[[Write], None] = lambda _write: None
        self.may: Callable[[str, Resource, str | None, str | None], None] = lambda *_: None
        self.rules: list[dict[str, Any]] = ALL_RIGHTS
        self.version = "v1.37.2"
        self.logs: dict[tuple[str, str], str] = {}

    # ---- what a client sees

    async def get(
        self, resource: Resource, namespace: str | None, name: str, *, acting_as: str | None = None
    ) -> dict[str, Any]:
        self._admit("get", resource, namespace, acting_as)
        return copy.deepcopy(self._find(resource, namespace, name))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        acting_as: str | None = None,
    ) -> Objects:
        self._admit("list", resource, namespace, acting_as)
        return [
            copy.deepcopy(body)
            for (plural, place, name), body in sorted(self._bodies.items())
            if plural == resource.plural
            and (namespace is None or place == namespace)
            and _selected(body, labels)
            and (fields is None or fields == f"metadata.name={name}")
        ]

    async def list_metadata(self, resource: Resource, *, labels: str | None = None) -> Objects:
        return [{"metadata": body["metadata"]} for body in await self.list(resource, labels=labels)]

    async def apply(
        self, resource: Resource, body: Mapping[str, Any], *, acting_as: str | None = None
    ) -> dict[str, Any]:
        metadata = body["metadata"]
        place = self._place(resource, metadata.get("namespace"), metadata["name"])
        self._admit("patch", resource, metadata.get("namespace"), acting_as)
        present = self._bodies.get(place)
        if present is None:
            if metadata.get("uid"):
                raise Conflict(409, "Conflict", f"uid {metadata['uid']} does not exist")
            made = await self._create(resource, body, "apply", acting_as)
            self._applied[made["metadata"]["uid"]] = applied_paths(body)
            return made
        if metadata.get("uid") not in {None, present["metadata"]["uid"]}:
            raise Invalid(422, "Invalid", "metadata.uid: Invalid value: field is immutable")
        wanted = {key: value for key, value in body.items() if not (key == "status" and resource in OWN)}
        uid = present["metadata"]["uid"]
        changed = merge(present, wanted)
        for path in self._applied.get(uid, set()) - applied_paths(body):
            remove(changed, path)
        self._applied[uid] = applied_paths(body)
        return self._store("apply", resource, place, changed, acting_as)

    async def create(
        self, resource: Resource, body: Mapping[str, Any], *, acting_as: str | None = None
    ) -> dict[str, Any]:
        self._admit("create", resource, body["metadata"].get("namespace"), acting_as)
        return await self._create(resource, body, "create", acting_as)

    async def replace(
        self, resource: Resource, body: Mapping[str, Any], *, acting_as: str | None = None
    ) -> dict[str, Any]:
        return self._replace(resource, body, "update", acting_as)

    async def replace_status(self, resource: Resource, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._replace(resource, body, "status", None)

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str,
        resource_version: str | None = None,
        propagation: str = "Background",
        acting_as: str | None = None,
    ) -> None:
        del propagation
        self._admit("delete", resource, namespace, acting_as)
        body = self._find(resource, namespace, name)
        metadata = body["metadata"]
        if metadata["uid"] != uid:
            raise Conflict(409, "Conflict", "Precondition failed: UID in precondition")
        if resource_version not in {None, metadata["resourceVersion"]}:
            raise Conflict(409, "Conflict", "Precondition failed: ResourceVersion in precondition")
        place = self._place(resource, namespace, name)
        if not metadata.get("finalizers"):
            self._remove(resource, place, acting_as)
        elif not metadata.get("deletionTimestamp"):
            marked = copy.deepcopy(body)
            marked["metadata"]["deletionTimestamp"] = timestamp(self._clock())
            if resource in COUNTED:
                marked["metadata"]["generation"] += 1
            self._store("delete", resource, place, marked, acting_as)

    async def read_log(
        self,
        namespace: str,
        pod: str,
        *,
        container: str | None = None,
        tail_lines: int = 1,
        acting_as: str | None = None,
    ) -> str:
        del container, acting_as
        if (namespace, pod) not in self.logs:
            raise NotFound(404, "NotFound", f"pods {pod} not found")
        return "\n".join(self.logs[namespace, pod].splitlines()[-tail_lines:])

    async def create_review(
        self, resource: Resource, body: Mapping[str, Any], *, acting_as: str | None = None
    ) -> dict[str, Any]:
        self._admit("create", resource, None, acting_as)
        return {**body, "status": {"resourceRules": copy.deepcopy(self.rules)}}

    async def find_resource(self, api_version: str, kind: str) -> Resource | None:
        known = (self._resources | {found.plural: found for found in SERVED}).values()
        return next((found for found in known if (found.api_version, found.kind) == (api_version, kind)), None)

    async def server_version(self) -> str:
        return self.version

    async def close(self) -> None:
        return

    # ---- what only the test does

    def subscribe(self, callback: Callable[[Resource, str, dict[str, Any]], None]) -> None:
        """Hear every change from now on. The callback decides when its operator learns of it."""
        self._subscribers.append(callback)

    def unsubscribe(self, callback: Callable[[Resource, str, dict[str, Any]], None]) -> None:
        self._subscribers.remove(callback)

    def look(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any] | None:
        """The object itself, without any request. Not to be changed."""
        return self._bodies.get(self._place(resource, namespace, name))

    def all(self, resource: Resource) -> list[dict[str, Any]]:
        return [body for place, body in sorted(self._bodies.items()) if place[0] == resource.plural]

    # ---- inside

    async def _create(
        self, resource: Resource, body: Mapping[str, Any], verb: str, acting_as: str | None
    ) -> dict[str, Any]:
        made = copy.deepcopy(dict(body))
        metadata = made["metadata"]
        namespace = metadata.get("namespace")
        place = self._place(resource, namespace, metadata["name"])
        if place in self._bodies:
            raise Conflict(409, "AlreadyExists", f"{resource.plural} {metadata['name']!r} already exists")
        home = self._bodies.get((NAMESPACES.plural, "", namespace or ""))
        if home and home["metadata"].get("deletionTimestamp"):
            causes = [{"reason": "NamespaceTerminating"}]
            raise Forbidden(403, "Forbidden", f"namespace {namespace} is being terminated", causes)
        self._uids += 1
        metadata |= {"uid": f"uid-{self._uids}", "creationTimestamp": timestamp(self._clock())}
        metadata.pop("deletionTimestamp", None)
        if resource in COUNTED:
            metadata["generation"] = 1
        if resource in OWN:
            made["status"] = {"observedGeneration": -1}
        made |= {"apiVersion": resource.api_version, "kind": resource.kind}
        return self._store(verb, resource, place, made, acting_as)

    def _replace(self, resource: Resource, body: Mapping[str, Any], verb: str, acting_as: str | None) -> dict[str, Any]:
        metadata = body["metadata"]
        namespace, name = metadata.get("namespace"), metadata["name"]
        if not metadata.get("resourceVersion"):
            msg = f"{resource.kind} {name}: a replacement needs metadata.resourceVersion"
            raise ValueError(msg)
        self._admit("update", resource, namespace, acting_as)
        present = self._find(resource, namespace, name)
        same = all(metadata.get(field) == present["metadata"][field] for field in ("resourceVersion", "uid"))
        if not same:
            raise Conflict(409, "Conflict", f"{resource.plural} {name!r}: the object has been modified")
        changed = copy.deepcopy(present)
        if verb == "status":
            changed["status"] = copy.deepcopy(body.get("status"))
        else:
            kept = ("uid", "creationTimestamp", "generation", "deletionTimestamp")
            owned = {field: present["metadata"][field] for field in kept if field in present["metadata"]}
            changed = copy.deepcopy(dict(body))
            changed["metadata"] = {**changed["metadata"], **owned}
            changed |= {"apiVersion": resource.api_version, "kind": resource.kind}
            if resource in OWN:
                changed["status"] = copy.deepcopy(present.get("status"))
        return self._store(verb, resource, self._place(resource, namespace, name), changed, acting_as)

    def _store(
        self, verb: str, resource: Resource, place: Place, body: dict[str, Any], acting_as: str | None
    ) -> dict[str, Any]:
        present = self._bodies.get(place)
        metadata = body["metadata"]
        if present is not None:
            metadata["resourceVersion"] = present["metadata"]["resourceVersion"]
            if body == present:
                self.no_ops.append((verb, resource.plural, place[2], acting_as))
                return copy.deepcopy(body)
            if resource in COUNTED and body.get("spec") != present.get("spec"):
                metadata["generation"] = present["metadata"]["generation"] + 1
        write = (verb, resource.plural, place[2], acting_as)
        self.before(write)
        self._version += 1
        metadata["resourceVersion"] = str(self._version)
        self._resources[resource.plural] = resource
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self._bodies[place] = body
            self._evict(resource, place)
        else:
            self._bodies[place] = body
            self._tell(resource, "ADDED" if present is None else "MODIFIED", body)
        self.writes.append(write)
        self.after(write)
        return copy.deepcopy(body)

    def _remove(self, resource: Resource, place: Place, acting_as: str | None) -> None:
        write = ("delete", resource.plural, place[2], acting_as)
        self.before(write)
        self._version += 1
        self._evict(resource, place)
        self.writes.append(write)
        self.after(write)

    def _evict(self, resource: Resource, place: Place) -> None:
        gone = copy.deepcopy(self._bodies.pop(place))
        gone["metadata"]["resourceVersion"] = str(self._version)
        self._tell(resource, "DELETED", gone)
        self._collect(gone["metadata"]["uid"])

    def _collect(self, owner: str) -> None:
        """Background garbage collection, at once: what has no owner left goes too."""
        for place, body in list(self._bodies.items()):
            owners = body["metadata"].get("ownerReferences") or []
            if place in self._bodies and owners and all(found["uid"] == owner for found in owners):
                self._version += 1
                self._evict(self._resources[place[0]], place)

    def _tell(self, resource: Resource, kind: str, body: dict[str, Any]) -> None:
        for subscriber in list(self._subscribers):
            subscriber(resource, kind, copy.deepcopy(body))

    def _admit(self, verb: str, resource: Resource, namespace: str | None, acting_as: str | None) -> None:
        if acting_as is not None and not acting_as:
            msg = "an empty user name would act as the operator itself"
            raise ValueError(msg)
        self.may(verb, resource, namespace, acting_as)

    def _find(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        found = self._bodies.get(self._place(resource, namespace, name))
        if found is None:
            raise NotFound(404, "NotFound", f"{resource.plural} {name!r} not found")
        return found

    @staticmethod
    def _place(resource: Resource, namespace: str | None, name: str) -> Place:
        resource.path(namespace, name)  # refuses what the real client refuses
        return resource.plural, (namespace or "") if resource.namespaced else "", name


def _selected(body: Mapping[str, Any], selector: str | None) -> bool:
    labels = body["metadata"].get("labels") or {}
    return all(_matches(labels, term) for term in _terms(selector))


def _terms(selector: str | None) -> Iterable[str]:
    return [term.strip() for term in selector.split(",")] if selector else []


def _matches(labels: Mapping[str, str], term: str) -> bool:
    key, equals, value = term.partition("=")
    return labels.get(key) == value if equals else term in labels
