"""Two customers' projects and one slot: never both are cut over at once, whoever dies when, and both go live."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pilotage.kube.resources import IMPLEMENTATIONS, Resource
from pilotage.kube.store import Key
from pilotage.reconcile.settings import Settings
from tests.simulation.test_rollout import the_spec
from tests.support.builders import a_module
from tests.support.simulation import NAMESPACE, SimulatedOperator, Simulation

LONGEST = 120


class Slots:
    """Sees every status that is stored, and remembers how many projects were cut over at once."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.most = 0
        self.order: list[str] = []
        simulation.world.subscribe(self._see)

    def _see(self, resource: Resource, _kind: str, body: dict[str, Any]) -> None:
        if resource is not IMPLEMENTATIONS:
            return
        begun = [found["metadata"]["name"] for found in self.simulation.world.all(IMPLEMENTATIONS) if cutting(found)]
        self.most = max(self.most, len(begun))
        if cutting(body) and body["metadata"]["name"] not in self.order:
            self.order.append(body["metadata"]["name"])


def look(simulation: Simulation, name: str) -> dict[str, Any]:
    return simulation.world.look(IMPLEMENTATIONS, NAMESPACE, name) or {}


def cutting(body: dict[str, Any]) -> bool:
    modules = (body.get("status") or {}).get("modules") or []
    return any(module["state"] == "CuttingOver" for module in modules)


def installed(simulation: Simulation, name: str) -> bool:
    modules = (look(simulation, name).get("status") or {}).get("modules") or [{"state": "Pending"}]
    return all(module["state"] not in {"Pending", "Configuring"} for module in modules)


def live(simulation: Simulation, name: str) -> bool:
    return bool((look(simulation, name).get("status") or {}).get("phase") == "Closed")


@pytest.fixture(autouse=True)
def one_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.simulation.Settings", lambda: replace(Settings(), max_concurrent_cutovers=1))


async def two_customers(simulation: Simulation, **priorities: int) -> Slots:
    await simulation.prepare()
    for name in ("erp", "crm"):
        await simulation.chart(f"{name}-core")
        module = a_module("core", chart={"configMapRef": {"name": f"{name}-core"}})
        await simulation.create(IMPLEMENTATIONS, name, the_spec(module, priority=priorities.get(name, 50)))
    return Slots(simulation)


@pytest.mark.parametrize("seed", range(20))
async def test_two_projects_take_one_slot_one_after_the_other(seed: int) -> None:
    simulation = Simulation(seed)
    slots = await two_customers(simulation)
    await simulation.settle(horizon=60.0)
    assert (slots.most, sorted(slots.order)) == (1, ["crm", "erp"])
    assert live(simulation, "erp")
    assert live(simulation, "crm")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("written", [False, True], ids=["before the write", "after the write"])
async def test_a_crash_at_any_write_lets_neither_two_begin_nor_one_wait_for_ever(*, written: bool) -> None:
    for number in range(1, LONGEST):
        simulation = Simulation(number, crash_at=number, crash_after=written)
        slots = await two_customers(simulation)
        await simulation.settle(horizon=60.0)
        assert slots.most == 1, number
        assert live(simulation, "erp"), number
        assert live(simulation, "crm"), number
        if not simulation.crashes:
            assert number > simulation.operator_writes
            return
    pytest.fail(f"two projects of one module took more than {LONGEST} writes")


async def test_an_old_leader_that_has_not_heard_of_the_other_cutover_begins_no_second_one() -> None:
    told = 0
    for seed in range(10):
        simulation = Simulation(seed)
        slots = await two_customers(simulation, erp=100)
        before = SimulatedOperator(simulation.world, simulation.clock)
        before.die()

        def one_has_begun(simulation: Simulation = simulation, slots: Slots = slots) -> bool:
            return slots.order == ["erp"] and cutting(look(simulation, "erp")) and installed(simulation, "crm")

        await simulation.settle(until=one_has_begun, horizon=60.0)
        if not one_has_begun():
            continue
        told += 1
        for _ in range(10):
            # Of the project that it works on the old leader has heard; of the one that has begun it has not.
            before.store.observe(IMPLEMENTATIONS, "MODIFIED", look(simulation, "crm"))
            before.wake(Key(IMPLEMENTATIONS.plural, NAMESPACE, "crm"))
            await before.reconcile(Key(IMPLEMENTATIONS.plural, NAMESPACE, "crm"))
        assert cutting(look(simulation, "erp"))
        assert slots.most == 1
        await simulation.settle(horizon=60.0)
        assert (slots.most, slots.order) == (1, ["erp", "crm"])
    assert told >= 3
