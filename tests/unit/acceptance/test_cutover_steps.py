"""A check that is a step of a cutover measures in that step: what was before it, or in another attempt, is lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pilotage.plan.conditions import timestamp
from tests.unit.acceptance.builders import DIGEST, check, implementation, module
from tests.unit.acceptance.story import BAD, GOOD, START, Story


def the_project(began: str | None = None, **fields: Any) -> dict[str, Any]:
    """A project whose module is cut over, its step of this check begun at that moment."""
    step = {"name": "smoke", "state": "Running" if began else "Pending", "plannedMinutes": 5}
    record = {"state": "Running", "steps": [step | ({"startedAt": began} if began else {})]}
    body = implementation(module(reached="CuttingOver", cutover=record, **fields))
    planned = {"name": "smoke", "type": "Check", "ref": "smoke", "plannedMinutes": 5}
    body["spec"]["modules"][0]["cutover"] = {"steps": [planned]}
    return body


def test_it_does_not_measure_before_its_step_begins() -> None:
    story = Story(check(), the_project())
    assert story.due() == []
    assert story.look().track["message"] == "measured in step smoke of the module's cutover"
    story.project = the_project(timestamp(story.now))
    assert story.hear(GOOD).track["phase"] == "Passed"


def test_what_an_earlier_attempt_measured_is_forgotten_when_the_step_begins_anew() -> None:
    story = Story(check(), the_project(timestamp(START))).hear(GOOD)
    assert (story.verdict().passed, story.verdict().since) == (True, START)
    story.now = START + timedelta(minutes=1)
    story.project = the_project()
    assert not story.look().verdict().passed
    story.project = the_project(timestamp(story.now))
    assert not story.look().verdict().passed
    assert story.verdict().since == story.now
    assert story.hear(BAD).look().track["phase"] != "Passed"


def test_once_the_module_was_live_it_measures_as_all_others_do() -> None:
    good = {"revision": 1, "version": "1", "inputDigest": DIGEST}
    story = Story(check(), the_project(lastGood=good))
    assert len(story.due()) == 1
