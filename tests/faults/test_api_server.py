"""The API server is killed in the middle of the work, its store compacted: every watch has to begin anew."""

from __future__ import annotations

import os

import pytest

from tests.faults.ground import Ground
from tests.faults.oracles import each_input_once
from tests.faults.proxy import FaultProxy, Upstream
from tests.faults.supervisor import Supervisor
from tests.faults.workloads import Customer, install_six, is_ready

pytestmark = [pytest.mark.light, pytest.mark.timeout(300)]

PATIENCE = 120.0


async def test_a_killed_api_server_whose_store_is_compacted_changes_nothing_in_the_end(tmp_path):
    async with Ground(tmp_path) as ground:
        ground.history.holes = True
        namespace = f"k{os.getpid() % 10000}"
        await ground.make_namespace(namespace)
        customer = Customer(ground, namespace)
        operator = Supervisor(ground.nursery, namespace, tmp_path)
        upstream = Upstream(ground.upstream.url, ground.upstream.session)
        proxy = FaultProxy(upstream, namespace, kill=operator.kill, kill_helm=operator.kill_helm)
        try:
            await operator.start(await proxy.start())
            await install_six(customer)
            for module in ("a1", "b1"):
                assert await customer.until(lambda module=module: customer.tag(module) == "v1", PATIENCE), (
                    customer.states()
                )
                await ground.restart_api_server()
            assert await customer.until(lambda: is_ready(customer), PATIENCE), customer.states()
            assert list(each_input_once(ground.history.of(namespace))) == []
            assert operator.surprises == []
            assert operator.bugs() == []
            assert proxy.expired, "no watch was told 410: nothing was tested"
        finally:
            await operator.stop()
            await proxy.stop()
