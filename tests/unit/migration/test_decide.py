"""What a MigrationJob waits for, which Job comes next, and what its end is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pilotage.api.v1alpha1.migrationjob import RunKind
from pilotage.plan.facts import Problem
from pilotage.plan.migration import MigrationDecision, decide
from pilotage.plan.migration_facts import (
    DependencyFacts,
    MigrationJobFacts,
    Stage,
    StageFacts,
    identify,
    identify_rollback,
)

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
COUNTS = {"read": 10, "loaded": 9, "quarantined": 1, "balanced": True}
SUCCEEDED = {
    "outcome": "Succeeded", "reason": "Reconciled", "counts": COUNTS, "objects": [{"name": "c", **COUNTS}],
    "checks": [], "topErrors": [{"object": "c", "code": "E_NULL", "rows": 1, "line": 4}],
    "openMappings": [{"object": "c", "column": "KHDJ", "value": "DJ", "rows": 1}],
    "certificateDigest": "sha256:" + "a" * 64,
}  # fmt: skip
PLANNED = StageFacts(complete=True, answer={"outcome": "Planned", "progress": {"chunksDone": 0, "chunksTotal": 6}})
LOADED = StageFacts(complete=True, answer={"outcome": "Loaded"})


def a_migration(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "MigrationJob",
        "metadata": {"name": "parties", "namespace": "huasheng", "uid": "m1", "generation": 3},
        "spec": {
            "implementationRef": {"name": "erp"},
            "module": "core",
            "source": {"volume": {"claimName": "legacy"}},
            "target": {"connection": "erp-db"},
            "objects": [
                {"name": "c", "from": {"file": "客户.csv"}, "to": "party_party", "key": ["code"],
                 "fields": [{"to": "code", "from": "KHBM"}]}
            ],
            **spec,
        },
        "status": status or {"observedGeneration": -1},
    }  # fmt: skip


def after(kind: str) -> dict[str, Any]:
    return a_migration(dependsOn=[{"name": "earlier", "run": kind}])


def earlier(phase: str, kind: str) -> dict[str, DependencyFacts]:
    return {"earlier": DependencyFacts(phase, RunKind(kind))}


def an_implementation(state: str = "Migrating", release: str = "i1", **spec: Any) -> dict[str, Any]:
    module = {
        "name": "core", "wave": 1, "state": state, "since": "2026-11-23T07:00:00Z", "desiredInput": "i1",
        "release": {"name": "erp-core", "chart": "core", "version": "1", "revision": 1, "valuesDigest": "v",
                    "inputDigest": release},
    }  # fmt: skip
    return {
        "metadata": {"name": "erp", "namespace": "huasheng"},
        "spec": {
            "customer": {"code": "huasheng", "name": "华升"},
            "connections": [{"name": "erp-db", "type": "postgresql", "secretRef": {"name": "erp-db"}}],
            "modules": [{"name": "core", "chart": {"configMapRef": {"name": "core"}}}],
            **spec,
        },
        "status": {"modules": [module]},
    }


def a_live_migration() -> dict[str, Any]:
    objects = [{**a_migration()["spec"]["objects"][0], "from": {"table": "customers"}}]
    return a_migration(source={"connection": "old-erp"}, objects=objects)


def a_fetching_migration(kind: str = "http") -> dict[str, Any]:
    return a_migration(source={kind: {"connection": "files"}})


def with_connections(**types: str) -> dict[str, Any]:
    return an_implementation(
        connections=[{"name": name, "type": kind, "secretRef": {"name": name}} for name, kind in types.items()]
        + [{"name": "erp-db", "type": "postgresql", "secretRef": {"name": "erp-db"}}]
    )


MYSQL = [{"name": "erp-db", "type": "mysql", "secretRef": {"name": "erp-db"}}]


def facts(body: dict[str, Any] | None = None, **changes: Any) -> MigrationJobFacts:
    found = MigrationJobFacts(body or a_migration(), NOW, implementation=an_implementation())
    return replace(found, **changes)


def condition(decision: MigrationDecision, kind: str = "Ready") -> dict[str, Any]:
    return next((found for found in decision.status["conditions"] if found["type"] == kind), {})


@pytest.mark.parametrize(
    ("changes", "reason", "stalled"),
    [
        ({"implementation": None}, "ImplementationMissing", False),
        ({"implementation": an_implementation(suspend=True)}, "Suspended", False),
        ({"implementation": an_implementation(state="Configuring")}, "ModuleNotRunning", False),
        ({"implementation": an_implementation(state="Unhealthy")}, "ModuleNotRunning", False),
        ({"implementation": an_implementation(release="older")}, "ModuleNotRunning", False),
        ({"implementation": an_implementation(connections=[])}, "ConnectionUnknown", True),
        ({"body": a_live_migration()}, "ConnectionUnknown", True),
        ({"body": a_fetching_migration()}, "ConnectionUnknown", True),
        *(
            (
                {"body": a_fetching_migration(asked), "implementation": with_connections(files=given)},
                "SourceUnsupported",
                True,
            )
            for asked, given in (("http", "mysql"), ("http", "s3"), ("s3", "http"))
        ),
        (
            {"body": a_live_migration(), "implementation": with_connections(**{"old-erp": "http"})},
            "SourceUnsupported",
            True,
        ),
        ({"implementation": an_implementation(connections=MYSQL)}, "TargetUnsupported", True),
        ({"problem": Problem("SecretMissing", "Secret erp-db is not there")}, "SecretMissing", True),
        ({"body": after("Final")}, "MigrationJobMissing", False),
        ({"body": after("Final"), "dependencies": earlier("Loading", "Final")}, "DependencyNotSucceeded", False),
        ({"body": after("Final"), "dependencies": earlier("Succeeded", "Mock")}, "DependencyNotSucceeded", False),
        ({"body": after("Rehearsal"), "dependencies": earlier("Paused", "Final")}, "DependencyNotSucceeded", False),
        ({"body": a_migration(module="payroll")}, "ModuleUnknown", True),
        ({"body": a_migration(reconcile=[{"name": "r", "object": "x", "type": "RowCount"}])}, "SpecInvalid", True),
    ],
)
def test_nothing_is_started_while_something_is_missing(changes, reason, stalled):
    decision = decide(facts(**changes))
    assert decision.start is None
    assert decision.status["phase"] == "Waiting"
    assert condition(decision)["reason"] == reason
    assert condition(decision, "Stalled" if stalled else "Reconciling")["status"] == "True"


@pytest.mark.parametrize("state", ["Migrating", "Verifying", "CuttingOver", "Live", "Stable", "Accepted"])
def test_the_plan_starts_when_the_module_runs(state):
    decision = decide(facts(implementation=an_implementation(state)))
    assert (decision.start, decision.status["phase"]) == (Stage.PLAN, "Planning")


def cutting_over(state: str = "Running", step: str = "Running", run: str = "", **module: Any) -> dict[str, Any]:
    """A project whose module is cut over, with a step of this migration, in a window that is shut."""
    body = an_implementation(
        "CuttingOver", schedule={"windows": [{"name": "past", "kind": "Allow", "start": EARLY, "end": EARLY}]}
    )
    load = {"name": "load", "type": "Migration", "ref": a_migration()["metadata"]["name"], "plannedMinutes": 30}
    load |= {"run": run} if run else {}
    body["spec"]["modules"][0]["cutover"] = {"steps": [load]}
    record = {"state": state, "startedAt": EARLY, "plannedMinutes": 30}
    record["steps"] = [{"name": "load", "state": step, "plannedMinutes": 30}]
    body["status"]["modules"][0] |= {"cutover": record, **module}
    return body


EARLY = "2026-11-01T00:00:00Z"


def test_a_final_run_that_is_a_step_of_a_cutover_begins_in_that_step_whatever_the_hour():
    assert decide(facts(implementation=cutting_over())).start is Stage.PLAN


@pytest.mark.parametrize(("state", "step"), [("Running", "Pending"), ("Aborting", "Running"), ("Aborted", "Failed")])
@pytest.mark.parametrize("run", ["Final", "Delta"])
def test_what_loads_as_a_step_of_a_cutover_is_held_before_it_and_when_it_is_aborted(run, state, step):
    decision = decide(facts(a_migration(run=run), implementation=cutting_over(state, step)))
    assert (decision.start, condition(decision)["reason"]) == (None, "CutoverNotReached")
    rehearsal = a_migration(run="Rehearsal")
    assert decide(facts(rehearsal, implementation=cutting_over(state, step))).start is Stage.PLAN


def test_where_the_delta_is_the_step_the_final_run_before_it_waits_for_a_window():
    before = cutting_over(step="Pending", run="Delta")
    final = decide(facts(a_migration(run="Final"), implementation=before))
    assert (final.start, condition(final)["reason"]) == (None, "WindowClosed")
    delta = decide(facts(a_migration(run="Delta"), implementation=before))
    assert (delta.start, condition(delta)["reason"]) == (None, "CutoverNotReached")
    assert decide(facts(a_migration(run="Delta"), implementation=cutting_over(run="Delta"))).start is Stage.PLAN


def test_what_a_final_run_reads_may_be_brought_about_by_the_steps_before_its_own():
    missing = Problem("SourceMissing", "ConfigMap export (spec.source) is not there")
    before = decide(facts(implementation=cutting_over(step="Pending"), problem=missing))
    assert (condition(before)["reason"], condition(before, "Stalled")) == ("CutoverNotReached", {})
    assert condition(decide(facts(implementation=cutting_over(), problem=missing)))["reason"] == "SourceMissing"


def test_a_final_run_of_a_module_that_was_live_waits_for_a_window_as_all_others_do():
    good = {"revision": 1, "version": "1", "inputDigest": "i1"}
    decision = decide(facts(implementation=cutting_over(lastGood=good)))
    assert (decision.start, condition(decision)["reason"]) == (None, "WindowClosed")


FRIDAY = {"name": "friday", "kind": "Allow", "rrule": "FREQ=WEEKLY;BYDAY=FR;BYHOUR=20", "duration": "10h"}


@pytest.mark.parametrize(("run", "starts"), [("Final", False), ("Delta", False), ("Rehearsal", True), ("Mock", True)])
def test_only_what_loads_waits_for_its_window_and_wakes_when_it_opens(run, starts):
    wednesday = datetime(2026, 12, 2, 12, tzinfo=UTC)
    seen = facts(a_migration(run=run), now=wednesday, implementation=an_implementation(schedule={"windows": [FRIDAY]}))
    decision = decide(seen)
    assert (decision.start is Stage.PLAN) is starts
    if not starts:
        assert condition(decision)["reason"] == "WindowClosed"
        assert decision.again == timedelta(days=2, hours=8)
        assert decide(replace(seen, now=wednesday + decision.again)).start is Stage.PLAN


@pytest.mark.parametrize(("needed", "kind"), [("Mock", "Rehearsal"), ("Rehearsal", "Rehearsal"), ("Mock", "Final")])
def test_a_dependency_that_came_as_far_as_needed_or_further_is_enough(needed, kind):
    decision = decide(facts(body=after(needed), dependencies=earlier("Succeeded", kind)))
    assert decision.start is Stage.PLAN


@pytest.mark.parametrize(
    ("stages", "start", "phase"),
    [
        ({Stage.PLAN: StageFacts(running=True)}, None, "Planning"),
        ({Stage.PLAN: PLANNED}, Stage.LOAD, "Loading"),
        ({Stage.PLAN: PLANNED, Stage.LOAD: StageFacts(running=True)}, None, "Loading"),
        ({Stage.PLAN: PLANNED, Stage.LOAD: LOADED}, Stage.REPORT, "Reconciling"),
        ({Stage.PLAN: PLANNED, Stage.LOAD: StageFacts(failed=True)}, Stage.REPORT, "Reconciling"),
    ],
)
def test_stages_follow_each_other_and_the_reporter_always_has_the_last_word(stages, start, phase):
    decision = decide(facts(stages=stages))
    assert (decision.start, decision.status["phase"]) == (start, phase)


def test_a_run_began_when_its_first_job_was_made_even_if_whoever_made_it_died():
    made = replace(PLANNED, created=NOW - timedelta(minutes=3))
    report = StageFacts(complete=True, answer=SUCCEEDED)
    decision = decide(facts(stages={Stage.PLAN: made, Stage.LOAD: LOADED, Stage.REPORT: report}))
    assert decision.status["startedAt"] == decision.status["runs"][0]["startedAt"] == "2026-11-23T07:57:00Z"


@pytest.mark.parametrize("load", [LOADED, StageFacts(failed=True, failure="BackoffLimitExceeded")])
def test_the_ledger_decides_and_not_how_the_workers_ended(load):
    report = StageFacts(complete=True, answer=SUCCEEDED)
    decision = decide(facts(stages={Stage.PLAN: PLANNED, Stage.LOAD: load, Stage.REPORT: report}))
    assert decision.status["phase"] == "Succeeded"
    assert decision.status["counts"]["loaded"] == 9
    assert decision.status["runs"][0]["certificateDigest"] == SUCCEEDED["certificateDigest"]
    assert decision.status["openMappings"] == SUCCEEDED["openMappings"]
    assert condition(decision)["status"] == "True"


@pytest.mark.parametrize(
    ("outcome", "reason"), [("Rejected", "ReconciliationFailed"), ("Paused", "ErrorBudgetExceeded")]
)
def test_rejected_and_paused_are_kept_apart_and_carry_the_engine_s_words(outcome, reason):
    report = StageFacts(complete=True, answer={**SUCCEEDED, "outcome": outcome, "reason": reason, "message": "why"})
    decision = decide(facts(stages={Stage.PLAN: PLANNED, Stage.LOAD: LOADED, Stage.REPORT: report}))
    assert decision.status["phase"] == outcome
    assert (condition(decision, "Stalled")["reason"], condition(decision, "Stalled")["message"]) == (reason, "why")


@pytest.mark.parametrize(("outcome", "reason"), [("Failed", "TargetTableMissing"), ("Paused", "EncodingUnproven")])
def test_a_plan_that_cannot_be_made_ends_with_the_engine_s_outcome_and_reason(outcome, reason):
    plan = StageFacts(failed=True, answer={"outcome": outcome, "reason": reason, "message": "why"})
    decision = decide(facts(stages={Stage.PLAN: plan}))
    assert (decision.status["phase"], condition(decision)["reason"]) == (outcome, reason)


def test_workers_that_all_died_leave_a_run_that_can_be_resumed():
    report = StageFacts(failed=True, answer={"outcome": "Failed", "reason": "NotEnded", "message": "still loading"})
    load = StageFacts(failed=True, failure="BackoffLimitExceeded: too often")
    decision = decide(facts(stages={Stage.PLAN: PLANNED, Stage.LOAD: load, Stage.REPORT: report}))
    assert (decision.status["phase"], condition(decision)["reason"]) == ("Failed", "WorkersFailed")
    assert "retry-at" in condition(decision)["message"]


@pytest.mark.parametrize(("seconds", "reason"), [(59, "Loading"), (60, "PodNotRunning")])
def test_a_job_without_a_running_pod_for_a_minute_says_why(seconds, reason):
    quiet = StageFacts(quiet_since=NOW - timedelta(seconds=seconds), pod_problem="pod x: ImagePullBackOff")
    decision = decide(facts(stages={Stage.PLAN: PLANNED, Stage.LOAD: quiet}))
    assert condition(decision)["reason"] == reason
    assert ("ImagePullBackOff" in condition(decision)["message"]) == (reason == "PodNotRunning")
    assert decision.again is not None


def test_a_job_of_somebody_else_is_never_adopted():
    decision = decide(facts(stages={Stage.PLAN: StageFacts(foreign=True)}))
    assert (decision.start, condition(decision)["reason"]) == (None, "JobNameTaken")


def test_progress_shows_and_nothing_is_written_twice():
    stages = {Stage.PLAN: PLANNED, Stage.LOAD: StageFacts(running=True)}
    progress = {"chunksDone": 2, "chunksTotal": 6, "rowsPerSecond": 900}
    decision = decide(facts(stages=stages, progress=progress))
    assert decision.status["progressText"] == "2/6"
    again = decide(facts(a_migration(decision.status), stages=stages, progress=progress))
    assert again.status == decision.status


@pytest.mark.parametrize(("done", "eta"), [(0, None), (2, "2026-11-23T08:21:00Z"), (6, None)])
def test_the_end_is_foretold_by_the_chunks_that_are_done(done, eta):
    load = StageFacts(running=True, created=NOW - timedelta(minutes=10))
    stages = {Stage.PLAN: PLANNED, Stage.LOAD: load}
    decision = decide(facts(stages=stages, progress={"chunksDone": done, "chunksTotal": 6}))
    assert decision.status["progress"].get("eta") == eta
    later = facts(a_migration(decision.status), now=NOW + timedelta(seconds=20), stages=stages, progress=None)
    assert decide(later).status["progress"].get("eta") == eta


def test_a_run_that_ended_foretells_nothing():
    stages = {Stage.PLAN: PLANNED, Stage.LOAD: StageFacts(running=True, created=NOW - timedelta(minutes=10))}
    before = decide(facts(stages=stages, progress={"chunksDone": 2, "chunksTotal": 6})).status
    report = StageFacts(complete=True, answer={**SUCCEEDED, "outcome": "Rejected", "reason": "ReconciliationFailed"})
    stages = {Stage.PLAN: PLANNED, Stage.LOAD: LOADED, Stage.REPORT: report}
    after = decide(facts(a_migration(before), stages=stages)).status["progress"]
    assert (after["chunksDone"], after.get("eta")) == (2, None)


def test_all_chunks_are_done_while_the_report_is_made():
    stages = {Stage.PLAN: PLANNED, Stage.LOAD: LOADED, Stage.REPORT: StageFacts(running=True)}
    decision = decide(facts(stages=stages, progress={"chunksDone": 0, "chunksTotal": 6}))
    assert (decision.status["phase"], decision.status["progressText"]) == ("Reconciling", "6/6")


def ended(outcome: str) -> dict[str, Any]:
    report = StageFacts(complete=True, answer={**SUCCEEDED, "outcome": outcome, "message": "why"})
    return decide(facts(stages={Stage.PLAN: PLANNED, Stage.LOAD: LOADED, Stage.REPORT: report})).status


def test_a_run_that_succeeded_is_final_also_without_its_jobs_and_with_a_retry():
    for changes in ({}, {"retry_at": "now"}, {"body": a_migration(ended("Succeeded"), parallelism=8)}):
        decision = decide(replace(facts(a_migration(ended("Succeeded"))), **changes))
        assert (decision.start, decision.status["phase"]) == (None, "Succeeded")


def test_a_changed_spec_is_a_new_run_and_keeps_the_record_of_the_old():
    body = a_migration(ended("Succeeded"), target={"connection": "erp-db", "schema": "other"})
    decision = decide(facts(body))
    assert decision.start is Stage.PLAN
    assert [run["phase"] for run in decision.status["runs"]] == ["Succeeded"]
    assert "counts" not in decision.status


@pytest.mark.parametrize("outcome", ["Rejected", "Paused", "Failed"])
def test_what_ended_badly_stays_so_until_a_retry_is_asked_for(outcome):
    body = a_migration(ended(outcome))
    assert decide(facts(body)).status == body["status"]
    retried = decide(facts(body, retry_at="2026-11-23"))
    assert (retried.start, retried.status["lastHandledRetryAt"]) == (Stage.PLAN, "2026-11-23")


def test_a_retry_is_the_same_run_under_new_job_names():
    body = a_migration()
    first, second = identify(body, ""), identify(body, "again")
    assert first.run == second.run
    assert first.job_name("parties", Stage.LOAD) != second.job_name("parties", Stage.LOAD)
    assert len(first.job_name("n" * 63, Stage.REPORT)) <= 63


def rehearsed() -> dict[str, Any]:
    body = a_migration(run="Rehearsal")
    report = StageFacts(complete=True, answer={**SUCCEEDED, "reason": "Rehearsed"})
    stages = {Stage.PLAN: PLANNED, Stage.LOAD: LOADED, Stage.REPORT: report}
    return decide(facts(body, stages=stages)).status


def test_a_rehearsal_that_succeeded_says_that_nothing_is_loaded_and_stays_on_record():
    status = rehearsed()
    assert (status["phase"], status["run"]) == ("Succeeded", "Rehearsal")
    ready = next(found for found in status["conditions"] if found["type"] == "Ready")
    assert "a Rehearsal, in a scratch schema" in ready["message"]
    assert "Set spec.run to Final" in ready["message"]
    final = decide(facts(a_migration(status)))
    assert (final.start, final.status["run"]) == (Stage.PLAN, "Final")
    assert [(found["run"], found["certificateDigest"]) for found in final.status["runs"]] == [
        ("Rehearsal", SUCCEEDED["certificateDigest"])
    ]


def test_a_rehearsal_is_made_anew_on_request_and_what_was_loaded_never_is():
    body = a_migration(rehearsed(), run="Rehearsal")
    assert decide(facts(body)).start is None
    assert decide(facts(body, retry_at="again")).start is Stage.PLAN


def test_final_said_or_left_out_is_the_same_run():
    assert identify(a_migration(), "") == identify(a_migration(run="Final"), "")
    assert identify(a_migration(), "") != identify(a_migration(run="Mock"), "")


def test_a_final_run_shows_the_rehearsal_that_it_is_held_to():
    held = {"id": "r1", "certificateDigest": "sha256:" + "b" * 64, "predictedSeconds": 90}
    planned = StageFacts(complete=True, answer={"outcome": "Planned", "rehearsal": held})
    decision = decide(facts(stages={Stage.PLAN: planned, Stage.LOAD: StageFacts(running=True)}))
    assert decision.status["rehearsal"] == held


def loaded() -> dict[str, Any]:
    report = StageFacts(complete=True, answer=SUCCEEDED)
    stages = {Stage.PLAN: PLANNED, Stage.LOAD: LOADED, Stage.REPORT: report}
    return decide(facts(stages=stages)).status


def brought() -> dict[str, Any]:
    """The status after a Delta that followed the Final run."""
    counts = {"read": 12, "loaded": 1, "updated": 2, "unchanged": 9, "deleted": 3, "missing": 1, "balanced": True}
    report = StageFacts(complete=True, answer={**SUCCEEDED, "counts": counts})
    stages = {Stage.PLAN: PLANNED, Stage.LOAD: LOADED, Stage.REPORT: report}
    return decide(facts(a_migration(loaded(), run="Delta"), stages=stages)).status


def test_a_delta_is_a_run_of_its_own_after_the_final_one_and_says_what_it_brought():
    assert decide(facts(a_migration(loaded(), run="Delta"))).start is Stage.PLAN
    status = brought()
    assert [found["run"] for found in status["runs"]] == ["Final", "Delta"]
    ready = next(found for found in status["conditions"] if found["type"] == "Ready")
    assert "1 inserted, 2 updated, 3 deleted, 9 unchanged, 0 refused, 1 gone from the source" in ready["message"]


def test_a_delta_that_succeeded_is_made_again_only_in_another_round():
    body = a_migration(brought(), run="Delta")
    assert decide(facts(body, retry_at="again")).start is None
    assert decide(facts(a_migration(brought(), run="Delta", delta={"round": 2}))).start is Stage.PLAN


def test_what_a_later_delta_may_do_makes_no_other_load():
    assert identify(a_migration(delta={"deletes": "Apply"}), "") == identify(a_migration(), "")
    assert identify(a_migration(run="Delta", delta={"round": 2}), "") != identify(a_migration(run="Delta"), "")


def test_a_delta_is_taken_back_and_the_final_run_before_it_stays_loaded():
    status = brought()
    body = a_migration(status, run="Delta", rollback={"run": status["runId"]})
    assert decide(facts(body)).start is Stage.ROLLBACK
    status = decide(facts(body, stages={Stage.ROLLBACK: ROLLED_BACK})).status
    assert [(found["run"], found["phase"]) for found in status["runs"]] == [
        ("Final", "Succeeded"),
        ("Delta", "RolledBack"),
    ]


def taken_back(status: dict[str, Any] | None = None) -> dict[str, Any]:
    status = status or loaded()
    return a_migration(status, rollback={"run": status["runId"]})


ROLLED_BACK = StageFacts(complete=True, answer={"outcome": "RolledBack", "removed": 9, "restored": 1})
REFUSED = StageFacts(
    failed=True, answer={"outcome": "Rejected", "reason": "RollbackRefused", "message": "customers, line 4: changed"}
)


def test_a_run_that_is_wanted_back_gets_its_job_and_then_its_phase():
    decision = decide(facts(taken_back()))
    assert (decision.start, decision.status["phase"]) == (Stage.ROLLBACK, "Succeeded")
    assert condition(decision)["reason"] == "RollingBack"
    decision = decide(facts(taken_back(), stages={Stage.ROLLBACK: ROLLED_BACK}))
    assert decision.start is None
    assert (decision.status["phase"], decision.status["runs"][-1]["phase"]) == ("RolledBack", "RolledBack")
    assert "9 rows removed, 1 restored" in condition(decision, "Stalled")["message"]


def test_a_rollback_that_is_refused_leaves_the_run_loaded_until_a_retry():
    decision = decide(facts(taken_back(), stages={Stage.ROLLBACK: REFUSED}))
    assert (decision.start, decision.status["phase"]) == (None, "Succeeded")
    assert condition(decision, "Stalled")["reason"] == "RollbackRefused"
    assert "line 4: changed" in condition(decision, "Stalled")["message"]
    body = taken_back()
    assert identify_rollback(body, "").token != identify_rollback(body, "again").token
    assert decide(facts(body, retry_at="again")).start is Stage.ROLLBACK


def test_a_run_that_was_taken_back_is_loaded_again_only_when_nobody_wants_it_back_any_more():
    status = decide(facts(taken_back(), stages={Stage.ROLLBACK: ROLLED_BACK})).status
    for retry_at in ("", "again"):
        decision = decide(facts(taken_back(status), retry_at=retry_at))
        assert (decision.start, decision.status["phase"]) == (None, "RolledBack")
        assert condition(decision, "Stalled")["reason"] == "RolledBack"
    assert decide(facts(a_migration(status))).start is None
    assert decide(facts(a_migration(status), retry_at="again")).start is Stage.PLAN


def test_only_a_run_on_record_that_loaded_can_be_taken_back():
    for status in (loaded(), rehearsed()):
        wanted = "another" if status["run"] == "Final" else status["runId"]
        decision = decide(facts(a_migration(status, run=status["run"], rollback={"run": wanted})))
        assert decision.start is None
        assert condition(decision, "Stalled")["reason"] == "RollbackRunUnknown"


def test_keeping_images_or_wanting_a_run_back_makes_no_other_run():
    assert identify(taken_back(), "") == identify(a_migration(), "")
    assert decide(facts(a_migration(loaded(), rollback={"beforeImages": True}))).start is None


def test_an_earlier_run_is_taken_back_before_the_present_one_begins():
    before = loaded()
    body = a_migration(before, rollback={"run": before["runId"]}, errorBudget={"rows": 5})
    assert decide(facts(body)).start is Stage.ROLLBACK
    decision = decide(facts(body, stages={Stage.ROLLBACK: ROLLED_BACK}))
    assert (decision.status["phase"], decision.status["runs"][-1]["phase"]) == ("Waiting", "RolledBack")
    body["status"] = decision.status
    assert decide(facts(body)).start is Stage.PLAN
