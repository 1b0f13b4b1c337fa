"""An answer whose time is up never holds up a pass that only reports, and never misleads one that acts."""

from __future__ import annotations

import asyncio

import pytest

from pilotage.reconcile.kept import Kept

TTL = 10.0


class Question:
    """Something to ask, whose answer changes, fails or takes its time; counts how often a pass was woken."""

    def __init__(self) -> None:
        self.now = 0.0
        self.answer = "first"
        self.asked = 0
        self.woken = 0
        self.fails = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.kept: Kept[str, str] = Kept(lambda _answer: TTL, lambda: self.now)

    async def ask(self) -> str:
        self.asked += 1
        answer = self.answer
        await self.may_answer.wait()
        if self.fails:
            msg = "nobody answers"
            raise OSError(msg)
        return answer

    def wake(self) -> None:
        self.woken += 1

    async def get(self, *, fresh: bool = False, stamp: int = 0) -> str:
        return await self.kept.get("key", self.ask, self.wake, fresh=fresh, stamp=stamp)

    async def aged(self) -> Question:
        """The first answer was given long ago, and there is another one now."""
        assert await self.get() == "first"
        self.now += TTL
        self.answer = "second"
        return self


@pytest.fixture
async def question() -> Question:
    return Question()


async def others_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_young_answer_is_given_again_without_asking(question: Question) -> None:
    await question.get()
    question.now += TTL / 2
    question.answer = "second"

    assert await question.get(fresh=True) == "first"
    assert question.asked == 1


async def test_an_old_answer_is_given_once_more_and_the_pass_is_woken_for_the_new_one(question: Question) -> None:
    await question.aged()

    assert await question.get() == "first"
    await others_run()

    assert question.woken == 1
    assert await question.get() == "second"
    assert question.asked == 2


async def test_nobody_is_woken_for_the_same_answer(question: Question) -> None:
    await question.aged()
    question.answer = "first"

    await question.get()
    await others_run()

    assert (question.asked, question.woken) == (2, 0)


async def test_who_acts_waits_for_the_new_answer(question: Question) -> None:
    await question.aged()

    assert await question.get(fresh=True) == "second"
    assert question.woken == 0


async def test_an_old_answer_is_asked_for_once_however_many_passes_come_meanwhile(question: Question) -> None:
    await question.aged()
    question.may_answer.clear()

    for _ in range(3):
        await question.get()
        await others_run()

    assert question.asked == 2


async def test_an_answer_under_another_stamp_is_never_taken(question: Question) -> None:
    await question.get(stamp=1)
    question.answer = "second"

    assert await question.get(stamp=2) == "second"


async def test_an_answer_on_its_way_is_not_taken_when_it_was_forgotten_meanwhile(question: Question) -> None:
    await question.aged()
    question.may_answer.clear()
    await question.get()
    await others_run()
    question.kept.forget("key")
    question.may_answer.set()
    await others_run()

    assert question.kept.known("key") is None
    assert question.woken == 0


async def test_a_failed_refresh_wakes_the_pass_which_then_meets_the_failure_itself(question: Question) -> None:
    await question.aged()
    question.fails = True

    assert await question.get() == "first"
    await others_run()

    assert question.woken == 1
    with pytest.raises(OSError, match="nobody answers"):
        await question.get()
