"""The SignOff object that records a decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pilotage.api.v1alpha1.common import API_VERSION
from pilotage.api.v1alpha1.project import GateStatus
from pilotage.api.v1alpha1.signoff import Evidence, PunchListItem, SignOffDecision

NAME_LENGTH: Final = 40


@dataclass(frozen=True)
class Words:
    """What the person says besides the decision itself."""

    reason: str | None = None
    punch_list: Sequence[PunchListItem] = ()
    waives: Sequence[str] = ()
    expires: str | None = None
    evidence: Sequence[Evidence] = ()


def sign_off(
    body: Mapping[str, Any],
    gate: GateStatus,
    by: str,
    user: str,
    decision: SignOffDecision,
    words: Words,
) -> dict[str, Any]:
    """The object that records the decision, bound to the digest that the person was shown."""
    metadata = body["metadata"]
    spec: dict[str, Any] = {
        "implementationRef": {"name": metadata["name"]},
        "gate": gate.name.value,
        "wave": gate.wave,
        "module": gate.module,
        "decision": decision.value,
        "digest": gate.digest,
        "by": by,
        "recordedBy": user,
        "punchList": [found.to_manifest() for found in words.punch_list],
        "waives": list(words.waives),
        "expires": words.expires,
        "reason": words.reason,
        "evidence": [found.to_manifest() for found in words.evidence],
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "SignOff",
        "metadata": {"generateName": f"{metadata['name'][:NAME_LENGTH]}-", "namespace": metadata["namespace"]},
        "spec": {name: value for name, value in spec.items() if value not in (None, [])},
    }
