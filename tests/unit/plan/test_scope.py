from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.plan.facts import ImplementationFacts
from pilotage.plan.implementation import Decision, decide
from tests.support.builders import NOW, a_check, a_module, absent, an_implementation, facts, running

WANG = {"id": "wang", "role": "CustomerLead", "name": "王强"}
LI = {"id": "li", "role": "ProjectManager", "name": "李敏"}
SMOKE = a_check("smoke", passed=["core"], terms={"metrics": [{"name": "up", "target": {"atLeast": "99"}}]})


def a_must(number: int = 1, **fields: Any) -> dict[str, Any]:
    complete = {"module": "core", "owner": "wang", "acceptedBy": ["check/smoke/up"]}
    return {"id": f"FIN-{number}", "title": "三级审批后方可付款", "priority": "Must", **complete, **fields}


def a_project(*requirements: dict[str, Any], **fields: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {"contacts": [WANG, LI], "requirements": list(requirements)}
    return an_implementation(a_module("core"), **(spec | fields))


def decided(body: dict[str, Any], **fields: Any) -> Decision:
    return decide(facts(body, {"core": absent()}, **({"checks": [SMOKE]} | fields)))


def the_scope(decision: Decision) -> dict[str, Any]:
    assert decision.status is not None
    found: dict[str, Any] = decision.status["scope"]
    return found


def after(body: dict[str, Any], decision: Decision) -> dict[str, Any]:
    return body | {"status": decision.status}


@pytest.mark.parametrize(
    ("requirement", "field"),
    [
        (a_must(module=None), "module"),
        (a_must(module="stock"), "module"),
        (a_must(owner=None), "owner"),
        (a_must(owner="zhao"), "owner"),
        (a_must(acceptedBy=[]), "acceptedBy"),
        (a_must(acceptedBy=["check/nobody"]), "acceptedBy"),
        (a_must(acceptedBy=["check/smoke/latency"]), "acceptedBy"),
        (a_must(fit="Gap"), "rationale"),
        ({"id": "FIN-1", "title": "报表", "priority": "Deferred"}, "deferTo"),
        ({"id": "FIN-1", "title": "报表", "priority": "WontDo"}, "rationale"),
    ],
)
def test_an_incomplete_requirement_names_its_field_and_no_module_starts(
    requirement: dict[str, Any], field: str
) -> None:
    decision = decided(a_project({key: value for key, value in requirement.items() if value is not None}))
    assert [found["field"] for found in the_scope(decision)["problems"]] == [f"spec.requirements[FIN-1].{field}"]
    assert decision.actions == ()
    assert decision.status is not None
    assert decision.status["phase"] == "Requirements"
    assert decision.status["modules"][0]["reason"] == "ScopeIncomplete"
    assert decision.status["nextActions"][0]["who"] == "李敏"
    assert f"spec.requirements[FIN-1].{field}" in decision.status["nextActions"][0]["what"]


def test_a_setting_that_goes_back_to_no_requirement_is_named() -> None:
    module = a_module("core", config=[{"key": "levels", "value": 2, "requirement": "FIN-7"}])
    body = a_project(a_must()) | {"spec": a_project(a_must())["spec"] | {"modules": [module]}}
    (problem,) = the_scope(decided(body))["problems"]
    assert problem == {
        "field": "spec.modules[core].config[levels].requirement",
        "message": "FIN-7 is no id of spec.requirements",
    }


def test_a_complete_scope_is_baselined_and_the_project_starts() -> None:
    decision = decided(a_project(a_must(), a_must(2, acceptedBy=["uat/FIN-2"])))
    found = the_scope(decision)
    assert (found["must"], found["traced"], found["problems"]) == (2, 2, [])
    assert found["baseline"]["digest"] == found["digest"]
    assert [action.module for action in decision.actions] == ["core"]


def test_a_deferred_requirement_carries_its_target_and_holds_nothing_up() -> None:
    later = {"id": "FIN-9", "title": "预算", "priority": "Deferred", "deferTo": "第二期", "module": "budget"}
    decision = decided(a_project(a_must(), later))
    assert the_scope(decision)["deferred"] == [{"id": "FIN-9", "to": "第二期"}]
    assert decision.actions != ()


def test_a_project_without_requirements_has_no_scope_to_wait_for() -> None:
    decision = decided(an_implementation(a_module("core")))
    assert decision.actions != ()
    assert decision.status is not None
    assert "scope" not in decision.status


def test_a_changed_must_is_recorded_once_as_change_control() -> None:
    body = a_project(a_must())
    first = decided(body)
    changed = a_project(a_must(title="两级审批后方可付款"), status=first.status)
    second = decided(changed)
    again = decided(after(changed, second))
    (change,) = the_scope(again)["changes"]
    assert (change["before"], change["after"]) == (the_scope(first)["digest"], the_scope(again)["digest"])


def test_a_changed_threshold_is_a_change_of_the_scope_and_a_new_could_is_none() -> None:
    body = a_project(a_must())
    before = the_scope(decided(body))["digest"]
    looser = a_check("smoke", passed=["core"], terms={"metrics": [{"name": "up", "target": {"atLeast": "90"}}]})
    assert the_scope(decided(body, checks=[looser]))["digest"] != before
    wish = {"id": "FIN-8", "title": "深色主题", "priority": "Could"}
    assert the_scope(decided(a_project(a_must(), wish)))["digest"] == before


def test_another_implementation_of_the_same_name_has_another_digest() -> None:
    digests = {the_scope(decided(a_project(a_must(), metadata={"uid": uid})))["digest"] for uid in ("u1", "u2")}
    assert len(digests) == 2


def test_a_scope_that_becomes_incomplete_holds_no_fix_of_a_live_module_back() -> None:
    live = {"name": "core", "wave": 1, "state": "Live", "reached": "Live", "since": "2026-11-01T00:00:00Z"}
    good = {"revision": 1, "version": "1.0.0", "inputDigest": "i1"}
    body = a_project(a_must(owner="zhao"), status={"modules": [{**live, "lastGood": good}]})
    seen: ImplementationFacts = facts(body, {"core": running(wanted="i1")}, checks=[SMOKE], now=NOW)
    upgraded = ImplementationFacts(**(vars(seen) | {"modules": {"core": absent()}}))
    assert [action.module for action in decide(upgraded).actions] == ["core"]


@given(st.permutations([a_must(1), a_must(2), a_must(3, title="盘点")]))
def test_the_order_of_requirements_means_nothing(order: list[dict[str, Any]]) -> None:
    assert (
        the_scope(decided(a_project(*order)))["digest"]
        == the_scope(decided(a_project(*sorted(order, key=str))))["digest"]
    )
