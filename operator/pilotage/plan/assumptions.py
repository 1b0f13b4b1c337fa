"""What a simulation assumes: how long things take, when people work, and what goes wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Final, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from pilotage.api.v1alpha1.common import ApiModel, Duration, parse_duration
from pilotage.api.v1alpha1.project import ContactRole

FAILURE: Final = re.compile(
    r"(?P<install>install):(?P<installed>[^@/]+)"
    r"|(?P<outage>outage):(?P<down>[^@/]+)@(?P<day>[1-9][0-9]{0,3})/(?P<length>[0-9a-z]+)"
    r"|(?P<silent>silent):(?P<contact>[^@/]+)(/(?P<wait>[0-9a-z]+))?"
)
HOW_TO_FAIL: Final = (
    "write install:MODULE, outage:MODULE@DAY/LENGTH such as outage:core@12/40m, or silent:CONTACT/LENGTH"
)


@dataclass(frozen=True)
class FailedInstall:
    """The module's installation fails once; an engineer mends what failed and asks to try again."""

    module: str


@dataclass(frozen=True)
class Outage:
    """Every metric of the module misses its target for `length`, from so many days after it went live."""

    module: str
    day: int
    length: timedelta


@dataclass(frozen=True)
class Silence:
    """The person answers only so long after being asked; None: never."""

    contact: str
    wait: timedelta | None


Failure = FailedInstall | Outage | Silence


def parse_failure(text: str) -> Failure:
    """The failure that the text names. Raises ValueError with the forms that there are."""
    found = FAILURE.fullmatch(text)
    if found is None:
        msg = f"{text!r} is no failure: {HOW_TO_FAIL}"
        raise ValueError(msg)
    if found["install"]:
        return FailedInstall(found["installed"])
    if found["outage"]:
        return Outage(found["down"], int(found["day"]), parse_duration(found["length"]))
    return Silence(found["contact"], parse_duration(found["wait"]) if found["wait"] else None)


class Assumed(ApiModel):
    """Read from people's files alone, so a field that nobody knows is a slip."""

    model_config = ApiModel.model_config | {"extra": "forbid"}


class WorkingTime(Assumed):
    """When people work. Weekdays count from 1, Monday."""

    time_zone: str = "Asia/Shanghai"
    begins: Annotated[int, Field(ge=0, le=23)] = 9
    ends: Annotated[int, Field(ge=1, le=24)] = 18
    weekdays: Annotated[tuple[Annotated[int, Field(ge=1, le=7)], ...], Field(min_length=1)] = (1, 2, 3, 4, 5)
    holidays: tuple[date, ...] = ()

    @field_validator("time_zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            msg = f"{value!r} is no time zone; write one such as Asia/Shanghai"
            raise ValueError(msg) from error
        return value

    @model_validator(mode="after")
    def _some_hours(self) -> Self:
        if self.begins >= self.ends:
            msg = f"the working day begins at {self.begins} and ends at {self.ends}: it has no hours"
            raise ValueError(msg)
        return self

    def after(self, moment: datetime, work: timedelta) -> datetime:
        """When so much working time has passed since `moment`. Without work: the next moment at which people work."""
        zone = ZoneInfo(self.time_zone)
        day = moment.astimezone(zone).date()
        while True:
            if day.isoweekday() in self.weekdays and day not in self.holidays:
                midnight = datetime.combine(day, time(), zone)
                begins = max(moment, (midnight + timedelta(hours=self.begins)).astimezone(UTC))
                ends = (midnight + timedelta(hours=self.ends)).astimezone(UTC)
                if begins < ends and work <= ends - begins:
                    return begins + work
                work -= max(timedelta(), ends - begins)
            day += timedelta(days=1)


class Assumptions(Assumed):
    """How long things take. What people do takes working time; what machines do takes time.

    `events`: from the first go-live until the business events that stable runs require have happened.
    """

    install: Duration = "30m"
    installs: dict[str, Duration] = Field(default={})
    migration: Duration = "2h"
    migrations: dict[str, Duration | Annotated[int, Field(gt=0)]] = Field(
        default={}, description="a duration, or a number of rows"
    )
    rows_per_minute: Annotated[int, Field(gt=0)] = 60_000
    answer: Duration = "8h"
    answers: dict[ContactRole, Duration] = Field(default={})
    training: Duration = "16h"
    tests: Duration = "24h"
    mending: Duration = "4h"
    events: Duration = "31d"
    working_time: WorkingTime = WorkingTime()
    failures: tuple[str, ...] = ()

    @field_validator("failures")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            parse_failure(text)
        return value

    def install_time(self, module: str) -> timedelta:
        """How long Helm works until the module is healthy."""
        return parse_duration(self.installs.get(module, self.install))

    def migration_time(self, name: str) -> timedelta:
        """How long the MigrationJob loads."""
        found = self.migrations.get(name, self.migration)
        return timedelta(minutes=-(-found // self.rows_per_minute)) if isinstance(found, int) else parse_duration(found)

    def answer_time(self, role: ContactRole) -> timedelta:
        """Working time until a person of that role has decided."""
        return parse_duration(self.answers.get(role, self.answer))
