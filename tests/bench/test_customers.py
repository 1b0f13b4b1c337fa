"""The benchmark's customer table: always the same bytes, and exactly as many bad rows as it says."""

from __future__ import annotations

import csv
from pathlib import Path

from bench.customers import HEADER, specification, write_customers
from pilotage.api.v1alpha1.migrationjob import MigrationJobSpec, spec_problem


def test_the_customers_are_the_same_each_time(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
        write_customers(folder, 500, 0.05)
    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert first == second


def test_every_row_is_clean_or_counted_as_bad(tmp_path: Path) -> None:
    bad_rows = write_customers(tmp_path, 500, 0.05)
    assert 0 < bad_rows < 100
    with (tmp_path / "客户.csv").open(encoding="gb18030", newline="") as file:
        found = list(csv.reader(file))
    with (tmp_path / "clean.csv").open(encoding="utf-8", newline="") as file:
        clean = list(csv.reader(file))
    assert tuple(found[0]) == HEADER
    assert len(found) - 1 == 500
    assert len(clean) == 500 - bad_rows
    assert {len(row) for row in found + clean} == {12}


def test_the_benchmark_s_spec_is_one_that_the_engine_takes() -> None:
    assert spec_problem(MigrationJobSpec.model_validate(specification(500, 5))) is None
