"""S24: what the operator was seen to do, in the API server's own audit log."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from e2e.cluster.kubeconfig import write_kubeconfig
from e2e.cluster.places import BINARIES, REPOSITORY
from pilotage.kube.resources import CONFIG_MAPS, IMPLEMENTATIONS, NAMESPACES
from pilotage.reconcile.policy import ENFORCED_WITHIN
from tests.attacks.conftest import DEPLOYER, NEIGHBOUR, OPERATOR, TENANT
from tests.attacks.rights import operator_rules
from tests.faults.ground import Ground
from tests.faults.supervisor import Supervisor
from tests.faults.workloads import Customer, check, delete, implementation, is_ready, migrate

pytestmark = [pytest.mark.light, pytest.mark.timeout(300)]

SYSTEM = "pilotage-system"
PATIENCE = 90.0
SIGNED = "signed"
SIGNATORIES = ("wang", "li")
GATES = [
    *({"name": name, "decidedBy": "Automatic"} for name in ("PreliminaryAccepted", "GoLiveApproved")),
    {"name": "StableRunComplete", "decidedBy": "Automatic"},
    {"name": "FinalAccepted", "requires": [{"role": "CustomerLead"}, {"role": "ProjectManager"}]},
]
Event = dict[str, Any]
Right = tuple[str, str, str]
"""Where it holds (the cluster, or the operator's own namespace), resource with its group, verb."""

WATCHED = (
    "acceptancechecks.pilotage.dev", "signoffs.pilotage.dev", "attestations.pilotage.dev", "deployments.apps",
    "statefulsets.apps", "daemonsets.apps", "jobs.batch", "pods",
)  # fmt: skip
NOT_SEEN: Final[dict[Right, str]] = {
    ("cluster", resource, "get"): "asked when a sweep finds what a watch has lost" for resource in WATCHED
}
"""Right and why it may be that no request shows its use."""


@dataclass(frozen=True)
class Witnessed:
    """What the operator asked of the API server under the rules of its chart, the gates signed, and the ledger."""

    requests: list[Event]
    gates: list[dict[str, Any]]
    ledger: list[dict[str, Any]]


@pytest.fixture(scope="module")
def witnessed(tmp_path_factory) -> Witnessed:
    return asyncio.run(watch_it_work(tmp_path_factory.mktemp("audit")))


@pytest.fixture(scope="module")
def audited(witnessed) -> list[Event]:
    return witnessed.requests


async def watch_it_work(folder: Path) -> Witnessed:
    async with Ground(folder, audit=True) as ground:
        await ground.make_namespace(TENANT)
        await ground.cluster.create(NAMESPACES, {"metadata": {"name": NEIGHBOUR}})
        await asyncio.to_thread(install_rights, ground.light.kubeconfig)
        settings = {
            "KUBECONFIG": str(kubeconfig_of_the_operator(ground, folder)),
            "PILOTAGE_LEADER_ELECTION": "true",
            "PILOTAGE_SERVICE_ACCOUNT": "pilotage",
        }
        operator = Supervisor(ground.nursery, SYSTEM, folder, settings)
        await operator.start(ground.upstream.url)
        tenant = Customer(ground, TENANT)
        try:
            await live_a_whole_life(tenant, Customer(ground, NEIGHBOUR), operator)
        except TimeoutError as error:
            raise AssertionError(operator.words()[-4000:]) from error
        finally:
            await operator.stop()
        assert operator.surprises == []
        gates = signed_status(tenant)["gates"]
        ledger = await ground.cluster.list(CONFIG_MAPS, SYSTEM, labels="pilotage.dev/ledger")
        lines = (ground.light.audit_log or folder).read_text().splitlines()
    events = [json.loads(line) for line in lines]
    own = [event for event in events if event["user"]["username"] == OPERATOR]
    return Witnessed(own, gates, list(ledger))


def install_rights(kubeconfig: Path) -> None:
    """The operator's account and all rules of its chart, without the operator."""
    command = [str(BINARIES / "helm"), "template", "pilotage", str(REPOSITORY / "charts/pilotage"), "-n", SYSTEM]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    wanted = [found for found in yaml.safe_load_all(rendered) if found and is_about_rights(found)]
    wanted.insert(0, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    for found in wanted[1:]:
        if found["kind"] in {"ServiceAccount", "Role", "RoleBinding"}:
            found["metadata"]["namespace"] = SYSTEM
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "pilotage-impersonator"}
    wanted += [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "pilotage-impersonator", "namespace": namespace},
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", "name": "pilotage", "namespace": SYSTEM}],
        }
        for namespace in (TENANT, NEIGHBOUR)
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "pilotage-signatory"}
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user} for user in SIGNATORIES]
    metadata = {"name": "signatories", "namespace": TENANT}
    api = "rbac.authorization.k8s.io/v1"
    wanted.append(
        {"apiVersion": api, "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": subjects}
    )
    kubectl(kubeconfig, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump_all(wanted))


def is_about_rights(found: dict[str, Any]) -> bool:
    group = found["apiVersion"].partition("/")[0]
    return found["kind"] == "ServiceAccount" or group in {
        "rbac.authorization.k8s.io", "admissionregistration.k8s.io",
    }  # fmt: skip


def kubeconfig_of_the_operator(ground: Ground, folder: Path) -> Path:
    """Of a client that the API server takes for the operator's account."""
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{SYSTEM}"]
    client = ground.light.authority.client("operator", OPERATOR, groups)
    authority = ground.light.authority.files.certificate
    return write_kubeconfig(folder / "kubeconfig-of-the-operator", ground.upstream.url, authority, client)


