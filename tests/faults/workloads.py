"""What the operator is made to do while faults strike: each workload has a start, an end, and rules of its own."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from pilotage.api.v1alpha1.common import RETRY_AT
from pilotage.kube.client import Conflict
from pilotage.kube.resources import (
    ACCEPTANCE_CHECKS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    IMPLEMENTATIONS,
    MIGRATION_JOBS,
    SECRETS,
)
from tests.faults.canaries import PASSWORD, TOKEN
from tests.faults.ground import Ground
from tests.faults.kubelet import image_tag

NAME = "erp"
MAX_PARALLEL = 2
SECOND_CHANGE_WITHIN = 60.0


BY_KIND = {found.kind: found for found in (IMPLEMENTATIONS, MIGRATION_JOBS, ACCEPTANCE_CHECKS, CONFIG_MAPS, SECRETS)}


class Customer:
    """One namespace and what people do and see there."""

    def __init__(self, ground: Ground, namespace: str) -> None:
        self.ground, self.namespace = ground, namespace

    async def create(self, body: dict[str, Any]) -> None:
        resource = BY_KIND[body["kind"]]
        await self.ground.cluster.create(
            resource, body | {"metadata": body["metadata"] | {"namespace": self.namespace}}
        )

    async def set_tags(self, **tags: str) -> None:
        """Give modules other images, in one change of the spec."""

        def edit(body: dict[str, Any]) -> None:
            for module in body["spec"]["modules"]:
                if module["name"] in tags:
                    module["values"] = {"tag": tags[module["name"]]}

        await self._change(edit)

    async def retry(self, attempt: str) -> None:
        """Ask that what failed is tried again."""
        await self._change(lambda body: body["metadata"].setdefault("annotations", {}).update({RETRY_AT: attempt}))

    async def _change(self, edit: Callable[[dict[str, Any]], None]) -> None:
        while True:
            body = await self.ground.cluster.get(IMPLEMENTATIONS, self.namespace, NAME)
            edit(body)
            try:
                await self.ground.cluster.replace(IMPLEMENTATIONS, body)
            except Conflict:
                continue
            return

    async def delete(self) -> None:
        body = await self.ground.cluster.get(IMPLEMENTATIONS, self.namespace, NAME)
        await self.ground.cluster.delete(IMPLEMENTATIONS, self.namespace, NAME, uid=body["metadata"]["uid"])

    def implementation(self) -> dict[str, Any] | None:
        return self.ground.history.object(self.namespace, IMPLEMENTATIONS, NAME)

    def condition(self, kind: str) -> dict[str, Any]:
        """The Implementation's condition of that type, if it speaks of the present generation."""
        body = self.implementation() or {"metadata": {}}
        found = (body.get("status") or {}).get("conditions") or []
        return next(
            (
                condition
                for condition in found
                if condition["type"] == kind and condition["observedGeneration"] == body["metadata"].get("generation")
            ),
            {},
        )

    def states(self) -> dict[str, str]:
        status = (self.implementation() or {}).get("status") or {}
        return {module["name"]: module["state"] for module in status.get("modules") or []}

    @property
    def database(self) -> str:
        """The name of this customer's database."""
        return self.namespace.replace("-", "_")

    def tag(self, module: str) -> str:
        body = self.ground.history.object(self.namespace, DEPLOYMENTS, f"{NAME}-{module}")
        return image_tag(body) if body else ""

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until the condition holds; False when it did not in time."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():  # noqa: ASYNC110 (the history is fed by several watches)
                    await asyncio.sleep(0.05)
        except TimeoutError:
            return False
        return True


Step = Callable[[Customer], Awaitable[None]]


async def nothing(_customer: Customer) -> None:
    """Nothing is there before."""


async def nothing_outside(_customer: Customer) -> None:
    """All that it does, it does to the cluster."""


@dataclass(frozen=True)
class Workload:
    """`prepare` runs before faults are armed, and `ready` ends it; `act` after, and `converged` ends that.

    `outside` is what it left outside of the cluster. `abandons` is the tag of an input that is given up on the way.
    """

    name: str
    waves: dict[str, int]
    act: Step
    converged: Callable[[Customer], bool]
    prepare: Step = nothing
    ready: Callable[[Customer], bool] = lambda _customer: True
    outside: Callable[[Customer], Awaitable[Any]] = nothing_outside
    abandons: str = ""


