"""How sure it is that the person who is named for a SignOff or an Attestation stands behind it."""

from __future__ import annotations

from datetime import datetime

from pilotage.api.v1alpha1.project import Contact, Trust
from pilotage.plan.facts import AttestationFacts, SignOffFacts


def trust_in(recorded: SignOffFacts | AttestationFacts, contact: Contact | None, since: datetime | None) -> Trust:
    """Judge by who recorded it. `since`: from when on admission proves the recorder; None where it does not.

    What is not younger than that proves nothing.
    """
    if since is None or recorded.at <= since:
        return Trust.ASSERTED
    if contact is not None and contact.subject == recorded.spec.recorded_by:
        return Trust.VERIFIED
    return Trust.WITNESSED if recorded.spec.evidence else Trust.ASSERTED
