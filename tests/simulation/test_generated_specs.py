"""A spec changed in any field leads where a fresh project of that spec leads, and changed back it is as before."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from e2e.cluster.places import REPOSITORY
from pilotage.api.v1alpha1.implementation import ImplementationSpec
from pilotage.kube.resources import ACCEPTANCE_CHECKS, CONFIG_MAPS, IMPLEMENTATIONS, MIGRATION_JOBS
from tests.simulation.test_rollout import a_check, a_migration, the_spec
from tests.support.builders import a_module
from tests.support.mutations import Mutation, mutations
from tests.support.simulation import NAMESPACE, Simulation

SHARDS = 12
LEAST = 300
HORIZON = 60.0
BASE = the_spec(
    a_module(
        "core",
        title="基础平台",
        values={"size": 1},
        valuesFrom=[{"kind": "ConfigMap", "name": "site"}],
        config=[{"key": "company.code", "value": "a", "enum": ["a", "b"], "type": "String", "title": "代码"}],
        outputs=[{"name": "url", "value": "http://core"}],
        migrations=["parties"],
        checks=["smoke"],
        mutex="database",
        timeout="10m",
    ),
    a_module("sale", "core", mutex="database"),
    environment={"expects": {"kubernetes": ">=1.30", "cpu": "1", "memory": "1Gi"}},
    values={"company": "华升"},
    rollout={"maxParallel": 2, "onFailure": "Stop"},
    deletionPolicy="Orphan",
)
OBJECTS = (
    (MIGRATION_JOBS, "parties", a_migration("core")),
    (ACCEPTANCE_CHECKS, "smoke", a_check("ConfigurationReady")),
)


def schema() -> Mapping[str, Any]:
    document = yaml.safe_load((REPOSITORY / "crds" / "pilotage.dev_implementations.yaml").read_text())
    found: Mapping[str, Any] = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


def changes() -> Iterator[Mutation]:
    """Those that the operator gets to see. The API server refuses some of them too, by rules across fields."""
    for change in mutations(schema(), BASE):
        try:
            ImplementationSpec.model_validate(change.of(BASE))
        except ValidationError:
            continue
        yield change


async def a_settled_project(spec: Mapping[str, Any]) -> Simulation:
    simulation = Simulation(zlib.crc32(repr(spec).encode()))
    await simulation.prepare()
    for name in ("core", "sale"):
        await simulation.chart(name)
    site = {"metadata": {"name": "site", "namespace": NAMESPACE}, "data": {"values.yaml": "site: Shanghai"}}
    await simulation.world.create(CONFIG_MAPS, site)
    for resource, name, body in OBJECTS:
        await simulation.create(resource, name, body)
    await simulation.create(IMPLEMENTATIONS, "erp", dict(spec))
    await simulation.settle(horizon=HORIZON)
    return simulation


async def change_to(simulation: Simulation, spec: Mapping[str, Any]) -> None:
    def edit(body: dict[str, Any]) -> None:
        body["spec"] = dict(spec)

    await simulation.change(IMPLEMENTATIONS, "erp", edit)
    await simulation.settle(horizon=HORIZON)


def outcome(simulation: Simulation) -> dict[str, Any]:
    """What people see in the end: the conditions' reasons, and where every module and its release stand."""
    status = simulation.status()
    modules = {}
    for module in simulation.modules():
        release = (module.get("release") or {}).get("name", f"erp-{module['name']}")
        newest = simulation.revisions(release)[-1:]
        modules[module["name"]] = {
            **{field: module.get(field) for field in ("state", "reason", "wave", "desiredInput")},
            "release": [(found.status, found.input, found.version) for found in newest],
        }
    conditions = {found["type"]: (found["status"], found["reason"]) for found in status["conditions"]}
    return {"phase": status["phase"], "conditions": conditions, "modules": modules}


def test_enough_changes_are_tried() -> None:
    assert 2 * len(list(changes())) >= LEAST


@pytest.mark.timeout(300)
@pytest.mark.parametrize("shard", range(SHARDS))
async def test_a_chain_of_changed_fields_leads_where_fresh_projects_lead_and_each_time_back(shard: int) -> None:
    simulation = await a_settled_project(BASE)
    before = outcome(simulation)
    assert before["phase"] == "Closed"
    for change in list(changes())[shard::SHARDS]:
        wanted = change.of(BASE)
        await change_to(simulation, wanted)
        found, fresh = outcome(simulation), outcome(await a_settled_project(wanted))
        if fresh["phase"] == "Closed":
            assert found == fresh, str(change)
        else:
            # What runs goes on running under a spec that cannot be followed, and a gate that was passed stays passed;
            # what is wrong is said alike.
            assert found["conditions"].get("Stalled") == fresh["conditions"].get("Stalled"), str(change)
        assert simulation.violations == [], str(change)
        await change_to(simulation, BASE)
        assert outcome(simulation) == before, str(change)
