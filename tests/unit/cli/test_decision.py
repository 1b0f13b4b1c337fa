"""What a person signs, and what is refused before anything is recorded."""

from __future__ import annotations

from typing import Any

import pytest

from pilotage.api.v1alpha1.implementation import ImplementationSpec, ImplementationStatus
from pilotage.api.v1alpha1.project import GateName, GateStatus
from pilotage.api.v1alpha1.signoff import SignOffDecision, SignOffSpec
from pilotage.cli.decision import (
    Refusal,
    blocker,
    check,
    failed_module,
    find_gate,
    moment,
    rollback_signer,
    signer,
)
from pilotage.plan.sign_off import Words, sign_off
from tests.support.builders import a_module, an_implementation

DIGEST = "sha256:" + "5891b5b522d5" + "0" * 52
CONTACTS = [
    {"id": "wang", "role": "CustomerLead", "name": "王强", "subject": "wang@huasheng.example"},
    {"id": "li", "role": "ProjectManager", "name": "李敏", "subject": "li@vendor.example"},
    {"id": "chen", "role": "Engineer", "name": "陈工", "subject": "chen@vendor.example"},
]


def gate(name: str = "GoLiveApproved", state: str = "Open", **fields: Any) -> dict[str, Any]:
    usual = {"since": "2026-11-23T08:00:00Z", "digest": DIGEST, "missing": ["CustomerLead", "ProjectManager"]}
    return {"name": name, "state": state, **usual, **fields}


def project(*gates: dict[str, Any]) -> dict[str, Any]:
    standing = {"type": "Ready", "status": "False", "observedGeneration": 1, "reason": "Waits", "message": ""}
    condition = standing | {"lastTransitionTime": "2026-11-23T08:00:00Z"}
    status = {"observedGeneration": -1, "gates": list(gates), "conditions": [condition]}
    return an_implementation(a_module("core"), status=status, profile="Standard", contacts=CONTACTS)


def found(*gates: dict[str, Any], name: str | None = "GoLiveApproved", **place: Any) -> GateStatus:
    return find_gate(project(*gates), GateName(name) if name else None, place.get("wave"), place.get("module"))


def test_of_several_waves_the_one_that_waits_is_meant():
    waves = [gate(wave=1, state="Approved"), gate(wave=2), gate(wave=3, state="NotReady")]
    assert found(*waves).wave == 2
    assert found(*waves, wave=3).wave == 3


def test_where_two_wait_one_must_be_named():
    with pytest.raises(Refusal, match="say which one: GoLiveApproved --wave 1, GoLiveApproved --wave 2"):
        found(gate(wave=1), gate(wave=2))


def test_a_gate_that_nobody_is_asked_about_is_told_with_those_that_are():
    with pytest.raises(Refusal, match="persons decide: GoLiveApproved"):
        found(gate(wave=1), name="FinalAccepted")


def test_the_only_gate_that_waits_needs_no_name():
    assert found(gate("ScopeBaselined", "Approved"), gate(wave=1), name=None).wave == 1
    with pytest.raises(Refusal, match="no such gate waits here; persons decide: ScopeBaselined"):
        found(gate("ScopeBaselined", "Approved"), name=None)
    with pytest.raises(Refusal, match="persons decide no gate of this project"):
        found(name=None)


def test_nothing_is_signed_that_the_operator_has_not_looked_at():
    body = project(gate())
    body["metadata"]["generation"] = 2
    with pytest.raises(Refusal, match="try again in a moment"):
        find_gate(body, None, None, None)


def test_what_changed_since_it_was_looked_at_is_not_signed():
    seen = GateStatus.model_validate(gate())
    check(seen, SignOffDecision.APPROVE, Words(), "5891b5b522d5")
    with pytest.raises(Refusal, match="is about 5891b5b522d5 now, not about aaaaaaaaaaaa"):
        check(seen, SignOffDecision.APPROVE, Words(), "aaaaaaaaaaaa")


def who(user: str, by: str | None = None, **fields: Any) -> str:
    spec = ImplementationSpec.model_validate(project()["spec"])
    return signer(spec, GateStatus.model_validate(gate(**fields)), user, by).id


def test_the_signer_is_the_contact_who_the_user_is():
    assert who("wang@huasheng.example") == "wang"


def test_somebody_else_may_be_named():
    assert who("li@vendor.example", by="wang") == "wang"


