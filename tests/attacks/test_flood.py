"""S09: one tenant's thousands of objects and events. Another tenant's object waits for one of them at most."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pilotage.delivery.fair_slots import FairSlots
from pilotage.kube.queue import WorkQueue
from pilotage.kube.resources import IMPLEMENTATIONS
from pilotage.kube.store import Key, Store
from pilotage.observability.health import Liveness
from pilotage.reconcile.dependents import dependents

OBJECTS = 10_000
EVENTS = 100_000
WORKERS = 8
PROCESSES = 4


def keys(namespace: str, number: int) -> list[Key]:
    return [Key("implementations", namespace, f"erp-{count}") for count in range(number)]


@pytest.mark.timeout(60)
async def test_s09_another_tenants_object_is_looked_at_before_the_flood_is_through():
    queue: WorkQueue[Key] = WorkQueue(tenant=lambda key: key.namespace)
    passes: list[str] = []
    seen = asyncio.Event()

    async def work() -> None:
        while (key := await queue.get()) is not None:
            passes.append(key.namespace)
            if key.namespace == "huasheng":
                seen.set()
            await asyncio.sleep(0)
            queue.done(key)
            # The flood never ends: each object wants to be looked at again at once.
            if key.namespace == "flood":
                queue.add(key)

    for key in keys("flood", OBJECTS):
        queue.add(key)
    workers = [asyncio.create_task(work()) for _ in range(WORKERS)]
    waits = []
    for key in keys("huasheng", 20):
        before = len(passes)
        queue.add(key)
        async with asyncio.timeout(5):
            await seen.wait()
        seen.clear()
        waits.append(passes[before:].index("huasheng"))
    queue.shut_down()
    await asyncio.gather(*workers)
    assert max(waits) <= 2 * WORKERS


@pytest.mark.timeout(60)
async def test_s09_events_of_one_object_become_one_pass():
    queue: WorkQueue[Key] = WorkQueue(tenant=lambda key: key.namespace)
    store = Store(dependents)
    for number in range(EVENTS):
        body: dict[str, Any] = {
            "metadata": {"namespace": "flood", "name": f"erp-{number % 10}", "uid": str(number % 10)},
            "status": {"n": number},
        }
        for key in store.observe(IMPLEMENTATIONS, "MODIFIED", body):
            queue.add(key)
    assert len(queue) <= 10


async def test_s09_a_flood_is_no_reason_to_restart_the_operator():
    queue: WorkQueue[Key] = WorkQueue(tenant=lambda key: key.namespace)
    liveness = Liveness(queue)
    liveness.watching()
    loop = asyncio.get_running_loop()
    now = loop.time()
    loop.time = lambda: now  # type: ignore[method-assign]
    for key in keys("flood", OBJECTS):
        queue.add(key)
    for _ in range(100):
        now += 10
        taken = await queue.get()
        assert taken is not None
        queue.done(taken)
    assert liveness.trouble() is None
    now += 1000
    assert liveness.trouble() is not None


async def test_s09_helm_processes_are_not_all_one_tenants():
    slots = FairSlots(PROCESSES)
    got: list[str] = []

    async def act(namespace: str) -> None:
        async with slots.hold(namespace):
            got.append(namespace)
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(act("flood")) for _ in range(1000)]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(act("huasheng")))
    for _ in range(3):
        await asyncio.sleep(0)
    assert got == ["flood"] * (PROCESSES - 1) + ["huasheng"]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
