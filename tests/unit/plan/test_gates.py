from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.api.v1alpha1.implementation import AssessmentCheck, AssessmentResult
from pilotage.api.v1alpha1.signoff import SignOffSpec
from pilotage.plan.acceptance import Verdict
from pilotage.plan.facts import ImplementationFacts, SignOffFacts
from pilotage.plan.implementation import Decision, decide
from tests.support.builders import NOW, a_check, a_migration, a_module, absent, an_implementation, facts, running

PEOPLE = [
    {"id": "wang", "role": "CustomerLead", "name": "王强", "subject": "wang@huasheng"},
    {"id": "li", "role": "ProjectManager", "name": "李敏", "subject": "li@vendor"},
    {"id": "zhao", "role": "Operations", "name": "赵云", "subject": "zhao@huasheng"},
    {"id": "qian", "role": "Supervisor", "name": "钱进", "subject": "qian@supervisor"},
    {"id": "sun", "role": "Sponsor", "name": "孙总"},
]
GO_LIVE = [{"name": "GoLiveApproved"}]
PAPER = [{"url": "https://files.example.com/a.pdf", "sha256": f"sha256:{'a' * 64}"}]


def a_project(*modules: dict[str, Any], **fields: Any) -> ImplementationFacts:
    body = an_implementation(*(modules or (a_module("core"),)), **({"contacts": PEOPLE, "gates": GO_LIVE} | fields))
    states = {module["name"]: running(f"erp-{module['name']}") for module in body["spec"]["modules"]}
    return facts(body, states)


def settled(seen: ImplementationFacts) -> tuple[ImplementationFacts, Decision]:
    """The project when nothing changes any more without anybody's doing."""
    for _ in range(40):
        decision = decide(seen)
        if decision.status == seen.body["status"]:
            return seen, decision
        seen = replace(seen, body={**seen.body, "status": decision.status})
    pytest.fail("the status never settles")


def the_gates(decision: Decision, name: str = "GoLiveApproved") -> list[dict[str, Any]]:
    assert decision.status is not None
    return [found for found in decision.status["gates"] if found["name"] == name]


def the_gate(decision: Decision, name: str = "GoLiveApproved") -> dict[str, Any]:
    return the_gates(decision, name)[0]


def states(decision: Decision) -> dict[str, str]:
    assert decision.status is not None
    return {module["name"]: module["state"] for module in decision.status["modules"]}


def a_sign_off(
    gate: dict[str, Any], by: str, decision: str = "Approve", *, at: datetime = NOW, **fields: Any
) -> SignOffFacts:
    place = {key: gate[key] for key in ("wave", "module") if key in gate}
    spec = {
        "implementationRef": {"name": "erp"},
        "gate": gate["name"],
        "digest": gate["digest"][7:19],
        "decision": decision,
        "by": by,
        "recordedBy": next(found.get("subject", by) for found in PEOPLE if found["id"] == by),
        **place,
        **fields,
    }
    name = f"{by}-{decision.lower()}-{at.timestamp():.0f}"
    return SignOffFacts(name=name, uid=name, at=at, spec=SignOffSpec.model_validate(spec))


def signed(seen: ImplementationFacts, sign_offs: Iterable[SignOffFacts]) -> ImplementationFacts:
    return replace(seen, sign_offs=(*seen.sign_offs, *sign_offs))


def test_without_a_profile_no_gate_asks_anybody() -> None:
    _, decision = settled(a_project(gates=[]))
    assert states(decision) == {"core": "Accepted"}
    assert the_gates(decision) == []


@pytest.mark.parametrize(
    ("profile", "asked"),
    [
        ("Light", ["ScopeBaselined", "FinalAccepted"]),
        ("Standard", ["ScopeBaselined", "GoLiveApproved", "FinalAccepted"]),
        (
            "Strict",
            ["ScopeBaselined", "PreliminaryAccepted", "GoLiveApproved", "StableRunComplete", "FinalAccepted"],
        ),
    ],
)
def test_a_profile_says_which_gates_persons_decide(profile: str, asked: list[str]) -> None:
    decision = decide(a_project(gates=[], profile=profile))
    assert decision.status is not None
    assert [found["name"] for found in decision.status["gates"]] == asked


