"""What happens around the operator for a while, not at one request: the end is the same, each input deployed once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from bench.seed import ROLE_BINDINGS
from pilotage.kube.client import Conflict
from pilotage.kube.resources import DEPLOYMENTS, IMPLEMENTATIONS
from tests.faults.ground import DEPLOYER, Ground
from tests.faults.oracles import OWN_WRITES, each_input_once
from tests.faults.proxy import FaultProxy, Upstream
from tests.faults.supervisor import Supervisor
from tests.faults.workloads import NAME, Customer, install_six, is_ready

pytestmark = [pytest.mark.light, pytest.mark.timeout(300)]

PATIENCE = 120.0


@dataclass
class Scene:
    """An operator at the beginning of an install of six modules."""

    ground: Ground
    customer: Customer
    operator: Supervisor
    proxy: FaultProxy

    async def reaches(self, module: str) -> None:
        """Wait until the module's first objects are there."""
        assert await self.customer.until(lambda: self.customer.tag(module) == "v1", PATIENCE), self.customer.states()

    async def reaches_the_end(self) -> None:
        """Wait until all is accepted, and look at how it came there."""
        assert await self.customer.until(lambda: is_ready(self.customer), PATIENCE), self.customer.states()
        assert list(each_input_once(self.ground.history.of(self.customer.namespace))) == []
        assert self.operator.surprises == []
        assert self.operator.bugs() == []


@asynccontextmanager
async def scene(directory: Any, **settings: str) -> AsyncIterator[Scene]:
    async with Ground(directory) as ground:
        namespace = f"k{os.getpid() % 10000}"
        await ground.make_namespace(namespace)
        customer = Customer(ground, namespace)
        operator = Supervisor(ground.nursery, namespace, directory, settings)
        upstream = Upstream(ground.upstream.url, ground.upstream.session)
        proxy = FaultProxy(
            upstream, namespace, kill=operator.kill, kill_helm=operator.kill_helm, terminate=operator.terminate
        )
        try:
            await operator.start(await proxy.start())
            await install_six(customer)
            yield Scene(ground, customer, operator, proxy)
        finally:
            await operator.stop()
            await proxy.stop()


async def test_a_killed_api_server_whose_store_is_compacted_changes_nothing_in_the_end(tmp_path):
    async with scene(tmp_path) as found:
        found.ground.history.holes = True
        for module in ("a1", "b1"):
            await found.reaches(module)
            await found.ground.restart_api_server()
        await found.reaches_the_end()
        assert found.proxy.expired, "no watch was told 410: nothing was tested"


async def test_a_store_that_stands_still_for_a_while_is_waited_for(tmp_path):
    async with scene(tmp_path) as found:
        await found.reaches("a1")
        found.ground.light.freeze_store()
        try:
            assert not await found.customer.until(lambda: is_ready(found.customer), 15.0)
        finally:
            found.ground.light.thaw_store()
        await found.reaches_the_end()


async def test_an_operator_that_is_killed_every_two_seconds_ends_where_it_would_have_ended(tmp_path):
    async with scene(tmp_path) as found:
        for _ in range(15):
            await asyncio.sleep(2.0)
            found.operator.kill()
        assert found.operator.kills >= 10
        await found.reaches_the_end()


async def test_rights_that_are_taken_away_are_named_and_nothing_is_lost_when_they_come_back(tmp_path):
    async with scene(tmp_path, PILOTAGE_INPUT_TTL="2") as found:
        await found.reaches("a1")
        cluster, namespace = found.ground.cluster, found.customer.namespace
        binding = await cluster.get(ROLE_BINDINGS, namespace, DEPLOYER)
        await cluster.delete(ROLE_BINDINGS, namespace, DEPLOYER, uid=binding["metadata"]["uid"])

        def told() -> str:
            return str(found.customer.condition("Stalled").get("message"))

        assert await found.customer.until(lambda: f"create rolebinding {DEPLOYER}" in told(), PATIENCE), told()
        assert found.customer.condition("Stalled")["reason"] == "RightsMissing"
        made = {"metadata": {"name": DEPLOYER, "namespace": namespace}}
        await cluster.create(ROLE_BINDINGS, made | {"roleRef": binding["roleRef"], "subjects": binding["subjects"]})
        assert await found.customer.until(lambda: "create rolebinding" not in told(), PATIENCE), told()
        # An action that Helm was at has failed for good: a person asks for it again.
        await found.customer.retry("the rights are back")
        await found.reaches_the_end()


async def test_somebody_who_labels_its_objects_twenty_times_a_second_loses_no_label_and_holds_nothing_up(tmp_path):
    async with scene(tmp_path) as found:
        written = 0

        async def label() -> None:
            nonlocal written
            while True:
                await asyncio.sleep(0.05)
                for resource, name in ((IMPLEMENTATIONS, NAME), (DEPLOYMENTS, f"{NAME}-a1")):
                    body = found.ground.history.object(found.customer.namespace, resource, name)
                    if body is None:
                        continue
                    labels = (body["metadata"].get("labels") or {}) | {"example.com/count": str(written)}
                    with suppress(Conflict):
                        changed = body | {"metadata": body["metadata"] | {"labels": labels}}
                        await found.ground.cluster.replace(resource, changed)
                        written += 1

        storm = asyncio.create_task(label())
        try:
            assert await found.customer.until(lambda: is_ready(found.customer), PATIENCE), found.customer.states()
        finally:
            storm.cancel()
        await found.reaches_the_end()
        assert written > 20
        for resource, name in ((IMPLEMENTATIONS, NAME), (DEPLOYMENTS, f"{NAME}-a1")):
            body = await found.ground.cluster.get(resource, found.customer.namespace, name)
            assert "example.com/count" in body["metadata"]["labels"]
        own = [traced for traced in found.proxy.trace if traced.request.resource in OWN_WRITES and traced.code]
        reports = [traced for traced in own if traced.request.resource == "implementations/status"]
        lasted = found.proxy.trace[-1].moment - found.proxy.trace[0].moment
        assert len(reports) < 20 * lasted
