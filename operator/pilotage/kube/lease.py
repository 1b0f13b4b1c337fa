"""Leader election by a Lease: our own, because the library's renews without a deadline (research/verified.md 5)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pilotage.kube.client import ApiError, Cluster, Conflict, NotFound
from pilotage.kube.resources import LEASES

logger = logging.getLogger(__name__)


class LeaseLost(Exception):
    """The Lease could not be renewed in time, or somebody else holds it. Stop writing at once."""


class LeaseElector:
    """Holds the Lease `name` as `identity`.

    All durations are seconds on the monotonic clock: whether another's Lease has expired is judged by how long
    this process has seen it unchanged, never by comparing wall clocks. Each renewal has one deadline around all of
    its requests, so that a request that hangs cannot outlive the leadership. The deadline counts from when the last
    good request was sent, not from its answer: others have seen the Lease unchanged since the server wrote it.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        name: str,
        identity: str,
        lease_duration: float = 15.0,
        renew_deadline: float = 10.0,
        retry_period: float = 1.0,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._lease_duration = lease_duration
        self._renew_deadline = renew_deadline
        self._retry_period = retry_period
        self._monotonic = monotonic or (lambda: asyncio.get_running_loop().time())
        self._seen: tuple[str, float] = ("", 0.0)
        self._held: dict[str, Any] | None = None
        self._renewed = 0.0

    def lapsed(self) -> bool:
        """Whether the Lease was ours and was not renewed in time. A process that stood still learns of it by this."""
        return self._held is not None and self._monotonic() - self._renewed >= self._renew_deadline

    async def acquire(self) -> None:
        """Return once the Lease is ours."""
        while not await self._try_acquire():  # noqa: ASYNC110 (the Lease is elsewhere; no event tells)
            await asyncio.sleep(self._retry_period)
        logger.info("the Lease %s/%s is held as %s", self._namespace, self._name, self._identity)

    async def hold(self) -> None:
        """Renew for as long as it goes. Raises LeaseLost the moment that it no longer does."""
        while True:
            await asyncio.sleep(self._retry_period)
            left = self._renew_deadline - (self._monotonic() - self._renewed)
            msg = f"not renewed within {self._renew_deadline:g} s"
            if left <= 0:
                raise LeaseLost(msg)
            try:
                async with asyncio.timeout(left):
                    await self._renew_until_done()
            except TimeoutError as error:
                raise LeaseLost(msg) from error

    async def release(self) -> None:
        """Give the Lease back on a clean stop, so that the next one need not wait. Best effort."""
        if self._held is None:
            return
        body, self._held = self._held, None
        body = {**body, "spec": {**body["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}}
        try:
            async with asyncio.timeout(self._retry_period):
                await self._cluster.replace(LEASES, body)
        except (ApiError, TimeoutError) as error:
            logger.info("the Lease was not given back: %s", error)

    async def _try_acquire(self) -> bool:
        try:
            async with asyncio.timeout(self._renew_deadline):
                return await self._take()
        except (ApiError, TimeoutError) as error:
            logger.info("the Lease was not taken: %s", error)
            return False

    async def _take(self) -> bool:
        sent = self._monotonic()
        try:
            found = await self._cluster.get(LEASES, self._namespace, self._name)
        except NotFound:
            self._held, self._renewed = await self._cluster.create(LEASES, self._body(None)), sent
            return True
        spec = found.get("spec") or {}
        version, now = found["metadata"]["resourceVersion"], self._monotonic()
        if self._seen[0] != version:
            self._seen = (version, now)
        duration = float(spec.get("leaseDurationSeconds") or self._lease_duration)
        free = not spec.get("holderIdentity") or spec["holderIdentity"] == self._identity
        if not free and now - self._seen[1] < duration:
            return False
        self._held, self._renewed = await self._cluster.replace(LEASES, self._body(found)), sent
        return True

    async def _renew_until_done(self) -> None:
        while True:
            sent = self._monotonic()
            try:
                await self._renew()
            except NotFound as error:
                msg = "it was deleted"
                raise LeaseLost(msg) from error
            except ApiError as error:
                logger.warning("the Lease was not renewed: %s", error)
                await asyncio.sleep(min(0.5, self._retry_period))
            else:
                self._renewed = sent
                return

    async def _renew(self) -> None:
        if self._held is None:
            msg = "it was given back"
            raise LeaseLost(msg)
        try:
            self._held = await self._cluster.replace(LEASES, self._body(self._held))
        except Conflict:
            self._held = await self._own_lease()
            self._held = await self._cluster.replace(LEASES, self._body(self._held))

    async def _own_lease(self) -> dict[str, Any]:
        """After a conflict: a renewal whose answer was lost is still ours; anybody else's name ends it."""
        found = await self._cluster.get(LEASES, self._namespace, self._name)
        if (found.get("spec") or {}).get("holderIdentity") != self._identity:
            msg = f"it is held by {(found.get('spec') or {}).get('holderIdentity')!r}"
            raise LeaseLost(msg)
        return found

    def _body(self, found: dict[str, Any] | None) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = dict((found or {}).get("spec") or {})
        if spec.get("holderIdentity") != self._identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + (1 if found else 0)
        spec |= {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._lease_duration)),
            "renewTime": now,
        }
        metadata = dict(found["metadata"]) if found else {"name": self._name, "namespace": self._namespace}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
