"""The Lease: one holder at a time, whatever the API server and the peer do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from pilotage.kube.client import Unavailable
from pilotage.kube.lease import LeaseElector, LeaseLost
from pilotage.kube.resources import LEASES, Resource
from tests.support.world import World

NOWHERE = Unavailable(0, "TimeoutError", "no answer")


class Faulty(World):
    """A world whose updates can hang, fail, or be done with a late answer or none; `unread` reads fail."""

    def __init__(self) -> None:
        super().__init__(lambda: datetime(2026, 11, 23, tzinfo=UTC))
        self.fault = ""
        self.updates = 0
        self.unread = 0
        self.now = 0.0

    async def get(
        self, resource: Resource, namespace: str | None, name: str, *, acting_as: str | None = None
    ) -> dict[str, Any]:
        if self.unread:
            self.unread -= 1
            raise NOWHERE
        return await super().get(resource, namespace, name, acting_as=acting_as)

    async def replace(
        self, resource: Resource, body: Mapping[str, Any], *, acting_as: str | None = None
    ) -> dict[str, Any]:
        self.updates += 1
        if self.fault == "hangs":
            await asyncio.Event().wait()
        if self.fault == "fails":
            raise NOWHERE
        written = await super().replace(resource, body, acting_as=acting_as)
        if self.fault == "answer late":
            self.fault, self.now = "", self.now + 60
        if self.fault == "answer lost":
            self.fault = ""
            raise NOWHERE
        return written

    @property
    def spec(self) -> dict[str, Any]:
        found = self.look(LEASES, "pilotage-system", "pilotage")
        assert found is not None
        return dict(found["spec"])


def elector(world: World, identity: str = "one", **settings: Any) -> LeaseElector:
    quick = {"lease_duration": 5.0, "renew_deadline": 0.5, "retry_period": 0.02}
    return LeaseElector(world, namespace="pilotage-system", name="pilotage", identity=identity, **{**quick, **settings})


async def taken_over(world: Faulty) -> None:
    body = await world.get(LEASES, "pilotage-system", "pilotage")
    await World.replace(world, LEASES, {**body, "spec": {**body["spec"], "holderIdentity": "other"}})


async def renewed(world: Faulty, times: int) -> None:
    wanted = world.updates + times
    async with asyncio.timeout(10):
        while world.updates < wanted:  # noqa: ASYNC110 (the world tells nobody)
            await asyncio.sleep(0.005)


async def test_the_first_one_makes_the_lease_and_keeps_it() -> None:
    world = Faulty()
    one = elector(world)
    await one.acquire()
    assert (world.spec["holderIdentity"], world.spec["leaseTransitions"]) == ("one", 0)
    holding = asyncio.ensure_future(one.hold())
    await renewed(world, 3)
    assert not holding.done()
    holding.cancel()


async def test_a_second_one_waits_while_the_first_renews() -> None:
    world = Faulty()
    one, two = elector(world, lease_duration=0.3), elector(world, "two", lease_duration=0.3)
    await one.acquire()
    holding = asyncio.ensure_future(one.hold())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(two.acquire(), 1.0)
    assert world.spec["holderIdentity"] == "one"
    holding.cancel()


async def test_a_lease_that_nobody_renews_is_taken_once_it_was_seen_unchanged_for_its_duration() -> None:
    world = Faulty()
    moments = iter(range(0, 1000, 1))
    await elector(world, lease_duration=5.0).acquire()
    two = elector(world, "two", monotonic=lambda: float(next(moments)))
    await asyncio.wait_for(two.acquire(), 5)
    assert (world.spec["holderIdentity"], world.spec["leaseTransitions"]) == ("two", 1)
    assert next(moments) > 5


async def test_the_wall_clock_of_the_holder_does_not_matter() -> None:
    world = Faulty()
    await elector(world).acquire()
    body = await world.get(LEASES, "pilotage-system", "pilotage")
    await world.replace(LEASES, {**body, "spec": {**body["spec"], "renewTime": "1990-01-01T00:00:00.000000Z"}})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(elector(world, "two").acquire(), 0.2)


async def test_a_renewal_that_hangs_ends_the_leadership_at_the_deadline() -> None:
    world = Faulty()
    one = elector(world)
    await one.acquire()
    world.fault = "hangs"
    with pytest.raises(LeaseLost, match="not renewed"):
        await asyncio.wait_for(one.hold(), 5)


async def test_renewals_that_fail_end_the_leadership_at_the_deadline() -> None:
    world = Faulty()
    one = elector(world)
    await one.acquire()
    world.fault = "fails"
    with pytest.raises(LeaseLost, match="not renewed"):
        await asyncio.wait_for(one.hold(), 5)
    assert world.updates > 3


async def test_a_short_outage_is_survived() -> None:
    world = Faulty()
    one = elector(world, renew_deadline=5.0)
    await one.acquire()
    world.fault = "fails"
    holding = asyncio.ensure_future(one.hold())
    await renewed(world, 3)
    world.fault = ""
    await renewed(world, 3)
    assert not holding.done()
    holding.cancel()


async def test_a_renewal_whose_answer_was_lost_is_still_ours() -> None:
    world = Faulty()
    one = elector(world, renew_deadline=5.0)
    await one.acquire()
    world.fault = "answer lost"
    holding = asyncio.ensure_future(one.hold())
    await renewed(world, 5)
    assert not holding.done()
    assert world.spec["leaseTransitions"] == 0
    holding.cancel()


async def test_a_lost_answer_and_reads_that_fail_after_it_are_survived() -> None:
    world = Faulty()
    one = elector(world, renew_deadline=5.0)
    await one.acquire()
    world.fault, world.unread = "answer lost", 3
    holding = asyncio.ensure_future(one.hold())
    await renewed(world, 10)
    assert not holding.done()
    assert world.spec["leaseTransitions"] == 0
    holding.cancel()


async def test_a_renewal_whose_answer_comes_after_the_deadline_ends_the_leadership() -> None:
    world = Faulty()
    one = elector(world, renew_deadline=30.0, monotonic=lambda: world.now)
    await one.acquire()
    world.fault = "answer late"
    with pytest.raises(LeaseLost, match="not renewed"):
        await asyncio.wait_for(one.hold(), 10)


async def test_a_leader_that_stood_still_knows_that_its_lease_lapsed_before_anything_else_happens() -> None:
    world = Faulty()
    one = elector(world, renew_deadline=10.0, monotonic=lambda: world.now)
    assert not one.lapsed()
    await one.acquire()
    world.now = 9.0
    assert not one.lapsed()
    world.now = 10.0
    assert one.lapsed()


async def test_a_foreign_holder_ends_the_leadership_at_once() -> None:
    world = Faulty()
    one = elector(world)
    await one.acquire()
    await taken_over(world)
    with pytest.raises(LeaseLost, match="held by 'other'"):
        await asyncio.wait_for(one.hold(), 5)
    assert world.spec["holderIdentity"] == "other"


async def test_a_deleted_lease_ends_the_leadership() -> None:
    world = Faulty()
    one = elector(world)
    await one.acquire()
    found = await world.get(LEASES, "pilotage-system", "pilotage")
    await world.delete(LEASES, "pilotage-system", "pilotage", uid=found["metadata"]["uid"])
    with pytest.raises(LeaseLost, match="deleted"):
        await asyncio.wait_for(one.hold(), 5)


async def test_a_lease_that_is_given_back_is_free_at_once() -> None:
    world = Faulty()
    one = elector(world)
    await one.acquire()
    await one.release()
    await asyncio.wait_for(elector(world, "two").acquire(), 5)
    assert world.spec["holderIdentity"] == "two"


async def test_giving_back_what_was_taken_over_leaves_the_new_holder_alone() -> None:
    world = Faulty()
    one = elector(world)
    await one.acquire()
    await taken_over(world)
    await one.release()
    assert world.spec["holderIdentity"] == "other"


async def test_a_restarted_holder_of_the_same_name_takes_its_lease_again_without_waiting() -> None:
    world = Faulty()
    await elector(world).acquire()
    await asyncio.wait_for(elector(world).acquire(), 1)
    assert world.spec["leaseTransitions"] == 0
