"""A clock that only the test moves."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.support.builders import NOW


class VirtualClock:
    """Wall clock and monotonic clock of the simulated world in one."""

    def __init__(self, start: datetime = NOW) -> None:
        self._start = start
        self.elapsed = 0.0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return 1000.0 + self.elapsed

    def advance(self, seconds: float) -> None:
        self.elapsed += seconds
