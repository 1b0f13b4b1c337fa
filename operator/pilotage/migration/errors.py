"""How a run stops, and the exit codes that the Job's failure policy knows."""

from __future__ import annotations

from typing import Any, Final

EXIT_TRANSIENT: Final = 1
EXIT_BAD_PLAN: Final = 42
EXIT_PAUSED: Final = 43
EXIT_REJECTED: Final = 44
EXIT_TERMINATED: Final = 143


class Halt(Exception):
    """The run cannot go on, and trying again changes nothing: `reason` for machines, `message` for who can act."""

    exit_code = EXIT_BAD_PLAN
    outcome = "Failed"

    def __init__(self, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.details = details


class BudgetExceeded(Halt):
    """More rows were quarantined than the error budget allows."""

    exit_code = EXIT_PAUSED
    outcome = "Paused"


class Undecided(Halt):
    """Somebody who knows the source has to say something first."""

    exit_code = EXIT_PAUSED
    outcome = "Paused"


class Unreachable(Halt):
    """The source does not answer; it may, if asked again."""

    exit_code = EXIT_TRANSIENT
    outcome = "Unreachable"


class Rejected(Halt):
    """The rows were read, but the numbers or keys do not allow them into the target."""

    exit_code = EXIT_REJECTED
    outcome = "Rejected"


class Terminated(SystemExit):
    """SIGTERM: leave at once; whatever is not committed is done again by somebody else.

    A SystemExit, because psycopg ends a statement in flight on the server before it lets one of those pass.
    """
