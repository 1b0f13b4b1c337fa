"""The company and its departments (组织架构) in Tryton.

Tryton has no kind of its own for a department. A department is a party category below 组织架构; whoever leads it is an
employee of the company, and answers to the general manager.
"""

from decimal import Decimal
from typing import Any

ROOT = "组织架构"


def write_organisation(pool: Any, administrator: Any, organisation: dict[str, Any]) -> None:
    """organisation: {company, code, currency, timezone, manager, departments: [{name, head}]}"""
    currency = ensure_currency(pool, organisation.get("currency", "CNY"))
    company = ensure_company(pool, organisation, currency)
    categories = pool.get("party.category")
    root = ensure(categories, name=ROOT, parent=None)
    manager = None
    if organisation.get("manager"):
        manager = ensure_employee(pool, company, organisation["manager"], root, None)
    for department in organisation.get("departments", []):
        category = ensure(categories, name=department["name"], parent=root)
        if department.get("head"):
            ensure_employee(pool, company, department["head"], category, manager)
    if company not in administrator.companies:
        administrator.companies = [*administrator.companies, company]
        administrator.company = company
        administrator.save()


def ensure_currency(pool: Any, code: str) -> Any:
    currencies = pool.get("currency.currency")
    found = currencies.search([("code", "=", code)])
    if found:
        return found[0]
    name, symbol, number = {"CNY": ("人民币", "¥", "156")}.get(code, (code, code, None))
    values = {
        "name": name,
        "symbol": symbol,
        "code": code,
        "numeric_code": number,
        "rounding": Decimal("0.01"),
        "digits": 2,
    }
    return currencies.create([values])[0]


def ensure_company(pool: Any, organisation: dict[str, Any], currency: Any) -> Any:
    """The company with that code; a new name is taken over, so that a corrected configuration arrives."""
    parties, companies = pool.get("party.party"), pool.get("company.company")
    code = organisation["code"]
    found = parties.search([("code", "=", code)])
    party = found[0] if found else parties.create([{"code": code, "name": organisation["company"]}])[0]
    if party.name != organisation["company"]:
        party.name = organisation["company"]
        party.save()
    timezone = organisation.get("timezone", "Asia/Shanghai")
    existing = companies.search([("party", "=", party.id)])
    if existing:
        return existing[0]
    return companies.create([{"party": party.id, "currency": currency.id, "timezone": timezone}])[0]


def ensure_employee(pool: Any, company: Any, name: str, category: Any, supervisor: Any) -> Any:
    parties, employees = pool.get("party.party"), pool.get("company.employee")
    found = employees.search([("company", "=", company.id), ("party.name", "=", name)])
    if found:
        employee = found[0]
    else:
        party = parties.create([{"name": name, "categories": [("add", [category.id])]}])[0]
        employee = employees.create([{"party": party.id, "company": company.id}])[0]
    if category not in employee.party.categories:
        employee.party.categories = [*employee.party.categories, category]
        employee.party.save()
    if employee.supervisor != supervisor:
        employee.supervisor = supervisor
        employee.save()
    return employee


def ensure(model: Any, **values: Any) -> Any:
    """The record with exactly those values, created if there is none."""
    found = model.search([(name, "=", getattr(value, "id", value)) for name, value in values.items()])
    if found:
        return found[0]
    return model.create([{name: getattr(value, "id", value) for name, value in values.items()}])[0]
