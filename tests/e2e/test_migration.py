from __future__ import annotations

import base64
from typing import Any

import pytest

from e2e.demo.scene import manifests
from tests.e2e.customer import Customer, a_module

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(600)]

PASSWORD = "probe-only"
TABLE = "create table party (id bigserial primary key, code text not null unique, name text not null, balance numeric)"
GOOD = [f"K{number:03d},客户{number},{number}.50" for number in range(1, 101)]
BAD = ["K900,,1.00", "K901,,1.00", "K902,坏数,十元"]


@pytest.fixture
def customer_with_database(customer: Customer) -> Customer:
    connection = {"host": "postgresql", "port": "5432", "database": "erp", "username": "erp", "password": PASSWORD}
    server = [
        body | {"metadata": body["metadata"] | {"namespace": customer.namespace}} for body in manifests("database.yaml")
    ]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": named(customer, "erp-db"), "stringData": connection}
    customer.kubectl.apply([secret, *server])
    customer.kubectl.run("rollout", "status", "statefulset/postgresql", "--timeout=180s")
    query(customer, TABLE)
    return customer


def named(customer: Customer, name: str) -> dict[str, str]:
    return {"name": name, "namespace": customer.namespace}


def query(customer: Customer, text: str) -> str:
    password = ("env", f"PGPASSWORD={PASSWORD}")
    program = ("psql", "--host=127.0.0.1", "--username=erp", "--dbname=erp", "--no-align", "--tuples-only")
    return customer.kubectl.run("exec", "postgresql-0", "--", *password, *program, f"--command={text}").strip()


def put_source(customer: Customer, rows: list[str]) -> None:
    text = "\n".join(["KHBM,KHMC,YE", *rows, ""]).encode("gb18030")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": named(customer, "legacy")}
    customer.kubectl.apply([body | {"binaryData": {"customers.csv": base64.b64encode(text).decode()}}])


def migration(customer: Customer, **changes: Any) -> dict[str, Any]:
    fields = [
        {"to": "code", "from": "KHBM", "transform": ["trim"], "required": True},
        {"to": "name", "from": "KHMC", "transform": ["trim"], "required": True},
        {"to": "balance", "from": "YE"},
    ]
    spec = {
        "implementationRef": {"name": "erp"},
        "module": "core",
        "source": {"configMap": {"name": "legacy"}, "encoding": "GB18030"},
        "target": {"connection": "erp-db", "schema": "public"},
        "errorBudget": {"rows": 2},
        "objects": [
            {"name": "customers", "from": {"file": "customers.csv"}, "to": "party", "key": ["code"], "fields": fields}
        ],
    }
    return {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "MigrationJob",
        "metadata": named(customer, "customers"),
        "spec": spec | changes,
    }


def connections() -> list[dict[str, Any]]:
    return [{"name": "erp-db", "type": "postgresql", "secretRef": {"name": "erp-db"}}]


def test_a_migration_over_its_budget_loads_nothing_and_a_mended_source_ends_well(
    customer_with_database: Customer,
) -> None:
    customer = customer_with_database
    put_source(customer, [*GOOD, *BAD])
    customer.kubectl.apply([migration(customer)])
    customer.implementation(
        a_module("core", migrations=["customers"]), a_module("sales", "core"), connections=connections()
    )
    customer.wait("the migration pauses", lambda: customer.status("migrationjob", "customers").get("phase") == "Paused")
    assert query(customer, "select count(*) from party") == "0"
    customer.wait("the wave is held", lambda: customer.condition("Stalled").get("reason") == "MigrationNotSucceeded")
    assert customer.states() == {"core": "Migrating", "sales": "Pending"}
    assert "erp-sales" not in customer.releases()
    put_source(customer, [*GOOD, BAD[0]])
    customer.kubectl.run("annotate", "migrationjob", "customers", "pilotage.dev/retry-at=mended")
    customer.wait("all is well", lambda: customer.states() == {"core": "Accepted", "sales": "Accepted"})
    counts = customer.status("migrationjob", "customers")["counts"]
    assert (counts["read"], counts["loaded"], counts["quarantined"], counts["balanced"]) == (101, 100, 1, True)
    assert (
        query(customer, "select count(*), sum(balance)::numeric(12, 2), max(name) from party") == "100|5100.00|客户99"
    )
    assert query(customer, "select count(*) from mig.quarantine where length(src_raw) > 0") != "0"


def test_the_operator_killed_in_migrating_loads_every_row_once(customer_with_database: Customer) -> None:
    customer = customer_with_database
    put_source(customer, [*GOOD, BAD[0]])
    customer.kubectl.apply([migration(customer)])
    with customer.watched_states("core") as seen:
        customer.implementation(
            a_module("core", migrations=["customers"]), a_module("sales", "core"), connections=connections()
        )
        assert any(line == "Migrating" for line in seen), "the state Migrating was never reported"
    customer.kill_operator()
    customer.wait("all is well", lambda: customer.states() == {"core": "Accepted", "sales": "Accepted"})
    assert customer.releases() == {"erp-core": [(1, "deployed")], "erp-sales": [(1, "deployed")]}
    assert (
        query(customer, "select count(*), count(distinct code), sum(balance)::numeric(12, 2) from party")
        == "100|100|5100.00"
    )
    assert query(customer, "select count(*), count(distinct src_offset) from mig.quarantine") == "1|1"
    assert query(customer, "select count(*), min(state) from mig.run") == "1|succeeded"


def test_a_missing_database_secret_stops_everything_before_anything_is_touched(customer: Customer) -> None:
    customer.implementation(a_module("core"), connections=connections())
    customer.wait("stalled", lambda: customer.condition("Stalled").get("reason") == "PreflightFailed")
    assert "Secret erp-db" in customer.condition("Stalled")["message"]
    assert customer.releases() == {}
