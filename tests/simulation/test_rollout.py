"""Whole rollouts in the simulated world: any order of events, and a crash at every write."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from pilotage.kube.resources import ACCEPTANCE_CHECKS, IMPLEMENTATIONS, MIGRATION_JOBS
from tests.support.builders import a_module
from tests.support.simulation import Simulation

MODULES = (
    a_module("core"),
    a_module("party", "core", mutex="database"),
    a_module("product", "core", mutex="database"),
    a_module("stock", "product"),
    a_module("sale", "party", "product"),
    a_module("purchase", "party"),
)
RELEASES = [f"erp-{module['name']}" for module in MODULES]
ALL_ACCEPTED = {module["name"]: "Accepted" for module in MODULES}


def the_spec(*modules: dict[str, Any], **fields: Any) -> dict[str, Any]:
    customer = {"code": "huasheng", "name": "华升商贸"}
    return {
        "customer": customer,
        "modules": list(modules or MODULES),
        "serviceAccountName": "pilotage-deployer",
        "rollout": {"maxParallel": 2},
        **fields,
    }


def a_migration(module: str) -> dict[str, Any]:
    return {"implementationRef": {"name": "erp"}, "module": module}


def a_check(gate: str, *modules: str) -> dict[str, Any]:
    return {"implementationRef": {"name": "erp"}, "gate": gate} | ({"modules": list(modules)} if modules else {})


OBJECTS = (
    (IMPLEMENTATIONS, "erp", the_spec()),
    (MIGRATION_JOBS, "parties", a_migration("party")),
    (ACCEPTANCE_CHECKS, "smoke", a_check("ConfigurationReady")),
    (ACCEPTANCE_CHECKS, "final", a_check("FinalAccepted", "core", "sale")),
)


async def a_project(simulation: Simulation, objects: Any = OBJECTS, charts: Any = MODULES) -> Simulation:
    await simulation.prepare()
    for module in charts:
        await simulation.chart(module["name"])
    for resource, name, spec in objects:
        await simulation.create(resource, name, spec)
    return simulation


def assert_complete(simulation: Simulation) -> None:
    assert simulation.violations == []
    assert simulation.states() == ALL_ACCEPTED
    assert simulation.status()["phase"] == "Closed"
    assert simulation.condition("Ready") == ("True", "AllModulesLive")
    for release in RELEASES:
        deployed = [found for found in simulation.revisions(release) if found.status == "deployed"]
        assert len(deployed) == 1, release
        inputs = [found.input for found in simulation.revisions(release) if found.status in {"deployed", "superseded"}]
        assert len(inputs) == len(set(inputs)), f"{release} was deployed twice with one input"
    assert [write for write in simulation.world.no_ops if write[0] == "status"] == []


@pytest.mark.parametrize("seed", range(10))
async def test_a_rollout_ends_accepted_whatever_order_events_come_in(seed: int) -> None:
    simulation = await a_project(Simulation(seed))
    await simulation.settle()
    assert_complete(simulation)
    assert [found.revision for release in RELEASES for found in simulation.revisions(release)] == [1] * len(RELEASES)


@pytest.mark.parametrize("order", list(itertools.permutations(range(len(OBJECTS))))[::5])
async def test_the_objects_may_be_applied_in_any_order(order: tuple[int, ...]) -> None:
    modules = list(MODULES)
    modules[1] = {**modules[1], "migrations": ["parties"], "checks": ["smoke"]}
    modules = [modules[0] | {"checks": ["smoke", "final"]}, *modules[1:]]
    simulation = await a_project(Simulation(sum(order)), objects=())
    for index in order:
        resource, name, spec = OBJECTS[index]
        await simulation.create(resource, name, the_spec(*modules) if resource is IMPLEMENTATIONS else spec)
        await simulation.settle(horizon=30.0)
    await simulation.settle()
    assert_complete(simulation)
