"""The queue: a key is looked at by one worker at a time, never missed, and not too often after failures."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from pilotage.kube import queue as queue_module
from pilotage.kube.queue import FIRST_BACKOFF, LONGEST_BACKOFF, WorkQueue


class Heard:
    def __init__(self) -> None:
        self.events: list[str] = []

    def on_add(self) -> None:
        self.events.append("add")

    def on_get(self, waited: float) -> None:
        assert waited >= 0
        self.events.append("get")

    def on_done(self, worked: float) -> None:
        assert worked >= 0
        self.events.append("done")

    def on_retry(self) -> None:
        self.events.append("retry")


async def nothing_comes(queue: WorkQueue[str]) -> bool:
    """Whether a worker that asks now is left waiting."""
    waiting = asyncio.ensure_future(queue.get())
    for _ in range(5):
        await asyncio.sleep(0)
    waiting.cancel()
    return not waiting.done() or waiting.cancelled()


async def test_a_key_added_many_times_is_looked_at_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for _ in range(3):
        queue.add("a")
    assert len(queue) == 1
    assert await queue.get() == "a"
    assert len(queue) == 0


async def test_keys_come_in_the_order_in_which_they_were_wanted() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("a", "b", "a", "c"):
        queue.add(key)
    assert [await queue.get() for _ in range(3)] == ["a", "b", "c"]


async def test_tenants_take_turns_however_many_keys_one_of_them_has() -> None:
    queue: WorkQueue[str] = WorkQueue(tenant=lambda key: key[0])
    for key in ["a1", "a2", "a3", "b1", "c1", "b2"]:
        queue.add(key)
    assert len(queue) == 6
    assert [await queue.get() for _ in range(6)] == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert len(queue) == 0


async def test_a_key_that_is_worked_on_is_given_to_nobody_else() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    assert len(queue) == 0
    assert await nothing_comes(queue)


async def test_a_key_that_was_wanted_while_worked_on_is_looked_at_again_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("a")
    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_a_worker_that_waits_is_woken() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    assert await asyncio.wait_for(waiting, 5) == "a"


async def test_two_waiting_workers_get_two_keys() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = [asyncio.ensure_future(queue.get()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.add("a")
    queue.add("b")
    assert set(await asyncio.wait_for(asyncio.gather(*waiting), 5)) == {"a", "b"}


async def test_a_later_wish_does_not_push_an_earlier_one_back() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 0.01)
    queue.add_after("a", 1000)
    assert await asyncio.wait_for(queue.get(), 5) == "a"


async def test_an_earlier_wish_overtakes_a_later_one() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 1000)
    queue.add_after("a", 0.01)
    assert await asyncio.wait_for(queue.get(), 5) == "a"


async def test_a_wish_for_now_takes_the_place_of_one_for_later() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 0.02)
    queue.add("a")
    assert await queue.get() == "a"
    queue.done("a")
    await asyncio.sleep(0.05)
    assert len(queue) == 0


async def test_pauses_after_failures_double_up_to_a_minute_and_start_anew_after_a_success(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue_module.random, "uniform", lambda _low, high: high)
    queue: WorkQueue[str] = WorkQueue()
    pauses: list[float] = []
    monkeypatch.setattr(queue, "add_after", lambda _key, seconds: pauses.append(seconds))
    for _ in range(15):
        queue.add_rate_limited("a")
    assert pauses[0] == FIRST_BACKOFF
    assert all(after == min(2 * before, LONGEST_BACKOFF) for before, after in pairwise(pauses))
    assert pauses[-1] == LONGEST_BACKOFF
    queue.forget("a")
    queue.add_rate_limited("a")
    assert pauses[-1] == FIRST_BACKOFF


async def test_a_queue_that_is_shut_down_hands_out_nothing_and_lets_its_workers_go() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = [asyncio.ensure_future(queue.get()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.shut_down()
    assert await asyncio.wait_for(asyncio.gather(*waiting), 5) == [None, None]
    queue.add("a")
    queue.add_after("b", 0.001)
    assert await queue.get() is None


async def test_the_observer_hears_what_happens() -> None:
    heard = Heard()
    queue: WorkQueue[str] = WorkQueue(heard)
    queue.add("a")
    queue.add("a")
    await queue.get()
    queue.done("a")
    queue.add_rate_limited("a")
    assert heard.events == ["add", "get", "done", "retry"]


async def test_waiting_and_working_times_are_told_for_liveness() -> None:
    queue: WorkQueue[str] = WorkQueue()
    assert queue.unattended_seconds() == 0
    assert queue.longest_active_seconds() == 0
    queue.add("a")
    await asyncio.sleep(0.01)
    assert queue.unattended_seconds() > 0
    await queue.get()
    await asyncio.sleep(0.01)
    assert queue.unattended_seconds() == 0
    assert queue.longest_active_seconds() > 0


async def test_many_workers_never_hold_one_key_at_the_same_time_and_miss_no_wish() -> None:
    queue: WorkQueue[int] = WorkQueue()
    wanted = dict.fromkeys(range(5), 0)
    seen = dict.fromkeys(range(5), 0)
    active: set[int] = set()

    async def work() -> None:
        while (key := await queue.get()) is not None:
            assert key not in active
            active.add(key)
            seen[key] = wanted[key]
            await asyncio.sleep(0)
            active.remove(key)
            queue.done(key)

    workers = [asyncio.ensure_future(work()) for _ in range(3)]
    for number in range(200):
        wanted[number % 5] += 1
        queue.add(number % 5)
        if number % 3 == 0:
            await asyncio.sleep(0)
    async with asyncio.timeout(5):
        while len(queue) or active:  # noqa: ASYNC110 (the workers tell nobody)
            await asyncio.sleep(0)
    queue.shut_down()
    await asyncio.gather(*workers)
    assert seen == wanted
