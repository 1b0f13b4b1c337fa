"""A kubelet that has no nodes: it says of each Deployment what its controllers would once the pods run, or do not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp

from pilotage.kube.resources import DEPLOYMENTS
from tests.faults.history import Change, History
from tests.faults.proxy import Upstream

NEVER_READY = "bad"
AGAIN_AFTER = 0.5


class SimulatedKubelet:
    """Writes the status of every Deployment as soon as it is made or changed; images tagged `bad` never run."""

    def __init__(self, upstream: Upstream, history: History) -> None:
        self._upstream = upstream
        self._tasks: set[asyncio.Task[None]] = set()
        history.subscribe(self._hear)

    def _hear(self, namespace: str, change: Change) -> None:
        if change.resource != DEPLOYMENTS.plural or change.kind == "DELETED" or is_reported(change.body):
            return
        task = asyncio.create_task(self._report(namespace, change.body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _report(self, namespace: str, body: dict[str, Any]) -> None:
        """A refused write means that the Deployment changed, and the change is heard too."""
        address = self._upstream.url + DEPLOYMENTS.path(namespace, body["metadata"]["name"], "status")
        content = json.dumps({**body, "status": status_of(body)})
        headers = {"Content-Type": "application/json"}
        while True:
            try:
                async with self._upstream.session.put(address, data=content, headers=headers) as answer:
                    if answer.status < 500 and answer.status != 429:
                        return
            except aiohttp.ClientError:
                pass  # the API server is away
            await asyncio.sleep(AGAIN_AFTER)


def image_tag(body: dict[str, Any]) -> str:
    """The tag of the Deployment's only container."""
    return str(body["spec"]["template"]["spec"]["containers"][0]["image"]).rpartition(":")[2]


def is_reported(body: dict[str, Any]) -> bool:
    """Whether the status speaks of the present generation."""
    return bool((body.get("status") or {}).get("observedGeneration") == body["metadata"]["generation"])


def is_ready(body: dict[str, Any]) -> bool:
    """Whether its pods run, as reported for the present generation."""
    return is_reported(body) and bool((body["status"]).get("readyReplicas"))


def status_of(body: dict[str, Any]) -> dict[str, Any]:
    """The Deployment's status as its controller would write it."""
    runs = image_tag(body) != NEVER_READY
    ready = 1 if runs else 0
    counts = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": ready, "availableReplicas": ready}
    conditions = [
        {"type": "Available", "status": str(runs), "reason": "Simulated", "message": "by the simulated kubelet"},
        {"type": "Progressing", "status": "True", "reason": "Simulated", "message": "by the simulated kubelet"},
    ]
    return {"observedGeneration": body["metadata"]["generation"], "conditions": conditions, **counts}