def test_a_gate_that_is_spelled_out_overrides_the_profile() -> None:
    decision = decide(a_project(profile="Standard", gates=[{"name": "GoLiveApproved", "decidedBy": "Automatic"}]))
    assert the_gates(decision) == []


def test_a_prepared_module_waits_for_the_go_live_and_says_who_must_sign_with_which_command() -> None:
    _, decision = settled(a_project())
    assert states(decision) == {"core": "Prepared"}
    assert decision.status is not None
    assert decision.status["modules"][0]["reason"] == "AwaitingApproval"
    assert "CustomerLead, ProjectManager" in decision.status["waitingOn"]
    assert [found["who"] for found in decision.status["nextActions"]] == ["王强", "李敏"]
    command = decision.status["nextActions"][0]["command"]
    manifest = json.loads(command.split("'")[1])
    assert manifest["spec"] | {"recordedBy": ""} == {
        "implementationRef": {"name": "erp"},
        "gate": "GoLiveApproved",
        "wave": 1,
        "decision": "Approve",
        "digest": the_gate(decision)["digest"],
        "by": "wang",
        "recordedBy": "",
    }


@pytest.mark.parametrize("order", list(itertools.permutations(["wang", "li"])))
def test_two_parties_sign_in_either_order_and_both_count(order: tuple[str, ...]) -> None:
    seen, decision = settled(a_project())
    first, second = (
        a_sign_off(the_gate(decision), by, at=NOW + timedelta(minutes=number)) for number, by in enumerate(order)
    )
    _, half = settled(signed(seen, [first]))
    assert (the_gate(half)["state"], states(half)) == ("Open", {"core": "Prepared"})
    assert len(the_gate(half)["missing"]) == 1
    _, whole = settled(signed(seen, [second, first]))
    assert states(whole) == {"core": "Accepted"}


def test_an_approval_of_somebody_who_is_not_asked_counts_for_nothing() -> None:
    seen, decision = settled(a_project())
    gate = the_gate(decision)
    _, after = settled(signed(seen, [a_sign_off(gate, "wang"), a_sign_off(gate, "zhao")]))
    assert the_gate(after)["state"] == "Open"
    (note,) = [found["note"] for found in the_gate(after)["decisions"] if not found["counts"]]
    assert note == "Operations is not asked at this gate"


def test_an_approval_is_stale_once_the_module_is_to_be_another() -> None:
    seen, decision = settled(a_project())
    gate = the_gate(decision)
    seen = signed(seen, [a_sign_off(gate, "wang"), a_sign_off(gate, "li")])
    changed, after = settled(replace(seen, modules={"core": running(wanted="i2")}))
    assert (states(after), the_gate(after)["state"]) == ({"core": "Prepared"}, "Stale")
    renewed = [a_sign_off(the_gate(after), by) for by in ("wang", "li")]
    assert states(settled(signed(changed, renewed))[1]) == {"core": "Accepted"}


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"uid": "u2"}},
        {"contacts": [*PEOPLE[1:], {**PEOPLE[0], "subject": "mallory"}]},
        {"gates": [{"name": "GoLiveApproved", "requires": [{"role": "CustomerLead"}]}]},
    ],
    ids=["another object of the same name", "another person behind the contact", "fewer parties"],
)
def test_a_decision_is_not_inherited(change: dict[str, Any]) -> None:
    _, decision = settled(a_project())
    gate = the_gate(decision)
    sign_offs = [a_sign_off(gate, "wang"), a_sign_off(gate, "li")]
    _, after = settled(signed(a_project(**change), sign_offs))
    assert (states(after), the_gate(after)["state"]) == ({"core": "Prepared"}, "Stale")