SIX = {"a1": 1, "a2": 1, "a3": 1, "b1": 2, "b2": 2, "c1": 3}
THREE = {"a": 1, "b": 2, "c": 3}


def implementation(waves: dict[str, int], **spec: Any) -> dict[str, Any]:
    modules = [
        {"name": name, "wave": wave, "chart": {"configMapRef": {"name": "chart"}}, "values": {"tag": "v1"}}
        for name, wave in waves.items()
    ]
    return {
        "apiVersion": IMPLEMENTATIONS.api_version,
        "kind": IMPLEMENTATIONS.kind,
        "metadata": {"name": NAME},
        "spec": {
            "customer": {"code": "customer", "name": "Customer"},
            "rollout": {"maxParallel": MAX_PARALLEL},
            "modules": modules,
        }
        | spec,
    }


def check(target: dict[str, str], **metric: Any) -> dict[str, Any]:
    """A gate before `a` may be live, measured once a second."""
    source = {"kubernetes": {"measure": "Availability"}}
    measured = {"name": "available", "source": source, "target": target, "interval": "1s", "minSamples": 2} | metric
    return {
        "apiVersion": ACCEPTANCE_CHECKS.api_version,
        "kind": ACCEPTANCE_CHECKS.kind,
        "metadata": {"name": "gate"},
        "spec": {
            "implementationRef": {"name": NAME},
            "modules": ["a"],
            "gate": "ConfigurationReady",
            "metrics": [measured],
        },
    }


def is_ready(customer: Customer) -> bool:
    return customer.condition("Ready").get("status") == "True" and set(customer.states().values()) == {"Accepted"}


async def install_six(customer: Customer) -> None:
    await customer.create(implementation(SIX))


async def install_three(customer: Customer) -> None:
    await customer.create(implementation(THREE))


async def upgrade(customer: Customer) -> None:
    await customer.set_tags(a="v2", b="v2", c="v2")


def is_upgraded(customer: Customer) -> bool:
    return is_ready(customer) and {customer.tag(module) for module in THREE} == {"v2"}


async def change_twice(customer: Customer) -> None:
    """The second change comes when Helm is at work on the first."""
    await customer.set_tags(a="v2", b="v2", c="v2")
    await customer.until(lambda: customer.tag("a") == "v2", SECOND_CHANGE_WITHIN)
    await customer.set_tags(a="v3", b="v3", c="v3")


def is_changed_twice(customer: Customer) -> bool:
    return is_ready(customer) and {customer.tag(module) for module in THREE} == {"v3"}


async def install_for_rollback(customer: Customer) -> None:
    body = implementation(THREE, rollout={"maxParallel": MAX_PARALLEL, "onFailure": "Rollback"})
    body["spec"]["modules"][1]["timeout"] = "6s"
    await customer.create(body)


async def upgrade_badly(customer: Customer) -> None:
    await customer.set_tags(a="v2", b="bad", c="v2")


def is_rolled_back(customer: Customer) -> bool:
    return customer.states().get("b") == "RolledBack" and customer.condition("Stalled").get("status") == "True"


async def install_for_deletion(customer: Customer) -> None:
    await customer.create(implementation(THREE, deletionPolicy="Uninstall"))


async def delete(customer: Customer) -> None:
    await customer.delete()


async def install_with_gate(customer: Customer) -> None:
    await customer.create(check({"atLeast": "100"}))
    await customer.create(implementation(THREE))


async def install_with_shut_gate(customer: Customer) -> None:
    await customer.create(check({"atLeast": "101"}, onBreach="Fail"))
    await customer.create(implementation(THREE))


def is_held(customer: Customer) -> bool:
    return customer.condition("Stalled").get("reason") == "CheckNotPassed"


CUSTOMERS = 590
DEFECTS = {"two of one code": 6, "unknown tier": 4}


