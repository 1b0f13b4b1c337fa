"""Gates that persons decide, in the simulated world: any order of events, and a crash at every write."""

from __future__ import annotations

from typing import Any

import pytest

from pilotage.api.v1alpha1.implementation import ImplementationSpec
from pilotage.api.v1alpha1.signoff import SignOffDecision
from pilotage.cli.decision import find_gate, signer
from pilotage.kube.resources import ATTESTATIONS, IMPLEMENTATIONS, SIGN_OFFS
from pilotage.plan.sign_off import Words, sign_off
from tests.simulation.test_rollout import MODULES, a_project, the_spec
from tests.support.simulation import NAMESPACE, Simulation

PEOPLE = [
    {"id": "wang", "role": "CustomerLead", "name": "王强"},
    {"id": "li", "role": "ProjectManager", "name": "李敏"},
    {"id": "zhao", "role": "Operations", "name": "赵云"},
]
THE_SPEC = the_spec(profile="Standard", contacts=PEOPLE)
ROLES = {person["role"]: person["id"] for person in PEOPLE}


def open_gates(simulation: Simulation) -> list[dict[str, Any]]:
    return [gate for gate in simulation.status()["gates"] if gate["state"] in {"Open", "Stale", "Expired"}]


async def sign(simulation: Simulation, gate: dict[str, Any]) -> None:
    """Every party that is still missing approves what the status shows."""
    for role in gate["missing"]:
        place = {key: gate[key] for key in ("wave", "module") if key in gate}
        spec = {
            "implementationRef": {"name": "erp"},
            "gate": gate["name"],
            "decision": "Approve",
            "digest": gate["digest"][7:19],
            "by": ROLES[role],
            "recordedBy": ROLES[role],
            **place,
        }
        name = "-".join([gate["name"].lower(), *map(str, place.values()), ROLES[role], gate["digest"][7:15]])
        await simulation.create(SIGN_OFFS, name, spec)


async def sign_everything(simulation: Simulation) -> list[str]:
    """The gates that were signed, in order, until none is open."""
    signed = []
    for _ in range(20):
        await simulation.settle(horizon=30.0)
        if not open_gates(simulation):
            return signed
        gate = open_gates(simulation)[0]
        signed.append(f"{gate['name']} {gate.get('wave', '')}".strip())
        await sign(simulation, gate)
    return signed


WAVES = ["GoLiveApproved 1", "GoLiveApproved 2", "GoLiveApproved 3"]


@pytest.mark.parametrize("seed", range(4))
async def test_a_project_stops_at_every_gate_and_ends_accepted_once_all_are_signed(seed: int) -> None:
    simulation = await a_project(Simulation(seed), objects=[(IMPLEMENTATIONS, "erp", THE_SPEC)])
    signed = await sign_everything(simulation)
    assert signed == ["ScopeBaselined", *WAVES, "FinalAccepted"]
    assert simulation.violations == []
    assert set(simulation.states().values()) == {"Accepted"}
    assert simulation.status()["phase"] == "Closed"
    assert [write for write in simulation.world.no_ops if write[0] == "status"] == []


@pytest.mark.parametrize("crash_at", range(1, 60, 7))
async def test_a_crash_at_any_write_neither_loses_a_decision_nor_asks_twice(crash_at: int) -> None:
    simulation = Simulation(crash_at, crash_at=crash_at, crash_after=bool(crash_at % 2))
    await a_project(simulation, objects=[(IMPLEMENTATIONS, "erp", THE_SPEC)])
    assert await sign_everything(simulation) == ["ScopeBaselined", *WAVES, "FinalAccepted"]
    assert set(simulation.states().values()) == {"Accepted"}


async def test_what_the_command_line_records_carries_a_project_to_its_end() -> None:
    """Each party by itself, and no gate, digest or contact named."""
    people = [person | {"subject": f"{person['id']}@example"} for person in PEOPLE]
    spec = the_spec(profile="Standard", contacts=people)
    simulation = await a_project(Simulation(3), objects=[(IMPLEMENTATIONS, "erp", spec)])
    for turn in range(20):
        await simulation.settle(horizon=30.0)
        if not open_gates(simulation):
            break
        for role in open_gates(simulation)[0]["missing"]:
            body = await simulation.world.get(IMPLEMENTATIONS, NAMESPACE, "erp")
            user = f"{ROLES[role]}@example"
            gate = find_gate(body, None, None, None)
            contact = signer(ImplementationSpec.model_validate(body["spec"]), gate, user, None)
            made = sign_off(body, gate, contact.id, user, SignOffDecision.APPROVE, Words())
            await simulation.create(SIGN_OFFS, f"erp-{turn}-{contact.id}", made["spec"])
    assert set(simulation.states().values()) == {"Accepted"}


@pytest.mark.parametrize("crash_at", [None, 9, 14, 22, 31])
async def test_modules_wait_for_what_people_attest_and_go_on_when_they_did(crash_at: int | None) -> None:
    training = {"roles": [{"role": "clerk", "audience": 4}]}
    spec = the_spec(MODULES[0], contacts=PEOPLE, training=training)
    simulation = Simulation(5, crash_at=crash_at)
    await a_project(simulation, objects=[(IMPLEMENTATIONS, "erp", spec)])
    await simulation.settle(horizon=30.0)
    assert set(simulation.states().values()) == {"Prepared"}
    assert simulation.status()["phase"] == "Training"
    stated = {
        "implementationRef": {"name": "erp"},
        "type": "Training",
        "role": "clerk",
        "by": "wang",
        "recordedBy": "wang",
    }
    await simulation.create(ATTESTATIONS, "three", {**stated, "result": {"completed": 4, "passed": 3}})
    await simulation.settle(horizon=30.0)
    assert simulation.status()["training"][0]["passed"] == 3
    assert set(simulation.states().values()) == {"Prepared"}
    await simulation.create(ATTESTATIONS, "four", {**stated, "result": {"completed": 4, "passed": 4}})
    await simulation.settle(horizon=30.0)
    assert set(simulation.states().values()) == {"Accepted"}


async def test_nothing_is_installed_while_the_scope_is_not_signed() -> None:
    simulation = await a_project(Simulation(1), objects=[(IMPLEMENTATIONS, "erp", THE_SPEC)])
    await simulation.settle()
    assert set(simulation.states().values()) == {"Pending"}
    assert simulation.revisions("erp-core") == []
    assert simulation.status()["phase"] == "Requirements"


async def test_an_implementation_that_is_made_anew_under_the_same_name_asks_again() -> None:
    only = the_spec(MODULES[0], profile="Standard", contacts=PEOPLE)
    simulation = await a_project(Simulation(2), objects=[(IMPLEMENTATIONS, "erp", only)], charts=MODULES[:1])
    await sign_everything(simulation)
    await simulation.delete(IMPLEMENTATIONS, "erp")
    await simulation.settle(horizon=30.0)
    await simulation.create(IMPLEMENTATIONS, "erp", only)
    await simulation.settle(horizon=30.0)
    assert {gate["state"] for gate in simulation.status()["gates"]} & {"Approved", "Waived"} == set()