def test_an_approval_given_before_the_gate_was_ready_does_not_open_it_later() -> None:
    not_yet = replace(a_project(), modules={"core": absent()})
    early = the_gate(decide(not_yet))
    assert (early["state"], early["blockers"]) == ("NotReady", ["module core: not ready"])
    seen = signed(a_project(), [a_sign_off(early, "wang"), a_sign_off(early, "li")])
    assert states(settled(seen)[1]) == {"core": "Prepared"}


def test_an_approval_that_is_not_used_in_time_expires() -> None:
    seen = a_project(a_module("core"), a_module("web", wave=1))
    seen = replace(seen, modules={"core": running(), "web": running("erp-web")})
    seen, decision = settled(seen)
    approvals = [a_sign_off(the_gate(decision), by) for by in ("wang", "li")]
    late = replace(signed(seen, approvals), now=NOW + timedelta(hours=72))
    assert the_gate(decide(late))["state"] == "Expired"
    _, in_time = settled(replace(late, now=NOW + timedelta(hours=71)))
    assert set(states(in_time).values()) == {"Accepted"}
    assert the_gate(in_time)["state"] == "Approved"


def test_a_rejection_names_its_reason_until_the_same_person_approves() -> None:
    seen, decision = settled(a_project())
    gate = the_gate(decision)
    approval = a_sign_off(gate, "li")
    rejection = a_sign_off(gate, "wang", "Reject", at=NOW + timedelta(minutes=1), reason="盘点未完成")
    rejected, after = settled(signed(seen, [approval, rejection]))
    assert after.status is not None
    assert the_gate(after)["state"] == "Rejected"
    assert "盘点未完成" in after.status["nextActions"][0]["what"]
    assert after.status["nextActions"][0]["who"] == "李敏"
    other_mind = a_sign_off(gate, "wang", at=NOW + timedelta(minutes=2))
    assert states(settled(signed(rejected, [other_mind]))[1]) == {"core": "Accepted"}


def test_of_two_decisions_in_one_second_the_rejection_counts() -> None:
    seen, decision = settled(a_project())
    gate = the_gate(decision)
    both = [a_sign_off(gate, "wang", "Reject", reason="no"), a_sign_off(gate, "wang"), a_sign_off(gate, "li")]
    assert the_gate(settled(signed(seen, both))[1])["state"] == "Rejected"


def two_in_one_wave() -> ImplementationFacts:
    seen = a_project(a_module("core"), a_module("stock"))
    return replace(seen, modules={"core": running(), "stock": absent("erp-stock")})


def test_a_waiver_names_its_blocker_and_lets_the_rest_of_the_wave_through_until_it_expires() -> None:
    seen, decision = settled(two_in_one_wave())
    gate = the_gate(decision)
    assert gate["blockers"] == ["module stock: not ready"]
    until = {"waives": gate["blockers"], "expires": "2026-11-24T08:00:00Z", "reason": "盘点推迟"}
    sign_offs = [a_sign_off(gate, "wang", "Waive", **until), a_sign_off(gate, "wang"), a_sign_off(gate, "li")]
    _, waived = settled(signed(seen, sign_offs))
    assert the_gate(waived)["state"] == "Waived"
    assert states(waived)["core"] == "Accepted"
    late = replace(signed(seen, sign_offs), now=NOW + timedelta(days=1))
    assert the_gate(decide(late))["state"] == "NotReady"


def test_a_waiver_of_another_blocker_waives_nothing() -> None:
    seen, decision = settled(two_in_one_wave())
    gate = the_gate(decision)
    until = {"waives": ["module core: not ready"], "expires": "2027-01-01T00:00:00Z", "reason": "-"}
    sign_offs = [a_sign_off(gate, "wang", "Waive", **until), a_sign_off(gate, "wang"), a_sign_off(gate, "li")]
    assert the_gate(settled(signed(seen, sign_offs))[1])["state"] == "NotReady"


