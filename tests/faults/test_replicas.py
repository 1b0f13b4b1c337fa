"""Three operators and one Lease: whatever happens to the leader, only one writes at any time."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from e2e.cluster.packages import install_packages
from tests.faults.ground import Ground
from tests.faults.nursery import Nursery
from tests.faults.oracles import each_input_once
from tests.faults.proxy import FaultProxy, Traced, Upstream
from tests.faults.supervisor import Supervisor
from tests.faults.workloads import Customer, install_three, is_ready

pytestmark = [pytest.mark.light, pytest.mark.timeout(600)]

NAMES = ("one", "two", "three")
TAKEOVER = 20.0
PATIENCE = 120.0
HOUR = 3600.0


class Replica:
    """One of several operators, with a way of its own to the API server."""

    def __init__(self, ground: Ground, nursery: Nursery, namespace: str, name: str, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.name = name
        self.clock = directory / "clock"
        settings = {
            "PILOTAGE_LEADER_ELECTION": "true",
            "PILOTAGE_IDENTITY": name,
            "FAKETIME_TIMESTAMP_FILE": str(self.clock),
        }
        self.supervisor = Supervisor(nursery, namespace, directory, settings)
        upstream = Upstream(ground.upstream.url, ground.upstream.session)
        self.proxy = FaultProxy(
            upstream,
            namespace,
            kill=self.supervisor.kill,
            kill_helm=self.supervisor.kill_helm,
            terminate=self.supervisor.terminate,
        )
        self._url = ""
        self.set_clock(0)

    async def start(self) -> None:
        """Start it, also after its end."""
        self._url = self._url or await self.proxy.start()
        await self.supervisor.start(self._url)

    def set_clock(self, seconds: float) -> None:
        """Let its wall clock be ahead of ours by so many seconds, from now on."""
        part = self.clock.with_suffix(".new")
        part.write_text(f"{seconds:+.0f}\n")
        part.rename(self.clock)


class Replicas:
    """Three of them, over one customer."""

    def __init__(self, customer: Customer, members: list[Replica]) -> None:
        self.customer = customer
        self.members = {member.name: member for member in members}

    def trace(self) -> list[tuple[Traced, str]]:
        """What all of them sent, in the order of its coming."""
        sent = [(traced, name) for name, member in self.members.items() for traced in member.proxy.trace]
        return sorted(sent, key=lambda pair: pair[0].moment)

    def leader(self) -> str:
        """Who held the Lease last; "" when nobody did yet."""
        return next((name for traced, name in reversed(self.trace()) if holds(traced)), "")

    async def another_leads(self, former: str) -> float:
        """Wait until it is not `former`; returns the seconds that it took."""
        begun = time.monotonic()
        assert await self.customer.until(lambda: self.leader() not in {"", former}, PATIENCE)
        return time.monotonic() - begun

    async def upgraded(self, tag: str) -> None:
        """Wait until all modules run at the tag and are accepted."""
        done = self.runs_at(tag)
        assert await self.customer.until(done, PATIENCE), self.customer.states()

    def runs_at(self, tag: str) -> Callable[[], bool]:
        tags = dict.fromkeys(("a", "b", "c"), tag)
        return lambda: is_ready(self.customer) and {m: self.customer.tag(m) for m in tags} == tags

    async def begin_upgrade(self, tag: str) -> str:
        """Ask for the tag, and return who leads once the first module has it: in the middle of the work."""
        await self.customer.set_tags(a=tag, b=tag, c=tag)
        assert await self.customer.until(lambda: self.customer.tag("a") == tag, PATIENCE)
        return self.leader()

    def strangers(self) -> list[str]:
        """Writes of those who were not the last to take or renew the Lease."""
        found, leader = [], ""
        for traced, name in self.trace():
            if holds(traced):
                leader = name
            elif traced.request.is_write and traced.code and name != leader:
                found.append(f"{name} wrote {traced.request} while {leader or 'nobody'} led")
        return found


def holds(traced: Traced) -> bool:
    """Whether the request took or renewed the Lease."""
    request = traced.request
    return request.resource == "leases" and request.verb in {"create", "update"} and traced.code in {200, 201}


@asynccontextmanager
async def replicas(directory: Path, environment: dict[str, str] | None = None) -> AsyncIterator[Replicas]:
    """Three replicas of an operator over an Implementation of three modules that is accepted."""
    async with Ground(directory) as ground:
        nursery = Nursery()
        await nursery.start(environment)
        namespace = f"r{os.getpid() % 10000}"
        await ground.make_namespace(namespace)
        customer = Customer(ground, namespace)
        members = [Replica(ground, nursery, namespace, name, directory / name) for name in NAMES]
        together = Replicas(customer, members)
        try:
            for member in members:
                await member.start()
            await install_three(customer)
            await together.upgraded("v1")
            yield together
        finally:
            for member in members:
                member.supervisor.thaw()
                await member.supervisor.stop()
                await member.proxy.stop()
            await nursery.stop()


def judge(found: Replicas) -> None:
    """One writer at a time, and every input deployed once."""
    namespace = found.customer.namespace
    assert found.strangers() == []
    assert list(each_input_once(found.customer.ground.history.of(namespace))) == []


async def test_a_leader_whose_pod_is_lost_is_followed_by_another_that_finishes_its_work(tmp_path):
    async with replicas(tmp_path) as found:
        for number in range(2, 5):
            former = await found.begin_upgrade(f"v{number}")
            await found.members[former].supervisor.stop()
            assert await found.another_leads(former) <= TAKEOVER
            await found.upgraded(f"v{number}")
            await found.members[former].start()
        judge(found)


async def test_a_leader_whose_container_is_killed_leads_again_at_once(tmp_path):
    async with replicas(tmp_path) as found:
        former = await found.begin_upgrade("v2")
        found.members[former].supervisor.kill()
        await found.upgraded("v2")
        assert found.leader() == former
        judge(found)


async def test_a_leader_that_stood_still_writes_nothing_when_it_wakes_and_ends(tmp_path):
    async with replicas(tmp_path) as found:
        former = await found.begin_upgrade("v2")
        member = found.members[former]
        member.supervisor.freeze()
        assert await found.another_leads(former) <= TAKEOVER
        await found.upgraded("v2")
        await found.begin_upgrade("v3")
        member.supervisor.thaw()
        assert await found.customer.until(lambda: bool(member.supervisor.surprises), PATIENCE)
        assert member.supervisor.surprises == [3], member.supervisor.words()[-2000:]
        await found.upgraded("v3")
        judge(found)


@pytest.fixture(scope="module")
def fake_time() -> dict[str, str]:
    """libfaketime, which shows a process another wall clock. Debian's package brings it."""
    install_packages({"faketime": "faketime"})
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return {"LD_PRELOAD": str(library), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@pytest.mark.parametrize("jump", [HOUR, -2 * HOUR], ids=["ahead", "back"])
async def test_a_leader_whose_clock_jumps_goes_on_leading(tmp_path, fake_time, jump):
    async with replicas(tmp_path, fake_time) as found:
        former = await found.begin_upgrade("v2")
        found.members[former].set_clock(jump)
        await found.upgraded("v2")
        renewals = len([one for one in found.trace() if holds(one[0])])
        assert await found.customer.until(
            lambda: len([one for one in found.trace() if holds(one[0])]) > renewals + 5, PATIENCE
        )
        assert found.leader() == former
        judge(found)
