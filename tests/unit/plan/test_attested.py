"""What people attest: trainings, the users' tests, defects; and what that holds or opens."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.api.v1alpha1.attestation import AttestationSpec
from pilotage.plan.facts import AttestationFacts, ImplementationFacts
from pilotage.plan.implementation import Decision, decide
from tests.support.builders import NOW, a_module, an_implementation, facts, running

PEOPLE = [
    {"id": "wang", "role": "CustomerLead", "name": "王强", "subject": "wang@huasheng"},
    {"id": "li", "role": "ProjectManager", "name": "李敏", "subject": "li@vendor"},
    {"id": "chen", "role": "Engineer", "name": "陈工", "subject": "chen@vendor"},
]
CASE = {
    "id": "FIN-003",
    "title": "三级审批后方可付款",
    "module": "core",
    "owner": "wang",
    "acceptedBy": ["uat/FIN-003"],
}
WAREHOUSE = {"role": "warehouse", "audience": 10, "required": "80%"}


def a_project(**fields: Any) -> ImplementationFacts:
    body = an_implementation(a_module("core"), a_module("sales"), **({"contacts": PEOPLE} | fields))
    body["metadata"]["creationTimestamp"] = (NOW - timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return facts(body, {name: running(f"erp-{name}") for name in ("core", "sales")})


def attest(kind: str, by: str = "wang", *, at: int = 0, name: str | None = None, **fields: Any) -> AttestationFacts:
    """An Attestation that was taken `at` minutes ago."""
    result = fields.pop("result", {"outcome": "Passed"} if kind == "UAT" else {})
    spec = {
        "implementationRef": {"name": "erp"},
        "type": kind,
        "result": result,
        "by": by,
        "recordedBy": f"{by}@huasheng",
        **({"name": name} if name else {}),
        **fields,
    }
    taken = NOW - timedelta(minutes=at)
    return AttestationFacts(f"{kind.lower()}-{name}-{at}", f"uid-{at}", taken, AttestationSpec.model_validate(spec))


def trained(passed: int, **fields: Any) -> AttestationFacts:
    return attest("Training", **{"role": "warehouse", "result": {"completed": passed, "passed": passed}} | fields)


def decided(seen: ImplementationFacts, *attestations: AttestationFacts) -> Decision:
    """The decision once nothing changes any more."""
    seen = replace(seen, attestations=attestations)
    for _ in range(40):
        decision = decide(seen)
        if decision.status == seen.body["status"]:
            return decision
        seen = replace(seen, body={**seen.body, "status": decision.status})
    pytest.fail("the status never settles")


def the_status(decision: Decision) -> dict[str, Any]:
    assert decision.status is not None
    return decision.status


def states(decision: Decision) -> dict[str, str]:
    return {module["name"]: module["state"] for module in the_status(decision)["modules"]}


def test_a_must_whose_test_case_has_not_passed_holds_its_module_before_go_live_and_says_who_tests() -> None:
    decision = decided(a_project(requirements=[CASE]))
    assert states(decision) == {"core": "Prepared", "sales": "Accepted"}
    core = the_status(decision)["modules"][0]
    assert core["reason"] == "TestNotPassed"
    assert "test case FIN-003 of requirement FIN-003 (三级审批后方可付款) is not attested yet" in core["message"]
    assert the_status(decision)["tests"] == {"passed": 0, "failed": [], "open": ["FIN-003"]}
    action = next(found for found in the_status(decision)["nextActions"] if found["who"] == "王强")
    assert action["command"] == "pilotage attest erp UAT FIN-003 --outcome Passed -n huasheng"


def test_a_test_case_that_passed_opens_the_way() -> None:
    decision = decided(a_project(requirements=[CASE]), attest("UAT", name="FIN-003"))
    assert states(decision) == {"core": "Accepted", "sales": "Accepted"}
    assert the_status(decision)["tests"] == {"passed": 1, "failed": [], "open": []}


def test_of_two_outcomes_of_a_test_case_the_newest_counts() -> None:
    failed = attest("UAT", name="FIN-003", result={"outcome": "Failed"}, at=5)
    decision = decided(a_project(requirements=[CASE]), failed, attest("UAT", name="FIN-003", at=9))
    assert states(decision)["core"] == "Prepared"
    assert the_status(decision)["tests"]["failed"] == ["FIN-003"]
    decision = decided(a_project(requirements=[CASE]), failed, attest("UAT", name="FIN-003", at=1))
    assert states(decision)["core"] == "Accepted"


@pytest.mark.parametrize("priority", ["Should", "Could", "Deferred", "WontDo"])
def test_only_a_must_holds_its_module(priority: str) -> None:
    wanted = CASE | {"priority": priority, "deferTo": "2027", "rationale": "预算"}
    assert states(decided(a_project(requirements=[wanted])))["core"] == "Accepted"


def test_a_module_that_was_live_is_not_held_by_a_test_that_fails_later() -> None:
    seen = a_project(requirements=[CASE])
    body = {**seen.body, "status": decided(seen, attest("UAT", name="FIN-003")).status}
    later = attest("UAT", name="FIN-003", result={"outcome": "Failed"})
    decision = decided(replace(seen, body=body), later)
    assert states(decision)["core"] == "Accepted"
    assert the_status(decision)["tests"]["failed"] == ["FIN-003"]


@pytest.mark.parametrize(
    ("attestation", "note"),
    [
        (attest("UAT", "chen", name="FIN-003"), "not attested by the vendor's Engineer"),
        (attest("UAT", "nobody", name="FIN-003"), "nobody is no id of spec.contacts"),
        (attest("UAT", name="FIN-003", at=60 * 24 * 31), "older than the Implementation"),
        (trained(9, role="kitchen"), "kitchen is no role of spec.training.roles"),
    ],
    ids=["by the vendor", "by a stranger", "of an earlier project", "of a role that is not there"],
)
def test_an_attestation_that_does_not_count_opens_nothing_and_says_why(
    attestation: AttestationFacts, note: str
) -> None:
    decision = decided(a_project(requirements=[CASE]), attestation)
    assert states(decision)["core"] == "Prepared"
    (unheeded,) = the_status(decision)["unheeded"]
    assert unheeded["name"] == attestation.name
    assert note in unheeded["note"]


def test_under_strict_a_fact_needs_its_own_witness_or_evidence() -> None:
    seen = replace(a_project(requirements=[CASE], profile="Strict"), attested_since=NOW - timedelta(days=20))
    bare = attest("UAT", name="FIN-003", recordedBy="li@vendor")
    assert "Strict heeds" in the_status(decided(seen, bare))["unheeded"][0]["note"]
    paper = [{"url": "https://files.example.com/a.pdf", "sha256": f"sha256:{'a' * 64}"}]
    own = attest("UAT", name="FIN-003")
    witnessed = attest("UAT", name="FIN-003", recordedBy="li@vendor", evidence=paper)
    for counted in (own, witnessed):
        assert the_status(decided(seen, counted))["unheeded"] == []
    unproved = replace(seen, attested_since=None)
    assert the_status(decided(unproved, own))["unheeded"]


def test_modules_wait_for_the_training_of_those_who_work_with_them() -> None:
    training = {"roles": [WAREHOUSE | {"modules": ["sales"]}]}
    decision = decided(a_project(training=training), trained(7))
    assert states(decision) == {"core": "Accepted", "sales": "Prepared"}
    assert the_status(decision)["phase"] == "Training"
    assert the_status(decision)["training"] == [
        {"role": "warehouse", "needed": 8, "completed": 7, "passed": 7, "complete": False}
    ]
    condition = next(c for c in the_status(decision)["conditions"] if c["type"] == "TrainingComplete")
    assert (condition["status"], condition["message"]) == ("False", "warehouse: 7 of 8 people passed")
    decision = decided(a_project(training=training), trained(8))
    assert states(decision) == {"core": "Accepted", "sales": "Accepted"}


def test_sessions_of_a_training_add_up_and_a_correction_counts_once() -> None:
    training = {"roles": [WAREHOUSE]}
    first, second = trained(5, name="s1", at=3), trained(3, name="s2", at=2)
    assert states(decided(a_project(training=training), first, second))["core"] == "Accepted"
    corrected = trained(2, name="s2", at=1)
    decision = decided(a_project(training=training), first, second, corrected)
    assert the_status(decision)["training"][0]["passed"] == 7
    assert states(decision)["core"] == "Prepared"


def test_where_a_person_decides_on_the_go_live_what_is_not_attested_is_a_blocker_that_can_be_waived() -> None:
    seen = a_project(requirements=[CASE], training={"roles": [WAREHOUSE]}, gates=[{"name": "GoLiveApproved"}])
    (gate,) = the_status(decided(seen))["gates"]
    assert gate["state"] == "NotReady"
    assert gate["blockers"] == ["uat/FIN-003: not passed", "training warehouse: not complete"]
    (gate,) = the_status(decided(seen, attest("UAT", name="FIN-003"), trained(8)))["gates"]
    assert gate["state"] == "Open"


def test_a_business_event_is_attested_by_the_customer_and_the_newest_word_counts() -> None:
    seen = a_project()
    assert the_status(decided(seen, attest("BusinessEvent", name="month-end-close", result={"outcome": "Passed"})))[
        "businessEvents"
    ] == ["month-end-close"]
    by_vendor = attest("BusinessEvent", by="chen", name="month-end-close", result={"outcome": "Passed"})
    status = the_status(decided(seen, by_vendor))
    assert status["businessEvents"] == []
    assert "not attested by the vendor's Engineer" in status["unheeded"][0]["note"]
    words = [
        attest("BusinessEvent", at=5, name="month-end-close", result={"outcome": "Passed"}),
        attest("BusinessEvent", at=1, name="month-end-close", result={"outcome": "Failed"}),
    ]
    assert the_status(decided(seen, *words))["businessEvents"] == []


def test_open_defects_are_counted_by_severity_until_they_are_closed() -> None:
    def defect(number: str, severity: str, state: str = "Open", at: int = 0) -> AttestationFacts:
        return attest("Defect", name=number, result={"severity": severity, "state": state}, at=at)

    found = [defect("a", "S1", at=3), defect("b", "S2"), defect("c", "S2"), defect("a", "S1", "Closed", at=1)]
    status = the_status(decided(a_project(), *found))
    assert status["defects"] == {"s1": 0, "s2": 2, "s3": 0, "s4": 0}
    assert status["issues"] == "0/2"


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.sampled_from(["Passed", "Failed"]), st.sampled_from(["wang", "chen", "x"])),
        max_size=6,
        unique_by=lambda found: found[0],
    )
)
def test_no_module_goes_live_against_the_newest_word_that_counts(words: list[tuple[int, str, str]]) -> None:
    said = [attest("UAT", by, name="FIN-003", result={"outcome": outcome}, at=at) for at, outcome, by in words]
    counted = sorted((at, outcome) for at, outcome, by in words if by == "wang")
    passed = bool(counted) and counted[0][1] == "Passed"
    assert (states(decided(a_project(requirements=[CASE]), *said))["core"] == "Accepted") == passed
