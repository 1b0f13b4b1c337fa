"""A whole project in virtual time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from e2e.cluster.places import REPOSITORY
from pilotage.plan import simulation
from pilotage.plan.assumptions import Assumptions, WorkingTime, parse_failure
from pilotage.plan.preview import preview
from pilotage.plan.simulation import Simulation, simulate
from tests.support.builders import a_module, an_implementation
from tests.unit.plan.test_preview import PEOPLE, a_check, a_migration

MONDAY = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)  # nine o'clock in Shanghai
HALF_AN_HOUR = timedelta(minutes=30)
METRIC = {
    "name": "available",
    "source": {"kubernetes": {"measure": "Availability"}},
    "target": {"atLeast": "99"},
    "interval": "1m",
}


def a_run(required: str, **spec: Any) -> dict[str, Any]:
    return a_check("month", "StableRunComplete", stableRun={"required": required}, metrics=[METRIC], **spec)


def play(body: dict[str, Any], loads: Any = (), checks: Any = (), **assumed: Any) -> Simulation:
    return simulate(body, loads, checks, Assumptions.model_validate(assumed), MONDAY)


def words(found: Simulation) -> list[str]:
    return [event.what for event in found.events]


def at(found: Simulation, what: str) -> datetime:
    (moment,) = [event.at for event in found.events if event.what == what]
    return moment


def test_a_project_takes_the_time_of_helm_of_its_migrations_and_of_its_stable_run():
    found = play(
        an_implementation(a_module("core")),
        [a_migration("parties", "core")],
        [a_run("30d")],
        installs={"core": "20m"},
        migrations={"parties": 600_000},
        rowsPerMinute=10_000,
    )
    assert found.accepted == MONDAY + timedelta(minutes=20) + timedelta(minutes=60) + timedelta(days=30)


def test_an_outage_lets_the_stable_run_begin_anew_when_it_is_over():
    found = play(an_implementation(a_module("core")), checks=[a_run("30d")], failures=["outage:core@12/40m"])
    live = MONDAY + HALF_AN_HOUR
    assert at(found, "check month misses for module core: its stable run begins anew") == live + timedelta(days=12)
    assert found.accepted == live + timedelta(days=12, minutes=40) + timedelta(days=30)


def test_an_outage_of_another_module_changes_nothing():
    body = an_implementation(a_module("core"), a_module("web"))
    found = play(body, checks=[a_run("30d", modules=["core"])], failures=["outage:web@12/40m"])
    assert found.accepted == MONDAY + HALF_AN_HOUR + timedelta(days=30)


def test_a_check_that_fails_for_good_holds_the_project():
    check = a_run("30d")
    check["spec"]["metrics"] = [METRIC | {"onBreach": "Fail"}]
    found = play(an_implementation(a_module("core")), checks=[check], failures=["outage:core@12/40m"])
    assert found.accepted is None
    assert "module core stays Live" in found.held[0]


@given(required=st.sampled_from(["26h", "9d"]), day=st.integers(1, 2), length=st.sampled_from(["5m", "90m"]))
@settings(max_examples=2, deadline=None)
def test_the_date_does_not_depend_on_how_seldom_is_sampled(required, day, length):
    body, outage = an_implementation(a_module("core")), [f"outage:core@{day}/{length}"]
    often = play(body, checks=[a_run(required)], failures=outage)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(simulation, "LOOKS", 20)
        seldom = play(body, checks=[a_run(required)], failures=outage)
    assert seldom.accepted == often.accepted


def test_what_a_miss_extends_is_extended_by_the_outage_about():
    check = a_run("9d")
    check["spec"]["metrics"] = [METRIC | {"onBreach": "Extend"}]
    found = play(an_implementation(a_module("core")), checks=[check], failures=["outage:core@2/12h"])
    undisturbed = MONDAY + HALF_AN_HOUR + timedelta(days=9)
    assert found.accepted is not None
    assert timedelta(hours=12) <= found.accepted - undisturbed <= timedelta(hours=48)


def test_a_stable_run_waits_for_its_business_events():
    check = a_run("3d")
    check["spec"]["stableRun"]["requiredEvents"] = ["month-end-close"]
    found = play(an_implementation(a_module("core"), contacts=PEOPLE), checks=[check], events="31d")
    assert at(found, "business event month-end-close happens") == MONDAY + HALF_AN_HOUR + timedelta(days=31)
    assert found.accepted is not None
    assert timedelta() <= found.accepted - at(found, "business event month-end-close happens") < timedelta(hours=2)


def test_a_module_goes_live_when_its_window_opens():
    friday = {"name": "friday", "kind": "Allow", "rrule": "FREQ=WEEKLY;BYDAY=FR;BYHOUR=20", "duration": "10h"}
    body = an_implementation(a_module("core"), schedule={"windows": [friday]}, profile="Standard", contacts=PEOPLE)
    found = play(body, [a_migration("parties", "core")])
    opens = datetime(2026, 11, 27, 20, 0, tzinfo=UTC)
    assert at(found, "migration parties is loaded into module core") == opens + timedelta(hours=2)
    assert found.accepted is not None


def test_a_failed_installation_is_mended_in_working_time_and_tried_again():
    found = play(an_implementation(a_module("core")), failures=["install:core"], mending="4h")
    assert words(found) == [
        "module core is Configuring",
        "installation of module core fails",
        "module core is Failed",
        "Engineer mends what failed and asks to try again",
        "module core is Configuring",
        "installation of module core is done",
        "module core is Accepted",
    ]
    assert found.accepted == MONDAY + timedelta(hours=5)


def test_who_is_asked_answers_in_working_time_and_is_counted():
    body = an_implementation(a_module("core"), profile="Light", contacts=PEOPLE)
    found = play(body, answer="8h", answers={"CustomerLead": "10h"})
    signed = {wait.who: wait.answered for wait in found.waits if wait.what == "gate ScopeBaselined"}
    assert signed == {"李敏": MONDAY + timedelta(hours=8), "王强": MONDAY + timedelta(days=1, hours=1)}
    assert found.accepted is not None


def test_a_person_who_never_answers_holds_the_project_and_the_sponsor_is_told():
    body = an_implementation(a_module("core"), profile="Light", contacts=PEOPLE)
    found = play(body, failures=["silent:wang"])
    assert found.accepted is None
    assert [(wait.who, wait.answered) for wait in found.waits if wait.answered is None] == [("王强", None)]
    assert "gate ScopeBaselined is overdue; the sponsor is told" in words(found)


def test_a_deputy_answers_for_a_person_who_does_not():
    deputy = {"id": "qian", "role": "CustomerLead", "name": "钱进"}
    body = an_implementation(a_module("core"), profile="Light", contacts=[*PEOPLE, deputy])
    found = play(body, failures=["silent:wang/10d"])
    assert "钱进 (CustomerLead) signs gate ScopeBaselined" in words(found)
    assert found.accepted is not None
    assert found.accepted < MONDAY + timedelta(days=10)


def test_people_are_trained_and_test_in_working_time():
    must = {"id": "R-1", "title": "信用额度", "module": "core", "owner": "wang", "acceptedBy": ["uat/credit"]}
    training = {"roles": [{"role": "clerk", "audience": 10}]}
    body = an_implementation(a_module("core"), contacts=PEOPLE, requirements=[must], training=training)
    found = play(body, training="2h", tests="4h")
    assert at(found, "9 people of clerk are trained") == MONDAY + timedelta(hours=2, minutes=30)
    assert at(found, "test case credit passes") == MONDAY + timedelta(hours=4, minutes=30) == found.accepted


@pytest.mark.parametrize(
    "failure", ["install:stock", "outage:stock@1/1h", "silent:nobody"], ids=["install", "outage", "silence"]
)
def test_a_failure_of_what_the_project_does_not_have_is_refused(failure):
    with pytest.raises(ValueError, match=r"core|wang"):
        play(an_implementation(a_module("core"), contacts=PEOPLE), failures=[failure])


@pytest.mark.parametrize(
    "text", ["core", "outage:core", "outage:core@x/1h", "outage:core@0/1h", "outage:core@1/soon", "install:", "silent:"]
)
def test_a_failure_that_cannot_be_read_is_refused(text):
    with pytest.raises(ValueError, match=r"no failure|not a duration"):
        parse_failure(text)


def test_the_same_assumptions_give_the_same_course():
    body = an_implementation(a_module("a"), a_module("b", "a"), profile="Standard", contacts=PEOPLE)
    assert play(body, checks=[a_run("30d")]) == play(body, checks=[a_run("30d")])


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.sampled_from([None, "Light", "Standard", "Strict"]))
@settings(max_examples=8, deadline=None)
def test_what_a_plan_accepts_a_simulation_without_failures_accepts_and_nothing_else(waves, profile):
    modules = [a_module(f"m{number}", wave=wave) for number, wave in enumerate(waves)]
    body = an_implementation(*modules, contacts=PEOPLE, **({"profile": profile} if profile else {}))
    checks = [a_run("3d")]
    assert (play(body, checks=checks).accepted is None) == bool(preview(body, [], checks, MONDAY).held)


@pytest.mark.parametrize(("example", "days"), [("light", 0), ("strict", 71), ("cutover", 7)])
def test_the_projects_among_the_examples_are_accepted_in_the_end(example, days):
    text = (REPOSITORY / f"manifests/examples/{example}.yaml").read_text(encoding="utf-8")
    kinds: dict[str, list[dict[str, Any]]] = {"MigrationJob": []}
    for body in yaml.safe_load_all(text):
        kinds.setdefault(body["kind"], []).append(body)
    (body,) = kinds["Implementation"]
    assert preview(body, kinds["MigrationJob"], kinds["AcceptanceCheck"], MONDAY).held == []
    found = play(body, kinds["MigrationJob"], kinds["AcceptanceCheck"])
    assert found.accepted is not None
    assert (found.accepted - MONDAY).days == days


def test_the_smallest_example_has_twenty_lines_at_most():
    assert len((REPOSITORY / "manifests/examples/light.yaml").read_text(encoding="utf-8").splitlines()) <= 20


NOON = MONDAY + timedelta(hours=3)


@pytest.mark.parametrize(
    ("moment", "hours", "ends"),
    [
        (NOON, 2, NOON + timedelta(hours=2)),
        (NOON, 6, NOON + timedelta(hours=6)),
        (NOON, 7, MONDAY + timedelta(days=1, hours=1)),
        (MONDAY - timedelta(hours=5), 1, MONDAY + timedelta(hours=1)),
        (NOON + timedelta(days=4), 7, MONDAY + timedelta(days=7, hours=1)),
        (MONDAY + timedelta(days=5), 0, MONDAY + timedelta(days=7)),
    ],
    ids=["same day", "to the day's end", "next day", "before the day", "over a weekend", "on a weekend"],
)
def test_work_is_done_when_people_work(moment, hours, ends):
    assert WorkingTime().after(moment, timedelta(hours=hours)) == ends


def test_nobody_works_on_a_holiday():
    calendar = WorkingTime.model_validate({"holidays": ["2026-11-24"]})
    assert calendar.after(NOON, timedelta(hours=7)) == MONDAY + timedelta(days=2, hours=1)


def test_working_time_goes_by_the_clock_on_the_wall_when_summer_ends():
    calendar = WorkingTime(time_zone="Europe/Berlin", begins=8, ends=16)
    friday = datetime(2026, 10, 23, 14, 0, tzinfo=UTC)
    assert calendar.after(friday, timedelta(hours=1)) == datetime(2026, 10, 26, 8, 0, tzinfo=UTC)


def test_the_planned_minutes_of_a_cutover_count():
    steps = [
        {"name": "freeze", "type": "Confirm", "owner": "wang", "plannedMinutes": 15},
        {"name": "backup", "type": "Job", "ref": "backup", "plannedMinutes": 45},
    ]
    found = play(an_implementation(a_module("core", cutover={"steps": steps}), contacts=PEOPLE))
    assert at(found, "step freeze of the cutover of module core is done") == MONDAY + timedelta(minutes=45)
    assert found.accepted == MONDAY + HALF_AN_HOUR + timedelta(minutes=60)
