"""The objects of a release that its newest revision no longer has: gone, unless Helm passed over them without a word.

Helm 4 asks for each object before it deletes it. What it gets no answer about, it leaves where it is, calls the action
a success and forgets the object: `verifyOwnershipBeforeDelete` in pkg/action/validate.go when a release is uninstalled,
`update` in pkg/kube/client.go when an upgrade drops an object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pilotage.kube.client import Cluster, NotFound
from pilotage.plan.delivery import Revision

POLICY: Final = "helm.sh/resource-policy"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
RELEASE_NAME: Final = "meta.helm.sh/release-name"
RELEASE_NAMESPACE: Final = "meta.helm.sh/release-namespace"


class Place(NamedTuple):
    """Where an object of a manifest lives. `namespace` is what the manifest says, empty where it says none."""

    api_version: str
    kind: str
    namespace: str
    name: str


def dropped(revisions: Sequence[Revision]) -> list[Place]:
    """What earlier revisions had, failed ones among them, and the newest, which comes last, has no more.

    A kind that moved to another version of its API is the same object.
    """
    *earlier, newest = revisions
    wanted = {_identity(place) for place in places(newest.manifests)}
    found = dict.fromkeys(place for revision in earlier for place in places(revision.manifests))
    return [place for place in found if _identity(place) not in wanted]


def places(manifests: Iterable[Mapping[str, Any]]) -> list[Place]:
    """Where the objects of a manifest live, but for those that Helm is told to keep."""
    found = []
    for body in manifests:
        metadata = body["metadata"]
        if body.get("apiVersion") and body.get("kind") and metadata.get("name") and not _is_kept(metadata):
            place = Place(str(body["apiVersion"]), str(body["kind"]), metadata.get("namespace") or "", metadata["name"])
            found.append(place)
    return found


async def remove(cluster: Cluster, release: str, namespace: str, found: Iterable[Place], account: str) -> list[Place]:
    """Delete, as the tenant, what is still there and belongs to the release, and return it. Raises ApiError."""
    removed = []
    for place in found:
        resource = await cluster.find_resource(place.api_version, place.kind)
        if resource is None:
            continue
        home = (place.namespace or namespace) if resource.namespaced else None
        try:
            body = await cluster.get(resource, home, place.name, acting_as=account)
            metadata = body["metadata"]
            if not _belongs(metadata, release, namespace) or metadata.get("deletionTimestamp") or _is_kept(metadata):
                continue
            await cluster.delete(resource, home, place.name, uid=metadata["uid"], acting_as=account)
        except NotFound:
            continue
        removed.append(place)
    return removed


def _identity(place: Place) -> tuple[str, ...]:
    return place.api_version.rpartition("/")[0], place.kind, place.namespace, place.name


def _is_kept(metadata: Mapping[str, Any]) -> bool:
    return (metadata.get("annotations") or {}).get(POLICY) == "keep"


def _belongs(metadata: Mapping[str, Any], release: str, namespace: str) -> bool:
    """Whether Helm itself would take the object for the release's own."""
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    return (
        labels.get(MANAGED_BY) == "Helm"
        and annotations.get(RELEASE_NAME) == release
        and annotations.get(RELEASE_NAMESPACE) == namespace
    )
