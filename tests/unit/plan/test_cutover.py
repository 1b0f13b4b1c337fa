"""A cutover goes from step to step, is aborted before its point of no return, and after it only by a person's order."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.api.v1alpha1.cutover import CutoverSpec, CutoverStatus, StepState
from pilotage.plan.cutover import Situation, StepFact, advance, next_look
from tests.support.builders import NOW

MINUTE = timedelta(minutes=1)
DONE, FAILED, BUSY = StepFact(done=True), StepFact(failed=True, message="disk full"), StepFact(busy=True)


def a_step(name: str, kind: str = "Confirm", minutes: int = 10) -> dict[str, Any]:
    more = {"owner": "wang"} if kind == "Confirm" else {} if kind == "Rollout" else {"ref": name}
    return {"name": name, "type": kind, "plannedMinutes": minutes, **more}


def a_plan(*steps: dict[str, Any], point: str | None = "open", rollback: tuple[str, ...] = ("thaw",)) -> CutoverSpec:
    chosen = steps or (a_step("freeze"), a_step("load", "Migration", 20), a_step("open"))
    fields = {"steps": list(chosen), "rollback": [a_step(name) for name in rollback]}
    return CutoverSpec.model_validate(fields | ({"pointOfNoReturn": point} if point else {}))


class Night:
    """A night of cutting over: what the steps come to, and the record that each pass leaves."""

    def __init__(self, plan: CutoverSpec | None = None, **situation: Any) -> None:
        self.plan = plan or a_plan()
        self.now: datetime = NOW
        self.facts: dict[str, StepFact] = {}
        self.situation: dict[str, Any] = {"input": "i1", "on_stage": True, **situation}
        self.record: CutoverStatus | None = None

    def go(self, minutes: float = 0, **facts: StepFact) -> CutoverStatus:
        self.now += timedelta(minutes=minutes)
        self.facts |= facts
        seen = Situation(now=self.now, **self.situation)
        self.record = advance(self.plan, self.record, seen, lambda _r, step, _s: self.facts.get(step.name, StepFact()))
        assert self.record is not None
        again = advance(self.plan, self.record, seen, lambda _r, step, _s: self.facts.get(step.name, StepFact()))
        assert again == self.record, "a pass that sees nothing new changes nothing"
        return self.record

    @property
    def states(self) -> dict[str, str]:
        assert self.record is not None
        return {found.name: found.state.value for found in [*self.record.steps, *self.record.rollback]}


def test_a_module_that_has_not_come_to_its_cutover_has_no_record() -> None:
    seen = Situation(now=NOW, input="i1", on_stage=False)
    assert advance(a_plan(), None, seen, lambda *_: DONE) is None


def test_steps_are_done_one_after_the_other_and_their_minutes_are_kept() -> None:
    night = Night()
    night.go()
    assert night.states == {"freeze": "Running", "load": "Pending", "open": "Pending"}
    night.go(7.5, freeze=DONE)
    assert night.states == {"freeze": "Done", "load": "Running", "open": "Pending"}
    assert not night.record.point_of_no_return_passed  # type: ignore[union-attr]
    night.go(15, load=DONE)
    assert night.record.point_of_no_return_passed  # type: ignore[union-attr]
    record = night.go(3, open=DONE)
    assert (record.state, record.planned_minutes, record.actual_minutes) == ("Done", 40, 26)
    assert [found.actual_minutes for found in record.steps] == [8, 15, 3]


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (lambda night: night.go(5, load=FAILED), "StepFailed"),
        (lambda night: night.go(40.1), "StepOverran"),
        (lambda night: night.situation.update(input="i2"), "InputChanged"),
        (lambda night: night.situation.update(ordered_by="王强"), "Ordered"),
        (lambda night: night.situation.update(shuts_at=night.now + timedelta(minutes=29)), "WindowTooShort"),
    ],
)
def test_before_the_point_of_no_return_it_is_aborted_and_taken_back(happens: Any, reason: str) -> None:
    night = Night()
    night.go()
    night.go(1, freeze=DONE)
    happens(night)
    record = night.go()
    assert (record.state, record.aborted.reason) == ("Aborting", reason)  # type: ignore[union-attr]
    assert night.states["thaw"] == "Running"
    record = night.go(4, thaw=DONE)
    assert record.state == "Aborted"
    assert night.states == {"freeze": "RolledBack", "load": "Failed", "open": "Skipped", "thaw": "Done"}


@pytest.mark.parametrize(
    "happens",
    [
        lambda night: night.go(5, open=FAILED),
        lambda night: night.go(500),
        lambda night: night.situation.update(input="i2"),
        lambda night: night.situation.update(shuts_at=night.now),
    ],
)
def test_after_the_point_of_no_return_only_a_person_takes_it_back(happens: Any) -> None:
    night = Night()
    night.go(freeze=DONE, load=DONE)
    happens(night)
    assert night.go().state == "Running"
    night.situation["ordered_by"] = "王强"
    assert night.go().aborted.reason == "Ordered"  # type: ignore[union-attr]


def test_a_step_that_failed_after_the_point_of_no_return_is_tried_again_when_somebody_asks() -> None:
    night = Night()
    night.go(freeze=DONE, load=DONE, open=FAILED)
    assert night.states["open"] == "Failed"
    night.situation["retry"] = "second"
    record = night.go(2, open=StepFact())
    assert (night.states["open"], record.steps[2].attempt) == ("Running", 2)
    assert night.go(open=DONE).state == "Done"


def test_the_way_back_waits_until_what_is_at_work_has_ended() -> None:
    night = Night()
    night.go(freeze=DONE)
    night.go(load=BUSY)
    night.situation["ordered_by"] = "王强"
    assert night.go().state == "Aborting"
    assert night.states == {"freeze": "Done", "load": "Running", "open": "Pending"}
    night.go(9, load=DONE)
    assert night.states == {"freeze": "Done", "load": "Done", "open": "Pending", "thaw": "Running"}


def test_an_aborted_cutover_is_not_tried_again_by_itself_but_when_a_person_asks() -> None:
    night = Night()
    night.go(freeze=FAILED)
    night.go(thaw=DONE)
    assert night.go(600, freeze=StepFact()).state == "Aborted"
    night.situation["retry"] = "second"
    record = night.go()
    assert (record.state, record.attempt) == ("Running", 2)
    assert night.states == {"freeze": "Running", "load": "Pending", "open": "Pending"}


def test_a_new_approval_has_an_aborted_cutover_tried_again_an_old_one_does_not() -> None:
    night = Night()
    night.go(1, freeze=FAILED, thaw=DONE)
    night.situation["approved_at"] = night.now - MINUTE
    assert night.go(5).state == "Aborted"
    night.situation["approved_at"] = night.now
    assert night.go(freeze=StepFact()).attempt == 2


def test_a_request_to_retry_that_is_taken_away_has_nothing_tried_again() -> None:
    night = Night(retry="first")
    night.go(freeze=FAILED, thaw=DONE)
    night.situation["retry"] = "0"
    assert night.go(5, freeze=StepFact()).state == "Aborted"


def test_a_retry_that_was_asked_for_before_the_abort_has_nothing_tried_again() -> None:
    night = Night()
    night.go()
    night.situation["retry"] = "early"
    night.go(freeze=FAILED, thaw=DONE)
    assert night.go(5, freeze=StepFact()).state == "Aborted"


def test_a_retry_that_was_asked_for_before_a_step_failed_does_not_have_it_tried_again() -> None:
    night = Night()
    night.go(freeze=DONE, load=DONE)
    night.situation["retry"] = "early"
    night.go(open=FAILED)
    assert night.go(5, open=StepFact()).steps[2].attempt == 1


def test_a_failed_step_of_the_way_back_waits_for_a_person() -> None:
    night = Night()
    night.go(freeze=FAILED, thaw=FAILED)
    assert night.go(60).state == "Aborting"
    night.situation["retry"] = "second"
    assert night.go(thaw=StepFact()).rollback[0].attempt == 2
    assert night.go(thaw=DONE).state == "Aborted"


def test_without_a_way_back_what_was_done_stays_done() -> None:
    night = Night(a_plan(rollback=()))
    record = night.go(freeze=DONE, load=FAILED)
    assert record.state == "Aborted"
    assert night.states == {"freeze": "Done", "load": "Failed", "open": "Skipped"}


def test_a_suspended_project_begins_no_step_and_aborts_nothing() -> None:
    night = Night()
    night.go()
    night.situation["may_act"] = False
    night.go(500)
    assert night.states == {"freeze": "Running", "load": "Pending", "open": "Pending"}
    night.go(freeze=DONE)
    assert night.states["load"] == "Pending"
    night.situation["may_act"] = True
    night.go()
    assert night.states["load"] == "Running"


def test_no_step_begins_while_the_module_is_not_well() -> None:
    night = Night()
    night.go()
    night.situation["on_stage"] = False
    night.go(1, freeze=DONE)
    assert night.states["load"] == "Pending"


def test_a_step_taken_out_of_the_plan_while_it_runs_has_failed_and_one_put_before_it_comes_after() -> None:
    night = Night()
    night.go(freeze=DONE)
    night.plan = a_plan(a_step("backup"), a_step("freeze"), a_step("load", "Migration", 20), a_step("open"))
    night.go(load=DONE)
    assert night.states["backup"] == "Running"
    night.plan = a_plan(a_step("freeze"), a_step("open"))
    assert night.go().aborted.reason == "StepFailed"  # type: ignore[union-attr]


def test_it_is_looked_at_again_when_a_step_would_have_overrun_or_the_window_would_be_too_short() -> None:
    night = Night(shuts_at=NOW + timedelta(minutes=45))
    record = night.go()
    seen = Situation(now=night.now, **night.situation)
    # Ten of its own and thirty of the others: five are left to spare.
    assert next_look(record, seen) == NOW + timedelta(minutes=15, seconds=1)
    night.now = NOW + timedelta(minutes=15)
    assert night.go().state == "Running"
    night.now += timedelta(seconds=1)
    assert night.go().aborted.reason == "WindowTooShort"  # type: ignore[union-attr]


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["freeze", "load", "open", "thaw", "restore"]),
        st.sampled_from([StepFact(), DONE, FAILED, BUSY]),
        st.integers(0, 30),
        st.sampled_from([{}, {"on_stage": False}, {"may_act": False}, {"input": "i2"}, {"ordered_by": "王强"}]),
        st.sampled_from(["", "again", "and again"]),
    ),
    max_size=25,
)


@given(EVENTS)
def test_whatever_happens_no_step_begins_early_and_no_machine_goes_back_past_the_point(events: Any) -> None:
    night = Night(a_plan(rollback=("thaw", "restore")), shuts_at=NOW + timedelta(hours=2))
    usual = dict(night.situation)
    night.go()
    for name, fact, minutes, trouble, retry in events:
        before = night.record
        assert before is not None
        night.situation = usual | trouble | {"retry": retry}
        record = night.go(minutes, **{name: fact})
        for steps in (record.steps, record.rollback):
            for earlier, later in itertools.pairwise(steps):
                begun = later.started_at is not None
                assert not begun or earlier.finished_at is not None
                assert not begun or (earlier.finished_at or "") <= (later.started_at or "")
        if record.rollback:
            assert not any(found.state is StepState.RUNNING for found in record.steps)
        new = record.aborted and record.aborted != before.aborted
        if new and before.point_of_no_return_passed and before.attempt == record.attempt:
            assert record.aborted.reason == "Ordered"  # type: ignore[union-attr]
        if before.attempt == record.attempt and before.point_of_no_return_passed:
            assert record.point_of_no_return_passed
