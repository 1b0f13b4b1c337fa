"""What the store knows of a release's workloads, and why their pods do not run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from pilotage.kube.client import ApiError, NotFound
from pilotage.kube.resources import DAEMON_SETS, DEPLOYMENTS, JOBS, PODS, STATEFUL_SETS, Resource
from pilotage.kube.store import Key
from pilotage.plan.delivery import ReleaseFacts
from pilotage.plan.health import Health, WorkloadHealth, pod_problem, release_health
from pilotage.reconcile.context import Context
from pilotage.reconcile.kept import Clock, Kept

RELEASE_NAME: Final = "meta.helm.sh/release-name"
BY_KIND: Final = {"Deployment": DEPLOYMENTS, "StatefulSet": STATEFUL_SETS, "DaemonSet": DAEMON_SETS, "Job": JOBS}


class PodReader:
    """Reads why the pods of a workload do not run, as the tenant, about once in `ttl` seconds for each workload."""

    def __init__(self, ttl: float, clock: Clock = time.monotonic) -> None:
        self._problems: Kept[tuple[str, str, str], str | None] = Kept(lambda _problem: ttl, clock)

    async def problem(self, context: Context, key: Key, body: Mapping[str, Any], account: str) -> str | None:
        """The newest failing pod's reason, None when there is none. `key` is woken when another one is found."""
        place = (key.namespace, body["kind"], body["metadata"]["name"])

        async def ask() -> str | None:
            return await _read_problem(context, key.namespace, body, account)

        return await self._problems.get(place, ask, lambda: context.wake(key), fresh=False)


class WorkloadReader:
    """Has the workloads of a new revision read from the API server before they are judged by the store.

    A watch may be behind Helm's record. Until it has caught up, the store shows the pods of the revision before,
    healthy as they were, and the new revision would count as good.
    """

    def __init__(self) -> None:
        self._read: dict[Key, dict[str, tuple[int, str]]] = {}

    async def catch_up(self, context: Context, key: Key, release: ReleaseFacts) -> None:
        """Read the workloads of the newest revision once, and again when its record says something else of it."""
        if release.acting or not release.revisions:
            return
        newest = release.revisions[-1]
        record = (newest.revision, newest.status)
        known = self._read.setdefault(key, {})
        if known.get(release.name) == record:
            return
        for kind, name in newest.workloads:
            for woken in await _read_workload(context, BY_KIND[kind], key.namespace, name):
                context.wake(woken)
        known[release.name] = record

    def forget(self, key: Key) -> None:
        """The Implementation is gone."""
        self._read.pop(key, None)


async def _read_workload(context: Context, resource: Resource, namespace: str, name: str) -> set[Key]:
    try:
        return context.store.observe(resource, "MODIFIED", await context.cluster.get(resource, namespace, name))
    except NotFound:
        known = context.store.get(resource, namespace, name)
        return context.store.observe(resource, "DELETED", known) if known else set()


async def observe_health(context: Context, key: Key, release: ReleaseFacts, account: str) -> tuple[Health, str, bool]:
    """The release's health, a message with the reason of a failing pod, and whether one of its Jobs is active."""
    if not release.revisions:
        return Health.MISSING, "", False
    expected = release.revisions[-1].workloads
    bodies = [
        {**body, "kind": kind}
        for kind, name in expected
        if (body := context.store.get(BY_KIND[kind], key.namespace, name)) is not None
    ]
    health, found = release_health(expected, bodies)
    if health is Health.CURRENT:
        return health, "", False
    troubled = [workload for workload in found if workload.health is not Health.CURRENT]
    messages = [workload.message for workload in troubled]
    problem = await _pod_problem(context, key, troubled, bodies, account)
    active = any(workload.active for workload in found)
    return health, "; ".join([*messages[:4], *([problem] if problem else [])]), active


async def _pod_problem(
    context: Context, key: Key, troubled: list[WorkloadHealth], bodies: list[dict[str, Any]], account: str
) -> str | None:
    by_name = {(body["kind"], body["metadata"]["name"]): body for body in bodies}
    for workload in troubled:
        body = by_name.get((workload.kind, workload.name))
        if body and (problem := await context.rollout.pods.problem(context, key, body, account)):
            return problem
    return None


async def _read_problem(context: Context, namespace: str, body: Mapping[str, Any], account: str) -> str | None:
    labels = _selector(body)
    if not labels:
        return None
    try:
        pods = await context.cluster.list(PODS, namespace, labels=labels, acting_as=account)
    except ApiError as error:
        return f"its pods cannot be read: {error.message}"
    newest_first = sorted(pods, key=lambda pod: pod["metadata"].get("creationTimestamp", ""), reverse=True)
    return next((problem for pod in newest_first if (problem := pod_problem(pod))), None)


def _selector(body: Mapping[str, Any]) -> str:
    labels = ((body.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
