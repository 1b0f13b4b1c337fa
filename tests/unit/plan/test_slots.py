"""Whose turn it is among customers, for every order in which passes and their stale views can come."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.api.v1alpha1.schedule import SlotState
from pilotage.plan.implementation import Decision, decide
from pilotage.plan.slots import SILENT, Competition, Contender, Slot, contenders, take_slot
from tests.support.builders import NOW, a_module, an_implementation, facts, running

WAITING, CLAIMED, CUTTING = SlotState.WAITING, SlotState.CLAIMED, SlotState.CUTTING_OVER


def a_project(name: str, state: SlotState | None = None, priority: int = 50, **schedule: Any) -> dict[str, Any]:
    moment = "2026-11-23T08:00:00Z"
    status = {"schedule": {"state": state, "since": moment, "seen": moment, **schedule}} if state else {}
    return {
        "metadata": {"name": "erp", "namespace": name},
        "spec": {"priority": priority},
        "status": status,
    }


def a_competition(*others: dict[str, Any], limit: int = 1, asked: bool = False, highest: int = 100) -> Competition:
    return Competition(limit, highest, contenders(others, highest), asked)


def turn(
    me: dict[str, Any],
    competition: Competition,
    *,
    until: datetime | None = None,
    now: datetime = NOW,
    holds: bool = False,
) -> Slot:
    return take_slot(me, competition, now, wants=not holds, holds=holds, until=until)


def state_of(slot: Slot) -> tuple[SlotState | None, int | None]:
    return (slot.status.state, slot.status.position) if slot.status else (None, None)


def test_a_free_slot_is_claimed_first_and_taken_only_when_the_api_server_was_asked() -> None:
    claiming = turn(a_project("a"), a_competition())
    assert (claiming.granted, state_of(claiming), claiming.again) == (False, (CLAIMED, None), timedelta())
    unproven = turn(a_project("a", CLAIMED), a_competition())
    assert (unproven.granted, unproven.claimed) == (False, True)
    proven = turn(a_project("a", CLAIMED), a_competition(asked=True))
    assert (proven.granted, state_of(proven)) == (True, (CUTTING, None))


def test_without_a_limit_nobody_waits() -> None:
    assert turn(a_project("a"), a_competition(a_project("b", CUTTING), limit=0)).granted


@pytest.mark.parametrize("held", [CLAIMED, CUTTING])
def test_a_slot_that_another_has_claimed_or_holds_is_not_free(held: SlotState) -> None:
    slot = turn(a_project("a", priority=100), a_competition(a_project("b", held)))
    assert (slot.granted, state_of(slot)) == (False, (WAITING, 1))
    assert slot.again is not None


def test_what_has_begun_is_never_stopped() -> None:
    others = [a_project("b", CUTTING, 100), a_project("c", CLAIMED, 100)]
    assert turn(a_project("a", CUTTING, 0), a_competition(*others), holds=True).granted


def test_of_two_claims_the_lower_rank_withdraws_and_the_higher_one_stays() -> None:
    low, high = a_project("a", CLAIMED, 10), a_project("b", CLAIMED, 20)
    assert state_of(turn(low, a_competition(high, asked=True)))[0] is WAITING
    assert state_of(turn(high, a_competition(low, asked=True)))[0] is CLAIMED


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"priority": 60}, {"priority": 50}),
        ({"until": "2026-11-23T10:00:00Z"}, {"until": "2026-11-23T11:00:00Z"}),
        ({"until": "2026-11-23T10:00:00Z"}, {}),
        ({"since": "2026-11-23T07:00:00Z"}, {"since": "2026-11-23T07:30:00Z"}),
    ],
    ids=["priority", "window shuts sooner", "a window that shuts at all", "waited longer"],
)
def test_who_waits_goes_by_priority_then_by_the_time_left_then_by_age(first: Any, second: Any) -> None:
    holder, ahead, behind = a_project("z", CUTTING), a_project("b", WAITING, **first), a_project("a", WAITING, **second)
    competition = a_competition(holder, ahead, behind)
    found = {contender.key: contender for contender in competition.others}

    def until(key: str) -> datetime | None:
        return found[key].until

    assert state_of(turn(ahead, competition, until=until("b/erp"))) == (WAITING, 1)
    assert state_of(turn(behind, competition, until=until("a/erp"))) == (WAITING, 2)


def test_a_customers_own_priority_counts_up_to_the_cap_of_the_installation() -> None:
    greedy, modest = a_project("b", WAITING, 100), a_project("a", WAITING, 60)
    assert state_of(turn(modest, a_competition(greedy, highest=60)))[0] is CLAIMED
    assert state_of(turn(modest, a_competition(greedy)))[0] is WAITING


def test_a_project_that_has_fallen_silent_keeps_nobody_back() -> None:
    silent = a_project("b", WAITING, 100)
    assert state_of(turn(a_project("a"), a_competition(silent)))[0] is WAITING
    assert state_of(turn(a_project("a"), a_competition(silent), now=NOW + SILENT))[0] is CLAIMED


def test_a_project_that_waits_says_so_again_before_it_counts_as_silent() -> None:
    competition = a_competition(a_project("b", CUTTING))
    early = turn(a_project("a", WAITING), competition, now=NOW + timedelta(minutes=4))
    late = turn(a_project("a", WAITING), competition, now=NOW + timedelta(minutes=6))
    assert early.status is not None
    assert late.status is not None
    assert (early.status.seen, late.status.seen) == ("2026-11-23T08:00:00Z", "2026-11-23T08:06:00Z")


def test_a_project_that_is_being_deleted_holds_no_slot() -> None:
    gone = a_project("b", CUTTING)
    gone["metadata"]["deletionTimestamp"] = "2026-11-23T08:00:00Z"
    assert state_of(turn(a_project("a"), a_competition(gone)))[0] is CLAIMED


class Replicas:
    """Projects in a store, and any number of replicas, each somewhere in a pass with what it has read so far."""

    def __init__(self, count: int, limit: int) -> None:
        self.limit = limit
        self.stored: dict[str, tuple[int, dict[str, Any]]] = {
            name: (0, a_project(name, priority=index)) for index, name in enumerate("abcdef"[:count])
        }
        self.views: list[dict[str, dict[str, Any]]] = [self.bodies(), self.bodies()]
        self.passes: list[tuple[str, int, dict[str, Any], Slot]] = []

    def bodies(self) -> dict[str, dict[str, Any]]:
        return {name: body for name, (_, body) in self.stored.items()}

    def begun(self) -> list[str]:
        return [
            name
            for name, body in self.bodies().items()
            if (body["status"].get("schedule") or {}).get("state") == CUTTING
        ]

    def decide(self, replica: int, name: str) -> None:
        """A pass up to its write: the view of the replica, and for a claim the store itself."""
        version, body = self.stored[name]
        holds = name in self.begun()
        slot = turn(body, a_competition(*self.views[replica].values(), limit=self.limit), holds=holds)
        if slot.claimed:
            slot = turn(body, a_competition(*self.bodies().values(), limit=self.limit, asked=True), holds=holds)
        self.passes.append((name, version, body, slot))

    def write(self, index: int) -> None:
        """The write of one pass under way, refused where somebody wrote the object since."""
        name, version, body, slot = self.passes.pop(index % len(self.passes))
        if self.stored[name][0] == version and slot.status is not None:
            status = {"schedule": slot.status.to_manifest()}
            self.stored[name] = (version + 1, {**body, "status": status})

    def finish(self, name: str) -> None:
        """The cutover ends, or the project stops wanting one."""
        version, body = self.stored[name]
        self.stored[name] = (version + 1, {**body, "status": {}})


# Writes follow most passes soon, and views are seldom renewed: that is where two can begin by mistake.
MOVES = st.sampled_from([*["decide"] * 6, *["write"] * 6, "see", "finish"])
STEPS = st.lists(st.tuples(MOVES, st.integers(0, 23)), min_size=20, max_size=80)


@settings(max_examples=300, deadline=None)
@given(st.integers(2, 3), st.integers(1, 2), STEPS)
def test_never_more_begin_than_there_are_slots_however_passes_of_two_replicas_interleave(
    count: int, limit: int, steps: list[tuple[str, int]]
) -> None:
    world = Replicas(count, limit)
    names = list(world.stored)
    for what, number in steps:
        if what == "decide":
            world.decide(number % 2, names[number // 2 % count])
        elif what == "write" and world.passes:
            world.write(number)
        elif what == "see":
            world.views[number % 2] = world.bodies()
        elif what == "finish":
            world.finish(names[number % count])
        assert len(world.begun()) <= limit


@given(st.integers(2, 6), st.integers(1, 2), STEPS)
def test_whatever_happened_before_the_free_slots_are_taken_in_the_end(
    count: int, limit: int, steps: list[tuple[str, int]]
) -> None:
    world = Replicas(count, limit)
    names = list(world.stored)
    for what, number in steps:
        if what == "decide":
            world.decide(number % 2, names[number // 2 % count])
        elif what == "write" and world.passes:
            world.write(number)
    world.passes.clear()
    for _ in range(6):
        for name in names:
            world.views[0] = world.bodies()
            world.decide(0, name)
            world.write(0)
    assert len(world.begun()) == min(limit, count)


def settled(body: dict[str, Any], competition: Competition) -> Decision:
    for _ in range(20):
        decision = decide(facts(body, {"core": running()}, competition=competition))
        if decision.status == body["status"]:
            return decision
        body = {**body, "status": decision.status}
    pytest.fail("the status never settles")


def test_a_prepared_module_waits_for_its_turn_and_tells_nothing_of_other_customers() -> None:
    decision = settled(an_implementation(a_module("core")), a_competition(a_project("rival", CUTTING)))
    assert decision.status is not None
    module = decision.status["modules"][0]
    assert (module["state"], module["reason"]) == ("Prepared", "CutoverQueued")
    assert module["message"].startswith("position 1 of those that wait; at most 1 projects are cut over at once")
    assert "rival" not in str(decision.status)
    assert decision.status["schedule"]["position"] == 1
    assert decision.again == timedelta(seconds=15)


def test_a_module_that_was_live_before_needs_no_turn() -> None:
    good = {"revision": 1, "version": "1.0.0", "inputDigest": "i0"}
    module = {"name": "core", "wave": 1, "state": "Prepared", "reached": "Prepared", "since": "2026-11-01T00:00:00Z"}
    status = {"modules": [{**module, "desiredInput": "i1", "lastGood": good}]}
    body = an_implementation(a_module("core"), status=status)
    decision = settled(body, a_competition(a_project("rival", CUTTING)))
    assert decision.status is not None
    assert decision.status["modules"][0]["state"] == "Accepted"
    assert "schedule" not in decision.status


def test_a_slot_is_given_back_when_the_module_is_live() -> None:
    competition = Competition(1, 100, (), asked=True)
    decision = settled(an_implementation(a_module("core")), competition)
    assert decision.status is not None
    assert decision.status["modules"][0]["state"] == "Accepted"
    assert "schedule" not in decision.status


def test_contenders_are_the_projects_that_report_a_turn() -> None:
    found = contenders([a_project("a"), a_project("b", WAITING)], 100)
    assert [contender.key for contender in found] == ["b/erp"]
    assert isinstance(found[0], Contender)
