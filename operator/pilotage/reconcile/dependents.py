"""Whom a change concerns: the keys to look at again when an object appears, changes or goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pilotage.api.v1alpha1.common import API_VERSION
from pilotage.kube.resources import (
    ACCEPTANCE_CHECKS,
    ATTESTATIONS,
    IMPLEMENTATIONS,
    MIGRATION_JOBS,
    PODS,
    SIGN_OFFS,
    Resource,
)
from pilotage.kube.store import Key, Store
from pilotage.reconcile.workloads import RELEASE_NAME

_OWN = {resource.kind: resource for resource in (IMPLEMENTATIONS, MIGRATION_JOBS, ACCEPTANCE_CHECKS)}
_POD_LABELS = {
    "pilotage.dev/migration": MIGRATION_JOBS,
    "pilotage.dev/check": ACCEPTANCE_CHECKS,
    "pilotage.dev/implementation": IMPLEMENTATIONS,
}


def dependents(resource: Resource, body: Mapping[str, Any], store: Store) -> Iterable[Key]:
    """Every key whose decision may rest on this object. Once too often is cheap, once too few is a stuck rollout."""
    metadata = body["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    if resource == IMPLEMENTATIONS:
        yield Key(IMPLEMENTATIONS.plural, namespace, name)
        for kind in (MIGRATION_JOBS, ACCEPTANCE_CHECKS):
            yield from _referring(kind, namespace, name, store)
    elif resource in {SIGN_OFFS, ATTESTATIONS}:
        yield Key(IMPLEMENTATIONS.plural, namespace, body["spec"]["implementationRef"]["name"])
    elif resource in {MIGRATION_JOBS, ACCEPTANCE_CHECKS}:
        yield Key(resource.plural, namespace, name)
        reference = ((body.get("spec") or {}).get("implementationRef") or {}).get("name")
        if reference:
            yield Key(IMPLEMENTATIONS.plural, namespace, reference)
        if resource == MIGRATION_JOBS:
            yield from _waiting_migrations(namespace, name, store)
    else:
        yield from _of_child(resource, body, namespace, store)


def _referring(kind: Resource, namespace: str, implementation: str, store: Store) -> Iterable[Key]:
    for found in store.list(kind, namespace):
        if ((found.get("spec") or {}).get("implementationRef") or {}).get("name") == implementation:
            yield Key(kind.plural, namespace, found["metadata"]["name"])


def _waiting_migrations(namespace: str, name: str, store: Store) -> Iterable[Key]:
    for found in store.list(MIGRATION_JOBS, namespace):
        if any(needed.get("name") == name for needed in (found.get("spec") or {}).get("dependsOn") or []):
            yield Key(MIGRATION_JOBS.plural, namespace, found["metadata"]["name"])


def _of_child(resource: Resource, body: Mapping[str, Any], namespace: str, store: Store) -> Iterable[Key]:
    metadata = body["metadata"]
    for owner in metadata.get("ownerReferences") or []:
        if owner.get("apiVersion") == API_VERSION and owner.get("kind") in _OWN:
            yield Key(_OWN[owner["kind"]].plural, namespace, owner["name"])
    if resource == PODS:
        labels = metadata.get("labels") or {}
        for label, kind in _POD_LABELS.items():
            if label in labels:
                yield Key(kind.plural, namespace, labels[label])
                break
    release = (metadata.get("annotations") or {}).get(RELEASE_NAME)
    if release:
        for found in store.list(IMPLEMENTATIONS, namespace):
            if release in _releases(found):
                yield Key(IMPLEMENTATIONS.plural, namespace, found["metadata"]["name"])


def _releases(implementation: Mapping[str, Any]) -> set[str]:
    name = implementation["metadata"]["name"]
    modules = (implementation.get("spec") or {}).get("modules") or []
    return {module.get("releaseName") or f"{name}-{module.get('name', '')}" for module in modules}
