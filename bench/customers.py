"""A customer table of twelve columns as an old system would export it, and the same rows as they must come out."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from e2e.data.parties import firm
from e2e.data.records import full_width
from e2e.data.vocabulary import GIVEN_NAMES, STREETS, SURNAMES, Choices

SEED = 20_261_123
HEADER = ("KHBM", "KHMC", "TYXYDM", "LXR", "LXDH", "YX", "DZ", "KHDJ", "XYED", "YE", "ZT", "KHRQ")
TABLE = """
create table customer (code varchar(20) primary key, name varchar(120) not null, credit_code char(18), contact text,
  phone varchar(20), mail varchar(80), address varchar(200), tier text not null, credit_limit numeric(14, 2),
  balance numeric(14, 2) not null, active boolean not null, since date)
"""
TIERS = {"A": "金牌", "B": "银牌", "C": "普通"}
FIELDS: list[dict[str, Any]] = [
    {"to": "code", "from": "KHBM", "transform": ["trim", "halfwidth", "upper"], "pattern": "K[0-9]{8}"},
    {"to": "name", "from": "KHMC", "transform": ["trim"], "required": True},
    {"to": "credit_code", "from": "TYXYDM", "transform": ["trim", "halfwidth"], "pattern": "[0-9A-Z]{18}"},
    {"to": "contact", "from": "LXR", "transform": ["trim"]},
    {"to": "phone", "from": "LXDH", "transform": ["trim", "halfwidth"], "pattern": "1[0-9]{10}"},
    {"to": "mail", "from": "YX", "transform": ["trim", "lower"]},
    {"to": "address", "from": "DZ", "transform": ["trim"]},
    {"to": "tier", "from": "KHDJ", "map": TIERS},
    {"to": "credit_limit", "from": "XYED", "type": "Decimal"},
    {"to": "balance", "from": "YE", "type": "Decimal", "default": "0"},
    {"to": "active", "from": "ZT", "map": {"正常": "true", "停用": "false"}},
    {"to": "since", "from": "KHRQ", "type": "Date"},
]


def customer(number: int, choices: Choices, *, bad: bool) -> tuple[list[str], list[str]]:
    """One row as it is found, and as it must be stored."""
    party = firm(number)
    contact = choices.one(SURNAMES) + choices.one(GIVEN_NAMES)
    phone = f"1{choices.one('3578')}{choices.below(10**9):09d}"
    mail = f"lxr{number}@example.com"
    address = f"{party.city}市{choices.one(STREETS)}{1 + choices.below(999)}号{1 + choices.below(30)}室"
    tier = choices.one("ABC")
    limit, balance = f"{choices.below(1000)}0000.00", f"{choices.below(10**6)}.{10 + choices.below(90)}"
    since = (2000 + choices.below(25), 1 + choices.below(12), 1 + choices.below(28))
    active = choices.below(20) > 0
    iso = f"{since[0]}-{since[1]:02}-{since[2]:02}"
    clean = [
        f"K{number:08}", party.name, party.code, contact, phone, mail, address, TIERS[tier], limit, balance,
        "true" if active else "false", iso,
    ]  # fmt: skip
    found = [*clean[:7], tier, limit, balance, "正常" if active else "停用", choices.one((
        f"{since[0]}{since[1]:02}{since[2]:02}", f"{since[0]}/{since[1]}/{since[2]}", iso,
    ))]  # fmt: skip
    if choices.below(20) == 0:
        found[4] = full_width(phone)
    if choices.below(20) == 0:
        found[1] = f" {found[1]}　"
    if bad:
        place, value = choices.one(((4, "无"), (7, "Z"), (8, "十万"), (11, "2024-02-31")))
        found[place] = value
    return found, clean


def write_customers(folder: Path, rows: int, bad_share: float) -> int:
    """客户.csv in GB18030 and clean.csv in UTF-8 below the folder; returns how many rows are bad."""
    choices, bad_rows = Choices(SEED), 0
    with (
        (folder / "客户.csv").open("w", encoding="gb18030", newline="") as found_file,
        (folder / "clean.csv").open("w", encoding="utf-8", newline="") as clean_file,
    ):
        found_writer, clean_writer = csv.writer(found_file), csv.writer(clean_file)
        found_writer.writerow(HEADER)
        for number in range(rows):
            bad = choices.below(1_000_000) < bad_share * 1_000_000
            found, clean = customer(number, choices, bad=bad)
            found_writer.writerow(found)
            if bad:
                bad_rows += 1
            else:
                clean_writer.writerow(clean)
    return bad_rows


def specification(rows: int, bad_rows: int) -> dict[str, Any]:
    """The spec of the load: nine rules, a control total, and an error budget that the bad rows just keep."""
    return {
        "implementationRef": {"name": "bench"},
        "module": "bench",
        "source": {"volume": {"claimName": "legacy"}},
        "target": {"connection": "bench"},
        "errorBudget": {"rows": bad_rows},
        "objects": [
            {"name": "customers", "from": {"file": "客户.csv"}, "to": "customer", "key": ["code"], "fields": FIELDS}
        ],
        "reconcile": [
            {"name": "rows", "object": "customers", "type": "RowCount", "expected": str(rows)},
            {"name": "balance", "object": "customers", "type": "ControlTotal", "field": "balance"},
        ],
    }
