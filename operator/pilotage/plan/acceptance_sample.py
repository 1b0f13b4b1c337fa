"""What one measurement answered, and whether that meets a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from pilotage.api.v1alpha1.acceptancecheck import Target


class Outcome(StrEnum):
    """How a measurement ended. Only a Value can be good."""

    VALUE = "Value"
    MISSED = "Missed"
    NO_DATA = "NoData"
    ERROR = "Error"


@dataclass(frozen=True)
class Sample:
    """What a source answered. `value` is compared with the target; `raw` is a counter's reading instead.

    MISSED is an answer that has no value and still misses: a latency of a request that failed.
    """

    outcome: Outcome
    value: str = ""
    raw: int | None = None
    message: str = ""

    @staticmethod
    def of(value: str, message: str = "") -> Sample:
        """A sample with a value."""
        return Sample(Outcome.VALUE, value=value, message=message)

    @staticmethod
    def reading(raw: int) -> Sample:
        """The reading of a counter that only grows: its increases are what counts."""
        return Sample(Outcome.VALUE, raw=raw)

    @staticmethod
    def missed(message: str) -> Sample:
        """An answer that cannot be good."""
        return Sample(Outcome.MISSED, message=message)

    @staticmethod
    def no_data(message: str) -> Sample:
        """The source was asked and has nothing to tell."""
        return Sample(Outcome.NO_DATA, message=message)

    @staticmethod
    def error(message: str) -> Sample:
        """The source could not be asked."""
        return Sample(Outcome.ERROR, message=message)


def describe_target(target: Target) -> str:
    """The target in words."""
    if target.at_least is not None:
        return f"at least {target.at_least}"
    if target.at_most is not None:
        return f"at most {target.at_most}"
    return f"equal to {target.equals}"


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def judge(target: Target, value: str) -> Outcome:
    """VALUE when the value meets the target, MISSED when not, ERROR when it cannot be compared."""
    number = _number(value)
    if target.equals is not None:
        wanted = _number(target.equals)
        same = number == wanted if number is not None and wanted is not None else value == target.equals
        return Outcome.VALUE if same else Outcome.MISSED
    if number is None:
        return Outcome.ERROR
    if target.at_least is not None:
        return Outcome.VALUE if number >= Decimal(target.at_least) else Outcome.MISSED
    return Outcome.VALUE if number <= Decimal(target.at_most or "0") else Outcome.MISSED


def worst_value(target: Target, values: Sequence[str]) -> str:
    """The value that is furthest from meeting the target; one that cannot be compared is worse than any other.

    Raises ValueError without values.
    """
    verdicts = [(judge(target, value), value) for value in values]
    for outcome in (Outcome.ERROR, Outcome.MISSED, Outcome.VALUE):
        found = [value for verdict, value in verdicts if verdict is outcome]
        if not found:
            continue
        if outcome is Outcome.ERROR or target.equals is not None:
            return found[0]
        return min(found, key=Decimal) if target.at_least is not None else max(found, key=Decimal)
    msg = "there is no value"
    raise ValueError(msg)
