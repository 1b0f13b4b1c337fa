"""A bare watcher: raw watch events with the moment of their arrival. The peer of the operator's latency."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml

from pilotage.kube.resources import Resource

LINE = 8 * 1024 * 1024


class BareWatcher:
    """Watches a few kinds from now on and notes when an object first satisfies a condition."""

    def __init__(self, kubeconfig: Path, watched: Mapping[Resource, Callable[[dict[str, Any]], bool]]) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        self._server = cluster["server"]
        self._tls = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
        certificate = kubeconfig.with_name("bench-client.pem")
        certificate.write_bytes(b64decode(user["client-certificate-data"]) + b64decode(user["client-key-data"]))
        self._tls.load_cert_chain(certificate)
        self._watched = watched
        self._tasks: list[asyncio.Task[None]] = []
        self.seen: dict[tuple[str, str, str], float] = {}
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls), read_bufsize=LINE)
        started = [asyncio.Event() for _ in self._watched]
        for (resource, condition), ready in zip(self._watched.items(), started, strict=True):
            self._tasks.append(asyncio.create_task(self._watch(resource, condition, ready)))
        await asyncio.gather(*(ready.wait() for ready in started))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def arrival(self, plural: str, namespace: str, name: str, patience: float) -> float | None:
        """The moment (perf_counter) at which the object first satisfied its condition; None when it never did."""
        place = (plural, namespace, name)
        try:
            async with asyncio.timeout(patience):
                while place not in self.seen:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return None
        return self.seen[place]

    async def _watch(
        self, resource: Resource, condition: Callable[[dict[str, Any]], bool], ready: asyncio.Event
    ) -> None:
        address = self._server + resource.path()
        async with self._session.get(address, params={"limit": "1"}) as answer:
            version = (await answer.json())["metadata"]["resourceVersion"]
        query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "3600"}
        async with self._session.get(address, params=query, timeout=aiohttp.ClientTimeout(total=None)) as answer:
            ready.set()
            async for line in answer.content:
                now = time.perf_counter()
                event = json.loads(line)
                metadata = event["object"].get("metadata") or {}
                place = (resource.plural, metadata.get("namespace", ""), metadata.get("name", ""))
                if event["type"] in {"ADDED", "MODIFIED"} and place not in self.seen and condition(event["object"]):
                    self.seen[place] = now
                    self._changed.set()
