"""The sweep finds what the watch lost, and believes a list only after it looked at the object."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pilotage.kube.client import Objects
from pilotage.kube.resources import IMPLEMENTATIONS, Resource
from pilotage.kube.store import Key, Store
from pilotage.kube.sweep import sweep
from pilotage.reconcile.dependents import dependents
from tests.support.builders import a_module, an_implementation
from tests.support.world import World

KEY = Key("implementations", "huasheng", "erp")


class Lagging(World):
    """A world whose metadata list is as old as the test says."""

    stale: Objects | None = None

    async def list_metadata(self, resource: Resource, *, labels: str | None = None) -> Objects:
        return await super().list_metadata(resource, labels=labels) if self.stale is None else self.stale


@pytest.fixture
def world() -> Lagging:
    return Lagging(lambda: datetime(2026, 11, 23, tzinfo=UTC))


async def made(world: World) -> dict[str, Any]:
    body = an_implementation(a_module("core"))
    return await world.create(IMPLEMENTATIONS, {**body, "metadata": {"name": "erp", "namespace": "huasheng"}})


async def removed(world: World, body: dict[str, Any]) -> None:
    await world.delete(IMPLEMENTATIONS, "huasheng", "erp", uid=body["metadata"]["uid"])


async def test_nothing_lost_wakes_nobody(world: Lagging) -> None:
    store = Store(dependents)
    store.observe(IMPLEMENTATIONS, "ADDED", await made(world))
    assert await sweep(world, store, IMPLEMENTATIONS) == set()


async def test_an_object_whose_creation_was_missed_is_taken_in(world: Lagging) -> None:
    store = Store(dependents)
    await made(world)
    assert await sweep(world, store, IMPLEMENTATIONS) == {KEY}
    assert store.get(IMPLEMENTATIONS, "huasheng", "erp") is not None


async def test_an_object_whose_deletion_was_missed_is_evicted(world: Lagging) -> None:
    store = Store(dependents)
    body = await made(world)
    store.observe(IMPLEMENTATIONS, "ADDED", body)
    await removed(world, body)
    assert await sweep(world, store, IMPLEMENTATIONS) == {KEY}
    assert store.get(IMPLEMENTATIONS, "huasheng", "erp") is None


async def test_a_change_that_was_missed_is_taken_in(world: Lagging) -> None:
    store = Store(dependents)
    body = await made(world)
    store.observe(IMPLEMENTATIONS, "ADDED", body)
    changed = {**body, "metadata": {**body["metadata"], "labels": {"seen": "no"}}}
    written = await world.replace(IMPLEMENTATIONS, changed)
    assert await sweep(world, store, IMPLEMENTATIONS) == {KEY}
    assert store.get(IMPLEMENTATIONS, "huasheng", "erp") == written


async def test_an_object_that_was_made_anew_unseen_takes_the_old_ones_place(world: Lagging) -> None:
    store = Store(dependents)
    body = await made(world)
    store.observe(IMPLEMENTATIONS, "ADDED", body)
    await removed(world, body)
    successor = await made(world)
    assert await sweep(world, store, IMPLEMENTATIONS) == {KEY}
    found = store.get(IMPLEMENTATIONS, "huasheng", "erp")
    assert found is not None
    assert found["metadata"]["uid"] == successor["metadata"]["uid"]


async def test_a_list_that_is_older_than_the_events_evicts_nothing(world: Lagging) -> None:
    store = Store(dependents)
    world.stale = []
    store.observe(IMPLEMENTATIONS, "ADDED", await made(world))
    assert await sweep(world, store, IMPLEMENTATIONS) == set()
    assert store.get(IMPLEMENTATIONS, "huasheng", "erp") is not None


async def test_a_list_that_is_older_than_a_deletion_brings_nothing_back(world: Lagging) -> None:
    store = Store(dependents)
    body = await made(world)
    world.stale = [{"metadata": body["metadata"]}]
    store.observe(IMPLEMENTATIONS, "ADDED", body)
    await removed(world, body)
    store.observe(IMPLEMENTATIONS, "DELETED", body)
    await sweep(world, store, IMPLEMENTATIONS)
    assert store.get(IMPLEMENTATIONS, "huasheng", "erp") is None
