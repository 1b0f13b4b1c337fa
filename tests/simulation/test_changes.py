"""What people do to a rollout that is under way or done: upgrades, deletions, suspension, retries."""

from __future__ import annotations

from typing import Any

import pytest

from pilotage.api.v1alpha1.common import FINALIZER, RETRY_AT
from pilotage.kube.resources import ACCEPTANCE_CHECKS, DEPLOYMENTS, IMPLEMENTATIONS, MIGRATION_JOBS, SECRETS
from tests.simulation.test_rollout import ALL_ACCEPTED, MODULES, RELEASES, a_check, a_project, assert_complete, the_spec
from tests.support.simulation import NAMESPACE, Simulation


def chart_of(module: str, chart: str) -> Any:
    def edit(body: dict[str, Any]) -> None:
        found = next(found for found in body["spec"]["modules"] if found["name"] == module)
        found["chart"]["configMapRef"]["name"] = chart

    return edit


def retry(token: str) -> Any:
    return lambda body: body["metadata"].setdefault("annotations", {}).update({RETRY_AT: token})


async def test_a_rollout_that_is_done_writes_nothing_any_more() -> None:
    simulation = await a_project(Simulation(1))
    await simulation.settle()
    done = len(simulation.world.writes)
    await simulation.settle(horizon=7200.0)
    assert simulation.world.writes[done:] == []


async def test_an_operator_that_starts_after_the_rollout_changes_nothing() -> None:
    simulation = await a_project(Simulation(2))
    await simulation.settle()
    done = len(simulation.world.writes)
    simulation.operator = None
    await simulation.settle()
    assert simulation.world.writes[done:] == []


async def test_every_change_in_the_tenants_namespace_is_made_as_the_tenant() -> None:
    simulation = await a_project(Simulation(3))
    before = len(simulation.world.writes)
    await simulation.settle()
    tenant = {w[3] for w in simulation.world.writes[before:] if w[1] == "secrets" or w[:2] == ("apply", "deployments")}
    assert tenant == {f"system:serviceaccount:{NAMESPACE}:pilotage-deployer"}


async def test_a_check_deleted_while_its_module_is_verified_still_holds_it() -> None:
    objects = (
        (IMPLEMENTATIONS, "erp", the_spec()),
        (ACCEPTANCE_CHECKS, "smoke", a_check("ConfigurationReady", "core")),
    )
    simulation = await a_project(Simulation(4), objects)
    simulation.checks_fail.add("smoke")
    await simulation.settle()
    assert simulation.states()["core"] == "Verifying"
    await simulation.delete(ACCEPTANCE_CHECKS, "smoke")
    await simulation.settle()
    assert simulation.states()["core"] == "Verifying"
    assert simulation.modules()[0]["reason"] == "AcceptanceCheckMissing"
    assert simulation.revisions("erp-party") == []
    simulation.checks_fail.clear()
    await simulation.create(ACCEPTANCE_CHECKS, "smoke", a_check("ConfigurationReady", "core"))
    await simulation.settle()
    assert_complete(simulation)


async def test_a_migration_deleted_while_it_holds_its_module_still_holds_it() -> None:
    objects = ((IMPLEMENTATIONS, "erp", the_spec()), (MIGRATION_JOBS, "parties", {**_migration(), "module": "party"}))
    simulation = await a_project(Simulation(5), objects)
    await simulation.settle(until=lambda: simulation.states().get("party") == "Migrating")
    await simulation.delete(MIGRATION_JOBS, "parties")
    await simulation.settle()
    states = simulation.states()
    assert states["party"] == "Migrating"
    assert states["sale"] == "Pending"
    assert simulation.violations == []


def _migration() -> dict[str, Any]:
    return {"implementationRef": {"name": "erp"}}


