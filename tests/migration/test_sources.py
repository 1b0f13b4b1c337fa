"""Files of every format are loaded, counted and certified as the same rows in CSV are."""

from __future__ import annotations

import gzip
import hashlib
import json
import sqlite3
import zipfile
from pathlib import Path

import polars as pl
import pytest
import xlsxwriter

from tests.migration.conftest import kill, wait_for
from tests.migration.test_laptop import Laptop
from tests.migration.world import HEADER, World, customers_object, row

pytestmark = pytest.mark.postgresql

ROWS = [*(row(number) for number in range(1, 61)), row(7, KHMC="又一次"), row(99, YE="许多")]
# Bytes of each column, with room for Chinese text.
WIDTHS = dict(zip(HEADER, (8, 40, 4, 12, 12), strict=True))


@pytest.fixture
def world(server, tmp_path) -> World:
    return World(server, tmp_path)


def csv_bytes(delimiter: str = ",") -> bytes:
    return "".join(delimiter.join(line) + "\r\n" for line in [HEADER, *ROWS]).encode("gb18030")


def write_xlsx(path: Path) -> None:
    with xlsxwriter.Workbook(path) as book:
        for number, line in enumerate([HEADER, *ROWS]):
            if number == 0:
                sheet = book.add_worksheet("客户")
            sheet.write_row(number, 0, line)


def write_sqlite(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"create table customers ({', '.join(f'{name} text' for name in HEADER)})")
    connection.executemany("insert into customers values (?, ?, ?, ?, ?)", ROWS)
    connection.commit()
    connection.close()


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("readme.txt", b"x")
        archive.writestr("客户.csv", csv_bytes())


def dump_bytes() -> bytes:
    values = ",\n".join("(" + ",".join(f"'{text}'" for text in line) + ")" for line in ROWS)
    return f"SET NAMES gbk;\nINSERT INTO `customers` ({','.join(HEADER)}) VALUES {values};\n".encode("gbk")


def fixed_bytes() -> bytes:
    lines = []
    for line in ROWS:
        cells = [text.encode("gbk").ljust(width) for text, width in zip(line, WIDTHS.values(), strict=True)]
        lines.append(b"".join(cells) + b"\r\n")
    return b"".join(lines)


def fixed_columns() -> list[dict]:
    starts = [1 + sum(list(WIDTHS.values())[:index]) for index in range(len(HEADER))]
    return [
        {"name": name, "start": start, "width": width}
        for (name, width), start in zip(WIDTHS.items(), starts, strict=True)
    ]


def jsonl_bytes() -> bytes:
    return b"".join(
        json.dumps(dict(zip(HEADER, line, strict=True)), ensure_ascii=False).encode("gb18030") + b"\n" for line in ROWS
    )


SOURCES = {
    "csv": ("客户.csv", lambda path: path.write_bytes(csv_bytes()), {}),
    "tsv": ("客户.tsv", lambda path: path.write_bytes(csv_bytes("\t")), {}),
    "jsonl": ("客户.jsonl", lambda path: path.write_bytes(jsonl_bytes()), {}),
    "fixed": (
        "客户.txt",
        lambda path: path.write_bytes(fixed_bytes()),
        {"format": "fixed", "columns": fixed_columns()},
    ),
    "gz": ("客户.csv.gz", lambda path: path.write_bytes(gzip.compress(csv_bytes())), {}),
    "jsonl.gz": ("客户.jsonl.gz", lambda path: path.write_bytes(gzip.compress(jsonl_bytes())), {}),
    "zip": ("客户.zip", write_zip, {"member": "客户.csv"}),
    "xlsx": ("客户.xlsx", write_xlsx, {}),
    "parquet": (
        "客户.parquet",
        lambda path: pl.DataFrame(ROWS, schema=HEADER, orient="row").write_parquet(path),
        {},
    ),
    "sqlite": ("客户.db", write_sqlite, {"table": "customers"}),
    "dump": ("客户.sql", lambda path: path.write_bytes(dump_bytes()), {"table": "customers"}),
}
FIRST_LINE = {"csv": 2, "tsv": 2, "gz": 2, "zip": 2, "xlsx": 2}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_format_loads_the_same_rows_and_leaves_the_source_as_it_was(world, kind):
    file, write, options = SOURCES[kind]
    folder = world.folder / "source"
    folder.mkdir()
    write(folder / file)
    digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    if kind in {"xlsx", "parquet", "sqlite", "dump"}:
        world.spec["source"]["encoding"] = "auto"
    world.spec["objects"] = [customers_object(**{"from": {"file": file, **options}})]
    code, answer = world.call("run", "--chunk-rows", "7", "--source-root", "source")
    assert (code, answer["outcome"]) == (0, "Succeeded"), answer
    counts = answer["counts"]
    assert (counts["read"], counts["loaded"], counts["duplicates"], counts["quarantined"]) == (62, 60, 1, 1)
    assert counts["balanced"]
    assert world.query("select count(*), sum(balance), max(name) from party where code = 'K00060'") == [
        (1, 60.5, "华升客户60有限公司")
    ]
    assert world.query("select src_line, code, bad_value from mig.quarantine") == [
        (61 + FIRST_LINE.get(kind, 1), "E_TYPE", "许多")
    ]
    assert world.query("select certificate -> 'sources' -> 0 ->> 'sha256' from mig.run") == [(digest,)]
    assert world.query("select count(*) from mig.part") == [(0,)]
    assert [found.name for found in folder.iterdir()] == [file]