def test_a_condition_of_an_approval_is_somebody_s_next_action_when_its_time_comes() -> None:
    seen, decision = settled(a_project())
    gate = the_gate(decision)
    conditions = {"punchList": [{"item": "打印格式", "owner": "li", "due": "2026-12-20T00:00:00Z"}]}
    approvals = [a_sign_off(gate, "wang", "ApproveWithConditions", **conditions), a_sign_off(gate, "li")]
    seen, decision = settled(signed(seen, approvals))
    assert decision.status is not None
    assert states(decision) == {"core": "Accepted"}
    assert decision.status["nextActions"] == []
    later = decide(replace(seen, now=NOW + timedelta(days=25)))
    assert later.status is not None
    (action,) = later.status["nextActions"]
    assert (action["who"], action["due"]) == ("li", "2026-12-20T00:00:00Z")


def test_time_decides_nothing_but_names_the_sponsor_too() -> None:
    seen, _ = settled(a_project())
    later = decide(replace(seen, now=NOW + timedelta(days=5)))
    assert later.status is not None
    assert states(later) == {"core": "Prepared"}
    assert the_gate(later)["overdue"] is True
    assert [found["who"] for found in later.status["nextActions"]] == ["王强", "李敏", "孙总"]


def test_the_project_looks_again_when_a_decision_becomes_overdue() -> None:
    _, decision = settled(a_project())
    assert decision.again == timedelta(days=5)


def test_a_role_that_nobody_has_keeps_the_gate_from_being_ready() -> None:
    _, decision = settled(a_project(contacts=PEOPLE[1:]))
    assert the_gate(decision)["blockers"] == ["spec.contacts: nobody is CustomerLead"]


def test_a_fix_of_a_live_module_is_not_asked_about_again() -> None:
    seen, decision = settled(a_project())
    seen, _ = settled(signed(seen, [a_sign_off(the_gate(decision), by) for by in ("wang", "li")]))
    _, fixed = settled(replace(seen, modules={"core": running(wanted="i2")}))
    assert states(fixed) == {"core": "Accepted"}
    assert fixed.status is not None
    assert fixed.status["nextActions"] == []


def test_the_scope_is_signed_before_anything_is_installed() -> None:
    seen = replace(a_project(profile="Light", gates=[]), modules={"core": absent()})
    seen, decision = settled(seen)
    assert decision.actions == ()
    assert decision.status is not None
    assert decision.status["phase"] == "Requirements"
    gate = the_gate(decision, "ScopeBaselined")
    signed_scope = decide(signed(seen, [a_sign_off(gate, "wang"), a_sign_off(gate, "li")]))
    assert [action.module for action in signed_scope.actions] == ["core"]
    assert signed_scope.status is not None
    assert signed_scope.status["scope"]["baseline"]["digest"] == signed_scope.status["scope"]["digest"]


def test_the_end_of_the_project_is_signed_by_all_parties_of_the_profile() -> None:
    seen, decision = settled(a_project(profile="Standard", gates=[]))
    for name in ("ScopeBaselined", "GoLiveApproved"):
        gate = the_gate(decision, name)
        seen, decision = settled(signed(seen, [a_sign_off(gate, by) for by in ("wang", "li")]))
    assert states(decision) == {"core": "Stable"}
    gate = the_gate(decision, "FinalAccepted")
    assert gate["missing"] == ["CustomerLead", "ProjectManager", "Operations"]
    _, decision = settled(signed(seen, [a_sign_off(gate, by) for by in ("zhao", "wang", "li")]))
    assert decision.status is not None
    assert decision.status["phase"] == "Closed"