@pytest.mark.parametrize(
    ("user", "by", "words"),
    [
        ("stranger", None, "you are stranger, and that is the subject of none"),
        ("chen@vendor.example", None, "the subject of none who is asked at this gate"),
        ("li@vendor.example", "nobody", "nobody is no id of spec.contacts"),
        ("li@vendor.example", "chen", "Engineer is not asked at this gate"),
    ],
)
def test_who_cannot_sign_is_told_who_can(user: str, by: str | None, words: str):
    with pytest.raises(Refusal, match=words):
        who(user, by)


@pytest.mark.parametrize(
    ("state", "what", "words"),
    [
        ("Approved", SignOffDecision.APPROVE, "is approved already"),
        ("NotReady", SignOffDecision.APPROVE, "1. module core: not ready"),
        ("NotReady", SignOffDecision.APPROVE_WITH_CONDITIONS, "pilotage waive"),
    ],
)
def test_an_approval_that_would_open_nothing_is_refused(state: str, what: SignOffDecision, words: str):
    with pytest.raises(Refusal, match=words):
        check(GateStatus.model_validate(gate(state=state, blockers=["module core: not ready"])), what, Words())


def test_a_blocker_is_named_by_its_number_or_its_words():
    closed = GateStatus.model_validate(gate(state="NotReady", blockers=["a", "b"]))
    assert [blocker(closed, text) for text in ("2", "a", "3")] == ["b", "a", "3"]
    check(closed, SignOffDecision.WAIVE, Words(waives=["a"]))
    with pytest.raises(Refusal, match="no such blocker: c"):
        check(closed, SignOffDecision.WAIVE, Words(waives=["c"]))


def test_a_date_means_its_end():
    assert moment("2026-12-31") == "2026-12-31T23:59:59Z"
    assert moment("2026-12-31T12:00:00+08:00") == "2026-12-31T04:00:00Z"


def test_what_is_recorded_is_bound_to_the_digest_that_was_shown():
    made = sign_off(
        project(), GateStatus.model_validate(gate(wave=2)), "wang", "li", SignOffDecision.REJECT, Words(reason="no")
    )
    assert made["metadata"] == {"generateName": "erp-", "namespace": "huasheng"}
    assert made["spec"] == {
        "implementationRef": {"name": "erp"},
        "gate": "GoLiveApproved",
        "wave": 2,
        "decision": "Reject",
        "digest": DIGEST,
        "by": "wang",
        "recordedBy": "li",
        "reason": "no",
    }
    SignOffSpec.model_validate(made["spec"])


def module(**fields: Any) -> ImplementationStatus:
    good = {"revision": 1, "version": "1.0.0", "inputDigest": "a" * 40}
    usual = {"name": "core", "wave": 1, "state": "Failed", "since": "2026-11-23T08:00:00Z", "desiredInput": "b" * 40}
    return ImplementationStatus.model_validate({"modules": [{**usual, "lastGood": good, **fields}]})


def test_a_rollback_is_about_the_input_that_failed():
    gate = failed_module(module(), "core")
    assert gate.digest == "b" * 40
    assert gate.message.endswith("It goes back to revision 1 (1.0.0)")


def test_a_rollback_of_a_cutover_that_is_under_way_is_about_the_input_that_is_brought_into_use():
    record = {"state": "Running", "startedAt": "2026-11-23T08:00:00Z", "plannedMinutes": 10}
    gate = failed_module(module(state="CuttingOver", lastGood=None, cutover=record), "core")
    assert gate.digest == "b" * 40
    assert gate.message.endswith("Its cutover is aborted and taken back")


@pytest.mark.parametrize(
    ("status", "name", "words"),
    [
        (module(), "sales", "no module sales; modules are core"),
        (module(state="Live"), "core", "module core is Live, not Failed: change its version or values instead"),
        (module(lastGood=None), "core", "has no good revision before this one"),
    ],
)
def test_where_nothing_goes_back_a_rollback_is_refused(status, name, words):
    with pytest.raises(Refusal, match=words):
        failed_module(status, name)


def test_only_the_customers_leads_order_a_rollback():
    contacts = ImplementationSpec.model_validate(project()["spec"]).contacts
    assert rollback_signer(contacts, "wang@huasheng.example", None).id == "wang"
    assert rollback_signer(contacts, "li@vendor.example", "wang").id == "wang"
    for by in (None, "li", "nobody"):
        with pytest.raises(Refusal, match="none of those who order a rollback"):
            rollback_signer(contacts, "li@vendor.example", by)
