from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e.cluster import embedded
from tests.e2e.customer import Customer, a_module

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(600)]


def test_two_waves_become_accepted_and_the_tenant_s_account_is_behind_every_change(customer: Customer) -> None:
    for gate in ("ConfigurationReady", "StableRunComplete", "FinalAccepted"):
        customer.kubectl.apply([customer.check(f"check-{gate.lower()}", gate)])
    customer.implementation(a_module("core"), a_module("finance", "core"))
    customer.wait("phase Closed", lambda: customer.status().get("phase") == "Closed")
    assert customer.states() == {"core": "Accepted", "finance": "Accepted"}
    assert customer.condition("Ready")["status"] == "True"
    assert customer.releases() == {"erp-core": [(1, "deployed")], "erp-finance": [(1, "deployed")]}
    actors = changes_by_operator(embedded.audit_log(), customer.namespace)
    tenant = f"system:serviceaccount:{customer.namespace}:pilotage-deployer"
    assert ("secrets", tenant) in actors
    own = {resource for resource, actor in actors if actor != tenant}
    assert own <= {"implementations", "acceptancechecks", "migrationjobs", "events"}, actors


def changes_by_operator(audit_log: Path, namespace: str) -> set[tuple[str, str]]:
    """Resource and acting account of every change that the operator's account asked for in the namespace."""
    found = set()
    with audit_log.open() as lines:
        for line in lines:
            if f'"namespace":"{namespace}"' not in line or "pilotage-system:pilotage" not in line:
                continue
            event = json.loads(line)
            if event["verb"] not in {"get", "list", "watch"}:
                acting = (event.get("impersonatedUser") or event["user"])["username"]
                found.add((event["objectRef"]["resource"], acting))
    return found


def test_an_image_that_does_not_exist_fails_with_the_pods_reason(customer: Customer) -> None:
    customer.implementation(
        a_module("core", values={"image": "localhost/nowhere/missing:1"}, timeout="15s"), a_module("finance", "core")
    )
    customer.wait_states(core="Failed")
    assert "image" in customer.condition("Stalled")["message"]
    assert customer.states()["finance"] == "Pending"
    assert "erp-finance" not in customer.releases()


def test_a_check_that_never_passes_holds_its_wave_and_is_named(customer: Customer) -> None:
    impossible = customer.check("never", "ConfigurationReady", modules=["core"])
    impossible["spec"]["metrics"][0]["target"] = {"atLeast": "101"}
    customer.kubectl.apply([impossible])
    customer.implementation(a_module("core", checks=["never"]), a_module("finance", "core"))
    customer.wait("the check is named", lambda: "never" in customer.condition("Ready").get("message", ""))
    customer.wait_states(core="Verifying", finance="Pending")
    assert "erp-finance" not in customer.releases()


def test_a_check_applied_late_is_waited_for_and_one_deleted_still_holds(customer: Customer) -> None:
    customer.implementation(a_module("core", checks=["late"]))
    customer.wait("missing", lambda: customer.condition("Ready").get("reason") == "AcceptanceCheckMissing")
    assert customer.states() == {"core": "Verifying"}
    holding = customer.check("unlisted", "ConfigurationReady")
    holding["spec"]["metrics"][0]["target"] = {"atLeast": "101"}
    customer.kubectl.apply([holding, customer.check("late", "ConfigurationReady")])
    customer.wait("held", lambda: "unlisted" in customer.condition("Ready").get("message", ""))
    customer.kubectl.run("delete", "acceptancecheck", "unlisted")
    customer.wait("missing", lambda: customer.condition("Ready").get("reason") == "AcceptanceCheckMissing")
    assert customer.states() == {"core": "Verifying"}


def test_a_bad_upgrade_of_one_module_is_rolled_back_and_the_others_are_untouched(customer: Customer) -> None:
    modules = [a_module("core"), a_module("finance", "core")]
    customer.implementation(*modules, rollout={"onFailure": "Rollback"})
    customer.wait_states(core="Accepted", finance="Accepted")
    modules[1] |= {"values": {"image": "localhost/nowhere/missing:2"}, "timeout": "15s"}
    customer.implementation(*modules, rollout={"onFailure": "Rollback"})
    customer.wait_states(finance="RolledBack", core="Accepted")
    releases = customer.releases()
    assert releases["erp-core"] == [(1, "deployed")]
    assert releases["erp-finance"] == [(1, "superseded"), (2, "superseded"), (3, "deployed")]
    modules[1] = a_module("finance", "core", values={"note": "mended"})
    customer.implementation(*modules, rollout={"onFailure": "Rollback"})
    customer.wait_states(finance="Accepted")


def test_the_api_server_restarted_in_mid_rollout_changes_nothing_in_the_end(customer: Customer) -> None:
    customer.implementation(a_module("core"), a_module("finance", "core"), a_module("sales", "finance"))
    customer.wait("core acts", lambda: customer.states().get("core") not in {None, "Pending"})
    embedded.kill_part("kube-apiserver")
    embedded.restart_part("kube-apiserver")
    customer.wait_states(core="Accepted", finance="Accepted", sales="Accepted")
    assert all([status for _, status in revisions].count("deployed") == 1 for revisions in customer.releases().values())


def test_deletion_uninstalls_in_reverse_order_when_the_policy_says_so(customer: Customer) -> None:
    customer.implementation(a_module("core"), a_module("finance", "core"), deletionPolicy="Uninstall")
    customer.wait_states(core="Accepted", finance="Accepted")
    customer.kubectl.run("delete", "implementation", "erp", "--wait=false")
    order: list[str] = []

    def gone() -> bool:
        ended = customer.kubectl.find("implementation", "erp") is None
        there = set(customer.releases())
        order.extend(name for name in ("erp-finance", "erp-core") if name not in there and name not in order)
        return ended

    customer.wait("the Implementation is gone", gone)
    assert customer.releases() == {}
    assert order == ["erp-finance", "erp-core"]


def test_deletion_keeps_the_releases_by_default_and_a_namespace_never_hangs(customer: Customer) -> None:
    customer.implementation(a_module("core"))
    customer.wait_states(core="Accepted")
    customer.kubectl.run("delete", "implementation", "erp", "--timeout=30s")
    assert customer.releases() == {"erp-core": [(1, "deployed")]}
    customer.implementation(a_module("core"), deletionPolicy="Uninstall")
    customer.wait_states(core="Accepted")
    assert customer.releases() == {"erp-core": [(1, "deployed")]}, "the release that was there is taken over as it is"
    customer.tear_down()
    customer.wait("the namespace is gone", lambda: customer.kubectl.find("namespace", customer.namespace) is None, 90)


STATES = ("Configuring", "Verifying", "Prepared", "CuttingOver", "Live", "Stable")


@pytest.mark.parametrize("state", STATES)
def test_the_operator_killed_in_a_state_ends_where_it_would_have_ended(customer: Customer, state: str) -> None:
    for gate in ("ConfigurationReady", "StableRunComplete", "FinalAccepted"):
        customer.kubectl.apply([customer.check(f"check-{gate.lower()}", gate)])
    with customer.watched_states("core") as seen:
        customer.implementation(a_module("core"), a_module("finance", "core"))
        assert any(line == state for line in seen), f"the state {state} was never reported"
    customer.kill_operator()
    customer.wait("phase Closed", lambda: customer.status().get("phase") == "Closed", 240)
    assert customer.releases() == {"erp-core": [(1, "deployed")], "erp-finance": [(1, "deployed")]}
