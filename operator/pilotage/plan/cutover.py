"""How a cutover goes on: which step is under way, when it is aborted, and what of the way back is done.

Level-triggered: each pass looks at what the steps came to and at the record of the passes before, and the record is all
that is remembered. What acts on the world (the Job of a step, the Final run of a migration) begins only when the record
that says so is stored; an operator that dies in between finds the same record and goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pilotage.api.v1alpha1.cutover import (
    MAX_STEP_MESSAGE,
    Abort,
    AbortReason,
    CutoverSpec,
    CutoverState,
    CutoverStatus,
    CutoverStep,
    RollbackStep,
    StepState,
    StepStatus,
)
from pilotage.plan.conditions import parse_timestamp, shorten, timestamp

OVERRUN: Final = 2
"""A step that takes this many times its planned minutes has overrun."""

NO_REQUEST: Final = frozenset({"", "0"})
ASK_AGAIN: Final = timedelta(seconds=15)

Step = CutoverStep | RollbackStep


@dataclass(frozen=True)
class StepFact:
    """What a step under way has come to. `busy`: something of it is at work, which must end before the way back.

    `job`: the Job by which it is seen to be done.
    """

    done: bool = False
    failed: bool = False
    busy: bool = False
    message: str = ""
    job: str | None = None


@dataclass(frozen=True)
class Situation:
    """What a cutover goes by, besides its steps.

    `on_stage`: the module stands in CuttingOver, deployed and healthy. `may_act`: nothing holds the project up as a
    whole. `shuts_at`: when its window shuts, None: not. `ordered_by`: who ordered in this attempt that it goes back.
    `retry` names the newest request to try again; `approved_at` is when the go-live was last approved.
    """

    now: datetime
    input: str
    on_stage: bool
    may_act: bool = True
    shuts_at: datetime | None = None
    ordered_by: str | None = None
    retry: str = ""
    approved_at: datetime | None = None


Looks = Callable[[CutoverStatus, Step, StepStatus], StepFact]


def advance(
    spec: CutoverSpec, record: CutoverStatus | None, situation: Situation, looks: Looks
) -> CutoverStatus | None:
    """The record after this pass; None while the module has not come to its cutover. Pure.

    `looks` tells what a step that is under way has come to.
    """
    if record is None or (record.state is CutoverState.ABORTED and asked_again(record, situation)):
        if not (situation.on_stage and situation.may_act):
            return record
        record = _begin(spec, record, situation)
    if record.state is CutoverState.RUNNING:
        record = _Forward(spec, situation, looks).go_on(record)
    if record.state is CutoverState.ABORTING:
        record = _take_back(spec, record, situation, looks)
    return record


def asked_again(record: CutoverStatus, situation: Situation) -> bool:
    """Whether a person has asked since the abort that it is tried again: by retry-at, or by approving the go-live."""
    ended = parse_timestamp(record.finished_at or record.started_at)
    return _retries(record, situation) or (situation.approved_at is not None and situation.approved_at > ended)


def _retries(record: CutoverStatus, situation: Situation) -> bool:
    """Whether somebody has asked to try again since. Taking the request away asks for nothing."""
    return situation.retry not in NO_REQUEST and situation.retry != record.retry


def steps_of(spec: CutoverSpec, record: CutoverStatus | None) -> list[tuple[Step | None, StepStatus]]:
    """The steps in their order with how they stand. What has begun keeps its place, whatever the plan says now; a step
    that was taken out of the plan since is None.
    """
    return list(_merged(spec.steps, record.steps if record else []))


def rollback_of(spec: CutoverSpec, record: CutoverStatus) -> list[tuple[Step | None, StepStatus]]:
    """The steps of the way back, in the same way."""
    return list(_merged(spec.rollback, record.rollback))


def _merged(planned: Sequence[Step], known: Sequence[StepStatus]) -> Iterator[tuple[Step | None, StepStatus]]:
    begun = {status.name: status for status in known if status.state is not StepState.PENDING}
    by_name = {step.name: step for step in planned}
    for name, status in begun.items():
        yield by_name.get(name), status
    for step in planned:
        if step.name not in begun:
            yield step, StepStatus(name=step.name, planned_minutes=step.planned_minutes)


def remaining(record: CutoverStatus, now: datetime) -> timedelta:
    """The planned minutes that are left: of the step under way those that it has not used yet."""
    left = timedelta()
    for status in record.steps:
        planned = timedelta(minutes=status.planned_minutes)
        if status.state is StepState.PENDING:
            left += planned
        elif status.state is StepState.RUNNING and status.started_at:
            left += max(planned - (now - parse_timestamp(status.started_at)), timedelta())
    return left


def next_look(record: CutoverStatus, situation: Situation) -> datetime | None:
    """When the cutover would have to be aborted if nothing else happens, or whether what was at work has ended is to be
    asked again; None: no moment matters.
    """
    if record.state is CutoverState.ABORTING and any(found.state is StepState.RUNNING for found in record.steps):
        return situation.now + ASK_AGAIN
    if record.state is not CutoverState.RUNNING or record.point_of_no_return_passed:
        return None
    running = next((found for found in record.steps if found.state is StepState.RUNNING), None)
    if running is None or running.started_at is None:
        return None
    began, planned = parse_timestamp(running.started_at), timedelta(minutes=running.planned_minutes)
    moments = [began + OVERRUN * planned]
    if situation.shuts_at:
        others = remaining(record, began) - planned
        moments.append(max(began + planned, situation.shuts_at - others))
    # A comparison that is "later than" holds one moment after.
    return min(moments) + timedelta(seconds=1)


def minutes_between(begins: str, ends: datetime) -> int:
    """Whole minutes from one moment to the other, begun ones included."""
    return max(0, math.ceil((ends - parse_timestamp(begins)) / timedelta(minutes=1)))


def _begin(spec: CutoverSpec, before: CutoverStatus | None, situation: Situation) -> CutoverStatus:
    return CutoverStatus(
        attempt=before.attempt + 1 if before else 1,
        state=CutoverState.RUNNING,
        started_at=timestamp(situation.now),
        planned_minutes=spec.planned_minutes,
        input_digest=situation.input,
        retry=situation.retry,
        steps=[status for _, status in _merged(spec.steps, [])],
    )


@dataclass(frozen=True)
class _Forward:
    """The way forward of one pass."""

    spec: CutoverSpec
    situation: Situation
    looks: Looks

    def go_on(self, record: CutoverStatus) -> CutoverStatus:
        """The record with everything that follows from what is known now."""
        steps = steps_of(self.spec, record)
        record = _with_steps(record, [status for _, status in steps])
        passed = record.point_of_no_return_passed or self._has_passed(record.steps)
        record = record.model_copy(update={"point_of_no_return_passed": passed})
        for index, (step, status) in enumerate(steps):
            if status.state is StepState.DONE:
                continue
            known = record
            record = self._go_on_with(record, index, step, status)
            if abort := self._abort(record):
                return _aborting(record, abort)
            if record is known or record.steps[index].state is not StepState.DONE:
                return record
        if all(status.state is StepState.DONE for status in record.steps):
            return _ended(record, CutoverState.DONE, self.situation.now)
        return record

    def _has_passed(self, steps: Sequence[StepStatus]) -> bool:
        point = self.spec.point_of_no_return
        return any(found.name == point and found.state is not StepState.PENDING for found in steps)

    def _go_on_with(self, record: CutoverStatus, index: int, step: Step | None, status: StepStatus) -> CutoverStatus:
        situation = self.situation
        again = status.state is StepState.FAILED and record.point_of_no_return_passed and _retries(record, situation)
        if status.state is StepState.PENDING or again:
            # What is already to be aborted begins nothing.
            if not (situation.on_stage and situation.may_act) or self._abort(record):
                return record
            status = _started(status, situation.now, again=again)
            passed = record.point_of_no_return_passed or status.name == self.spec.point_of_no_return
            record = record.model_copy(
                update={"point_of_no_return_passed": passed, "retry": situation.retry if again else record.retry}
            )
        if status.state is StepState.RUNNING:
            status = _looked_at(record, step, status, situation.now, self.looks)
            if status.state is StepState.FAILED:
                record = record.model_copy(update={"retry": situation.retry})
        changed = [*record.steps[:index], status, *record.steps[index + 1 :]]
        return _with_steps(record, changed)

    def _abort(self, record: CutoverStatus) -> Abort | None:
        """Why the cutover is to be taken back, if it is: past the point of no return only by a person's order."""
        situation = self.situation
        if not situation.may_act:
            return None
        if situation.ordered_by:
            return self._because(AbortReason.ORDERED, f"{situation.ordered_by} ordered that it goes back")
        if record.point_of_no_return_passed:
            return None
        if situation.input and record.input_digest and situation.input != record.input_digest:
            return self._because(AbortReason.INPUT_CHANGED, "the module's chart or values changed")
        current = next((found for found in record.steps if found.state is not StepState.DONE), None)
        if current is None:
            return None
        if current.state is StepState.FAILED:
            return self._because(AbortReason.STEP_FAILED, f"step {current.name} failed: {current.message}")
        if current.state is StepState.RUNNING and current.started_at:
            limit = OVERRUN * timedelta(minutes=current.planned_minutes)
            if situation.now - parse_timestamp(current.started_at) > limit:
                text = f"step {current.name} takes more than {OVERRUN} times its {current.planned_minutes} minutes"
                return self._because(AbortReason.STEP_OVERRAN, text)
        if situation.shuts_at and situation.now + remaining(record, situation.now) > situation.shuts_at:
            left = math.ceil(remaining(record, situation.now) / timedelta(minutes=1))
            text = f"{left} planned minutes are left, and the window shuts at {timestamp(situation.shuts_at)}"
            return self._because(AbortReason.WINDOW_TOO_SHORT, text)
        return None

    def _because(self, reason: AbortReason, text: str) -> Abort:
        return Abort(at=timestamp(self.situation.now), reason=reason, message=shorten(text, MAX_STEP_MESSAGE))


