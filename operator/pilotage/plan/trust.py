"""How sure it is that the person who is named for a SignOff or an Attestation stands behind it."""

from __future__ import annotations

from typing import Final

from pilotage.api.v1alpha1.project import Contact, Trust
from pilotage.api.v1alpha1.signoff import SignOffSpec
from pilotage.plan.facts import AttestationFacts, ImplementationFacts, SignOffFacts

SUREST_FIRST: Final = (Trust.VERIFIED, Trust.WITNESSED, Trust.ASSERTED)


def trust_in(facts: ImplementationFacts, recorded: SignOffFacts | AttestationFacts, contact: Contact | None) -> Trust:
    """As sure as it is now, or was when the ledger took it down."""
    known = facts.remembered.get(recorded.uid, Trust.ASSERTED)
    return min(known, _present(facts, recorded, contact), key=SUREST_FIRST.index)


def _present(facts: ImplementationFacts, recorded: SignOffFacts | AttestationFacts, contact: Contact | None) -> Trust:
    """Judged by who recorded it. What is not younger than the policy that proves the recorder proves nothing."""
    since = facts.policy_since if isinstance(recorded.spec, SignOffSpec) else facts.attested_since
    if since is None or recorded.at <= since:
        return Trust.ASSERTED
    if contact is not None and contact.subject == recorded.spec.recorded_by:
        return Trust.VERIFIED
    return Trust.WITNESSED if recorded.spec.evidence else Trust.ASSERTED
