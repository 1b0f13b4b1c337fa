from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pilotage.api.v1alpha1.common import FINALIZER
from pilotage.plan.facts import CheckFacts, ImplementationFacts, Problem
from pilotage.plan.health import Health
from pilotage.plan.implementation import PROBLEM_AGAIN, Decision, decide
from pilotage.plan.module import ActionKind
from tests.support.builders import (
    FAILED_PREFLIGHT,
    NOW,
    a_check,
    a_migration,
    a_module,
    a_release,
    a_revision,
    absent,
    an_implementation,
    facts,
    module_facts,
    running,
)

ORDER = ["Configuring", "Migrating", "Verifying", "Prepared", "CuttingOver", "Live", "Stable", "Accepted"]


def states(decision: Decision) -> dict[str, str]:
    assert decision.status is not None
    return {module["name"]: module["state"] for module in decision.status["modules"]}


def reasons(decision: Decision) -> dict[str, str]:
    assert decision.status is not None
    return {module["name"]: module.get("reason", "") for module in decision.status["modules"]}


def condition(decision: Decision, kind: str) -> dict[str, Any] | None:
    assert decision.status is not None
    return next((found for found in decision.status["conditions"] if found["type"] == kind), None)


def settle(seen: ImplementationFacts) -> tuple[Decision, list[dict[str, str]]]:
    """Decide again on the same facts, each time with the status reported before, until nothing changes."""
    path = []
    for _ in range(40):
        decision = decide(seen)
        body = dict(seen.body) | {"status": decision.status}
        if body["status"] == seen.body["status"]:
            return decision, path
        path.append(states(decision))
        seen = ImplementationFacts(**(vars(seen) | {"body": body}))
    pytest.fail("the status never settles")


def test_the_first_wave_starts_and_the_second_waits_for_it() -> None:
    body = an_implementation(a_module("core"), a_module("finance", "core"))
    decision = decide(facts(body, {"core": absent(), "finance": absent("erp-finance")}))
    assert [(action.kind, action.module) for action in decision.actions] == [(ActionKind.INSTALL, "core")]
    assert states(decision) == {"core": "Configuring", "finance": "Pending"}
    assert reasons(decision)["finance"] == "WaveNotOpen"


def test_a_healthy_module_passes_every_state_in_order_each_with_its_own_report() -> None:
    body = an_implementation(a_module("core", migrations=["customers"]))
    seen = facts(body, {"core": running()}, migrations=[a_migration("customers", "core", "Succeeded")])
    decision, path = settle(seen)
    assert [found["core"] for found in path] == ORDER
    assert decision.status is not None
    assert decision.status["phase"] == "Closed"
    assert decision.status["live"] == "1/1"
    assert condition(decision, "Ready")["status"] == "True"  # type: ignore[index]
    assert decision.actions == ()


def test_an_action_that_an_outage_cut_off_is_waited_for_and_stalls_nothing() -> None:
    cut_off = replace(absent(), interruption=Problem("ClusterUnreachable", "unexpected EOF"))
    body = an_implementation(a_module("core"), a_module("finance", "core"))
    decision = decide(facts(body, {"core": cut_off, "finance": absent("erp-finance")}))
    assert decision.actions == ()
    assert (states(decision)["core"], reasons(decision)["core"]) == ("Configuring", "ClusterUnreachable")
    assert condition(decision, "Stalled") is None


def test_a_rollback_that_an_outage_cut_off_is_not_started_again_at_once() -> None:
    failed = a_release(a_revision(wanted="i1", status="failed", description="quota exceeded"))
    cut_off = replace(module_facts(failed), interruption=Problem("ClusterUnreachable", "timed out"))
    body = an_implementation(a_module("core"), rollout={"onFailure": "Rollback"})
    decision = decide(facts(body, {"core": cut_off}))
    assert decision.actions == ()
    assert (states(decision)["core"], reasons(decision)["core"]) == ("Failed", "ClusterUnreachable")


def test_without_migrations_a_module_is_never_called_migrating() -> None:
    _, path = settle(facts(an_implementation(a_module("core")), {"core": running()}))
    assert "Migrating" not in [found["core"] for found in path]


