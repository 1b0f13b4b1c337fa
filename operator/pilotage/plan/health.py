"""Health of workloads by kstatus rules, and the reason of a pod that does not run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pilotage.plan.conditions import is_true


class Health(StrEnum):
    """kstatus' results as far as workloads have them."""

    CURRENT = "Current"
    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    MISSING = "Missing"


@dataclass(frozen=True)
class WorkloadHealth:
    """One workload's health; the message says what is not there yet."""

    kind: str
    name: str
    health: Health
    message: str = ""
    active: bool = False


def workload_health(body: Mapping[str, Any]) -> WorkloadHealth:
    """Health of a Deployment, StatefulSet, DaemonSet or Job, by the rules of kstatus.

    Source: sigs.k8s.io/cli-utils, pkg/kstatus. A status of an older generation says nothing.
    """
    kind, name = body["kind"], body["metadata"]["name"]
    rule = {"Deployment": _deployment, "StatefulSet": _stateful_set, "DaemonSet": _daemon_set, "Job": _job}[kind]
    status = body.get("status") or {}
    generation = body["metadata"].get("generation", 0)
    if kind != "Job" and status.get("observedGeneration", 0) < generation:
        return WorkloadHealth(kind, name, Health.IN_PROGRESS, f"{kind} {name}: its controller has not seen it yet")
    health, message = rule(body.get("spec") or {}, status)
    text = f"{kind} {name}: {message}" if message else ""
    return WorkloadHealth(kind, name, health, text, active=kind == "Job" and bool(status.get("active")))


def _deployment(spec: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[Health, str]:
    wanted = spec.get("replicas", 1)
    conditions = status.get("conditions") or []
    for found in conditions:
        if found.get("type") == "ReplicaFailure" and found.get("status") == "True":
            return Health.IN_PROGRESS, found.get("message", "pods cannot be created")
    late = any(c.get("type") == "Progressing" and c.get("reason") == "ProgressDeadlineExceeded" for c in conditions)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if updated < wanted:
        return Health.FAILED if late else Health.IN_PROGRESS, f"{updated} of {wanted} pods updated"
    if status.get("replicas", 0) > updated:
        return Health.IN_PROGRESS, f"{status['replicas'] - updated} old pods still end"
    if available < wanted:
        return Health.FAILED if late else Health.IN_PROGRESS, f"{available} of {wanted} pods available"
    return Health.CURRENT, ""


def _stateful_set(spec: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[Health, str]:
    wanted = spec.get("replicas", 1)
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    if ready < wanted:
        return Health.IN_PROGRESS, f"{ready} of {wanted} pods ready"
    on_delete = (spec.get("updateStrategy") or {}).get("type") == "OnDelete"
    if not on_delete and updated < wanted:
        return Health.IN_PROGRESS, f"{updated} of {wanted} pods updated"
    return Health.CURRENT, ""


def _daemon_set(_spec: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[Health, str]:
    wanted = status.get("desiredNumberScheduled", 0)
    available, updated = status.get("numberAvailable", 0), status.get("updatedNumberScheduled", 0)
    if updated < wanted:
        return Health.IN_PROGRESS, f"{updated} of {wanted} pods updated"
    if available < wanted:
        return Health.IN_PROGRESS, f"{available} of {wanted} pods available"
    return Health.CURRENT, ""


def _job(_spec: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[Health, str]:
    conditions = status.get("conditions") or []
    if is_true(conditions, "Complete"):
        return Health.CURRENT, ""
    for found in conditions:
        if found.get("type") == "Failed" and found.get("status") == "True":
            return Health.FAILED, found.get("message") or found.get("reason", "failed")
    return Health.IN_PROGRESS, "not complete"


def release_health(
    expected: Iterable[tuple[str, str]], workloads: Iterable[Mapping[str, Any]]
) -> tuple[Health, list[WorkloadHealth]]:
    """Health of a release: the worst of the workloads that its manifest names; one that is not there yet is missing.

    Source of the order: kstatus' aggregation, failed before in progress before current.
    """
    known = {(body["kind"], body["metadata"]["name"]): workload_health(body) for body in workloads}
    found = [
        known.get((kind, name), WorkloadHealth(kind, name, Health.MISSING, f"{kind} {name} is not there"))
        for kind, name in expected
    ]
    for health in (Health.FAILED, Health.MISSING, Health.IN_PROGRESS):
        if any(workload.health is health for workload in found):
            return health, found
    return Health.CURRENT, found


_WAITING_ADVICE = {
    "ErrImagePull": "the image cannot be pulled",
    "ImagePullBackOff": "the image cannot be pulled",
    "ErrImageNeverPull": "the image is not on the node and may not be pulled",
    "InvalidImageName": "the image's name is not valid",
    "CrashLoopBackOff": "the container crashes again and again",
    "CreateContainerConfigError": "the container's configuration cannot be resolved",
    "CreateContainerError": "the container cannot be created",
    "RunContainerError": "the container cannot be started",
}


def pod_problem(pod: Mapping[str, Any]) -> str | None:
    """Why the pod does not do its work, in one sentence; None when nothing speaks against it."""
    name = pod["metadata"]["name"]
    status = pod.get("status") or {}
    for found in status.get("conditions") or []:
        if found.get("type") == "PodScheduled" and found.get("status") == "False":
            return f"pod {name} is not scheduled: {found.get('message', found.get('reason', ''))}"
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    for container in containers:
        if problem := _container_problem(container):
            return f"pod {name}, container {container['name']}: {problem}"
    if status.get("reason") in {"Evicted", "Preempting", "NodeLost"}:
        return f"pod {name}: {status['reason']}: {status.get('message', '')}"
    if status.get("phase") == "Running" and not all(container.get("ready") for container in containers):
        waiting = [container["name"] for container in containers if not container.get("ready")]
        return f"pod {name} runs but its readiness probe does not succeed ({', '.join(waiting)})"
    return None


def _container_problem(container: Mapping[str, Any]) -> str | None:
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    last = ((container.get("lastState") or {}).get("terminated")) or {}
    if advice := _WAITING_ADVICE.get(waiting.get("reason", "")):
        text = f"{waiting['reason']}: {advice}"
        if last:
            text += f"; it ended with exit code {last.get('exitCode')} ({last.get('reason', 'Error')})"
        elif waiting.get("message"):
            text += f" ({waiting['message']})"
        return text
    ended = state.get("terminated") or {}
    if ended.get("exitCode", 0) != 0:
        return f"ended with exit code {ended['exitCode']} ({ended.get('reason', 'Error')})"
    return None
