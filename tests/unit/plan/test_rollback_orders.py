"""Whether a module that failed goes back: by the policy, by a person's order, never by a machine once data is in use.

And when a new wave waits for those before it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pilotage.api.v1alpha1.signoff import SignOffSpec
from pilotage.plan.facts import ImplementationFacts, SignOffFacts
from pilotage.plan.implementation import Decision, decide
from pilotage.plan.module import ActionKind
from pilotage.plan.related import migration_facts
from tests.support.builders import (
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
from tests.unit.plan.test_gates import PEOPLE, settled, states

OLD, NEW = "a" * 40, "b" * 40
LOADED = a_migration("customers", "core", "Succeeded", loaded=True)


def failed(on_failure: str = "Rollback", **fields: Any) -> ImplementationFacts:
    """A project whose only module was live and whose upgrade failed."""
    migrations = fields.pop("migrations", [LOADED])
    module = a_module("core", **{"irreversibleAfter": "customers"} | fields.pop("module", {}))
    body = an_implementation(module, rollout={"onFailure": on_failure}, **{"contacts": PEOPLE} | fields)
    live, _ = settled(facts(body, {"core": running(wanted=OLD)}, migrations=migrations))
    releases = a_release(a_revision(1, "deployed", OLD), a_revision(2, "failed", NEW))
    return replace(live, modules={"core": module_facts(releases, wanted=NEW)})


def order(by: str = "wang", digest: str = NEW[:12], **fields: Any) -> SignOffFacts:
    spec = {
        "implementationRef": {"name": "erp"},
        "gate": "GoLiveApproved",
        "module": "core",
        "decision": "RollBack",
        "digest": digest,
        "by": by,
        "recordedBy": f"{by}@huasheng",
        "reason": "订单无法保存",
        **fields,
    }
    return SignOffFacts("order", "order", NOW, SignOffSpec.model_validate(spec))


def kinds(decision: Decision) -> list[tuple[ActionKind, int]]:
    return [(action.kind, action.revision) for action in decision.actions]


def test_a_module_whose_data_is_in_use_is_not_rolled_back_by_a_machine_and_says_who_orders_it():
    decision = decide(failed())
    assert kinds(decision) == []
    module = decision.status["modules"][0]  # type: ignore[index]
    assert (module["state"], module["reason"]) == ("Failed", "RollbackNeedsPerson")
    assert "data of MigrationJob customers is in use" in module["message"]
    action = next(found for found in decision.status["nextActions"] if found["who"] == "王强")  # type: ignore[index]
    assert action["command"] == "pilotage rollback erp core --reason '…' -n huasheng"


@pytest.mark.parametrize(
    "reversible",
    [
        {"migrations": [a_migration("customers", "core", "Succeeded", loaded=False)]},
        {"module": {"irreversibleAfter": None}},
    ],
    ids=["nothing is loaded", "nothing is irreversible"],
)
def test_before_that_the_policy_rolls_back(reversible: dict[str, Any]):
    if "module" in reversible:
        seen = failed(module={})
        del seen.body["spec"]["modules"][0]["irreversibleAfter"]
    else:
        seen = failed(**reversible)
    assert kinds(decide(seen)) == [(ActionKind.ROLLBACK, 1)]


def test_a_migration_that_is_gone_may_have_loaded():
    decision = decide(replace(failed(), migrations={}))
    assert kinds(decision) == []
    assert "MigrationJob customers is not there to tell" in decision.status["modules"][0]["message"]  # type: ignore[index]


@pytest.mark.parametrize("on_failure", ["Stop", "Rollback"])
def test_the_customers_lead_orders_the_way_back(on_failure: str):
    decision = decide(replace(failed(on_failure), sign_offs=(order(),)))
    assert kinds(decision) == [(ActionKind.ROLLBACK, 1)]
    assert "as 王强 ordered" in decision.status["modules"][0]["message"]  # type: ignore[index]


@pytest.mark.parametrize(
    "nobody",
    [order("li"), order("nobody"), order(digest=OLD[:12]), order(module="sales")],
    ids=["the vendor", "a stranger", "of another input", "of another module"],
)
def test_an_order_that_does_not_count_changes_nothing(nobody: SignOffFacts):
    assert kinds(decide(replace(failed(), sign_offs=(nobody,)))) == []


def test_under_strict_an_order_that_is_only_asserted_changes_nothing():
    scope = [{"name": name, "decidedBy": "Automatic"} for name in ("ScopeBaselined", "GoLiveApproved")]
    rest = ("PreliminaryAccepted", "StableRunComplete", "FinalAccepted")
    gates = [*scope, *({"name": name, "decidedBy": "Automatic"} for name in rest)]
    seen = replace(failed(profile="Strict", gates=gates), sign_offs=(order(),))
    assert kinds(decide(seen)) == []
    assert kinds(decide(replace(seen, policy_since=NOW - timedelta(days=1)))) == [(ActionKind.ROLLBACK, 1)]


def test_what_was_loaded_stays_loaded_whatever_the_spec_asks_for_now():
    body = {
        "metadata": {"name": "customers", "generation": 7},
        "spec": {"module": "core", "implementationRef": {"name": "erp"}},
        "status": {"observedGeneration": 3, "phase": "Succeeded", "runs": [{"run": "Final", "phase": "Succeeded"}]},
    }
    assert migration_facts(body).loaded
    body["status"]["runs"][0]["phase"] = "RolledBack"  # type: ignore[index]
    assert not migration_facts(body).loaded


@pytest.mark.parametrize(("run", "succeeded"), [("Final", True), ("Delta", True), ("Rehearsal", False)])
def test_a_module_waits_until_what_its_migration_asks_for_is_loaded(run: str, succeeded: bool):
    body = {
        "metadata": {"name": "customers", "generation": 3},
        "spec": {"module": "core", "implementationRef": {"name": "erp"}, "run": run},
        "status": {"observedGeneration": 3, "phase": "Succeeded", "runs": [{"run": run, "phase": "Succeeded"}]},
    }
    assert (migration_facts(body).succeeded, migration_facts(body).loaded) == (succeeded, succeeded)
    body["status"] |= {"phase": "Waiting", "runs": [{"run": "Final", "phase": "Succeeded"}]}  # type: ignore[operator]
    assert (migration_facts(body).succeeded, migration_facts(body).loaded) == (False, True)


def two_waves(limit: int | None = 1, **fields: Any) -> ImplementationFacts:
    rollout = {"maxModulesInHypercare": limit} if limit else {}
    body = an_implementation(a_module("core"), a_module("sales", wave=2), rollout=rollout)
    return facts(body, {"core": running(), "sales": absent("erp-sales")}, **fields)


def test_the_next_wave_waits_while_too_many_modules_are_live_and_not_yet_stable():
    stable = a_check("stable", "StableRunComplete", modules=["core"])
    seen, decision = settled(two_waves(checks=[stable]))
    assert kinds(decision) == []
    sales = decision.status["modules"][1]  # type: ignore[index]
    assert sales["reason"] == "HypercareFull"
    assert "not yet stable are core, as many as rollout.maxModulesInHypercare allows (1)" in sales["message"]
    passed = {"stable": a_check("stable", "StableRunComplete", ["core"], modules=["core"])}
    assert kinds(settled(replace(seen, checks=passed))[1]) == [(ActionKind.INSTALL, 0)]


def test_without_a_limit_the_next_wave_starts_when_the_one_before_is_live():
    stable = a_check("stable", "StableRunComplete", modules=["core"])
    assert kinds(settled(two_waves(None, checks=[stable]))[1]) == [(ActionKind.INSTALL, 0)]


def test_no_new_wave_starts_while_a_live_module_misses_its_targets():
    bad = a_check("stable", "StableRunComplete", modules=["core"])
    verdict = {"core": type(a_check("x", passed=["core"]).verdicts["core"])(False, "Failed", "availability 97", True)}
    decision = settled(two_waves(None, checks=[replace(bad, verdicts=verdict)]))[1]
    assert kinds(decision) == []
    assert states(decision) == {"core": "Live", "sales": "Pending"}
    assert decision.status["modules"][1]["reason"] == "WaveStopped"  # type: ignore[index]
