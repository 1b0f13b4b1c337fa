"""What the store knows of a release's workloads, and why their pods do not run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pilotage.kube.client import ApiError
from pilotage.kube.resources import DAEMON_SETS, DEPLOYMENTS, JOBS, PODS, STATEFUL_SETS
from pilotage.plan.delivery import ReleaseFacts
from pilotage.plan.health import Health, WorkloadHealth, pod_problem, release_health
from pilotage.reconcile.context import Context

RELEASE_NAME: Final = "meta.helm.sh/release-name"
BY_KIND: Final = {"Deployment": DEPLOYMENTS, "StatefulSet": STATEFUL_SETS, "DaemonSet": DAEMON_SETS, "Job": JOBS}


async def observe_health(
    context: Context, namespace: str, release: ReleaseFacts, account: str
) -> tuple[Health, str, bool]:
    """The release's health, a message with the reason of a failing pod, and whether one of its Jobs is active."""
    if not release.revisions:
        return Health.MISSING, "", False
    expected = release.revisions[-1].workloads
    bodies = [
        {**body, "kind": kind}
        for kind, name in expected
        if (body := context.store.get(BY_KIND[kind], namespace, name)) is not None
    ]
    health, found = release_health(expected, bodies)
    if health is Health.CURRENT:
        return health, "", False
    troubled = [workload for workload in found if workload.health is not Health.CURRENT]
    messages = [workload.message for workload in troubled]
    problem = await _pod_problem(context, namespace, troubled, bodies, account)
    active = any(workload.active for workload in found)
    return health, "; ".join([*messages[:4], *([problem] if problem else [])]), active


async def _pod_problem(
    context: Context, namespace: str, troubled: list[WorkloadHealth], bodies: list[dict[str, Any]], account: str
) -> str | None:
    by_name = {(body["kind"], body["metadata"]["name"]): body for body in bodies}
    for workload in troubled:
        body = by_name.get((workload.kind, workload.name))
        if body is None or not (labels := _selector(body)):
            continue
        try:
            pods = await context.cluster.list(PODS, namespace, labels=labels, acting_as=account)
        except ApiError as error:
            return f"its pods cannot be read: {error.message}"
        newest_first = sorted(pods, key=lambda pod: pod["metadata"].get("creationTimestamp", ""), reverse=True)
        for pod in newest_first:
            if problem := pod_problem(pod):
                return problem
    return None


def _selector(body: Mapping[str, Any]) -> str:
    labels = ((body.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
