"""Builders: a target database, legacy files, a spec, and a run of the real command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from e2e.postgresql import PostgreSQL

TABLES = """
create table party (id bigserial primary key, code varchar(20) not null, name varchar(60), tier text,
                    balance numeric(12, 2), active boolean not null, since date);
create table contact (id bigserial primary key, number varchar(20) not null, party bigint not null references party,
                      kind text);
create table kind (id serial primary key, code text, name text);
insert into kind (code, name) values ('A', '甲'), ('B', '乙');
"""
HEADER = ["KHBM", "KHMC", "KHDJ", "YE", "KHRQ"]


def customers_object(**changes: Any) -> dict[str, Any]:
    return {
        "name": "customers",
        "from": {"file": "客户.csv"},
        "to": "party",
        "key": ["code"],
        "fields": [
            {"to": "code", "from": "KHBM", "transform": ["trim", "halfwidth"], "required": True},
            {"to": "name", "from": "KHMC", "transform": ["trim"], "required": True},
            {"to": "tier", "from": "KHDJ", "map": {"A": "金牌", "B": "银牌"}},
            {"to": "balance", "from": "YE", "transform": ["halfwidth"], "default": "0"},
            {"to": "since", "from": "KHRQ"},
            {"to": "active", "value": True},
        ],
        "sourceDuplicates": {"policy": "First"},
        **changes,
    }


def contacts_object(**changes: Any) -> dict[str, Any]:
    return {
        "name": "contacts",
        "from": {"file": "联系人.csv"},
        "to": "contact",
        "key": ["number"],
        "fields": [
            {"to": "number", "from": "HM"},
            {"to": "party", "from": "KHBM", "reference": {"object": "customers", "match": "code", "use": "id"}},
        ],
        **changes,
    }


def row(number: int, **changes: str) -> list[str]:
    values = {
        "KHBM": f"K{number:05}",
        "KHMC": f"华升客户{number}有限公司",
        "KHDJ": "AB"[number % 2],
        "YE": f"{number}.50",
        "KHRQ": "2024-05-31",
    }
    return list({**values, **changes}.values())


class World:
    """One database and one folder of files."""

    def __init__(self, server: PostgreSQL, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.database = f"t{uuid.uuid4().hex[:12]}"
        self.server.query("postgres", f"create database {self.database}")
        self.query(TABLES)
        self.run = str(uuid.uuid4())
        self.name = ""
        self.spec: dict[str, Any] = {
            "implementationRef": {"name": "erp"},
            "module": "core",
            "source": {"volume": {"claimName": "legacy"}, "encoding": "GB18030"},
            "target": {"connection": "erp-db"},
            "objects": [customers_object()],
            "errorBudget": {"rows": 100},
        }

    def query(self, query: str) -> list[tuple]:
        return self.server.query(self.database, query)

    def write(
        self, rows: list[list[str]], file: str = "客户.csv", encoding: str = "gb18030", header: list[str] | None = None
    ) -> bytes:
        lines = [header or HEADER, *rows]
        raw = b"".join(",".join(line).encode(encoding) + b"\r\n" for line in lines)
        (self.folder / file).write_bytes(raw)
        return raw

    def start(
        self,
        command: str,
        *arguments: str,
        environment: dict[str, str] | None = None,
        program: tuple[str, str] = ("-m", "pilotage.migration"),
    ) -> subprocess.Popen:
        spec = self.folder / "spec.yaml"
        spec.write_text(json.dumps({"metadata": {"name": self.name}, "spec": self.spec}))
        chosen = [] if command == "probe" else [str(spec), "--run-id", self.run, "--source-root", "."]
        return subprocess.Popen(
            [sys.executable, *program, command, *chosen, *arguments],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "PILOTAGE_TERMINATION_LOG": str(self.folder / f"{command}.termination"),
                **self.server.environment(self.database),
                **(environment or {}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def call(self, command: str, *arguments: str, **options: Any) -> tuple[int, dict[str, Any]]:
        """Exit code and termination message of one command."""
        process = self.start(command, *arguments, **options)
        output, _ = process.communicate(timeout=90)
        log = self.folder / f"{command}.termination"
        assert log.exists(), output
        return process.returncode, json.loads(log.read_text())

    def target(self) -> dict[str, list[tuple]]:
        """What a run leaves behind, apart from times."""
        return {
            "party": self.query("select code, name, tier, balance, active, since from party order by id"),
            "contact": self.query(
                "select number, p.code from contact c join party p on p.id = c.party order by number"
            ),
            "quarantine": self.query(
                "select object, src_offset, src_line, code, column_name, bad_value, src_raw from mig.quarantine"
                " order by 1, 2, 4, 5"
            ),
            "crosswalk": self.query("select object, src_offset, target_key, outcome from mig.crosswalk order by 1, 2"),
        }