@pytest.mark.parametrize("written", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("crash_at", range(24))
async def test_an_upgrade_to_a_version_that_never_gets_healthy_is_rolled_back_once(
    crash_at: int, *, written: bool
) -> None:
    simulation = await a_project(
        Simulation(crash_at, crash_after=written, unhealthy=["sale-ill:2.0.0"]),
        ((IMPLEMENTATIONS, "erp", the_spec(rollout={"maxParallel": 2, "onFailure": "Rollback"})),),
    )
    await simulation.settle()
    assert simulation.states() == ALL_ACCEPTED
    good = simulation.revisions("erp-sale")[-1].input
    await simulation.chart("sale-ill", "2.0.0")
    await simulation.change(IMPLEMENTATIONS, "erp", chart_of("sale", "sale-ill"))
    simulation.crash_at = simulation.operator_writes + crash_at if crash_at else 0
    await simulation.settle()
    newest = simulation.revisions("erp-sale")[-1]
    assert simulation.states()["sale"] == "RolledBack"
    assert (newest.status, newest.input, newest.is_rollback) == ("deployed", good, True)
    assert simulation.condition("Stalled") == ("True", "RolledBack")
    image = simulation.world.look(DEPLOYMENTS, NAMESPACE, "erp-sale")["spec"]["template"]["spec"]["containers"][0]
    assert image["image"] == "sale:1.0.0"
    revisions = simulation.revisions("erp-sale")
    assert sum(found.is_rollback and found.status == "deployed" for found in revisions) == 1


async def test_a_new_chart_goes_through_the_gates_again() -> None:
    simulation = await a_project(Simulation(6))
    await simulation.settle()
    await simulation.chart("core-new", "1.1.0")
    await simulation.change(IMPLEMENTATIONS, "erp", chart_of("core", "core-new"))
    await simulation.settle()
    assert_complete(simulation)
    assert [(found.version, found.status) for found in simulation.revisions("erp-core")] == [
        ("1.0.0", "superseded"),
        ("1.1.0", "deployed"),
    ]
    assert len(simulation.revisions("erp-sale")) == 1


async def test_a_failed_module_stops_its_wave_and_a_retry_is_made_once() -> None:
    modules = [*MODULES[:1], {**MODULES[1], "chart": {"configMapRef": {"name": "refused"}}}, *MODULES[2:]]
    simulation = await a_project(Simulation(8), ((IMPLEMENTATIONS, "erp", the_spec(*modules)),))
    await simulation.chart("refused")
    await simulation.settle()
    states = simulation.states()
    assert states["party"] == "Failed"
    assert {states[name] for name in ("stock", "sale", "purchase")} == {"Pending"}
    assert len(simulation.revisions("erp-party")) == 1
    await simulation.change(IMPLEMENTATIONS, "erp", retry("monday"))
    await simulation.settle()
    assert len(simulation.revisions("erp-party")) == 2
    await simulation.change(IMPLEMENTATIONS, "erp", chart_of("party", "party"))
    await simulation.settle()
    assert simulation.states() == ALL_ACCEPTED
    assert simulation.violations == []


async def test_an_action_without_a_record_is_not_repeated_by_itself() -> None:
    modules = [{**MODULES[0], "chart": {"configMapRef": {"name": "broken"}}}, *MODULES[1:]]
    simulation = await a_project(Simulation(9), ((IMPLEMENTATIONS, "erp", the_spec(*modules)),))
    await simulation.chart("broken")
    await simulation.settle()
    assert simulation.states()["core"] == "Failed"
    assert simulation.condition("Stalled") == ("True", "HelmFailed")
    assert simulation.started == []


async def test_a_suspended_rollout_starts_nothing_and_goes_on_when_it_is_resumed() -> None:
    simulation = await a_project(Simulation(10))
    await simulation.settle(until=lambda: "core" in simulation.started)

    def suspend(body: dict[str, Any], *, wanted: bool) -> None:
        body["spec"]["suspend"] = wanted

    await simulation.change(IMPLEMENTATIONS, "erp", lambda body: suspend(body, wanted=True))
    await simulation.settle()
    assert simulation.status()["phase"] == "Suspended"
    assert [release for release in RELEASES if simulation.revisions(release)] == ["erp-core"]
    await simulation.change(IMPLEMENTATIONS, "erp", lambda body: suspend(body, wanted=False))
    await simulation.settle()
    assert_complete(simulation)


@pytest.mark.parametrize("crash_at", [0, *range(1, 40, 3)])
async def test_a_deletion_uninstalls_the_last_wave_first(crash_at: int) -> None:
    simulation = await a_project(
        Simulation(crash_at), ((IMPLEMENTATIONS, "erp", the_spec(deletionPolicy="Uninstall")),)
    )
    await simulation.settle()
    body = simulation.world.look(IMPLEMENTATIONS, NAMESPACE, "erp")
    assert body is not None
    assert body["metadata"]["finalizers"] == [FINALIZER]
    gone: list[str] = []
    simulation.world.subscribe(lambda resource, kind, found: _note(gone, resource, kind, found))
    await simulation.delete(IMPLEMENTATIONS, "erp")
    simulation.crash_at = simulation.operator_writes + crash_at if crash_at else 0
    await simulation.settle()
    assert simulation.world.look(IMPLEMENTATIONS, NAMESPACE, "erp") is None
    assert simulation.world.all(SECRETS) == []
    assert set(gone[:3]) == {"erp-stock", "erp-sale", "erp-purchase"}
    assert gone[-1] == "erp-core"


@pytest.mark.parametrize("crash_at", range(1, 30))
async def test_an_operator_whose_first_lists_are_old_installs_nothing_anew(crash_at: int) -> None:
    simulation = await a_project(
        Simulation(crash_at), ((IMPLEMENTATIONS, "erp", the_spec(deletionPolicy="Uninstall")),)
    )
    await simulation.settle()
    before = len(simulation.told)
    await simulation.delete(IMPLEMENTATIONS, "erp")
    simulation.crash_at = simulation.operator_writes + crash_at
    simulation.lists_end_at = before
    simulation.started.clear()
    await simulation.settle()
    assert simulation.crashes == 1
    assert simulation.started == []
    assert simulation.world.look(IMPLEMENTATIONS, NAMESPACE, "erp") is None
    assert simulation.world.all(SECRETS) == []


@pytest.mark.parametrize("crash_at", [0, *range(1, 40, 3)])
async def test_what_helm_overlooks_when_it_removes_a_release_is_removed_before_its_records(crash_at: int) -> None:
    modules = [{**MODULES[0], "chart": {"configMapRef": {"name": "overlooked"}}}, *MODULES[1:]]
    simulation = await a_project(
        Simulation(crash_at), ((IMPLEMENTATIONS, "erp", the_spec(*modules, deletionPolicy="Uninstall")),)
    )
    await simulation.chart("overlooked")
    await simulation.settle()
    assert simulation.states() == ALL_ACCEPTED
    await simulation.delete(IMPLEMENTATIONS, "erp")
    simulation.crash_at = simulation.operator_writes + crash_at if crash_at else 0
    await simulation.settle()
    assert simulation.world.look(IMPLEMENTATIONS, NAMESPACE, "erp") is None
    assert simulation.world.all(DEPLOYMENTS) == []
    assert simulation.world.all(SECRETS) == []


def _note(gone: list[str], resource: Any, kind: str, body: dict[str, Any]) -> None:
    if resource is DEPLOYMENTS and kind == "DELETED":
        gone.append(body["metadata"]["name"])


async def test_a_deletion_that_orphans_leaves_the_releases_alone() -> None:
    simulation = await a_project(Simulation(11), ((IMPLEMENTATIONS, "erp", the_spec(deletionPolicy="Orphan")),))
    await simulation.settle()
    await simulation.delete(IMPLEMENTATIONS, "erp")
    await simulation.settle()
    assert simulation.world.look(IMPLEMENTATIONS, NAMESPACE, "erp") is None
    assert all(simulation.revisions(release)[-1].status == "deployed" for release in RELEASES)


async def test_without_the_tenants_account_nothing_starts_and_the_way_out_is_said() -> None:
    simulation = Simulation(12)
    for module in MODULES:
        await simulation.chart(module["name"])
    await simulation.create(IMPLEMENTATIONS, "erp", the_spec())
    await simulation.settle()
    assert simulation.condition("Stalled") == ("True", "ServiceAccountMissing")
    assert (
        "kubectl -n huasheng create serviceaccount pilotage-deployer" in simulation.status()["nextActions"][0]["what"]
    )
    assert simulation.started == []
