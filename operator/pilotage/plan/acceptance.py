"""Evidence into verdicts: which metrics are due, what their samples mean, and whether a gate may open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pilotage.api.v1alpha1.acceptancecheck import CheckPhase


@dataclass(frozen=True)
class Verdict:
    """What a check says of one module with one input. `ended_badly`: it stays so until spec, input or retry-at change."""

    passed: bool
    phase: str
    message: str
    ended_badly: bool = False


def gate_verdict(check_manifest: Mapping[str, Any], module: str, input_digest: str) -> Verdict:
    """The check's verdict about the module's release with that input digest.

    A status of an older generation, of another input or of no input at all says nothing: it never passes.
    """
    metadata = check_manifest.get("metadata") or {}
    status = check_manifest.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return Verdict(passed=False, phase=CheckPhase.PENDING, message="it is being deleted")
    if status.get("observedGeneration", -1) != metadata.get("generation"):
        return Verdict(passed=False, phase=CheckPhase.PENDING, message="its spec has not been taken up yet")
    track = next((found for found in status.get("modules") or [] if found.get("name") == module), None)
    if track is None or not input_digest or track.get("subject") != input_digest:
        return Verdict(passed=False, phase=CheckPhase.PENDING, message="this input of the module is not measured yet")
    phase = track.get("phase", CheckPhase.PENDING)
    return Verdict(
        passed=phase == CheckPhase.PASSED,
        phase=phase,
        message=track.get("message", ""),
        ended_badly=phase == CheckPhase.FAILED and bool(track.get("concluded")),
    )