def _take_back(spec: CutoverSpec, record: CutoverStatus, situation: Situation, looks: Looks) -> CutoverStatus:
    """Steps of the way back, one after the other, once nothing of the way forward is at work any more."""
    planned = {step.name: step for step in spec.steps}
    steps = [
        _stopped(record, planned.get(status.name), status, situation.now, looks)
        if status.state is StepState.RUNNING
        else status
        for status in record.steps
    ]
    record = _with_steps(record, steps)
    if any(status.state is StepState.RUNNING for status in steps):
        return record
    back = rollback_of(spec, record)
    found = [status for _, status in back]
    for index, (step, known) in enumerate(back):
        status = known
        again = status.state is StepState.FAILED and _retries(record, situation)
        if status.state is StepState.PENDING or again:
            if not situation.may_act:
                break
            status = _started(status, situation.now, again=again)
            record = record.model_copy(update={"retry": situation.retry}) if again else record
        if status.state is StepState.RUNNING:
            status = _looked_at(record, step, status, situation.now, looks)
            if status.state is StepState.FAILED:
                record = record.model_copy(update={"retry": situation.retry})
        found[index] = status
        if status.state is not StepState.DONE:
            break
    record = record.model_copy(update={"rollback": found})
    if any(status.state is not StepState.DONE for status in found):
        return record
    over = {StepState.PENDING: StepState.SKIPPED} | ({StepState.DONE: StepState.ROLLED_BACK} if found else {})
    ended = [status.model_copy(update={"state": over.get(status.state, status.state)}) for status in record.steps]
    record = _with_steps(record, ended).model_copy(update={"retry": situation.retry})
    return _ended(record, CutoverState.ABORTED, situation.now)


