"""How far every Implementation and each of its modules is, made anew for each scrape: what is gone leaves no series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class RolloutCollector(Collector):
    """One gauge of value 1 for each Implementation's present phase and each module's present state.

    Only the present one is shown: eight phases and twelve states of a thousand projects would be 68,000 series
    that say nothing.
    """

    def __init__(self) -> None:
        self._phases: dict[tuple[str, str], str] = {}
        self._states: dict[tuple[str, str], Mapping[str, str]] = {}

    def show(self, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        """Take phase and states from a status as it is written."""
        self._phases[namespace, name] = status.get("phase") or "Unknown"
        self._states[namespace, name] = {module["name"]: module["state"] for module in status.get("modules") or ()}

    def forget(self, namespace: str, name: str) -> None:
        """The Implementation is gone."""
        self._phases.pop((namespace, name), None)
        self._states.pop((namespace, name), None)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Prometheus's families, sorted as they were shown first."""
        phases = GaugeMetricFamily(
            "pilotage_implementation_phase",
            "1 for the present phase of each Implementation",
            labels=["namespace", "name", "phase"],
        )
        for (namespace, name), phase in self._phases.items():
            phases.add_metric([namespace, name, phase], 1)
        yield phases
        states = GaugeMetricFamily(
            "pilotage_module_state",
            "1 for the present state of each module",
            labels=["namespace", "implementation", "module", "state"],
        )
        for (namespace, name), modules in self._states.items():
            for module, state in modules.items():
                states.add_metric([namespace, name, module, state], 1)
        yield states
