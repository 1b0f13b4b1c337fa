"""The chart of accounts (会计科目) of the company in Tryton."""

from typing import Any

from trytond.transaction import Transaction  # type: ignore[import-not-found]

# Class of an account -> (name of its type, statement, flags of Tryton's account type).
TYPES: dict[str, tuple[str, str, dict[str, bool]]] = {
    "Asset": ("资产", "balance", {"assets": True}),
    "Receivable": ("应收款项", "balance", {"assets": True, "receivable": True}),
    "Stock": ("存货", "balance", {"assets": True, "stock": True}),
    "Liability": ("负债", "balance", {"debt": True}),
    "Payable": ("应付款项", "balance", {"debt": True, "payable": True}),
    "Equity": ("所有者权益", "balance", {}),
    "Revenue": ("收入", "income", {"revenue": True}),
    "Expense": ("成本费用", "income", {"expense": True}),
}
# Every line on these accounts says who owes or is owed.
PARTY_TYPES = {"Receivable", "Payable"}


def write_accounts(pool: Any, accounting: dict[str, Any]) -> None:
    """accounting: {companyCode, standard, accounts: [{code, name, type}], receivable, payable}"""
    companies = pool.get("company.company")
    company = companies.search([("party.code", "=", accounting["companyCode"])])[0]
    types = {name: ensure_type(pool, company, accounting["standard"], name) for name in TYPES}
    models = pool.get("account.account")
    accounts = {account.code: account for account in models.search([("company", "=", company.id)])}
    for wanted in accounting["accounts"]:
        kind = types[wanted["type"]]
        account = accounts.get(wanted["code"])
        values = {
            "code": wanted["code"],
            "name": wanted["name"],
            "company": company.id,
            "type": kind.id,
            "party_required": wanted["type"] in PARTY_TYPES,
        }
        if account is None:
            accounts[wanted["code"]] = models.create([values])[0]
        elif (account.name, account.type) != (wanted["name"], kind):
            models.write([account], values)
    choose_defaults(pool, company, accounts, accounting)


def ensure_type(pool: Any, company: Any, standard: str, kind: str) -> Any:
    """The account type below one type named after the accounting standard (企业会计准则)."""
    models = pool.get("account.account.type")
    name, statement, flags = TYPES[kind]
    parent = ensure_one(
        models,
        [("company", "=", company.id), ("parent", "=", None), ("name", "=", standard)],
        {"company": company.id, "name": standard},
    )
    return ensure_one(
        models,
        [("company", "=", company.id), ("parent", "=", parent.id), ("name", "=", name)],
        {"company": company.id, "parent": parent.id, "name": name, "statement": statement, **flags},
    )


def choose_defaults(pool: Any, company: Any, accounts: dict[str, Any], accounting: dict[str, Any]) -> None:
    """Which accounts a party's receivables and payables go to unless the party says otherwise."""
    with Transaction().set_context(company=company.id):
        configuration = pool.get("account.configuration")(1)
        configuration.default_account_receivable = accounts[accounting["receivable"]]
        configuration.default_account_payable = accounts[accounting["payable"]]
        configuration.save()


def ensure_one(model: Any, domain: list[Any], values: dict[str, Any]) -> Any:
    found = model.search(domain)
    return found[0] if found else model.create([values])[0]