def test_a_migration_that_nobody_applied_is_waited_for_by_name() -> None:
    decision, _ = settle(facts(an_implementation(a_module("core", migrations=["customers"])), {"core": running()}))
    assert states(decision) == {"core": "Migrating"}
    assert reasons(decision) == {"core": "MigrationJobMissing"}
    assert "customers" in condition(decision, "Ready")["message"]  # type: ignore[index]
    assert condition(decision, "Stalled") is None


def test_a_migration_that_points_elsewhere_is_no_pass() -> None:
    elsewhere = a_migration("customers", "core", "Succeeded", implementation="other")
    body = an_implementation(a_module("core", migrations=["customers"]))
    decision, _ = settle(facts(body, {"core": running()}, migrations=[elsewhere]))
    assert reasons(decision) == {"core": "MigrationJobMismatch"}


def test_an_unlisted_migration_that_points_here_counts_too() -> None:
    loading = a_migration("customers", "core", "Loading")
    decision, _ = settle(facts(an_implementation(a_module("core")), {"core": running()}, migrations=[loading]))
    assert states(decision) == {"core": "Migrating"}


def test_a_rejected_migration_stalls_and_dependants_wait() -> None:
    rejected = a_migration("customers", "core", "Rejected", ended_badly=True, message="the sums differ")
    body = an_implementation(a_module("core"), a_module("sales", "core"))
    modules = {"core": running(), "sales": absent("erp-sales")}
    decision, _ = settle(facts(body, modules, migrations=[rejected]))
    assert condition(decision, "Stalled")["reason"] == "MigrationNotSucceeded"  # type: ignore[index]
    assert states(decision)["sales"] == "Pending"
    assert decision.actions == ()


def test_a_missing_check_is_a_wait_and_never_a_pass() -> None:
    decision, _ = settle(facts(an_implementation(a_module("core", checks=["smoke"])), {"core": running()}))
    assert states(decision) == {"core": "Verifying"}
    assert reasons(decision) == {"core": "AcceptanceCheckMissing"}


def test_a_check_that_has_not_passed_holds_its_wave_and_is_named() -> None:
    body = an_implementation(a_module("core"), a_module("finance", "core"))
    seen = facts(
        body, {"core": running(), "finance": absent("erp-finance")}, checks=[a_check("smoke", modules=["core"])]
    )
    decision, _ = settle(seen)
    assert states(decision) == {"core": "Verifying", "finance": "Pending"}
    assert "smoke" in decision.status["modules"][0]["message"]  # type: ignore[index]


def test_a_check_deleted_while_its_module_verifies_still_holds_it() -> None:
    body = an_implementation(a_module("core"))
    held, _ = settle(facts(body, {"core": running()}, checks=[a_check("smoke")]))
    decision, _ = settle(facts(body | {"status": held.status}, {"core": running()}))
    assert states(decision) == {"core": "Verifying"}
    assert reasons(decision) == {"core": "AcceptanceCheckMissing"}


def test_an_edit_of_the_spec_lets_go_of_a_deleted_unlisted_check() -> None:
    body = an_implementation(a_module("core"))
    held, _ = settle(facts(body, {"core": running()}, checks=[a_check("smoke")]))
    edited = body | {"status": held.status, "metadata": body["metadata"] | {"generation": 2}}
    decision, _ = settle(facts(edited, {"core": running()}))
    assert states(decision) == {"core": "Accepted"}


@pytest.mark.parametrize(
    ("gate", "state"),
    [("ConfigurationReady", "Verifying"), ("StableRunComplete", "Live"), ("FinalAccepted", "Stable")],
)
def test_each_gate_holds_the_state_before_it(gate: str, state: str) -> None:
    decision, _ = settle(facts(an_implementation(a_module("core")), {"core": running()}, checks=[a_check("c", gate)]))
    assert states(decision) == {"core": state}


def test_a_gate_once_passed_stays_passed_when_its_check_goes_away() -> None:
    body = an_implementation(a_module("core", checks=["smoke"]))
    passed = [a_check("smoke", passed=["core"])]
    done, _ = settle(facts(body, {"core": running()}, checks=passed))
    assert states(done) == {"core": "Accepted"}
    decision, _ = settle(facts(body | {"status": done.status}, {"core": running()}))
    assert states(decision) == {"core": "Accepted"}


