"""A module with a cutover within its project: what holds it, what its steps wait for, who is asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from pilotage.api.v1alpha1.attestation import AttestationSpec
from pilotage.api.v1alpha1.migrationjob import RunKind
from pilotage.api.v1alpha1.signoff import SignOffSpec
from pilotage.plan.acceptance import Verdict
from pilotage.plan.conditions import timestamp
from pilotage.plan.facts import AttestationFacts, ImplementationFacts, SignOffFacts, StepJob
from pilotage.plan.health import Health
from pilotage.plan.implementation import Decision, decide
from tests.support.builders import (
    NOW,
    a_check,
    a_migration,
    a_module,
    an_implementation,
    facts,
    running,
)
from tests.unit.plan.test_gates import PEOPLE, settled

FREEZE = {"name": "freeze", "title": "停用旧系统", "type": "Confirm", "owner": "wang", "plannedMinutes": 15}
BACKUP = {"name": "backup", "type": "Job", "ref": "backup", "plannedMinutes": 20}
LOAD = {"name": "load", "type": "Migration", "ref": "opening", "plannedMinutes": 30}
ROLLOUT = {"name": "enable", "type": "Rollout", "plannedMinutes": 5}
SMOKE = {"name": "smoke", "type": "Check", "ref": "smoke", "plannedMinutes": 10}
OPEN = {"name": "open", "type": "Confirm", "owner": "li", "plannedMinutes": 10}
THAW = {"name": "thaw", "type": "Confirm", "owner": "wang", "plannedMinutes": 5}


def a_cutover(*steps: dict[str, Any], rollback: Any = (THAW,), **fields: Any) -> dict[str, Any]:
    return {"steps": list(steps or (FREEZE, OPEN)), "rollback": list(rollback), **fields}


def a_project(cutover: dict[str, Any], spec: Any = None, **fields: Any) -> ImplementationFacts:
    body = an_implementation(a_module("core", cutover=cutover), **{"contacts": PEOPLE} | (spec or {}))
    return facts(body, {"core": running()}, **fields)


def attested(name: str, by: str, at: datetime, outcome: str = "Passed", **fields: Any) -> AttestationFacts:
    spec = {
        "implementationRef": {"name": "erp"},
        "type": "CutoverStep",
        "module": "core",
        "name": name,
        "result": {"outcome": outcome},
        "by": by,
        "recordedBy": by,
        **fields,
    }
    uid = f"{name}-{by}-{timestamp(at)}"
    return AttestationFacts(uid, uid, at, AttestationSpec.model_validate(spec))


def later(seen: ImplementationFacts, minutes: float = 1, **fields: Any) -> ImplementationFacts:
    return replace(seen, now=seen.now + timedelta(minutes=minutes), **fields)


def core(decision: Decision) -> dict[str, Any]:
    assert decision.status is not None
    module: dict[str, Any] = decision.status["modules"][0]
    return module


def steps(decision: Decision) -> dict[str, str]:
    record = core(decision)["cutover"]
    return {found["name"]: found["state"] for found in [*record["steps"], *record["rollback"]]}


def asked(decision: Decision) -> list[tuple[str, str | None]]:
    assert decision.status is not None
    return [(found["who"], found.get("command")) for found in decision.status["nextActions"]]


def test_a_module_stays_in_cutting_over_until_every_step_is_done_and_then_goes_live() -> None:
    seen, decision = settled(a_project(a_cutover()))
    assert (core(decision)["state"], core(decision)["reason"]) == ("CuttingOver", "CutoverRunning")
    assert asked(decision) == [
        ("王强", "pilotage attest erp CutoverStep freeze --module core --outcome Passed -n huasheng")
    ]
    seen, decision = settled(later(seen, attestations=(attested("freeze", "wang", seen.now),)))
    assert steps(decision) == {"freeze": "Done", "open": "Running"}
    seen = later(seen, attestations=(*seen.attestations, attested("open", "li", seen.now)))
    seen, decision = settled(seen)
    assert core(decision)["state"] == "Accepted"
    assert core(decision)["cutover"]["state"] == "Done"


@pytest.mark.parametrize(
    "said",
    [
        attested("freeze", "li", NOW),
        attested("freeze", "wang", NOW - timedelta(minutes=1)),
        attested("freeze", "wang", NOW, module="sale"),
        attested("open", "wang", NOW),
    ],
    ids=["by somebody else", "before the step began", "of another module", "of another step"],
)
def test_a_step_is_confirmed_by_its_owner_after_it_began(said: AttestationFacts) -> None:
    _, decision = settled(a_project(a_cutover(), attestations=(said,)))
    assert steps(decision)["freeze"] == "Running"


def test_a_step_that_its_owner_says_failed_is_taken_back_and_waits_for_a_person() -> None:
    seen, _ = settled(a_project(a_cutover()))
    seen, decision = settled(later(seen, attestations=(attested("freeze", "wang", seen.now, "Failed"),)))
    assert steps(decision) == {"freeze": "Failed", "open": "Pending", "thaw": "Running"}
    assert core(decision)["reason"] == "CutoverAborting"
    seen = later(seen, attestations=(*seen.attestations, attested("thaw", "wang", seen.now)))
    seen, decision = settled(seen)
    assert (core(decision)["state"], core(decision)["reason"]) == ("Prepared", "CutoverAborted")
    assert core(decision)["reached"] == "Prepared"
    assert asked(decision)[0][0] == "李敏"
    assert "pilotage.dev/retry-at" in (asked(decision)[0][1] or "")
    stalled = next(found for found in decision.status["conditions"] if found["type"] == "Stalled")  # type: ignore[index]
    assert stalled["reason"] == "CutoverAborted"
    _, decision = settled(later(seen, 60, attempt="second"))
    assert (core(decision)["state"], core(decision)["cutover"]["attempt"]) == ("CuttingOver", 2)
    assert steps(decision) == {"freeze": "Running", "open": "Pending"}


def a_window(minutes: int, *more: dict[str, Any]) -> dict[str, Any]:
    night = {"name": "night", "kind": "Allow", "start": timestamp(NOW), "end": timestamp(NOW + minutes * MINUTE)}
    return {"schedule": {"windows": [night, *more]}}


MINUTE = timedelta(minutes=1)


def test_a_cutover_that_does_not_fit_into_the_window_does_not_begin_and_says_which_one_is_long_enough() -> None:
    begin = NOW + timedelta(days=7)
    long = {"name": "long", "kind": "Allow", "start": timestamp(begin), "end": timestamp(begin + 60 * MINUTE)}
    _, decision = settled(a_project(a_cutover(), a_window(24, long)))
    assert (core(decision)["state"], core(decision)["reason"]) == ("Prepared", "CutoverDoesNotFit")
    assert core(decision)["message"] == (
        "its cutover takes 25 planned minutes and the window shuts at 2026-11-23T08:24:00Z; "
        "the next window that is long enough opens at 2026-11-30T08:00:00Z"
    )
    assert decision.again == 24 * MINUTE
    _, decision = settled(a_project(a_cutover(), a_window(25)))
    assert core(decision)["state"] == "CuttingOver"


def test_a_cutover_that_no_longer_fits_is_aborted_before_its_point_of_no_return_and_not_after() -> None:
    for point, reason in (("open", "CutoverAborting"), ("freeze", "CutoverRunning")):
        seen, decision = settled(a_project(a_cutover(pointOfNoReturn=point), a_window(30)))
        if point == "open":
            assert decision.again == 20 * MINUTE + timedelta(seconds=1)
        _, decision = settled(later(seen, 21))
        assert core(decision)["reason"] == reason
        assert core(decision)["state"] == "CuttingOver"


def test_a_job_is_asked_for_only_when_the_step_that_it_does_is_reported_and_until_it_is_there() -> None:
    seen = a_project(a_cutover(BACKUP))
    for _ in range(12):
        decision = decide(seen)
        reported = (seen.body["status"].get("modules") or [{}])[0].get("cutover")
        assert bool(decision.jobs) == bool(reported and reported["steps"][0]["state"] == "Running")
        seen = replace(seen, body={**seen.body, "status": decision.status})
    (job,) = decide(seen).jobs
    assert (job.template, job.deadline) == ("backup", 40 * MINUTE)
    seen, decision = settled(later(seen, step_jobs={job.name: StepJob()}))
    assert decision.jobs == ()
    assert core(decision)["cutover"]["steps"][0]["job"] == job.name
    _, gone = settled(later(seen, step_jobs={}))
    assert "deleted before it was seen to end" in gone.status["modules"][0]["cutover"]["aborted"]["message"]  # type: ignore[index]
    _, done = settled(later(seen, step_jobs={job.name: StepJob(complete=True)}))
    assert core(done)["state"] == "Accepted"
    _, failed = settled(later(seen, step_jobs={job.name: StepJob(failed=True, message="no space")}))
    assert "no space" in core(failed)["message"]


def test_a_suspended_project_makes_no_job() -> None:
    seen, decision = settled(a_project(a_cutover(BACKUP)))
    assert len(decision.jobs) == 1
    spec = {**seen.body["spec"], "suspend": True}
    _, decision = settled(later(seen, 300, body={**seen.body, "spec": spec}))
    assert decision.jobs == ()
    assert steps(decision) == {"backup": "Running"}


def test_a_change_past_the_point_of_no_return_goes_on_with_the_steps_whatever_the_hour() -> None:
    said = attested("freeze", "wang", NOW + MINUTE)
    seen, _ = settled(a_project(a_cutover(pointOfNoReturn="freeze"), a_window(60)))
    seen, decision = settled(later(seen, attestations=(said,), modules={"core": running(wanted="i2")}))
    assert steps(decision) == {"freeze": "Done", "open": "Running"}
    _, decision = settled(later(seen, 120, modules={"core": running(wanted="i3")}))
    assert (core(decision)["state"], steps(decision)["open"]) == ("CuttingOver", "Running")


def test_a_job_at_work_is_not_cut_off_by_an_abort_but_waited_for() -> None:
    seen, _ = settled(a_project(a_cutover(BACKUP)))
    name = decide(seen).jobs[0].name
    seen, decision = settled(later(seen, 41, step_jobs={name: StepJob()}))
    assert core(decision)["reason"] == "CutoverAborting"
    assert steps(decision) == {"backup": "Running"}
    _, decision = settled(later(seen, step_jobs={name: StepJob(failed=True)}))
    assert steps(decision) == {"backup": "Failed", "thaw": "Running"}


def test_a_final_run_that_is_a_step_does_not_hold_the_module_before_its_cutover_but_a_rehearsal_does() -> None:
    final = a_migration("opening", "core", "Waiting")
    _, decision = settled(a_project(a_cutover(LOAD), migrations=[final]))
    assert core(decision)["state"] == "CuttingOver"
    rehearsal = replace(final, run=RunKind.REHEARSAL)
    _, decision = settled(a_project(a_cutover(LOAD), migrations=[rehearsal]))
    assert core(decision)["state"] == "Migrating"
    _, decision = settled(a_project(a_cutover(LOAD), migrations=[replace(final, succeeded=True, phase="Succeeded")]))
    assert core(decision)["state"] == "Accepted"


def test_a_delta_as_a_step_comes_after_its_final_run_and_is_asked_for_before_the_cutover_begins() -> None:
    cutover = a_cutover(FREEZE, LOAD | {"run": "Delta"})
    final = a_migration("opening", "core", "Waiting")
    seen, decision = settled(a_project(cutover, migrations=[final]))
    assert core(decision)["state"] == "Migrating"
    loaded = replace(final, phase="Succeeded", succeeded=True, loaded=True)
    seen, decision = settled(later(seen, migrations={"opening": loaded}))
    assert (core(decision)["state"], core(decision)["reason"]) == ("Prepared", "MigrationNotSucceeded")
    assert "set spec.run of MigrationJob opening to Delta" in core(decision)["message"]
    delta = replace(loaded, run=RunKind.DELTA, phase="Waiting", succeeded=False)
    seen, decision = settled(later(seen, migrations={"opening": delta}))
    assert steps(decision)["freeze"] == "Running"
    seen = later(seen, attestations=(attested("freeze", "wang", seen.now + timedelta(minutes=1)),), minutes=2)
    seen, decision = settled(seen)
    assert steps(decision)["load"] == "Running"
    _, decision = settled(later(seen, migrations={"opening": replace(delta, phase="Succeeded", succeeded=True)}))
    assert (steps(decision)["load"], core(decision)["state"]) == ("Done", "Accepted")


def test_a_delta_of_what_was_never_loaded_does_not_begin() -> None:
    delta = a_migration("opening", "core", "Waiting", run=RunKind.DELTA)
    _, decision = settled(a_project(a_cutover(FREEZE, LOAD | {"run": "Delta"}), migrations=[delta]))
    assert (core(decision)["state"], core(decision)["reason"]) == ("Prepared", "MigrationNotSucceeded")
    assert "has loaded nothing yet" in core(decision)["message"]


def test_a_final_run_that_succeeded_is_no_end_of_a_step_that_is_a_delta() -> None:
    delta = a_migration("opening", "core", "Waiting", run=RunKind.DELTA, loaded=True)
    seen, decision = settled(a_project(a_cutover(LOAD | {"run": "Delta"}), migrations=[delta]))
    assert steps(decision)["load"] == "Running"
    back_to_final = replace(delta, run=RunKind.FINAL, phase="Succeeded", succeeded=True)
    _, decision = settled(later(seen, migrations={"opening": back_to_final}))
    assert steps(decision)["load"] == "Running"


def test_a_cutover_whose_migration_would_fail_at_once_does_not_begin() -> None:
    for phase in ("RolledBack", "Failed", "Paused", "Rejected"):
        spoilt = a_migration("opening", "core", phase, ended_badly=True)
        seen, decision = settled(a_project(a_cutover(FREEZE, LOAD), migrations=[spoilt]))
        assert (core(decision)["state"], core(decision)["reason"]) == ("Prepared", "MigrationNotSucceeded")
    _, decision = settled(later(seen, migrations={"opening": replace(spoilt, phase="Waiting", ended_badly=False)}))
    assert core(decision)["state"] == "CuttingOver"


def test_the_way_back_waits_for_a_final_run_that_may_just_be_beginning() -> None:
    waiting = a_migration("opening", "core", "Waiting")
    seen, _ = settled(a_project(a_cutover(LOAD), a_window(30), migrations=[waiting]))
    shut = {**seen.body["spec"], **a_window(1)}
    seen, decision = settled(later(seen, 0.5, body={**seen.body, "spec": shut}))
    assert (core(decision)["reason"], steps(decision)) == ("CutoverAborting", {"load": "Running"})
    assert decision.again == timedelta(seconds=15)
    _, decision = settled(later(seen, 0.5))
    assert steps(decision) == {"load": "Failed", "thaw": "Running"}


def test_a_final_run_that_fails_fails_its_step_and_one_that_waits_for_something_does_not() -> None:
    waits = a_migration("opening", "core", "Waiting", ended_badly=True, message="ConfigMap export is not there")
    seen, decision = settled(a_project(a_cutover(LOAD), migrations=[waits]))
    assert "ConfigMap export is not there" in core(decision)["message"]
    assert steps(decision) == {"load": "Running"}
    _, decision = settled(later(seen, migrations={"opening": replace(waits, phase="Rejected")}))
    assert core(decision)["reason"] == "CutoverAborting"


def test_what_was_loaded_is_taken_back_by_a_step_of_the_way_back_that_says_how() -> None:
    back = {"name": "unload", "type": "Migration", "ref": "opening", "plannedMinutes": 10}
    loaded = a_migration("opening", "core", "Succeeded", loaded=True, loaded_run="run-1", keeps_images=True)
    seen, _ = settled(a_project(a_cutover(LOAD, OPEN, rollback=[back]), migrations=[loaded]))
    seen, decision = settled(later(seen, 21))
    assert steps(decision) == {"load": "Done", "open": "Failed", "unload": "Running"}
    command = 'kubectl -n huasheng patch migrationjob opening --type merge -p \'{"spec":{"rollback":{"run":"run-1"}}}\''
    assert ("李敏", command) in asked(decision)
    seen, decision = settled(later(seen, migrations={"opening": replace(loaded, loaded=False, phase="RolledBack")}))
    assert core(decision)["reason"] == "CutoverAborted"


def test_a_check_that_is_a_step_counts_only_as_measured_since_the_step_began() -> None:
    def measured(since: datetime, *, passed: bool) -> Any:
        verdict = Verdict(passed, "Passed" if passed else "Failed", "", ended_badly=not passed, since=since)
        return {"smoke": replace(a_check("smoke"), verdicts={"core": verdict})}

    seen, decision = settled(a_project(a_cutover(SMOKE), checks=[a_check("smoke")]))
    assert steps(decision) == {"smoke": "Running"}
    for passed in (True, False):
        _, decision = settled(later(seen, checks=measured(NOW - MINUTE, passed=passed)))
        assert steps(decision) == {"smoke": "Running"}
    _, decision = settled(later(seen, checks=measured(NOW, passed=True)))
    assert core(decision)["state"] == "Accepted"
    _, decision = settled(later(seen, checks=measured(NOW, passed=False)))
    assert core(decision)["reason"] == "CutoverAborting"


def test_a_rollout_step_waits_until_the_module_is_deployed_and_well() -> None:
    seen, _ = settled(a_project(a_cutover(FREEZE, ROLLOUT)))
    ill = replace(running(), health=Health.IN_PROGRESS, health_message="0 of 1 pods are ready")
    said = (attested("freeze", "wang", seen.now),)
    seen, decision = settled(later(seen, attestations=said, modules={"core": ill}))
    assert steps(decision) == {"freeze": "Done", "enable": "Pending"}
    _, decision = settled(later(seen, modules={"core": running()}))
    assert core(decision)["state"] == "Accepted"


@pytest.mark.parametrize(
    ("cutover", "text"),
    [
        (a_cutover({**FREEZE, "owner": "nobody"}), "steps[freeze].owner: nobody is no id of spec.contacts"),
        (a_cutover(rollback=[{**THAW, "owner": "zz"}]), "rollback[thaw].owner: zz is no id of spec.contacts"),
        (a_cutover(LOAD), "steps[load].ref: there is no MigrationJob opening of this module"),
        (
            a_cutover(rollback=[{**LOAD, "ref": "irreversible"}]),
            "rollback[load].ref: MigrationJob irreversible cannot be taken back without rollback.beforeImages: true",
        ),
        (a_cutover(SMOKE), "steps[smoke].ref: there is no AcceptanceCheck smoke of gate ConfigurationReady"),
        (a_cutover(BACKUP), "steps[backup].ref: there is no CronJob backup"),
    ],
)
def test_a_plan_that_names_what_is_not_there_is_refused_before_anything_begins(cutover: Any, text: str) -> None:
    final = a_migration("irreversible", "core", "Succeeded")
    seen = a_project(cutover, job_templates={"backup": "there is no CronJob backup"}, migrations=[final])
    _, decision = settled(seen)
    assert (core(decision)["state"], core(decision)["reason"]) == ("Prepared", "CutoverInvalid")
    assert text in core(decision)["message"]
    assert decision.jobs == ()


def test_a_changed_module_is_taken_back_before_it_is_upgraded() -> None:
    seen, _ = settled(a_project(a_cutover()))
    wanted = replace(running(), desired=replace(running().desired, input="i2"))  # type: ignore[type-var]
    seen, decision = settled(later(seen, modules={"core": wanted}))
    assert core(decision)["cutover"]["aborted"]["reason"] == "InputChanged"
    assert (core(decision)["reason"], decision.actions) == ("CutoverAborting", ())
    seen = later(seen, attestations=(attested("thaw", "wang", seen.now),))
    decision = decide(replace(seen, body={**seen.body, "status": decide(seen).status}))
    assert [action.kind for action in decision.actions] == ["Upgrade"]


def an_order(at: datetime, by: str = "wang") -> SignOffFacts:
    spec = {
        "implementationRef": {"name": "erp"},
        "gate": "GoLiveApproved",
        "module": "core",
        "decision": "RollBack",
        "digest": "a" * 12,
        "by": by,
        "recordedBy": by,
        "reason": "订单无法保存",
    }
    return SignOffFacts(f"order-{by}", f"order-{by}", at, SignOffSpec.model_validate(spec))


def test_the_customers_lead_orders_the_way_back_past_the_point_and_the_order_does_not_stop_the_next_attempt() -> None:
    whole = "a" * 40
    seen = a_project(a_cutover(pointOfNoReturn="freeze", rollback=[]))
    seen, _ = settled(replace(seen, modules={"core": running(wanted=whole)}))
    seen, decision = settled(later(seen, 90, sign_offs=(an_order(seen.now, by="li"),)))
    assert core(decision)["cutover"]["state"] == "Running"
    seen, decision = settled(later(seen, sign_offs=(an_order(seen.now),)))
    assert core(decision)["cutover"]["aborted"]["reason"] == "Ordered"
    assert core(decision)["state"] == "Prepared"
    _, decision = settled(later(seen, attempt="second"))
    assert (core(decision)["state"], core(decision)["cutover"]["attempt"]) == ("CuttingOver", 2)


def test_a_module_that_was_live_once_is_not_cut_over_again() -> None:
    seen, _ = settled(a_project(a_cutover(ROLLOUT)))
    changed = running(wanted="i2")
    _, decision = settled(later(seen, modules={"core": changed}))
    assert core(decision)["state"] == "Accepted"
    assert core(decision)["cutover"]["inputDigest"] == "i1"


def test_an_approval_is_used_up_by_a_cutover_that_was_aborted_and_a_new_one_begins_it_anew() -> None:
    def signed(seen: ImplementationFacts, *gates: str) -> ImplementationFacts:
        for _ in range(3):
            for gate in decide(seen).status["gates"]:  # type: ignore[index]
                if gate["name"] in gates and gate["state"] in {"Open", "Expired"}:
                    made = [sign(gate, by, seen.now) for by in ("wang", "li")]
                    seen = replace(seen, sign_offs=(*seen.sign_offs, *made))
            seen, _ = settled(later(seen))
        return seen

    seen, _ = settled(a_project(a_cutover(rollback=[]), {"profile": "Standard"}))
    seen = signed(seen, "ScopeBaselined", "GoLiveApproved")
    assert core(decide(seen))["state"] == "CuttingOver"
    seen, decision = settled(later(seen, 60))
    assert (core(decision)["cutover"]["state"], core(decision)["reason"]) == ("Aborted", "AwaitingApproval")
    gate = next(found for found in decision.status["gates"] if found["name"] == "GoLiveApproved")  # type: ignore[index]
    assert (gate["state"], gate["missing"]) == ("Expired", ["CustomerLead", "ProjectManager"])
    assert "the cutover was aborted" in gate["message"]
    seen, decision = settled(later(seen, attempt="second"))
    assert core(decision)["state"] == "Prepared"
    decision = decide(signed(replace(seen, attempt="0"), "GoLiveApproved"))
    assert (core(decision)["state"], core(decision)["cutover"]["attempt"]) == ("CuttingOver", 2)


def sign(gate: dict[str, Any], by: str, at: datetime) -> SignOffFacts:
    place = {key: gate[key] for key in ("wave", "module") if key in gate}
    spec = {
        "implementationRef": {"name": "erp"},
        "gate": gate["name"],
        "decision": "Approve",
        "digest": gate["digest"],
        "by": by,
        "recordedBy": by,
        **place,
    }
    name = f"{gate['name']}-{by}-{timestamp(at)}".lower()
    return SignOffFacts(name, name, at, SignOffSpec.model_validate(spec))


def test_a_plan_that_changes_after_the_go_live_was_approved_is_approved_anew() -> None:
    def digest(cutover: dict[str, Any]) -> str:
        decision = decide(a_project(cutover, {"profile": "Standard"}))
        assert decision.status is not None
        found = next(gate for gate in decision.status["gates"] if gate["name"] == "GoLiveApproved")
        return str(found["digest"])

    assert digest(a_cutover()) != digest(a_cutover(pointOfNoReturn="open"))
