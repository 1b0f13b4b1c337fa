"""When a project may go live: windows that allow it and windows that forbid it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from pilotage.api.v1alpha1.common import ApiModel, DnsLabel, Duration, Timestamp, list_map, list_set, validations

# RFC 5545, as far as people plan with it: at most one occurrence a day. COUNT and UNTIL are `end`.
RECURRENCE_PATTERN: Final = (
    r"^FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY)"
    r"(;(INTERVAL=[1-9][0-9]?|BYDAY=[-+0-9A-Z,]{2,60}|BYMONTHDAY=[-0-9,]{1,120}|BYMONTH=[0-9,]{1,40}"
    r"|BYSETPOS=[-0-9,]{1,20}|BYHOUR=[0-9]{1,2}|BYMINUTE=[0-9]{1,2}))*$"
)

TimeZoneName = Annotated[
    str,
    Field(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$", description="such as Asia/Shanghai"),
]


class WindowKind(StrEnum):
    """What a window does. Deny always wins; with any Allow for a wave, one must be open."""

    ALLOW = "Allow"
    DENY = "Deny"


class Window(ApiModel):
    """A span of time, once (`start`, `end`) or again and again (`rrule`, `duration`)."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            (
                "has(self.rrule) ? has(self.duration) : (has(self.start) && has(self.end))",
                "give start and end, or rrule and duration",
            ),
            ("has(self.rrule) || !has(self.duration)", "duration goes with rrule"),
            (
                "!has(self.start) || !has(self.end) || timestamp(self.start) < timestamp(self.end)",
                "end comes after start",
            ),
            (
                "!has(self.rrule) || has(self.start) || !self.rrule.contains('INTERVAL=')",
                "an rrule with INTERVAL needs start, from which it counts",
            ),
            (
                "!has(self.rrule) || has(self.start) || self.rrule.matches('FREQ=DAILY|BY(DAY|MONTHDAY)=')",
                "an rrule without start says on which day: BYDAY or BYMONTHDAY",
            ),
            (
                "!has(self.start) || timestamp(self.start) > timestamp('2020-01-01T00:00:00Z')",
                "start lies after 2020-01-01",
            ),
        )
    }

    name: DnsLabel
    kind: WindowKind
    start: Timestamp | None = Field(default=None, description="of an rrule: no occurrence begins before")
    end: Timestamp | None = Field(default=None, description="of an rrule: no occurrence begins after")
    rrule: (
        Annotated[
            str,
            Field(
                max_length=300,
                pattern=RECURRENCE_PATTERN,
                description="RFC 5545, such as FREQ=WEEKLY;BYDAY=SA;BYHOUR=20; without BYHOUR from midnight",
            ),
        ]
        | None
    ) = None
    duration: Duration | None = Field(default=None, description="of each occurrence, as elapsed time")
    timezone: TimeZoneName | None = Field(default=None, description="of rrule; default: the customer's")
    waves: Annotated[
        list[Annotated[int, Field(ge=1, le=100)]],
        Field(max_length=100, json_schema_extra=list_set(), description="default: all waves"),
    ] = []


class Schedule(ApiModel):
    """When modules may go live, and when live ones may be changed."""

    windows: Annotated[list[Window], Field(max_length=32, json_schema_extra=list_map("name"))] = []


class SlotState(StrEnum):
    """How far a project has come to being cut over, where the installation limits how many are at once."""

    WAITING = "Waiting"
    CLAIMED = "Claimed"
    CUTTING_OVER = "CuttingOver"


class ScheduleStatus(ApiModel):
    """The project's turn among all customers. It is there from when a module could begin until all of them are live."""

    state: SlotState
    position: Annotated[int, Field(ge=1, description="among those that wait")] | None = None
    since: Timestamp = Field(description="when it began to wait")
    until: Timestamp | None = Field(default=None, description="when the window shuts: less time left goes first")
    seen: Timestamp = Field(description="when it last said so; who is silent for 15 minutes keeps nobody back")