def test_a_new_input_starts_the_path_again() -> None:
    body = an_implementation(a_module("core"))
    done, _ = settle(facts(body, {"core": running()}))
    changed = module_facts(a_release(a_revision(wanted="i1")), wanted="i2")
    decision = decide(facts(body | {"status": done.status}, {"core": changed}))
    assert [(action.kind, action.module) for action in decision.actions] == [(ActionKind.UPGRADE, "core")]
    assert decision.status["modules"][0]["reached"] == "Configuring"  # type: ignore[index]
    assert decision.status["modules"][0]["lastGood"]["inputDigest"] == "i1"  # type: ignore[index]


def test_a_live_module_whose_pods_fail_is_unhealthy_not_failed() -> None:
    body = an_implementation(a_module("core"))
    done, _ = settle(facts(body, {"core": running()}))
    sick = module_facts(a_release(a_revision()), health=Health.IN_PROGRESS, health_message="pod web-1: OOMKilled")
    decision = decide(facts(body | {"status": done.status}, {"core": sick}, now=NOW + timedelta(days=9)))
    assert states(decision) == {"core": "Unhealthy"}
    assert "OOMKilled" in condition(decision, "Ready")["message"]  # type: ignore[index]


def test_workloads_that_never_become_healthy_fail_at_the_deadline_with_the_pods_reason() -> None:
    body = an_implementation(a_module("core", timeout="60s"))
    sick = module_facts(
        a_release(a_revision()), health=Health.IN_PROGRESS, health_message="pod web-1: ErrImagePull: no such image"
    )
    early = decide(facts(body, {"core": sick}))
    assert states(early) == {"core": "Configuring"}
    assert early.again is not None
    late = decide(facts(body, {"core": sick}, now=NOW + timedelta(seconds=31)))
    assert states(late) == {"core": "Failed"}
    assert "ErrImagePull" in condition(late, "Stalled")["message"]  # type: ignore[index]
    assert "retry-at" in late.status["nextActions"][0]["command"]  # type: ignore[index]


def test_a_failed_upgrade_goes_back_to_the_last_good_revision_and_stays_there() -> None:
    body = an_implementation(a_module("core"), rollout={"onFailure": "Rollback"})
    done, _ = settle(facts(body, {"core": running()}))
    body["status"] = done.status
    failed = a_release(a_revision(1, "deployed", "i1"), a_revision(2, "failed", "i2"))
    decision = decide(facts(body, {"core": module_facts(failed, wanted="i2")}))
    assert [(a.kind, a.revision) for a in decision.actions] == [(ActionKind.ROLLBACK, 1)]
    body["status"] = decision.status
    back = a_release(
        a_revision(1, "superseded", "i1"),
        a_revision(2, "failed", "i2"),
        a_revision(3, "deployed", "i1", description="Rollback to 1"),
    )
    after = decide(facts(body, {"core": module_facts(back, wanted="i2")}))
    assert states(after) == {"core": "RolledBack"}
    assert after.actions == ()


def test_a_failed_release_is_left_alone_until_the_retry_token_changes() -> None:
    body = an_implementation(a_module("core"))
    failed = module_facts(a_release(a_revision(1, "failed")))
    assert decide(facts(body, {"core": failed})).actions == ()
    retried = decide(facts(body, {"core": failed}, attempt="t2"))
    assert [action.kind for action in retried.actions] == [ActionKind.UPGRADE]


def test_an_action_that_was_cut_off_is_unlocked_first() -> None:
    locked = module_facts(a_release(a_revision(1, "pending-install")))
    decision = decide(facts(an_implementation(a_module("core")), {"core": locked}))
    assert [action.kind for action in decision.actions] == [ActionKind.UNLOCK]


def test_while_helm_works_nothing_else_is_started() -> None:
    acting = module_facts(a_release(a_revision(1, "pending-install"), acting=True))
    decision = decide(facts(an_implementation(a_module("core")), {"core": acting}))
    assert decision.actions == ()
    assert states(decision) == {"core": "Configuring"}