def legacy_customers() -> bytes:
    """A file for eight chunks, with defects of a known number."""
    rows = [f"K{number:05},华升客户{number},{'AB'[number % 2]},{number}.50" for number in range(CUSTOMERS)]
    rows += [f"K{number:05},重复{number},A,1" for number in range(DEFECTS["two of one code"])]
    rows += [f"X{number:05},未知等级{number},Z,1" for number in range(DEFECTS["unknown tier"])]
    return "\r\n".join(["KHBM,KHMC,KHDJ,YE", *rows, ""]).encode("gb18030")


def migration() -> dict[str, Any]:
    fields = [
        {"to": "code", "from": "KHBM", "transform": ["trim"], "required": True},
        {"to": "name", "from": "KHMC", "required": True},
        {"to": "tier", "from": "KHDJ", "map": {"A": "金牌", "B": "银牌"}},
        {"to": "balance", "from": "YE"},
    ]
    customers = {
        "name": "customers", "from": {"file": "customers.csv"}, "to": "party", "key": ["code"], "fields": fields,
        "sourceDuplicates": {"policy": "First"},
    }  # fmt: skip
    return {
        "apiVersion": MIGRATION_JOBS.api_version,
        "kind": MIGRATION_JOBS.kind,
        "metadata": {"name": "customers"},
        "spec": {
            "implementationRef": {"name": NAME},
            "module": "a",
            "source": {"configMap": {"name": "legacy"}, "encoding": "GB18030"},
            "target": {"connection": "erp-db"},
            "parallelism": 2,
            "errorBudget": {"rows": 50},
            "objects": [customers],
        },
    }


async def migrate(customer: Customer) -> None:
    server = await customer.ground.database()
    await asyncio.to_thread(server.query, "postgres", f"create database {customer.database}")
    table = "create table party (id bigserial primary key, code text not null, name text, tier text, balance numeric)"
    await asyncio.to_thread(server.query, customer.database, table)
    address = {"host": "127.0.0.1", "port": str(server.port), "database": customer.database, "username": "postgres"}
    await customer.create(
        {"kind": "Secret", "metadata": {"name": "erp-db"}, "stringData": address | {"password": PASSWORD}}
    )
    await customer.create({"kind": "Secret", "metadata": {"name": "token"}, "stringData": {"token": TOKEN}})
    packed = {"customers.csv": base64.b64encode(legacy_customers()).decode()}
    await customer.create({"kind": "ConfigMap", "metadata": {"name": "legacy"}, "binaryData": packed})
    await customer.create(migration())
    connection = {"name": "erp-db", "type": "postgresql", "secretRef": {"name": "erp-db"}}
    body = implementation({"a": 1, "b": 2}, connections=[connection])
    body["spec"]["modules"][0]["migrations"] = ["customers"]
    secret = {"kind": "Secret", "name": "token", "valuesKey": "token", "targetPath": "token"}
    body["spec"]["modules"][1]["valuesFrom"] = [secret]
    await customer.create(body)


async def rows_and_ledger(customer: Customer) -> dict[str, Any]:
    """Every row of the target, what was quarantined, and how the ledger says that it went."""
    server = await customer.ground.database()
    queries = {
        "rows": "select code, name, tier, balance::text from party order by code, name",
        "quarantine": "select code, count(*) from mig.quarantine group by 1 order by 1",
        "runs": "select state, count(*) from mig.run group by 1",
        "chunks": "select state, count(*) from mig.chunk group by 1",
    }
    found: dict[str, Any] = {}
    for name, text in queries.items():
        try:
            found[name] = await asyncio.to_thread(server.query, customer.database, text)
        except psycopg.errors.UndefinedTable:
            found[name] = []
    return found


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("install", SIX, install_six, is_ready),
        Workload("upgrade", THREE, upgrade, is_upgraded, install_three, is_ready),
        Workload("spec-change", THREE, change_twice, is_changed_twice, install_three, is_ready, abandons="v2"),
        Workload("rollback", THREE, upgrade_badly, is_rolled_back, install_for_rollback, is_ready),
        Workload(
            "deletion",
            THREE,
            delete,
            lambda customer: customer.implementation() is None,
            install_for_deletion,
            is_ready,
        ),
        Workload("gate-passing", THREE, install_with_gate, is_ready),
        Workload("gate-failing", THREE, install_with_shut_gate, is_held),
        Workload("migration", {"a": 1, "b": 2}, migrate, is_ready, outside=rows_and_ledger),
    )
}