def _started(status: StepStatus, now: datetime, *, again: bool) -> StepStatus:
    return StepStatus(
        name=status.name,
        state=StepState.RUNNING,
        started_at=timestamp(now),
        planned_minutes=status.planned_minutes,
        attempt=status.attempt + 1 if again else status.attempt,
    )


def _looked_at(record: CutoverStatus, step: Step | None, status: StepStatus, now: datetime, looks: Looks) -> StepStatus:
    """The step under way, by what it has come to."""
    fact = (
        looks(record, step, status) if step else StepFact(failed=True, message="it was taken out of the plan meanwhile")
    )
    update: dict[str, object] = {"message": shorten(fact.message, MAX_STEP_MESSAGE), "job": fact.job or status.job}
    if fact.done or fact.failed:
        state = StepState.DONE if fact.done else StepState.FAILED
        update |= {"state": state, **_over(status, now)}
        if fact.done:
            update["message"] = ""
    return status.model_copy(update=update)


def _stopped(record: CutoverStatus, step: Step | None, status: StepStatus, now: datetime, looks: Looks) -> StepStatus:
    """The step that was under way when the cutover was aborted. What is at work is not cut off half-way."""
    seen = _looked_at(record, step, status, now, looks)
    fact = looks(record, step, status) if step else StepFact()
    if seen.state is not StepState.RUNNING or fact.busy:
        return seen
    return status.model_copy(update={"state": StepState.FAILED, "message": "aborted", **_over(status, now)})


def _over(status: StepStatus, now: datetime) -> dict[str, object]:
    actual = minutes_between(status.started_at, now) if status.started_at else 0
    return {"finished_at": timestamp(now), "actual_minutes": actual}


def _with_steps(record: CutoverStatus, steps: Sequence[StepStatus]) -> CutoverStatus:
    return record.model_copy(update={"steps": list(steps)})


def _aborting(record: CutoverStatus, abort: Abort) -> CutoverStatus:
    return record.model_copy(update={"state": CutoverState.ABORTING, "aborted": abort})


def _ended(record: CutoverStatus, state: CutoverState, now: datetime) -> CutoverStatus:
    actual = minutes_between(record.started_at, now)
    return record.model_copy(update={"state": state, "finished_at": timestamp(now), "actual_minutes": actual})
