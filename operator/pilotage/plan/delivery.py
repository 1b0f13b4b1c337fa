"""The state of a Helm release, decided anew in every pass from the records that Helm keeps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

WORKLOAD_KINDS: Final = ("Deployment", "StatefulSet", "DaemonSet", "Job")
# What Helm says when the way to the cluster, not the input, is to blame.
OUTAGE_SIGNS: Final = (
    "unreachable", "connection refused", "connection reset", "client connection lost", "use of closed network",
    "timed out", "i/o timeout", "TLS handshake", ": EOF", "unexpected EOF", "no such host", "no route to host",
    "etcdserver", "currently unable to handle", "Too Many Requests", "too many requests", "Internal error occurred",
    "did not complete within", "unable to return a response in the time allotted", "the object has been modified",
    "an error on the server (",  # what a load balancer answers whose API server is away
    # An API server that has just begun does not know all roles yet, nor who may act as whom, which every pass asks.
    "RBAC: clusterrole.", "RBAC: role.", "cannot impersonate",
)  # fmt: skip
# What a record says from the moment that its action begins to its end, and the action.
ACTION_OF: Final = {
    "pending-install": "Install",
    "pending-upgrade": "Upgrade",
    "pending-rollback": "Rollback",
    "uninstalling": "Uninstall",
}
CUT_OFF: Final = "the action was cut off"
INPUT_LABEL: Final = "pilotage.dev/input"
ATTEMPT_LABEL: Final = "pilotage.dev/attempt"
INPUT_LENGTH: Final = 40  # a label's value ends at 63 characters


class ReleaseState(StrEnum):
    """Where a release stands against the wanted input."""

    ABSENT = "Absent"
    LOCKED = "Locked"
    FAILED = "Failed"
    OUT_OF_DATE = "OutOfDate"
    IN_SYNC = "InSync"
    ROLLED_BACK = "RolledBack"


@dataclass(frozen=True)
class Revision:
    """One record of a release. `input`, `attempt` and `owner` are the labels that our action put on it; the owner is
    the Implementation's name.

    `manifests` are the objects that were rendered, hooks left out; only the newest record is read for them.
    """

    revision: int
    status: str
    description: str = ""
    chart: str = ""
    version: str = ""
    input: str = ""
    attempt: str = ""
    owner: str = ""
    last_deployed: datetime | None = None
    manifests: tuple[Mapping[str, Any], ...] = ()

    @property
    def workloads(self) -> list[tuple[str, str]]:
        """Kind and name of each workload among the objects."""
        return [
            (found["kind"], found["metadata"]["name"])
            for found in self.manifests
            if found.get("kind") in WORKLOAD_KINDS
        ]

    @property
    def is_rollback(self) -> bool:
        """Whether this revision is a return to an earlier one, or was to be. Helm says so in the description alone."""
        return self.description.startswith("Rollback ")

    @property
    def is_pending(self) -> bool:
        """Whether the action that wrote the record has not ended, or was cut off."""
        return self.status in ACTION_OF


@dataclass(frozen=True)
class ReleaseFacts:
    """A release's records in ascending order, and whether a child of ours acts on it at this moment."""

    name: str
    revisions: tuple[Revision, ...] = ()
    acting: bool = False


def tells_of_outage(text: str) -> bool:
    """Whether an action ended because the cluster could not be reached: the same action may well succeed later."""
    return any(sign in text for sign in OUTAGE_SIGNS)


def may_succeed_later(description: str) -> bool:
    """Whether a failed action ended for no fault of its input: the cluster was away, or helm was killed."""
    return CUT_OFF in description or tells_of_outage(description)


def release_state(facts: ReleaseFacts, desired_input: str, attempt: str) -> ReleaseState:
    """The state by the newest record. A failure with the wanted input is final until input or attempt change, unless
    the input was not to blame.

    Source: Flux helm-controller, internal/reconcile/state.go, with the input digest in the place of its history.
    """
    if not facts.revisions:
        return ReleaseState.ABSENT
    newest = facts.revisions[-1]
    if newest.status == "uninstalled":
        return ReleaseState.ABSENT
    if newest.is_pending:
        return ReleaseState.OUT_OF_DATE if facts.acting else ReleaseState.LOCKED
    # A way back leads away from what was tried before it, also when it was cut off and has to be taken again.
    tried = next((found for found in reversed(facts.revisions) if not found.is_rollback), newest)
    was_tried = tried.input == desired_input and tried.attempt == attempt
    if newest.status == "failed":
        again = may_succeed_later(newest.description)
        if newest.is_rollback and again:
            return ReleaseState.FAILED if was_tried else ReleaseState.OUT_OF_DATE
        final = newest.input == desired_input and newest.attempt == attempt and not again
        return ReleaseState.FAILED if final else ReleaseState.OUT_OF_DATE
    if newest.input == desired_input:
        return ReleaseState.IN_SYNC
    return ReleaseState.ROLLED_BACK if newest.is_rollback and was_tried else ReleaseState.OUT_OF_DATE


def input_digest(chart_digest: str, values_digest: str) -> str:
    """The name of chart and values together: 40 hexadecimal digits, short enough for a label."""
    content = json.dumps([chart_digest, values_digest])
    return hashlib.sha256(content.encode()).hexdigest()[:INPUT_LENGTH]