def test_a_failed_preflight_stops_everything_before_anything_is_touched() -> None:
    body = an_implementation(a_module("core"))
    decision = decide(facts(body, {"core": absent()}, assessment=FAILED_PREFLIGHT))
    assert decision.actions == ()
    assert condition(decision, "Stalled")["reason"] == "PreflightFailed"  # type: ignore[index]
    assert "add nodes" in condition(decision, "Stalled")["message"]  # type: ignore[index]
    assert decision.status["phase"] == "Planning"  # type: ignore[index]


def test_one_module_that_cannot_be_rendered_stops_the_rollout_before_anything_is_touched() -> None:
    body = an_implementation(a_module("core"), a_module("finance", "core"))
    broken = module_facts(a_release(name="erp-finance"), problem=Problem("UndefinedName", "customr is undefined"))
    decision = decide(facts(body, {"core": absent(), "finance": broken}))
    assert decision.actions == ()
    assert condition(decision, "Stalled")["reason"] == "UndefinedName"  # type: ignore[index]


def test_a_cycle_through_a_wave_is_spelled_out_and_stalls() -> None:
    body = an_implementation(a_module("core", "sales", wave=1), a_module("sales", wave=2))
    decision = decide(facts(body, {"core": absent(), "sales": absent("erp-sales")}))
    stalled = condition(decision, "Stalled")
    assert stalled is not None
    assert stalled["reason"] == "DependencyCycle"
    assert (
        "module core starts → module sales is live → module sales starts → wave 2 opens → module core is live"
        in stalled["message"]
    )
    assert decision.actions == ()


def test_a_module_in_an_earlier_wave_than_what_it_needs_is_a_cycle_and_stalls() -> None:
    body = an_implementation(a_module("m0"), a_module("m1", "m0"), a_module("m3", "m1", wave=1))
    modules = {"m0": running("erp-m0"), "m1": absent("erp-m1"), "m3": absent("erp-m3")}
    decision = decide(facts(body, modules))
    assert condition(decision, "Stalled")["reason"] == "DependencyCycle"  # type: ignore[index]
    assert decision.actions == ()


def test_a_cycle_through_migrations_is_found() -> None:
    body = an_implementation(a_module("core", wave=1), a_module("sales", wave=2))
    migrations = [
        a_migration("first", "core", "Waiting", depends_on=("second",)),
        a_migration("second", "sales", "Waiting"),
    ]
    decision = decide(facts(body, {"core": absent(), "sales": absent("erp-sales")}, migrations=migrations))
    assert condition(decision, "Stalled")["reason"] == "DependencyCycle"  # type: ignore[index]


def test_suspend_starts_nothing_and_says_so() -> None:
    decision = decide(facts(an_implementation(a_module("core"), suspend=True), {"core": absent()}))
    assert decision.actions == ()
    assert decision.status["phase"] == "Suspended"  # type: ignore[index]


def test_max_parallel_and_mutex_hold_within_a_wave() -> None:
    body = an_implementation(
        a_module("a", mutex="db"), a_module("b", mutex="db"), a_module("c"), a_module("d"), rollout={"maxParallel": 2}
    )
    modules = {name: absent(f"erp-{name}") for name in "abcd"}
    decision = decide(facts(body, modules))
    assert [action.module for action in decision.actions] == ["a", "c"]
    assert reasons(decision)["b"] == "MutexHeld"
    assert reasons(decision)["d"] == "MaxParallelReached"


def test_a_failed_module_stops_new_starts_in_its_wave_but_not_running_ones() -> None:
    body = an_implementation(a_module("a"), a_module("b"), a_module("c"))
    modules = {"a": module_facts(a_release(a_revision(1, "failed"))), "b": absent("erp-b"), "c": running("erp-c")}
    decision = decide(facts(body, modules))
    assert decision.actions == ()
    assert reasons(decision)["b"] == "WaveStopped"
    assert states(decision)["c"] == "Configuring"


