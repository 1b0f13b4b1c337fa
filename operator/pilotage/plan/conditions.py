"""Conditions as kstatus reads them, built from one verdict about an object."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from pilotage.api.v1alpha1.common import ConditionStatus, ConditionType

MAX_MESSAGE = 2048
# All but line breaks that makes a viewer show something else than what stands there: escapes, text direction,
# characters without width, half characters.
_DECEPTIVE: Final = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


class Progress(StrEnum):
    """The kinds of standing that an object can have; see the three outcomes of a step in the architecture."""

    READY = "Ready"
    WAITING = "Waiting"
    STALLED = "Stalled"
    SUSPENDED = "Suspended"


@dataclass(frozen=True)
class Standing:
    """Where an object stands, with the reason for machines and the message for the person who can act."""

    progress: Progress
    reason: str
    message: str


def timestamp(moment: datetime) -> str:
    """The moment in the API's form: UTC, whole seconds, RFC 3339."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: str) -> datetime:
    """The moment that an API timestamp names. Raises ValueError when it is none."""
    return datetime.fromisoformat(text)


def shorten(message: str, limit: int = MAX_MESSAGE) -> str:
    """The message within `limit` characters, cut at the end with an ellipsis, and without what deceives a terminal."""
    message = _DECEPTIVE.sub("\ufffd", message)
    return message if len(message) <= limit else message[: limit - 1] + "…"


def condition(kind: str, *, status: bool, reason: str, message: str) -> dict[str, Any]:
    """A condition without its bookkeeping, which `merge_conditions` adds."""
    value = ConditionStatus.TRUE if status else ConditionStatus.FALSE
    return {"type": kind, "status": value, "reason": reason, "message": shorten(message)}


def standing_conditions(standing: Standing) -> list[dict[str, Any]]:
    """Ready always; Reconciling or Stalled only while true, as kstatus wants it.

    Waiting, a missing signature included, is Reconciling: Stalled would tell Helm, Flux and Argo CD that it failed.
    """
    ready = standing.progress is Progress.READY
    found = [condition(ConditionType.READY, status=ready, reason=standing.reason, message=standing.message)]
    abnormal = {Progress.WAITING: ConditionType.RECONCILING, Progress.STALLED: ConditionType.STALLED}
    if kind := abnormal.get(standing.progress):
        found.append(condition(kind, status=True, reason=standing.reason, message=standing.message))
    return found


def merge_conditions(
    previous: Sequence[Mapping[str, Any]], wanted: Iterable[Mapping[str, Any]], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """The wanted conditions with `observedGeneration` and a transition time that moves only when a status flips.

    Conditions that are no longer wanted are dropped.
    """
    before = {found["type"]: found for found in previous}
    merged = []
    for found in wanted:
        old = before.get(found["type"])
        same = old is not None and old.get("status") == found["status"]
        since = old["lastTransitionTime"] if old is not None and same else timestamp(now)
        merged.append({**found, "observedGeneration": generation, "lastTransitionTime": since})
    return merged


def is_true(conditions: Iterable[Mapping[str, Any]], kind: str) -> bool:
    """Whether the condition of that type is there and true."""
    return any(found.get("type") == kind and found.get("status") == ConditionStatus.TRUE for found in conditions)
