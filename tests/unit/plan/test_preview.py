"""A project played from its files to the end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from e2e.cluster.places import REPOSITORY
from pilotage.plan.preview import Preview, preview
from tests.support.builders import NOW, a_module, an_implementation

PEOPLE = [
    {"id": "wang", "role": "CustomerLead", "name": "王强"},
    {"id": "li", "role": "ProjectManager", "name": "李敏"},
    {"id": "zhao", "role": "Operations", "name": "赵云"},
]


def a_check(name: str, gate: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"implementationRef": {"name": "erp"}, "gate": gate, **spec}}


def a_migration(name: str, module: str, *after: str) -> dict[str, Any]:
    spec = {"implementationRef": {"name": "erp"}, "module": module, "dependsOn": [{"name": needed} for needed in after]}
    return {"metadata": {"name": name}, "spec": spec}


def play(body: dict[str, Any], migrations: Any = (), checks: Any = ()) -> Preview:
    return preview(body, migrations, checks, NOW)


def words(found: Preview) -> list[str]:
    return [step.what for step in found.steps]


def test_modules_of_a_wave_are_installed_side_by_side_and_the_next_wave_after_them():
    found = play(an_implementation(a_module("a", wave=1), a_module("b", wave=1), a_module("c", wave=2)))
    assert [(step.turn, step.what.split()[2]) for step in found.steps] == [(1, "a"), (1, "b"), (2, "c")]
    assert found.held == []


def test_migrations_load_in_their_order_and_checks_pass_after_them():
    found = play(
        an_implementation(a_module("core")),
        [a_migration("orders", "core", "parties"), a_migration("parties", "core")],
        [a_check("answers", "ConfigurationReady")],
    )
    assert words(found) == [
        "install module core as release erp-core",
        "migration parties loads into module core",
        "migration orders loads into module core",
        "check answers passes for module core",
    ]


def test_people_are_trained_and_test_before_the_go_live():
    must = {"id": "R-1", "title": "信用额度", "module": "core", "owner": "wang", "acceptedBy": ["uat/credit"]}
    training = {"roles": [{"role": "clerk", "audience": 10}]}
    found = play(an_implementation(a_module("core"), contacts=PEOPLE, requirements=[must], training=training))
    assert words(found)[1:] == ["9 people of clerk are trained", "test case credit passes"]
    assert found.held == []


def test_what_nobody_can_attest_is_told_as_what_would_hold_the_project():
    training = {"roles": [{"role": "clerk", "audience": 10}]}
    found = play(an_implementation(a_module("core"), training=training))
    assert found.held == ["module core stays Prepared: training of clerk: 0 of 9 people passed"]


def test_a_window_is_waited_for():
    friday = {"name": "friday", "kind": "Allow", "rrule": "FREQ=WEEKLY;BYDAY=FR;BYHOUR=20", "duration": "10h"}
    found = play(an_implementation(a_module("core"), schedule={"windows": [friday]}), [a_migration("parties", "core")])
    assert words(found)[1:] == ["the window opens for core", "migration parties loads into module core"]
    assert (NOW + found.steps[-1].after).strftime("%a %H:%M") == "Fri 20:00"
    assert found.held == []


def test_a_stable_run_takes_its_time():
    check = a_check("month", "StableRunComplete", stableRun={"required": "30d"})
    found = play(an_implementation(a_module("core")), checks=[check])
    assert found.steps[-1].after == timedelta(days=30)
    assert found.held == []


def test_persons_sign_in_the_order_in_which_the_project_meets_them():
    found = play(an_implementation(a_module("core"), profile="Standard", contacts=PEOPLE))
    assert [line for line in words(found) if "signs" in line] == [
        "王强 (CustomerLead) signs gate ScopeBaselined",
        "李敏 (ProjectManager) signs gate ScopeBaselined",
        "王强 (CustomerLead) signs gate GoLiveApproved of wave 1",
        "李敏 (ProjectManager) signs gate GoLiveApproved of wave 1",
        "王强 (CustomerLead) signs gate FinalAccepted",
        "李敏 (ProjectManager) signs gate FinalAccepted",
        "赵云 (Operations) signs gate FinalAccepted",
    ]
    assert words(found)[2] == "install module core as release erp-core"


def test_a_role_that_nobody_has_holds_the_project():
    found = play(an_implementation(a_module("core"), profile="Light", contacts=PEOPLE[:1]))
    assert "nobody is ProjectManager" in found.held[0]


def test_a_signature_that_does_not_count_holds_the_project_and_says_why():
    people = [*PEOPLE, {"id": "sun", "role": "Supervisor", "name": "孙磊"}]
    found = play(an_implementation(a_module("core"), profile="Strict", contacts=people))
    assert "does not count: Strict heeds Verified" in found.held[-1]


def test_an_engineer_records_what_people_without_an_account_sign_on_paper():
    people = [contact | ({"subject": "li@vendor"} if contact["id"] == "li" else {}) for contact in PEOPLE]
    people.append({"id": "sun", "role": "Supervisor", "name": "孙磊"})
    people.append({"id": "chen", "role": "Engineer", "name": "陈静", "subject": "chen@vendor"})
    found = play(an_implementation(a_module("core"), profile="Strict", contacts=people))
    assert "孙磊 (Supervisor) signs gate PreliminaryAccepted of wave 1" in words(found)


def test_a_check_that_is_in_no_file_holds_its_module():
    found = play(an_implementation(a_module("core", checks=["answers"])))
    assert found.held == ["module core stays Verifying: AcceptanceCheck answers is expected and is not there"]


def test_a_cycle_holds_everything():
    found = play(an_implementation(a_module("a", "b"), a_module("b", "a")))
    assert found.steps == []
    assert len(found.held) == 2


def test_the_demo_is_accepted_in_the_end():
    folder = REPOSITORY / "e2e/demo/manifests"
    documents = [found for file in folder.glob("*.yaml") for found in yaml.safe_load_all(file.read_text()) if found]
    kinds: dict[str, list[dict[str, Any]]] = {"Implementation": [], "MigrationJob": [], "AcceptanceCheck": []}
    for body in documents:
        kinds.setdefault(body["kind"], []).append(body)
    (body,) = kinds["Implementation"]
    assert preview(body, kinds["MigrationJob"], kinds["AcceptanceCheck"], NOW).held == []


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=8), st.integers(1, 3))
def test_every_project_without_a_cycle_is_accepted_and_installs_each_module_once(modules, limit):
    names = [f"m{number}" for number in range(len(modules))]
    bodies = [
        a_module(name, wave=wave, **({"mutex": "db"} if shared else {}))
        for name, (wave, shared) in zip(names, modules, strict=True)
    ]
    found = play(an_implementation(*bodies, rollout={"maxParallel": limit}))
    assert found.held == []
    installed = [line.split()[2] for line in words(found) if line.startswith("install")]
    assert sorted(installed) == names
    waves = [modules[names.index(name)][0] for name in installed]
    assert waves == sorted(waves)


def test_a_final_run_is_played_before_the_cutover_whose_step_is_its_delta():
    steps = [{"name": "load", "type": "Migration", "ref": "opening", "run": "Delta", "plannedMinutes": 30}]
    found = play(an_implementation(a_module("core", cutover={"steps": steps})), [a_migration("opening", "core")])
    assert words(found)[1:] == [
        "migration opening loads into module core",
        "step load of the cutover of module core is done",
    ]
    assert found.held == []


def test_a_cutover_is_played_step_by_step_in_its_planned_minutes():
    steps = [
        {"name": "freeze", "type": "Confirm", "owner": "wang", "plannedMinutes": 15},
        {"name": "backup", "type": "Job", "ref": "backup", "plannedMinutes": 20},
        {"name": "load", "type": "Migration", "ref": "opening", "plannedMinutes": 30},
        {"name": "enable", "type": "Rollout", "plannedMinutes": 5},
        {"name": "smoke", "type": "Check", "ref": "smoke", "plannedMinutes": 10},
    ]
    found = play(
        an_implementation(a_module("core", cutover={"steps": steps}), contacts=PEOPLE),
        [a_migration("opening", "core")],
        [a_check("smoke", "ConfigurationReady")],
    )
    assert found.held == []
    assert [(step.what, step.after) for step in found.steps[1:]] == [
        (f"step {name} of the cutover of module core is done", timedelta(minutes=minutes))
        for name, minutes in (("freeze", 15), ("backup", 35), ("load", 65), ("smoke", 75))
    ]
