"""What of decisions and stated facts is written down for good: the objects may go, the entry stays.

An entry keeps how sure it was, when the operator first saw it, who stood behind it. So a later change of the policies
that prove the recorder takes nothing from a decision that was proved then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from pilotage.api.v1alpha1.implementation import ImplementationSpec
from pilotage.api.v1alpha1.project import Trust
from pilotage.api.v1alpha1.signoff import SignOffSpec
from pilotage.plan.conditions import timestamp
from pilotage.plan.facts import AttestationFacts, ImplementationFacts, SignOffFacts
from pilotage.plan.trust import trust_in


def new_entries(facts: ImplementationFacts) -> dict[str, str]:
    """The entries that the ledger lacks, as JSON by the uid of the SignOff or Attestation, oldest first."""
    spec = ImplementationSpec.model_validate(facts.body["spec"])
    contacts = {contact.id: contact for contact in spec.contacts}
    found = {}
    everything: list[SignOffFacts | AttestationFacts] = [*facts.sign_offs, *facts.attestations]
    for recorded in sorted(everything, key=lambda one: (one.at, one.name)):
        if recorded.uid not in facts.remembered:
            entry = {
                "kind": "SignOff" if isinstance(recorded.spec, SignOffSpec) else "Attestation",
                "name": recorded.name,
                "recordedAt": timestamp(recorded.at),
                "trust": trust_in(facts, recorded, contacts.get(recorded.spec.by)),
                "spec": recorded.spec.to_manifest(),
            }
            found[recorded.uid] = json.dumps(entry, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return found


def remembered_trust(entries: Mapping[str, str]) -> dict[str, Trust]:
    """How sure it was who stood behind each entry, by uid. An entry that cannot be read is worth nothing more than
    that it was there.
    """
    return dict(_trusts(entries))


def _trusts(entries: Mapping[str, str]) -> Iterator[tuple[str, Trust]]:
    for uid, text in entries.items():
        try:
            yield uid, Trust(json.loads(text)["trust"])
        except (ValueError, KeyError, TypeError):
            yield uid, Trust.ASSERTED