def test_whoever_signs_is_told_what_a_check_passed_in_spite_of() -> None:
    missed = "on condition: metric speed (Minor) missed its target at most 2 3 times"
    check = replace(
        a_check("stable-run", "StableRunComplete"),
        verdicts={"core": Verdict(passed=True, phase="ConditionallyPassed", message=missed)},
    )
    seen = replace(a_project(gates=[{"name": "FinalAccepted"}]), checks={"stable-run": check})
    _, decision = settled(seen)
    assert states(decision) == {"core": "Stable"}
    assert decision.status is not None
    (asked, *_) = [found["what"] for found in decision.status["nextActions"] if "FinalAccepted" in found["what"]]
    assert f"AcceptanceCheck stable-run passed module core {missed}" in asked


def test_data_that_a_person_reconciles_holds_the_module_until_then() -> None:
    rules = [{"name": "DataReconciled", "requires": [{"role": "CustomerLead"}]}]
    seen = a_project(gates=rules)
    loaded = a_migration("customers", "core", "Succeeded", certificate="sha256:1")
    seen, decision = settled(replace(seen, migrations={"customers": loaded}))
    assert states(decision) == {"core": "Migrating"}
    approval = a_sign_off(the_gate(decision, "DataReconciled"), "wang")
    assert states(settled(signed(seen, [approval]))[1]) == {"core": "Accepted"}
    other_rows = replace(loaded, certificate="sha256:2")
    _, stale = settled(replace(signed(seen, [approval]), migrations={"customers": other_rows}))
    assert the_gate(stale, "DataReconciled")["state"] == "Stale"


# ---- who recorded it


def with_policy(seen: ImplementationFacts) -> ImplementationFacts:
    return replace(seen, policy_since=NOW - timedelta(days=1))


@pytest.mark.parametrize(
    ("fields", "trust"),
    [
        ({}, "Verified"),
        ({"recordedBy": "li@vendor"}, "Asserted"),
        ({"recordedBy": "li@vendor", "evidence": PAPER}, "Witnessed"),
        ({"at": NOW - timedelta(days=1)}, "Asserted"),
        ({"at": NOW - timedelta(days=2), "evidence": PAPER}, "Asserted"),
    ],
)
def test_how_far_a_decision_is_trusted(fields: dict[str, Any], trust: str) -> None:
    seen, decision = settled(with_policy(a_project()))
    _, after = settled(signed(seen, [a_sign_off(the_gate(decision), "wang", **fields)]))
    assert the_gate(after)["decisions"][0]["trust"] == trust


def test_without_the_policy_everything_is_asserted() -> None:
    seen, decision = settled(a_project())
    _, after = settled(signed(seen, [a_sign_off(the_gate(decision), "wang", evidence=PAPER)]))
    assert the_gate(after)["decisions"][0]["trust"] == "Asserted"


def test_strict_heeds_no_asserted_decision_and_a_witnessed_one_only_with_a_second_person_s() -> None:
    rules = [
        *GO_LIVE,
        *({"name": name, "decidedBy": "Automatic"} for name in ("ScopeBaselined", "PreliminaryAccepted")),
    ]
    seen, decision = settled(with_policy(a_project(profile="Strict", gates=rules)))
    gate = the_gate(decision)
    asserted = a_sign_off(gate, "wang", recordedBy="li@vendor")
    witnessed = a_sign_off(gate, "wang", recordedBy="zhao@huasheng", evidence=PAPER)
    by_the_recorder = a_sign_off(gate, "wang", recordedBy="li@vendor", evidence=PAPER)
    verified = a_sign_off(gate, "li")
    assert the_gate(decide(signed(seen, [asserted, verified])))["missing"] == ["CustomerLead"]
    assert the_gate(decide(signed(seen, [witnessed])))["missing"] == ["CustomerLead", "ProjectManager"]
    assert the_gate(decide(signed(seen, [by_the_recorder, verified])))["missing"] == ["CustomerLead"]
    assert the_gate(decide(signed(seen, [witnessed, verified])))["state"] == "Approved"


# ---- whatever people do

