"""What truly happened: every change that the API server tells of, past the proxy, in the order of its versions."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from pilotage.kube.resources import (
    ACCEPTANCE_CHECKS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    IMPLEMENTATIONS,
    JOBS,
    MIGRATION_JOBS,
    SECRETS,
    SERVICES,
    Resource,
)
from tests.faults.proxy import Upstream

RECORDED = (IMPLEMENTATIONS, MIGRATION_JOBS, ACCEPTANCE_CHECKS, DEPLOYMENTS, CONFIG_MAPS, SECRETS, SERVICES, JOBS)
Place = tuple[str, str]


class Hole(RuntimeError):
    """The API server no longer knows what happened since."""


@dataclass(frozen=True)
class Change:
    """One change: ADDED, MODIFIED or DELETED. One counter gives all kinds their versions, so they order everything."""

    version: int
    kind: str
    resource: str
    name: str
    body: dict[str, Any]

    @property
    def place(self) -> Place:
        return self.resource, self.name


class History:
    """Changes by namespace, from `start` on. Subscribers hear each change at once.

    `holes`: whether it goes on after a 410 with what is there then; what happened meanwhile is not in it.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self.holes = False
        self._changes: dict[str, list[Change]] = defaultdict(list)
        self._subscribers: list[Callable[[str, Change], None]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        for resource in RECORDED:
            version = await self._version(resource)
            self._tasks.append(asyncio.create_task(self._follow(resource, version)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def subscribe(self, callback: Callable[[str, Change], None]) -> None:
        self._subscribers.append(callback)

    def of(self, namespace: str) -> list[Change]:
        """All changes in the namespace, in their order."""
        return sorted(self._changes[namespace], key=lambda change: change.version)

    def now(self, namespace: str) -> dict[Place, dict[str, Any]]:
        """The objects that are there."""
        present: dict[Place, dict[str, Any]] = {}
        for change in self.of(namespace):
            if change.kind == "DELETED":
                present.pop(change.place, None)
            else:
                present[change.place] = change.body
        return present

    def object(self, namespace: str, resource: Resource, name: str) -> dict[str, Any] | None:
        """The newest state of one object, None when it is not there."""
        found = [c for c in self._changes[namespace] if c.place == (resource.plural, name)]
        newest = max(found, key=lambda change: change.version, default=None)
        return None if newest is None or newest.kind == "DELETED" else newest.body

    async def _version(self, resource: Resource) -> str:
        async with self._upstream.session.get(self._upstream.url + resource.path(), params={"limit": "1"}) as answer:
            return str(json.loads(await answer.read())["metadata"]["resourceVersion"])

    async def _follow(self, resource: Resource, version: str) -> None:
        while True:
            query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "3600"}
            try:
                async with self._upstream.session.get(
                    self._upstream.url + resource.path(), params=query, headers={"Accept-Encoding": "identity"}
                ) as answer:
                    # A server that has just begun refuses watches for a moment.
                    answer.raise_for_status()
                    async for line in answer.content:
                        version = self._take(resource, json.loads(line))
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.2)
            except Hole:
                if not self.holes:
                    raise
                version = await self._list(resource)

    async def _list(self, resource: Resource) -> str:
        async with self._upstream.session.get(self._upstream.url + resource.path()) as answer:
            found = json.loads(await answer.read())
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        for body in found["items"]:
            self._take(resource, {"type": "MODIFIED", "object": kind | body})
        return str(found["metadata"]["resourceVersion"])

    def _take(self, resource: Resource, event: dict[str, Any]) -> str:
        body, kind = event["object"], event["type"]
        if kind == "ERROR":
            msg = f"the history of {resource.plural} has a hole: {body}"
            raise Hole(msg)
        metadata = body["metadata"]
        change = Change(int(metadata["resourceVersion"]), kind, resource.plural, metadata["name"], body)
        namespace = metadata["namespace"]
        self._changes[namespace].append(change)
        for subscriber in self._subscribers:
            subscriber(namespace, change)
        return str(change.version)
