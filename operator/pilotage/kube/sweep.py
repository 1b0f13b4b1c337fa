"""Finds what the watch lost: kopf synthesises no deletion for what vanished while it was not watching."""

from __future__ import annotations

from pilotage.kube.client import Cluster, NotFound
from pilotage.kube.resources import Resource
from pilotage.kube.store import Key, Store


async def sweep(cluster: Cluster, store: Store, resource: Resource, labels: str | None = None) -> set[Key]:
    """Compare the store with a metadata list; take in what is new, evict what is gone, return whom to wake.

    Each difference is confirmed by reading the object itself: the list is older than the events that came meanwhile.
    """
    listed = await cluster.list_metadata(resource, labels=labels)
    woken: set[Key] = set()
    for item in [*store.missing(resource, listed), *store.vanished(resource, listed)]:
        metadata = item["metadata"]
        try:
            body = await cluster.get(resource, metadata.get("namespace"), metadata["name"])
        except NotFound:
            woken |= store.observe(resource, "DELETED", item)
            continue
        if body["metadata"]["uid"] != metadata["uid"]:
            woken |= store.observe(resource, "DELETED", item)
        woken |= store.observe(resource, "MODIFIED", body)
    return woken
