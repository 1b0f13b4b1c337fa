"""What the workloads of a release say: how many of their pods are available, and how often containers restarted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pilotage.kube.client import ApiError, Cluster
from pilotage.kube.resources import DAEMON_SETS, DEPLOYMENTS, PODS, STATEFUL_SETS
from pilotage.kube.store import Store
from pilotage.plan.acceptance_sample import Sample

HELM_LABEL: Final = ("app.kubernetes.io/managed-by", "Helm")
RELEASE_ANNOTATION: Final = "meta.helm.sh/release-name"
LONG_RUNNING: Final = (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS)


def release_workloads(store: Store, namespace: str, release: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Kind and body of the release's Deployments, StatefulSets and DaemonSets, as the store knows them."""
    return [
        (resource.kind, body)
        for resource in LONG_RUNNING
        for body in store.by_label(resource, namespace, *HELM_LABEL)
        if (body["metadata"].get("annotations") or {}).get(RELEASE_ANNOTATION) == release
    ]


def _replicas(kind: str, body: Mapping[str, Any]) -> tuple[int, int]:
    spec, status = body.get("spec") or {}, body.get("status") or {}
    if kind == DAEMON_SETS.kind:
        return status.get("desiredNumberScheduled", 0), status.get("numberAvailable", 0)
    return spec.get("replicas", 1), status.get("availableReplicas", 0)


def measure_availability(store: Store, namespace: str, release: str) -> Sample:
    """Available pods in percent of those wanted: that of the worst workload, so that many good ones hide none.

    Without workloads, or before their controllers have seen them, there is no data.
    """
    worst: tuple[float, str] | None = None
    for kind, body in release_workloads(store, namespace, release):
        name = f"{kind} {body['metadata']['name']}"
        if (body.get("status") or {}).get("observedGeneration", 0) < body["metadata"].get("generation", 0):
            return Sample.no_data(f"{name}: its controller has not seen it yet")
        wanted, available = _replicas(kind, body)
        if wanted <= 0:
            continue
        percent = 100.0 * min(available, wanted) / wanted
        if worst is None or percent < worst[0]:
            worst = percent, f"{name}: {available} of {wanted} pods available"
    if worst is None:
        return Sample.no_data(f"release {release} has no workload that should run")
    return Sample.of(f"{worst[0]:.4f}".rstrip("0").rstrip("."), worst[1])


async def measure_restarts(cluster: Cluster, store: Store, namespace: str, release: str, account: str) -> Sample:
    """Restarts of all containers in the pods of the release's workloads, as a reading of a growing counter."""
    total, pods_seen = 0, 0
    for kind, body in release_workloads(store, namespace, release):
        labels = ((body.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
        if not labels:
            return Sample.error(f"{kind} {body['metadata']['name']} selects its pods without matchLabels")
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        try:
            pods = await cluster.list(PODS, namespace, labels=selector, acting_as=account)
        except ApiError as error:
            return Sample.error(f"pods cannot be read: {error.message}")
        pods_seen += len(pods)
        total += sum(_restarts(pod) for pod in pods)
    if not pods_seen:
        return Sample.no_data(f"release {release} has no pods")
    return Sample.reading(total)


def _restarts(pod: Mapping[str, Any]) -> int:
    status = pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return sum(int(container.get("restartCount", 0)) for container in containers)