def test_only_a_missing_module_is_uninstalled_and_only_when_the_policy_says_so() -> None:
    gone = (a_release(a_revision(), name="erp-old"),)
    body = an_implementation(a_module("core"))
    assert decide(facts(body, {"core": running()}, removed_releases=gone)).actions == ()
    body = an_implementation(a_module("core"), deletionPolicy="Uninstall")
    actions = decide(facts(body, {"core": running()}, removed_releases=gone)).actions
    assert [(action.kind, action.release) for action in actions] == [(ActionKind.UNINSTALL, "erp-old")]


def deleted(policy: str, *modules: dict[str, Any]) -> dict[str, Any]:
    metadata = {"deletionTimestamp": "2026-11-23T08:00:00Z", "finalizers": [FINALIZER]}
    return an_implementation(*modules, metadata=metadata, deletionPolicy=policy)


def test_a_problem_outside_of_our_kinds_is_looked_at_again() -> None:
    body = an_implementation(a_module("core"))
    account = facts(body, {"core": running()}, problem=Problem("RightsMissing", "has no rights"))
    assert settle(account)[0].again == PROBLEM_AGAIN
    chart = facts(body, {"core": replace(running(), problem=Problem("ChartInvalid", "no such version"))})
    assert settle(chart)[0].again == PROBLEM_AGAIN


@pytest.mark.parametrize(
    ("policy", "present", "wanted"),
    [("Orphan", [], None), ("Orphan", [FINALIZER], False), ("Uninstall", [], True), ("Uninstall", [FINALIZER], None)],
)
def test_the_finalizer_is_asked_for_only_when_it_is_wrong(policy: str, present: list[str], wanted: bool | None) -> None:
    body = an_implementation(a_module("core"), metadata={"finalizers": present}, deletionPolicy=policy)
    assert decide(facts(body, {"core": running()})).finalizer is wanted


def test_deletion_keeps_the_releases_by_default() -> None:
    decision = decide(facts(deleted("Orphan", a_module("core")), {"core": running()}))
    assert decision.actions == ()
    assert decision.finalizer is False


def test_deletion_uninstalls_in_reverse_order_and_then_lets_go() -> None:
    body = deleted("Uninstall", a_module("core"), a_module("finance", "core"))
    both = decide(facts(body, {"core": running(), "finance": running("erp-finance")}))
    assert [action.release for action in both.actions] == ["erp-finance"]
    assert both.finalizer is None
    one = decide(facts(body, {"core": running(), "finance": absent("erp-finance")}))
    assert [action.release for action in one.actions] == ["erp-core"]
    none = decide(facts(body, {"core": absent(), "finance": absent("erp-finance")}))
    assert none.finalizer is False


def test_a_namespace_that_goes_away_is_never_held_up() -> None:
    body = deleted("Uninstall", a_module("core"))
    decision = decide(facts(body, {"core": running()}, namespace_terminating=True))
    assert (decision.actions, decision.finalizer) == ((), False)


def test_a_missing_account_during_deletion_names_the_way_out() -> None:
    body = deleted("Uninstall", a_module("core"))
    decision = decide(facts(body, {"core": running()}, problem=Problem("ServiceAccountMissing", "it is not there")))
    assert "Orphan" in condition(decision, "Stalled")["message"]  # type: ignore[index]


def test_the_observed_generation_advances_only_when_the_object_has_settled() -> None:
    body = an_implementation(a_module("core"))
    assert decide(facts(body, {"core": absent()})).status["observedGeneration"] == -1  # type: ignore[index]
    assert settle(facts(body, {"core": running()}))[0].status["observedGeneration"] == 1  # type: ignore[index]


def test_the_same_facts_and_report_lead_to_the_same_report() -> None:
    body = an_implementation(a_module("core"))
    first, _ = settle(facts(body, {"core": running()}))
    again = decide(facts(body | {"status": first.status}, {"core": running()}, now=NOW + timedelta(hours=1)))
    assert again.status == first.status


def test_a_check_of_another_implementation_says_nothing_here() -> None:
    other = CheckFacts(name="smoke", gate="ConfigurationReady", implementation="crm")
    decision, _ = settle(facts(an_implementation(a_module("core")), {"core": running()}, checks=[other]))
    assert states(decision) == {"core": "Accepted"}
