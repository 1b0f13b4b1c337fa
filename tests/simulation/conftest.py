"""The simulated operator keeps its caches by the simulation's clock, not by the machine's."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pilotage.reconcile import inputs, releases
from tests.support.clock import VirtualClock
from tests.support.simulation import Simulation


@pytest.fixture(autouse=True)
def _virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    present: list[VirtualClock] = []
    original = Simulation.__init__

    def remember(self: Simulation, *arguments: object, **named: object) -> None:
        original(self, *arguments, **named)  # type: ignore[arg-type]
        present[:] = [self.clock]

    monkeypatch.setattr(Simulation, "__init__", remember)
    virtual = SimpleNamespace(monotonic=lambda: present[0].monotonic())  # noqa: PLW0108 (there is none yet)
    monkeypatch.setattr(inputs, "time", virtual)
    monkeypatch.setattr(releases, "time", virtual)