def kubectl(kubeconfig: Path, *arguments: str, stdin: str | None = None) -> str:
    command = [str(BINARIES / "kubectl"), f"--kubeconfig={kubeconfig}", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True, timeout=60).stdout


async def live_a_whole_life(tenant: Customer, neighbour: Customer, operator: Supervisor) -> None:
    """Install with migration and gate; be killed; upgrade; meet a namespace without an account; uninstall."""
    await tenant.create(check({"atLeast": "100"}))
    await migrate(tenant)
    await reached(tenant, lambda: is_ready(tenant))
    operator.kill()
    await tenant.set_tags(a="v2")
    await reached(tenant, lambda: tenant.tag("a") == "v2" and is_ready(tenant))
    await sign(tenant)
    await neighbour.create(implementation({"a": 1}, deletionPolicy="Uninstall"))
    await reached(neighbour, lambda: neighbour.condition("Stalled").get("status") == "True")
    await delete(neighbour)
    await delete(tenant)
    await reached(tenant, lambda: tenant.implementation() is None)


async def sign(tenant: Customer) -> None:
    """Take a project whose gates persons decide through its two gates."""
    contacts = [
        {"id": user, "role": role, "name": user, "subject": user}
        for user, role in zip(SIGNATORIES, ("CustomerLead", "ProjectManager"), strict=True)
    ]
    body = implementation({"core": 1}, profile="Strict", contacts=contacts, gates=GATES)
    await tenant.create(body | {"metadata": {"name": SIGNED}})
    enforced = datetime.now(UTC) + ENFORCED_WITHIN + timedelta(seconds=1)
    await reached(tenant, lambda: datetime.now(UTC) > enforced)
    for gate in ("ScopeBaselined", "FinalAccepted"):
        await reached(tenant, lambda gate=gate: state_of(tenant, gate) == "Open")
        for action in list(signed_status(tenant)["nextActions"]):
            await asyncio.to_thread(sign_as_told, tenant.ground.light.kubeconfig, action)
    await reached(tenant, lambda: state_of(tenant, "FinalAccepted") == "Approved")


def sign_as_told(kubeconfig: Path, action: dict[str, Any]) -> None:
    """Type the line that the status shows, as the person whom it names."""
    tools = f'kubectl() {{ "{BINARIES / "kubectl"}" --kubeconfig="{kubeconfig}" --as="{action["who"]}" "$@"; }}\n'
    subprocess.run(["bash", "-ec", tools + action["command"]], check=True, capture_output=True, timeout=60)


def signed_status(tenant: Customer) -> dict[str, Any]:
    found = tenant.ground.history.object(tenant.namespace, IMPLEMENTATIONS, SIGNED) or {}
    return found.get("status") or {}


def state_of(tenant: Customer, gate: str) -> str:
    gates = signed_status(tenant).get("gates") or []
    return next((found["state"] for found in gates if found["name"] == gate), "")


async def reached(customer: Customer, condition: Callable[[], bool]) -> None:
    """Raises TimeoutError when it does not come."""
    if not await customer.until(condition, PATIENCE):
        raise TimeoutError


def rights_of(event: Event) -> Right | None:
    """The right that a request needed, None where everybody has it or where no object is meant."""
    asked = event.get("objectRef")
    if asked is None or asked["resource"].startswith("selfsubject"):
        return None
    resource = "/".join(part for part in (asked["resource"], asked.get("subresource")) if part)
    group = f".{asked['apiGroup']}" if asked.get("apiGroup") else ""
    scope = "its own namespace" if asked.get("namespace") == SYSTEM else "cluster"
    return scope, resource + group, event["verb"]


def own_requests(audited: list[Event]) -> Iterator[Event]:
    return (event for event in audited if "impersonatedUser" not in event)


def test_s24_it_is_refused_nothing_of_what_it_does_as_itself(audited):
    assert [event for event in own_requests(audited) if event["responseStatus"]["code"] == 403] == []


def test_s24_it_uses_every_right_that_it_has_and_no_other(audited):
    granted = {
        (rule.scope, f"{resource}.{group}" if group else resource, verb)
        for rule in operator_rules()
        for group in rule.groups
        for resource in rule.resources
        for verb in rule.verbs
    }
    used = {right for event in own_requests(audited) if (right := rights_of(event))}
    assert used - granted == set()
    assert granted - used <= set(NOT_SEEN) <= granted


def test_s24_in_a_customers_namespace_it_acts_as_the_account_of_that_namespace(audited):
    acted_as = {
        (event["impersonatedUser"]["username"], event["objectRef"]["namespace"])
        for event in audited
        if "impersonatedUser" in event and "namespace" in event.get("objectRef", {})
    }
    assert (DEPLOYER, TENANT) in acted_as
    assert {user for user, _ in acted_as} == {
        f"system:serviceaccount:{namespace}:pilotage-deployer" for _, namespace in acted_as
    }


def test_s40_what_persons_typed_as_the_status_told_them_is_verified_and_opens_the_gates_of_a_strict_project(witnessed):
    decisions = [decision for gate in witnessed.gates for decision in gate["decisions"]]
    assert {gate["name"]: gate["state"] for gate in witnessed.gates} == {
        "ScopeBaselined": "Approved",
        "FinalAccepted": "Approved",
    }
    assert {(found["by"], found["trust"]) for found in decisions} == {(user, "Verified") for user in SIGNATORIES}
    written = [json.loads(text) for page in witnessed.ledger for text in page["data"].values()]
    assert {entry["name"] for entry in written} == {found["signOff"] for found in decisions}
    assert {entry["trust"] for entry in written} == {"Verified"}