@pytest.mark.parametrize("kind", ["jsonl", "xlsx", "fixed", "tsv", "zip"])
def test_a_rejected_row_of_every_form_comes_back_repaired(world, kind):
    file, write, options = SOURCES[kind]
    write(world.folder / file)
    world.spec["source"]["encoding"] = "auto"
    world.spec["objects"] = [customers_object(**{"from": {"file": file, **options}})]
    laptop = Laptop(world)
    manifest = laptop.manifest()
    assert laptop.answer("run", manifest)[0] == 0
    assert laptop.answer("quarantine", "export", manifest)[0] == 0
    exported = world.folder / "quarantine/customers.quarantine.csv"
    codec = "utf-8-sig" if kind == "xlsx" else "gb18030"
    text = exported.read_text(encoding=codec)
    assert "K00099" in text
    exported.write_text(text.replace("许多", "99.50", 1), encoding=codec)
    code, answer = laptop.answer("quarantine", "replay", manifest, "--object", "customers", "--fixed", str(exported))
    assert (code, answer["counts"]["loaded"]) == (0, 1), answer
    assert world.query("select name, balance from party where code = 'K00099'") == [("华升客户99有限公司", 99.5)]


def test_workers_that_are_killed_leave_every_row_of_a_packed_file_counted_once(world):
    rows = [row(number) for number in range(1, 4001)]
    plain = "".join(",".join(line) + "\r\n" for line in [HEADER, *rows]).encode("gb18030")
    (world.folder / "客户.csv.gz").write_bytes(gzip.compress(plain))
    world.spec["objects"] = [customers_object(**{"from": {"file": "客户.csv.gz"}})]
    assert world.call("plan", "--chunk-rows", "50")[0] == 0
    worker = world.start("work")
    wait_for(lambda: world.query("select 1 from mig.chunk where state = 'done' limit 1"), "no chunk was done")
    kill(worker)
    code, answer = world.call("run", "--chunk-rows", "50", "--lease", "1")
    assert (code, answer["counts"]["loaded"], answer["counts"]["balanced"]) == (0, 4000, True), answer
    assert world.query("select count(*), count(distinct code) from party") == [(4000, 4000)]


def test_a_paused_run_goes_on_with_the_parts_it_has_and_plans_a_changed_file_anew(world):
    write = SOURCES["xlsx"][1]
    write(world.folder / "客户.xlsx")
    world.spec["objects"] = [customers_object(**{"from": {"file": "客户.xlsx"}})]
    world.spec["errorBudget"] = {"rows": 0}
    code, answer = world.call("run", "--chunk-rows", "7")
    assert (code, answer["outcome"]) == (43, "Paused"), answer
    parts = world.query("select chunk_id, md5(content) from mig.part order by 1")
    assert len(parts) == 9
    with xlsxwriter.Workbook(world.folder / "客户.xlsx") as book:
        sheet = book.add_worksheet("客户")
        for number, line in enumerate([HEADER, *ROWS[:-1]]):
            sheet.write_row(number, 0, line)
    code, answer = world.call("run", "--chunk-rows", "7")
    assert (code, answer["counts"]["loaded"]) == (0, 60), answer


def test_rows_that_the_target_refuses_have_their_place_in_the_sheet(world):
    write_xlsx(world.folder / "客户.xlsx")
    world.query("alter table party add constraint no_thirteen check (code <> 'K00013')")
    world.spec["objects"] = [customers_object(**{"from": {"file": "客户.xlsx"}})]
    assert world.call("run")[0] == 0
    found = world.query("select src_line, code, convert_from(src_raw, 'UTF8') from mig.quarantine where code = 'E_DB'")
    assert found == [(14, "E_DB", json.dumps(row(13), ensure_ascii=False) + "\n")]
