"""A plan: one fault, where it strikes, and in which workload. A small YAML file reproduces it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from tests.faults.wire import Request


class Fault(StrEnum):
    """What happens to the request or to the watch event that the trigger names."""

    KILL_BEFORE = "kill-before"
    KILL_AFTER = "kill-after"
    KILL_HELM = "kill-helm"
    TERMINATE = "terminate"
    HANG = "hang"
    GARBAGE = "garbage"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    LOST_RESPONSE = "lost-response"
    CONFLICT = "conflict"
    TOO_MANY = "too-many-requests"
    SERVER_ERROR = "server-error"
    TIMEOUT_AFTER_COMMIT = "timeout-after-commit"
    OUTAGE = "outage"
    STALE_LIST = "stale-list"
    EVENT_DELAYED = "event-delayed"
    EVENT_DROPPED = "event-dropped"
    EVENT_DUPLICATED = "event-duplicated"
    BLACK_HOLE = "black-hole"
    STREAM_CUT = "stream-cut"
    STREAM_GONE = "stream-gone"
    STREAM_ERROR = "stream-error"


OF_EVENTS = frozenset(
    {
        Fault.EVENT_DELAYED,
        Fault.EVENT_DROPPED,
        Fault.EVENT_DUPLICATED,
        Fault.BLACK_HOLE,
        Fault.STREAM_CUT,
        Fault.STREAM_GONE,
        Fault.STREAM_ERROR,
    }
)
# The operator is told at once that its stream is over, and has to open another.
ENDS_A_STREAM = frozenset({Fault.STREAM_CUT, Fault.STREAM_GONE, Fault.STREAM_ERROR})


@dataclass(frozen=True)
class Trigger:
    """The n-th request, or watch event, of this verb about this resource whose name matches the pattern (1 is first).

    Counted for itself, so that other requests in between do not shift it.
    """

    verb: str
    resource: str
    name: str
    nth: int = 1

    def matches(self, request: Request) -> bool:
        return (
            request.verb == self.verb
            and request.resource == self.resource
            and re.fullmatch(self.name, request.name) is not None
        )


@dataclass(frozen=True)
class Plan:
    """One run. `times`: so many requests in a row are struck. `seconds`: a delay, or what Retry-After says.

    `second`: another fault in the same run, wherever the first one strikes.
    """

    workload: str
    fault: Fault
    trigger: Trigger
    times: int = 1
    seconds: float = 1.0
    second: Plan | None = None

    @property
    def strikes(self) -> tuple[Plan, ...]:
        """Each fault by itself."""
        return (self, *(self.second.strikes if self.second else ()))

    @property
    def slug(self) -> str:
        """A name for people, with a digest that tells plans apart."""
        struck = (f"{one.fault}-{one.trigger.verb}-{one.trigger.resource}-{one.trigger.name}" for one in self.strikes)
        text = "-".join([self.workload, *struck])
        words = re.sub(r"[^a-z0-9]+", "-", text.lower())[:100].strip("-")
        return f"{words}-{self.trigger.nth}-{hashlib.sha256(repr(self).encode()).hexdigest()[:6]}"

    def to_yaml(self, said: str = "") -> str:
        """The plan as its file holds it, what the oracle said of it as a comment above."""
        fields = _fields(asdict(self))
        comment = "".join(f"# {line}\n" for line in said.splitlines())
        return comment + yaml.safe_dump(fields, sort_keys=False)


def read_plan(path: Path) -> Plan:
    """The plan in a file. Raises ValueError, TypeError or KeyError for a file that holds none."""
    return _plan(yaml.safe_load(path.read_text()))


def _fields(found: dict[str, Any]) -> dict[str, Any]:
    second = found.pop("second")
    return found | {"fault": str(found["fault"])} | ({"second": _fields(second)} if second else {})


def _plan(fields: dict[str, Any]) -> Plan:
    second = _plan(fields["second"]) if fields.get("second") else None
    known = {"fault": Fault(fields["fault"]), "trigger": Trigger(**fields["trigger"]), "second": second}
    return Plan(**fields | known)