DECISIONS = st.lists(
    st.tuples(
        st.sampled_from(["wang", "li", "zhao"]),
        st.sampled_from(["Approve", "Reject"]),
        st.booleans(),
        st.integers(0, 100),
    ),
    max_size=8,
)


@given(DECISIONS)
def test_no_gate_passes_without_every_required_party_s_newest_word(
    given_decisions: list[tuple[str, str, bool, int]],
) -> None:
    seen, decision = settled(a_project())
    gate = the_gate(decision)
    other = {**gate, "digest": f"sha256:{'0' * 64}"}
    sign_offs = [
        a_sign_off(gate if bound else other, by, what, at=NOW + timedelta(seconds=at), reason="-")
        for by, what, bound, at in given_decisions
    ]
    in_time = sorted(given_decisions, key=lambda found: (found[3], found[1]))
    newest = {by: what for by, what, bound, _ in in_time if bound}
    wanted = newest.get("wang") == newest.get("li") == "Approve"
    late = replace(signed(seen, sign_offs), now=NOW + timedelta(seconds=200))
    assert (the_gate(decide(late))["state"] == "Approved") == wanted


@given(st.sets(st.sampled_from(["core", "party", "stock", "sale"])), st.permutations(["wang", "li"]))
def test_no_gate_passes_while_a_module_of_it_is_not_ready(lacking: set[str], order: list[str]) -> None:
    names = ["core", "party", "stock", "sale"]
    seen = a_project(*(a_module(name) for name in names))
    modules = {name: absent(f"erp-{name}") if name in lacking else running(f"erp-{name}") for name in names}
    seen, decision = settled(replace(seen, modules=modules))
    _, after = settled(signed(seen, [a_sign_off(the_gate(decision), by) for by in order]))
    assert (the_gate(after)["state"] == "Approved") == (not lacking)
    assert ("Accepted" in states(after).values()) == (not lacking)


@given(st.dictionaries(st.sampled_from(["core", "party"]), st.sampled_from(["i1", "i2", "i3"]), min_size=2))
def test_an_approval_never_survives_a_changed_digest(inputs: dict[str, str]) -> None:
    seen = a_project(a_module("core"), a_module("party"))
    seen = replace(seen, modules={name: running(f"erp-{name}") for name in ("core", "party")})
    seen, decision = settled(seen)
    seen = signed(seen, [a_sign_off(the_gate(decision), by) for by in ("wang", "li")])
    _, after = settled(replace(seen, modules={name: running(f"erp-{name}", wanted) for name, wanted in inputs.items()}))
    same = inputs == {"core": "i1", "party": "i1"}
    assert (the_gate(after)["state"] == "Approved") == same
    assert ("Live" in states(after).values() or "Accepted" in states(after).values()) == same


def test_an_approval_that_was_not_used_in_time_is_given_again_by_all() -> None:
    past = {"name": "w", "kind": "Allow", "start": "2026-11-23T00:00:00Z", "end": "2026-11-23T00:00:01Z"}
    waived = {"waives": ["wave 1: no window within 72h"], "reason": "-", "expires": "2027-12-31T00:00:00Z"}
    seen, decision = settled(a_project(schedule={"windows": [past]}))
    gate = the_gate(decision)
    assert gate["blockers"] == ["wave 1: no window within 72h"]
    first = [a_sign_off(gate, "wang", "Waive", **waived), a_sign_off(gate, "wang"), a_sign_off(gate, "li")]
    seen, decision = settled(signed(seen, first))
    assert the_gate(decision)["state"] == "Waived"
    late = NOW + timedelta(hours=73)
    seen, decision = settled(replace(seen, now=late))
    gate = the_gate(decision)
    assert (gate["state"], gate["missing"]) == ("Expired", ["CustomerLead", "ProjectManager"])
    seen, decision = settled(signed(seen, [a_sign_off(gate, "wang", at=late)]))
    assert the_gate(decision)["missing"] == ["ProjectManager"]
    _, decision = settled(signed(seen, [a_sign_off(gate, "li", at=late)]))
    assert the_gate(decision)["state"] == "Waived"


