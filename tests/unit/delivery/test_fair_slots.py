"""Places that tenants share."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.delivery.fair_slots import FairSlots


class Users:
    """Tasks that hold a place until they are let go, and who got one, in order."""

    def __init__(self, slots: FairSlots) -> None:
        self.slots = slots
        self.got: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, *names: str) -> None:
        for name in names:
            self.tasks[name] = asyncio.create_task(self._use(name))
        await settled()

    async def end(self, name: str) -> None:
        self.tasks[name].cancel()
        with suppress(asyncio.CancelledError):
            await self.tasks[name]
        await settled()

    async def _use(self, name: str) -> None:
        async with self.slots.hold(name[0]):
            self.got.append(name)
            await asyncio.Event().wait()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_tenant_leaves_the_last_place_to_others() -> None:
    users = Users(FairSlots(3))
    await users.ask("a1", "a2", "a3", "a4", "b1")
    assert users.got == ["a1", "a2", "b1"]


async def test_a_single_place_is_everybodys() -> None:
    users = Users(FairSlots(1))
    await users.ask("a1", "a2", "b1")
    assert users.got == ["a1"]
    await users.end("a1")
    assert users.got == ["a1", "a2"]
    await users.end("a2")
    assert users.got == ["a1", "a2", "b1"]


async def test_tenants_take_turns() -> None:
    users = Users(FairSlots(2))
    await users.ask("a1", "b1", "c1", "c2", "d1")
    await users.end("a1")
    await users.end("b1")
    assert users.got == ["a1", "b1", "c1", "d1"]


async def test_whoever_gives_up_waiting_costs_no_place() -> None:
    users = Users(FairSlots(2))
    await users.ask("a1", "b1", "c1", "d1")
    await users.end("c1")
    await users.end("a1")
    assert users.got == ["a1", "b1", "d1"]


@pytest.mark.timeout(60)
@given(
    number=st.integers(1, 5),
    moves=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40),
)
def test_a_free_place_is_never_withheld_from_a_tenant_that_has_none(number: int, moves: list[tuple[str, bool]]) -> None:
    async def play() -> None:
        users = Users(FairSlots(number))
        for count, (tenant, ends) in enumerate(moves):
            if ends and users.tasks:
                await users.end(next(iter(users.tasks)))
                del users.tasks[next(iter(users.tasks))]
            else:
                await users.ask(f"{tenant}{count}")
            holding = [name for name in users.got if name in users.tasks]
            waiting = {name[0] for name in users.tasks if name not in users.got}
            assert len(holding) <= number
            if len(holding) < number:
                assert waiting <= {name[0] for name in holding}
            if number == 1 or waiting:
                assert len(holding) >= number - 1
        for name in list(users.tasks):
            await users.end(name)

    asyncio.run(play())
