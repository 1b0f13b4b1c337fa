"""What is written down for good, and what it is worth later."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

from pilotage.api.v1alpha1.project import Trust
from pilotage.plan.facts import ImplementationFacts
from pilotage.plan.ledger import new_entries, remembered_trust
from tests.support.builders import NOW
from tests.unit.plan.test_attested import attest
from tests.unit.plan.test_gates import a_project, a_sign_off, settled, signed, the_gate


def a_decided_project(**fields: object) -> ImplementationFacts:
    seen = a_project(profile="Strict", gates=[{"name": "GoLiveApproved", "requires": [{"role": "CustomerLead"}]}])
    gate = the_gate(settled(seen)[1])
    seen = replace(signed(seen, [a_sign_off(gate, "wang")]), policy_since=NOW - timedelta(days=1))
    return replace(seen, **fields)  # type: ignore[arg-type]


def test_an_entry_has_the_whole_decision_and_how_sure_it_was():
    ((uid, text),) = new_entries(a_decided_project()).items()
    entry = json.loads(text)
    assert uid == "wang-approve-" + f"{NOW.timestamp():.0f}"
    assert entry["kind"] == "SignOff"
    assert entry["trust"] == "Verified"
    assert entry["spec"]["by"] == "wang"
    assert entry["spec"]["recordedBy"] == "wang@huasheng"
    assert entry["spec"]["digest"]


def test_facts_are_written_down_beside_decisions_and_nothing_twice():
    seen = a_decided_project(attestations=(attest("UAT", name="FIN-003"),))
    entries = new_entries(seen)
    assert sorted(json.loads(text)["kind"] for text in entries.values()) == ["Attestation", "SignOff"]
    assert new_entries(replace(seen, remembered=remembered_trust(entries))) == {}


def test_a_decision_that_was_proved_stays_so_when_the_policy_is_changed_later():
    seen = a_decided_project()
    kept = remembered_trust(new_entries(seen))
    changed = replace(seen, policy_since=NOW + timedelta(days=30), now=NOW + timedelta(days=31))
    assert the_gate(settled(changed)[1])["decisions"][0]["trust"] == "Asserted"
    assert the_gate(settled(replace(changed, remembered=kept))[1])["decisions"][0]["trust"] == "Verified"


def test_the_ledger_makes_nothing_less_sure():
    seen = a_decided_project()
    (uid,) = new_entries(seen)
    assert the_gate(settled(replace(seen, remembered={uid: Trust.ASSERTED}))[1])["decisions"][0]["trust"] == "Verified"


def test_an_entry_that_cannot_be_read_vouches_for_nobody():
    assert remembered_trust({"a": "{", "b": "[]", "c": '{"trust":"Sure"}'}) == dict.fromkeys("abc", Trust.ASSERTED)