def test_nobody_is_asked_so_early_that_the_approval_runs_out_before_the_window_opens() -> None:
    opens = NOW + timedelta(days=10)
    window = {"name": "w", "kind": "Allow", "start": opens.isoformat(), "end": (opens + timedelta(days=1)).isoformat()}
    seen, decision = settled(a_project(schedule={"windows": [window]}))
    assert the_gate(decision)["state"] == "NotReady"
    assert decision.again == timedelta(days=7)
    _, decision = settled(replace(seen, now=NOW + timedelta(days=7)))
    assert the_gate(decision)["state"] == "Open"


SHORT = AssessmentCheck(
    name="memory", result=AssessmentResult.FAIL, strict=False, message="8 GiB, 9 GiB needed", remedy="add nodes"
)
OLD_VERSION = AssessmentCheck(name="kubernetes-version", result=AssessmentResult.FAIL, message="1.20", remedy="upgrade")


def measured(*missing: AssessmentCheck, **fields: Any) -> ImplementationFacts:
    return replace(a_project(gates=[], **fields), assessment=missing)


def waiver(gate: dict[str, Any], by: str = "wang", **fields: Any) -> SignOffFacts:
    usual = {"waives": ["preflight memory"], "reason": "扩容已下单", "expires": "2026-12-31T00:00:00Z"}
    return a_sign_off(gate, by, "Waive", **({"recordedBy": by} | usual | fields))


def stalled(decision: Decision) -> bool:
    assert decision.status is not None
    return any(found["type"] == "Stalled" and found["status"] == "True" for found in decision.status["conditions"])


def test_what_is_measured_and_not_strict_is_waived_until_the_waiver_expires() -> None:
    seen, decision = settled(measured(SHORT))
    gate = the_gate(decision, "EnvironmentReady")
    assert (gate["state"], gate["blockers"]) == ("NotReady", ["preflight memory"])
    assert stalled(decision)
    seen, decision = settled(signed(seen, [waiver(gate)]))
    assert the_gate(decision, "EnvironmentReady")["state"] == "Waived"
    assert states(decision) == {"core": "Accepted"}
    assert decision.status["assessment"]["checks"][0]["waived"]  # type: ignore[index]
    condition = next(c for c in decision.status["conditions"] if c["type"] == "EnvironmentReady")  # type: ignore[index]
    assert (condition["status"], "waived: memory" in condition["message"]) == ("True", True)
    late = replace(seen, now=datetime(2027, 1, 1, tzinfo=UTC))
    assert stalled(settled(late)[1])


def test_what_is_strict_cannot_be_waived() -> None:
    seen, decision = settled(measured(SHORT, OLD_VERSION))
    gate = the_gate(decision, "EnvironmentReady")
    assert gate["blockers"] == ["preflight memory"]
    both = ["preflight memory", "preflight kubernetes-version"]
    assert stalled(settled(signed(seen, [waiver(gate, waives=both)]))[1])


@pytest.mark.parametrize("by", ["zhao", "sun"])
def test_only_the_customers_lead_and_the_project_manager_waive_it(by: str) -> None:
    seen, decision = settled(measured(SHORT))
    assert stalled(settled(signed(seen, [waiver(the_gate(decision, "EnvironmentReady"), by)]))[1])


def test_a_waiver_does_not_cover_what_is_missing_later() -> None:
    seen, decision = settled(measured(SHORT))
    seen = signed(seen, [waiver(the_gate(decision, "EnvironmentReady"))])
    more = SHORT.model_copy(update={"name": "cpu"})
    assert stalled(settled(replace(seen, assessment=(SHORT, more)))[1])


def test_where_nothing_is_missing_the_gate_is_not_shown() -> None:
    assert the_gates(settled(a_project())[1], "EnvironmentReady") == []
