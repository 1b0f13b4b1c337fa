"""Ask the finished ERP itself, over its own RPC, whether the customer has what was promised."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster.errors import Refusal
from e2e.data.export import Export, make_export, planted
from e2e.data.records import Defect
from e2e.demo.kubectl import Kubectl
from e2e.demo.scene import (
    ADMINISTRATOR_SECRET,
    DATABASE,
    FRONT_PORT,
    FRONT_SERVICE,
    NAMESPACE,
    manifests,
)
from e2e.demo.tryton import Tryton

CUSTOMERS = 20_000
# The area of the ERP whose server knows every module.
LAST_AREA = "sales"
PARTY_CODE = ("code", "like", "91________________")
COUNTED = ("read", "loaded", "kept", "duplicates", "quarantined")


@dataclass(frozen=True)
class Finding:
    """One question to the ERP or to a migration, what was expected and what came back."""

    question: str
    expected: Any
    found: Any

    @property
    def right(self) -> bool:
        return bool(self.expected == self.found)


def verify(kubeconfig: Path) -> list[Finding]:
    """Ask everything and return all findings, right and wrong. Raises Refusal or TrytonError when nobody answers."""
    kubectl = Kubectl(kubeconfig, NAMESPACE)
    export = make_export(CUSTOMERS)
    findings = list(migration_findings(kubectl, planted(export)))
    with kubectl.forwarded(f"service/{FRONT_SERVICE}", FRONT_PORT) as url:
        tryton = Tryton(f"{url}/{LAST_AREA}", DATABASE, "admin", administrator_password(kubectl))
        findings += [
            *party_findings(tryton, export),
            *configuration_findings(tryton),
            *material_findings(tryton, export),
        ]
    return findings


def administrator_password(kubectl: Kubectl) -> str:
    found = kubectl.find("secret", ADMINISTRATOR_SECRET)
    if found is None:
        message = f"There is no Secret {ADMINISTRATOR_SECRET} in {NAMESPACE}: the demo was not prepared here."
        raise Refusal(message)
    return base64.b64decode(found["data"]["password"]).decode()


def migration_findings(kubectl: Kubectl, truth: dict[str, Any]) -> Iterator[Finding]:
    """Counts of every migrated object against those that were planted."""
    for job in json.loads(kubectl.run("get", "migrationjobs.pilotage.dev", "--output=json"))["items"]:
        for counted in job.get("status", {}).get("objects", ()):
            name = counted["name"]
            wanted = {key: truth["expected"][name][key] for key in COUNTED}
            # An absent count is 0: the API leaves nothing else out.
            yield Finding(f"rows of {name}", wanted, {key: counted.get(key, 0) for key in COUNTED})
    names = {found["metadata"]["name"] for found in manifests("migrationjobs.yaml")}
    for name in sorted(names):
        job = kubectl.find("migrationjobs.pilotage.dev", name) or {}
        yield Finding(f"migration {name}", "Succeeded", job.get("status", {}).get("phase"))


def party_findings(tryton: Tryton, export: Export) -> Iterator[Finding]:
    """Customers and suppliers as a user of the ERP finds them."""
    truth: dict[str, Any] = planted(export)
    expected = truth["expected"]
    parties = expected["customers"]["loaded"] + expected["suppliers"]["loaded"]
    inactive = export.parties.customers.planted(Defect.INACTIVE)
    yield Finding("parties in business", parties - inactive, tryton.count("party.party", [PARTY_CODE]))
    closed = tryton.count("party.party", [PARTY_CODE, ("active", "=", False)])
    yield Finding("parties out of business", inactive, closed)
    for sample in truth["samples"]:
        found = tryton.read("party.party", [("code", "=", sample["code"])], ["name"])
        names = [party["name"] for party in found]
        yield Finding(f"party {sample['code']} ({sample['reason']})", [sample["name"]], names)


def configuration_findings(tryton: Tryton) -> Iterator[Finding]:
    """Company, departments and chart of accounts, as the Implementation's config items name them."""
    (implementation,) = manifests("implementation.yaml")
    customer = implementation["spec"]["customer"]["name"]
    companies = tryton.read("company.company", [], ["rec_name"])
    yield Finding("companies", [customer], [company["rec_name"] for company in companies])
    (core,) = (module for module in implementation["spec"]["modules"] if module["name"] == "core")
    (organisation,) = (item["value"] for item in core["config"] if item["key"] == "organisation.departments")
    departments = tryton.read("party.category", [("parent.name", "=", "组织架构")], ["name"])
    wanted = sorted(department["name"] for department in organisation)
    yield Finding("departments", wanted, sorted(department["name"] for department in departments))
    accounts = {"1001": "库存现金", "1002": "银行存款", "1122": "应收账款", "2202": "应付账款", "6001": "主营业务收入"}
    found = tryton.read("account.account", [("code", "in", list(accounts))], ["code", "name"])
    yield Finding("accounts", accounts, {account["code"]: account["name"] for account in found})


def material_findings(tryton: Tryton, export: Export) -> Iterator[Finding]:
    """Products as a buyer finds them, each with its supplier."""
    truth: dict[str, Any] = planted(export)
    expected = truth["expected"]
    products = tryton.count("product.product", [("template.purchasable", "=", True)])
    yield Finding("products", expected["items"]["loaded"], products)
    supplied = tryton.count("purchase.product_supplier", [])
    yield Finding("products with a supplier", expected["supplies"]["loaded"], supplied)


def report(findings: list[Finding]) -> bool:
    """Print each finding on a line; whether all are right."""
    for finding in findings:
        mark = "✓" if finding.right else "✗"
        tail = "" if finding.right else f", expected {finding.expected}"
        print(f"{mark} {finding.question}: {finding.found}{tail}")
    return all(finding.right for finding in findings)
