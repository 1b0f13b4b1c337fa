"""Input that was made to hurt: refused with its place, in bounded memory, and nothing reaches the target."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import zipfile
import zlib
from contextlib import contextmanager

import pytest
import xlsxwriter

from tests.migration.world import HEADER, World, customers_object, row

pytestmark = pytest.mark.postgresql

MEBIBYTE = 1 << 20
# What a worker's pod may have.
MEMORY = 512 * MEBIBYTE


@pytest.fixture
def world(server, tmp_path) -> World:
    return World(server, tmp_path)


def refused(world: World, file: str, **chosen) -> tuple[str, str]:
    """Reason and message of a run that may take no more memory than its pod has."""
    world.spec["source"]["encoding"] = chosen.pop("encoding", "auto")
    world.spec["objects"] = [customers_object(**{"from": {"file": file, **chosen}})]
    world.spec["errorBudget"] = {"rows": 0}
    (world.folder / "spec.yaml").write_text(json.dumps({"spec": world.spec}))
    log = world.folder / "run.termination"
    variables = {"PATH": os.environ["PATH"], "PILOTAGE_TERMINATION_LOG": str(log)}
    with (world.folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pilotage.migration", "run", "spec.yaml", "--run-id", world.run],
            cwd=world.folder,
            env=variables | world.server.environment(world.database),
            stdout=output,
            stderr=output,
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert log.exists(), (world.folder / "output").read_text()
    answer = json.loads(log.read_text())
    assert process.returncode in {42, 43}, answer
    assert usage.ru_maxrss * 1024 < MEMORY, f"{usage.ru_maxrss >> 10} MiB"
    assert world.query("select count(*) from party") == [(0,)]
    return answer["reason"], answer["message"]


def test_a_line_of_two_gibibytes_is_refused_with_its_place(world):
    head = (",".join(HEADER) + "\r\n").encode()
    with (world.folder / "客户.csv").open("wb") as file:
        file.write(head)
        file.truncate(2 << 30)
    reason, message = refused(world, "客户.csv")
    assert reason == "LineTooLong"
    assert f"line 2 (byte offset {len(head)})" in message


def test_a_gzip_bomb_of_half_a_gibibyte_is_refused(world):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = (",".join(row(1)) + "\r\n").encode() * 20_000
    with (world.folder / "客户.csv.gz").open("wb") as file:
        file.write(packer.compress((",".join(HEADER) + "\r\n").encode()))
        for _ in range(400):
            file.write(packer.compress(block))
        file.write(packer.flush())
    reason, message = refused(world, "客户.csv.gz")
    assert (reason, "hand it over unpacked" in message) == ("ArchiveSuspicious", True)


def test_a_zip_bomb_of_zeros_is_refused(world):
    with (
        zipfile.ZipFile(world.folder / "客户.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("客户.csv", "w", force_zip64=True) as file,
    ):
        file.write((",".join(HEADER) + "\r\n").encode())
        for _ in range(300):
            file.write(b",,,,\r\n" * 200_000)
    assert refused(world, "客户.zip")[0] == "ArchiveSuspicious"


def test_a_workbook_that_unpacks_to_gibibytes_is_refused(world):
    with xlsxwriter.Workbook(world.folder / "客户.xlsx") as book:
        book.add_worksheet("客户").write_row(0, 0, HEADER)
    with (
        zipfile.ZipFile(world.folder / "客户.xlsx", "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("xl/worksheets/sheet2.xml", "w", force_zip64=True) as file,
    ):
        for _ in range(200):
            file.write(b" " * MEBIBYTE)
    assert refused(world, "客户.xlsx")[0] == "SourceTooLarge"


def test_a_workbook_with_a_cell_at_the_far_end_is_refused(world):
    with xlsxwriter.Workbook(world.folder / "客户.xlsx") as book:
        sheet = book.add_worksheet("客户")
        sheet.write_row(0, 0, HEADER)
        sheet.write(1_048_575, 16_383, "x")
    reason, message = refused(world, "客户.xlsx")
    assert (reason, "far below" in message) == ("SourceTooLarge", True)


def test_a_long_text_that_very_many_cells_share_is_refused(world):
    with xlsxwriter.Workbook(world.folder / "客户.xlsx") as book:
        sheet = book.add_worksheet("客户")
        sheet.write_row(0, 0, HEADER)
        for number in range(1, 50_000):
            sheet.write(number, 0, "x" * 32_000)
    assert refused(world, "客户.xlsx")[0] == "SourceTooLarge"


def test_a_header_of_very_many_columns_is_refused(world):
    (world.folder / "客户.csv").write_bytes(b"," * 900_000 + b"\n")
    assert refused(world, "客户.csv")[0] == "TooManyColumns"
    with (world.folder / "客户.csv").open("wb") as file:
        for _ in range(1000):
            file.write(b"," * 1_000_000)
    assert refused(world, "客户.csv")[0] == "LineTooLong"


def test_json_that_is_nested_ten_thousand_deep_costs_its_line(world):
    good = json.dumps(dict(zip(HEADER, row(1), strict=True)), ensure_ascii=False)
    deep = '{"KHBM": ' * 10_000 + "1" + "}" * 10_000
    (world.folder / "客户.jsonl").write_text(f"{good}\n{deep}\n", encoding="utf-8")
    assert refused(world, "客户.jsonl")[0] == "ErrorBudgetExceeded"
    assert world.query("select src_line, code from mig.quarantine") == [(2, "E_PARSE")]


@pytest.mark.parametrize("file", ["客户.csv", "客户.jsonl"])
def test_a_nul_costs_its_row(world, file):
    bad = row(2, KHMC="a\x00b")
    if file.endswith("csv"):
        world.write([row(1), bad], encoding="utf-8")
    else:
        lines = [json.dumps(dict(zip(HEADER, line, strict=True))) for line in (row(1), bad)]
        (world.folder / file).write_text("\n".join(lines))
    assert refused(world, file)[0] == "ErrorBudgetExceeded"
    assert world.query("select code, column_name, bad_value from mig.quarantine") == [("E_NUL_BYTE", "KHMC", "a\\0b")]


def test_links_of_a_workbook_to_elsewhere_are_never_followed(world):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        called = threading.Event()
        threading.Thread(target=lambda: (listener.accept(), called.set()), daemon=True).start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/other.xlsx"
        with xlsxwriter.Workbook(world.folder / "客户.xlsx") as book:
            sheet = book.add_worksheet("客户")
            sheet.write_row(0, 0, HEADER)
            sheet.write_row(1, 0, row(1))
            sheet.write_formula(1, 1, f"='[{address}]Sheet1'!A1", None, "外部")
            sheet.write_url(1, 6, address)
        world.spec["source"]["encoding"] = "auto"
        world.spec["objects"] = [customers_object(**{"from": {"file": "客户.xlsx"}})]
        code, answer = world.call("run")
        assert (code, answer["counts"]["loaded"]) == (0, 1), answer
        assert world.query("select name from party") == [("外部",)]
        assert not called.is_set()


def test_columns_whose_names_want_to_be_sql_are_names(world):
    names = ["a'; drop table party; --", 'b"); delete from mig.run; --', "c%s%(x)s", "\\x00", "{}"]
    world.spec["objects"] = [
        customers_object(
            fields=[
                {"to": to, "from": name}
                for to, name in zip(("code", "name", "tier", "balance", "since"), names, strict=True)
            ]
            + [{"to": "active", "value": "true'); drop table party; --"}]
        )
    ]
    header = ['"' + name.replace('"', '""') + '"' for name in names]
    world.write([row(1, KHDJ="A'; drop table party; --")], header=header)
    code, answer = world.call("run")
    assert (code, answer["outcome"]) == (0, "Succeeded"), answer
    assert world.query("select code, column_name from mig.quarantine") == [("E_TYPE", "active")]
    world.spec["objects"][0]["fields"][-1]["value"] = True
    world.run += "-2"
    assert world.call("run")[1]["counts"]["loaded"] == 1
    assert world.query("select tier from party") == [("A'; drop table party; --",)]


@contextmanager
def a_server_that_answers(garbage: bytes):
    """Says it to whoever calls, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def serve() -> None:
            listener.settimeout(0.2)
            while not ended.is_set():
                try:
                    called, _ = listener.accept()
                except TimeoutError:
                    continue
                with called:
                    called.sendall(garbage)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            serving.join()


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
@pytest.mark.parametrize(
    "garbage", [b"", b"\x00" * 64, b"\xff" * 64, b"HTTP/1.1 200 OK\r\n\r\n", b"\x4a\x00\x00\x00\x0a5.5\x00"]
)
def test_a_source_database_that_answers_garbage_is_unreachable_or_refused(world, kind, garbage):
    world.spec["source"] = {"connection": "old"}
    world.spec["objects"] = [customers_object(**{"from": {"table": "t"}})]
    with a_server_that_answers(garbage) as port:
        source = {
            "SOURCE_TYPE": kind, "SOURCE_HOST": "127.0.0.1", "SOURCE_PORT": str(port), "SOURCE_DATABASE": "d",
            "SOURCE_USER": "u", "SOURCE_PASSWORD": "not-a-secret",
        }  # fmt: skip
        code, answer = world.call("plan", environment=source)
    assert (code, answer["reason"]) in {(1, "SourceUnreachable"), (42, "SourceRefused")}, answer
    assert "not-a-secret" not in answer["message"]
