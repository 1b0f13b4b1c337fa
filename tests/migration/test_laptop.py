"""The engine without a cluster: look, run, status, certificate and quarantine from a manifest and a URI."""

from __future__ import annotations

import csv
import json
import os
import pty
import subprocess
import sys
import zipfile
from contextlib import suppress
from datetime import date
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import xlsxwriter
import yaml
from python_calamine import CalamineWorkbook

from tests.migration.conftest import kill, wait_for
from tests.migration.world import HEADER, World, contacts_object, customers_object, row

pytestmark = pytest.mark.postgresql

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


class Laptop:
    """A person's command line: no PG* variables, only a manifest and a URI."""

    def __init__(self, world: World, environment: dict[str, str] | None = None) -> None:
        self.world = world
        self.environment = environment or {}
        settings = world.server.environment(world.database)
        self.uri = (
            f"postgresql://{settings['PGUSER']}@{settings['PGHOST']}:{settings['PGPORT']}/{settings['PGDATABASE']}"
        )

    def manifest(self, spec: dict | None = None) -> str:
        path = self.world.folder / "job.yaml"
        path.write_text(yaml.safe_dump({"kind": "MigrationJob", "spec": spec or self.world.spec}, allow_unicode=True))
        return path.name

    def start(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "pilotage.migration", *arguments],
            cwd=self.world.folder,
            env={"PATH": os.environ["PATH"], "PYTHONUTF8": "1", **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=90)
        return process.returncode, output, errors

    def at_terminal(self, *arguments: str) -> tuple[int, str]:
        """Exit code, and everything that a person sees."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "pilotage.migration", *arguments, "--connection", f"erp-db={self.uri}"],
            cwd=self.world.folder,
            env={"PATH": os.environ["PATH"], "PYTHONUTF8": "1", "TERM": "xterm", "COLUMNS": "120"},
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        seen = b""
        with suppress(OSError):  # Linux ends a terminal that nobody writes to any more with an error.
            while found := os.read(ours, 65536):
                seen += found
        os.close(ours)
        return process.wait(timeout=90), seen.decode()

    def answer(self, *arguments: str) -> tuple[int, dict]:
        code, output, errors = self.call(*arguments, "--connection", f"erp-db={self.uri}")
        assert output, errors
        return code, json.loads(output.splitlines()[-1])


@pytest.fixture
def world(server, tmp_path) -> World:
    return World(server, tmp_path)


@pytest.fixture
def laptop(world) -> Laptop:
    return Laptop(world)


def write_legacy(world: World, rows: list[str]) -> None:
    lines = ["客户编码,客户名称,等级,余额,建档日期,电话", *rows]
    (world.folder / "客户.csv").write_bytes("".join(f"{line}\r\n" for line in lines).encode("gbk"))


def legacy_rows() -> list[str]:
    rows = [f"K{n:04},华升客户{n}, {'AB'[n % 2]},{n}.50,2024-05-{n % 28 + 1:02},139{n:08}" for n in range(300)]
    rows[10] = "K0010,坏客户,A,12.5万元,2024-05-01,13900000010"
    rows[11] = "K0011,坏客户,A,1.5,2024-02-30,13900000011"
    rows[12] = 'K0012,"坏客户,A,1.5,2024-02-01,13900000012'
    rows[13] = "K0013,坏客户,A,1.5"
    rows[14] = "K0015,重复,A,1.5,2024-02-01,13900000014"
    return rows


def test_a_file_is_looked_at_its_table_made_and_its_proposal_loads_all_but_the_named_rows(laptop, world):
    write_legacy(world, legacy_rows())
    code, statement, errors = laptop.call("look", "客户.csv", "--table", "kunde", "--format", "sql")
    assert code == 0, errors
    world.query(statement)
    proposed = ("look", "客户.csv", "--table", "kunde", "--format", "yaml", "--output", "job.yaml")
    assert laptop.call(*proposed)[0] == 0
    code, answer = laptop.answer("run", "job.yaml")
    assert (code, answer["outcome"]) == (0, "Succeeded"), answer
    assert (
        answer["counts"]["quarantined"]
        == yaml.safe_load((world.folder / "job.yaml").read_text())["spec"]["errorBudget"]["rows"]
    )
    assert {one["code"] for one in answer["topErrors"]} == {
        "E_TYPE", "E_RANGE", "E_PARSE", "E_COLUMNS", "E_DUP_SOURCE",
    }  # fmt: skip
    assert world.query("select count(*), min(created_date)::text, sum(balance)::text from kunde") == [
        (294, "2024-05-01", str(sum(n + 0.5 for n in range(300) if n not in {10, 11, 12, 13, 14, 15})))
    ]
    assert world.query("select tier from kunde where customer_code = 'K0001'") == [("B",)]


def test_a_proposal_against_a_table_loads_into_that_table(laptop, world):
    world.query("create table kunde (id serial primary key, code text unique not null, khmc varchar(60), since date)")
    world.query("comment on column kunde.since is '建档日期'")
    lines = ["客户编码,KHMC,建档日期", *(f"K{n},华升{n},2024年5月{n}日" for n in range(1, 21))]
    (world.folder / "客户.csv").write_bytes("".join(f"{line}\r\n" for line in lines).encode("gb18030"))
    against = ("--against", laptop.uri, "--table", "public.kunde", "--format", "yaml", "--output", "job.yaml")
    code, _, errors = laptop.call("look", "客户.csv", *against)
    assert code == 0, errors
    assert laptop.answer("run", "job.yaml")[1]["counts"]["loaded"] == 20
    assert world.query("select code, khmc, since::text from kunde where code = 'K7'") == [("K7", "华升7", "2024-05-07")]


def test_the_same_command_resumes_a_run_that_was_killed(laptop, world):
    world.write([row(number) for number in range(1, 2001)])
    command = ("run", laptop.manifest(), "--chunk-rows", "20", "--lease", "0.5")
    process = laptop.start(*command, "--connection", f"erp-db={laptop.uri}")
    wait_for(lambda: chunks_done(world) > 3, "no chunk was loaded")
    kill(process)
    done = world.query("select run_id, count(*) filter (where state = 'done') from mig.chunk group by 1")
    code, answer = laptop.answer(*command)
    assert (code, answer["run"], answer["counts"]["loaded"]) == (0, done[0][0], 2000)
    assert world.query("select count(*), max(attempt) from mig.chunk where attempt > 1")[0][0] <= 1


def chunks_done(world: World) -> int:
    if world.query("select to_regclass('mig.chunk')") == [(None,)]:
        return 0
    return world.query("select count(*) from mig.chunk where state = 'done'")[0][0]


def test_the_same_command_takes_up_a_paused_run_after_the_file_was_repaired(laptop, world):
    world.spec["errorBudget"] = {"rows": 0}
    world.write([row(1), row(2, YE="x")])
    code, answer = laptop.answer("run", laptop.manifest())
    assert (code, answer["outcome"], answer["counts"]["quarantined"]) == (43, "Paused", 1)
    world.write([row(1), row(2)])
    assert laptop.answer("run", laptop.manifest())[1]["counts"]["loaded"] == 2


def test_a_person_at_a_terminal_sees_a_bar_and_reads_words(laptop, world):
    world.write([row(number) for number in range(1, 51)] + [row(51, YE="x")])
    code, seen = laptop.at_terminal("run", laptop.manifest())
    assert code == 0
    for expected in (
        "━",
        "51 rows",
        "Succeeded: Reconciled",
        "read 51, loaded 50, quarantined 1 (balanced)",
        "E_TYPE in YE",
    ):
        assert expected in seen
    assert '"counts"' not in seen


def test_a_person_at_a_terminal_reads_why_a_run_stopped(laptop, world):
    world.spec["errorBudget"] = {"rows": 0}
    world.write([row(1, YE="x")])
    code, seen = laptop.at_terminal("run", laptop.manifest())
    assert code == 43
    assert "Paused: ErrorBudgetExceeded: object customers: 1 rows quarantined of 1 read" in seen
    world.query("drop table party cascade")
    code, seen = laptop.at_terminal("run", laptop.manifest())
    assert (code, "Failed: TargetTableMissing: table public.party" in seen) == (42, True)


def test_status_follows_a_run_from_nothing_to_its_certificate(laptop, world):
    world.write([row(number) for number in range(1, 11)])
    manifest = laptop.manifest()
    code, answer = laptop.answer("status", manifest)
    assert (code, answer["reason"]) == (42, "NotPlanned")
    assert laptop.answer("plan", manifest)[0] == 0
    answer = laptop.answer("status", manifest)[1]
    assert (answer["outcome"], answer["progress"]["chunksTotal"], answer["counts"]["read"]) == ("Loading", 1, 0)
    laptop.answer("run", manifest)
    answer = laptop.answer("status", manifest)[1]
    assert (answer["outcome"], answer["counts"]["loaded"], answer["counts"]["balanced"]) == ("Succeeded", 10, True)
    certificate = ("certificate", manifest, "--connection", f"erp-db={laptop.uri}")
    code, page, _ = laptop.call(*certificate, "--format", "html")
    assert code == 0
    assert "<h1>数据迁移证书</h1>" in page
    code, output, _ = laptop.call(*certificate)
    assert (code, json.loads(output)["run"]) == (0, answer["run"])


def test_a_certificate_that_was_touched_is_not_printed(laptop, world):
    world.write([row(1)])
    laptop.answer("run", laptop.manifest())
    world.query("update mig.run set certificate = jsonb_set(certificate, '{counts,loaded}', '2')")
    code, output, errors = laptop.call("certificate", laptop.manifest(), "--connection", f"erp-db={laptop.uri}")
    assert (code, output) == (42, "")
    assert "CertificateAltered" in errors


def test_a_connection_of_another_name_is_refused_and_a_password_is_never_repeated(laptop, world):
    world.write([row(1)])
    code, output, errors = laptop.call("run", laptop.manifest(), "--connection", f"other={laptop.uri}")
    assert (code, "give --connection erp-db=" in output + errors) == (42, True)
    secret = "postgresql://u:geheim@127.0.0.1:1/x"
    for uri in (secret, f"{secret}?bogus=1"):
        code, output, errors = laptop.call("run", laptop.manifest(), "--connection", f"erp-db={uri}")
        assert code in {1, 42}
        assert "geheim" not in output + errors


def quarantined(world: World, laptop: Laptop) -> str:
    world.write([row(1), row(2, YE="x"), row(3, KHMC="=1+1", YE="-"), row(4)[:3], row(5, KHMC="𠮷野家", YE="y")])
    path = world.folder / "客户.csv"
    path.write_bytes(path.read_bytes() + b"K00006,\xff\xff,A,1.00,2024-05-31\r\n")
    world.spec["errorBudget"] = {"rows": 9}
    manifest = laptop.manifest()
    assert laptop.answer("run", manifest)[1]["counts"]["quarantined"] == 5
    return manifest


def test_the_quarantine_is_exported_in_the_sources_encoding_with_every_reason_and_no_formula(laptop, world):
    manifest = quarantined(world, laptop)
    answer = laptop.answer("quarantine", "export", manifest, "--output", "q")[1]
    assert answer["files"] == ["q/customers.quarantine.csv"]
    with (world.folder / answer["files"][0]).open(encoding="gb18030", newline="") as file:
        found = list(csv.DictReader(file))
    assert [(one["KHBM"], one["_error_code"], one["_error_column"], one["_src_line"]) for one in found] == [
        ("K00002", "E_TYPE", "YE", "3"),
        ("K00003", "E_TYPE", "YE", "4"),
        ("", "E_COLUMNS", "", "5"),
        ("K00005", "E_TYPE", "YE", "6"),
        ("", "E_ENCODING", "", "7"),
    ]
    assert (found[1]["KHMC"], found[1]["YE"], found[3]["KHMC"]) == ("'=1+1", "'-", "𠮷野家")
    assert found[2]["_original"] == "K00004,华升客户4有限公司,A"
    assert found[4]["_original"] == "K00006,\\xff\\xff,A,1.00,2024-05-31"


def test_the_quarantine_is_exported_as_a_workbook(laptop, world):
    manifest = quarantined(world, laptop)
    assert laptop.answer("quarantine", "export", manifest, "--output", "q", "--format", "xlsx")[0] == 0
    with zipfile.ZipFile(world.folder / "q/customers.quarantine.xlsx") as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "K00002" in sheet
    assert "=1+1" in sheet
    assert "<f>" not in sheet


def test_repaired_rows_are_loaded_once_and_what_is_still_wrong_is_refused_again(laptop, world):
    manifest = quarantined(world, laptop)
    laptop.answer("quarantine", "export", manifest, "--output", "q")
    exported = world.folder / "q/customers.quarantine.csv"
    text = exported.read_text(encoding="gb18030")
    fixed = world.folder / "q/fixed.csv"
    fixed.write_text(text.replace(",x,", ",7.25,").replace(",'-,", ",0,"), encoding="gb18030", newline="")
    replay = ("quarantine", "replay", manifest, "--object", "customers", "--fixed", "q/fixed.csv")
    for _ in range(2):
        answer = laptop.answer(*replay)[1]
        assert (answer["outcome"], answer["counts"]["loaded"], answer["counts"]["quarantined"]) == ("Succeeded", 2, 3)
    assert world.query("select code, name, balance::text from party order by code") == [
        ("K00001", "华升客户1有限公司", "1.50"),
        ("K00002", "华升客户2有限公司", "7.25"),
        ("K00003", "=1+1", "0.00"),
    ]


def repaired(exported: Path, changes: dict[tuple[int, str], object]) -> str:
    """The exported workbook as Excel saves it after these cells, by row (from 1) and column, were typed anew."""
    header, *found = CalamineWorkbook.from_path(exported).get_sheet_by_index(0).to_python()
    fixed = exported.with_name("fixed.xlsx")
    with xlsxwriter.Workbook(fixed, {"default_date_format": "yyyy-mm-dd"}) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate([header, *found]):
            for column, value in enumerate(row):
                typed = changes.get((number, header[column]), value)
                if isinstance(typed, str):
                    sheet.write_string(number, column, typed)
                else:
                    sheet.write(number, column, typed)
    return str(fixed)


def test_rows_repaired_in_the_workbook_are_loaded_with_numbers_and_dates_as_excel_keeps_them(laptop, world):
    manifest = quarantined(world, laptop)
    laptop.answer("quarantine", "export", manifest, "--output", "q", "--format", "xlsx")
    typed = {(1, "YE"): 7.25, (1, "KHRQ"): date(2024, 2, 29), (2, "YE"): "0", (3, "KHBM"): "00123"}
    typed |= {(3, "KHMC"): "补录", (3, "YE"): 3, (3, "KHDJ"): "A"}
    fixed = repaired(world.folder / "q/customers.quarantine.xlsx", typed)
    for _ in range(2):
        answer = laptop.answer("quarantine", "replay", manifest, "--object", "customers", "--fixed", fixed)[1]
        # Of the damaged bytes nothing was typed in: an empty row is left out.
        assert (answer["outcome"], answer["counts"]["loaded"], answer["counts"]["quarantined"]) == ("Succeeded", 3, 1)
    assert world.query("select code, name, balance::text, since::text from party order by code") == [
        ("00123", "补录", "3.00", None),
        ("K00001", "华升客户1有限公司", "1.50", "2024-05-31"),
        ("K00002", "华升客户2有限公司", "7.25", "2024-02-29"),
        ("K00003", "=1+1", "0.00", "2024-05-31"),
    ]


def test_cells_of_the_exported_workbook_keep_what_is_typed_into_them(laptop, world):
    manifest = quarantined(world, laptop)
    laptop.answer("quarantine", "export", manifest, "--output", "q", "--format", "xlsx")
    with zipfile.ZipFile(world.folder / "q/customers.quarantine.xlsx") as book:
        styles = ET.fromstring(book.read("xl/styles.xml"))
        sheet = ET.fromstring(book.read("xl/worksheets/sheet1.xml"))
    formats = [one.get("numFmtId") for one in styles.find(f"{MAIN}cellXfs")]
    rows = [list(one) for one in sheet.find(f"{MAIN}sheetData")][1:]
    text_format = "49"
    assert {formats[int(cell.get("s"))] for row in rows for cell in row} == {text_format}
    assert {len(row) for row in rows} == {len(HEADER) + 6}


def test_values_that_a_workbook_cannot_hold_come_back_whole(laptop, world):
    long, control = "长" * 40_000, "a\x01b"
    world.spec["objects"][0]["fields"][2] = {"to": "tier", "from": "KHDJ"}
    world.write([row(1, KHDJ=long, YE="x"), row(2, KHDJ=control, YE="x"), row(3, KHDJ=control, YE="x")])
    manifest = laptop.manifest()
    laptop.answer("run", manifest)
    laptop.answer("quarantine", "export", manifest, "--output", "q", "--format", "xlsx")
    typed = {(1, "YE"): 1, (2, "YE"): 2, (3, "YE"): 3, (3, "KHDJ"): "typed anew"}
    fixed = repaired(world.folder / "q/customers.quarantine.xlsx", typed)
    assert laptop.answer("quarantine", "replay", manifest, "--object", "customers", "--fixed", fixed)[0] == 0
    assert world.query("select tier from party order by code") == [(long,), (control,), ("typed anew",)]


MAPPING = ["field", "column", "value", "rows", "stands for"]


def unmapped(world: World, laptop: Laptop) -> str:
    world.spec["objects"][0]["fields"][2] |= {"transform": ["trim"]}
    world.write([row(1), row(2, KHDJ=" C "), row(3, KHDJ="C"), row(4, KHDJ="D"), row(5, YE="x")])
    manifest = laptop.manifest()
    assert laptop.answer("run", manifest)[1]["counts"]["quarantined"] == 4
    laptop.answer("quarantine", "export", manifest, "--output", "q", "--format", "xlsx")
    return manifest


def answered(exported: Path, lines: list[list[object]]) -> str:
    """The exported workbook with these lines in its sheet of mappings."""
    fixed = exported.with_name("fixed.xlsx")
    with xlsxwriter.Workbook(fixed) as book:
        for name, found in (
            ("customers", CalamineWorkbook.from_path(exported).get_sheet_by_index(0).to_python()),
            ("_mappings", [MAPPING, *lines]),
        ):
            sheet = book.add_worksheet(name)
            for number, cells in enumerate(found):
                sheet.write_row(number, 0, cells)
    return str(fixed)


def test_open_mappings_are_asked_in_the_workbook_and_what_was_filled_in_loads_their_rows_once(laptop, world):
    manifest = unmapped(world, laptop)
    exported = world.folder / "q/customers.quarantine.xlsx"
    asked = CalamineWorkbook.from_path(exported).get_sheet_by_name("_mappings").to_python()
    assert [line[:4] for line in asked] == [MAPPING[:4], ["tier", "KHDJ", "C", 2], ["tier", "KHDJ", "D", 1]]
    replay = ("quarantine", "replay", manifest, "--object", "customers", "--fixed")
    assert laptop.answer(*replay, str(exported))[1]["counts"]["loaded"] == 0
    fixed = answered(exported, [["tier", "KHDJ", "C", 2, "铜牌"], ["tier", "KHDJ", "D", 1, ""]])
    for _ in range(2):
        counts = laptop.answer(*replay, fixed)[1]["counts"]
        assert (counts["loaded"], counts["quarantined"]) == (2, 2)
    assert world.query("select code, tier from party order by code") == [
        ("K00001", "银牌"),
        ("K00002", "铜牌"),
        ("K00003", "铜牌"),
    ]
    used = yaml.safe_load((world.folder / "q/customers.replay.yaml").read_text())
    assert used["spec"]["objects"][0]["fields"][2]["map"] == {"A": "金牌", "B": "银牌", "C": "铜牌"}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([["tier", "KHDJ", "E", 1, "铁牌"]], "row 2 of sheet _mappings: 'E' is no open value of field 'tier'"),
        ([["name", "KHDJ", "C", 1, "铁牌"]], "'C' is no open value of field 'name'"),
        ([["tier", "KHDJ", "C", 1, "铜牌"], ["tier", "KHDJ", "C", 1, "铁牌"]], "row 3 of sheet _mappings differs"),
    ],
)
def test_an_answer_to_what_was_not_asked_is_refused(laptop, world, lines, words):
    manifest = unmapped(world, laptop)
    fixed = answered(world.folder / "q/customers.quarantine.xlsx", lines)
    code, answer = laptop.answer("quarantine", "replay", manifest, "--object", "customers", "--fixed", fixed)
    assert (code, answer["reason"]) == (42, "MappingUnknown")
    assert words in answer["message"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "SourceUnreadable"), (b"no workbook", "SourceUnreadable"), ("another header", "ColumnsMissing")],
)
def test_a_workbook_that_is_not_the_export_is_refused(laptop, world, content, reason):
    manifest = quarantined(world, laptop)
    fixed = world.folder / "fixed.xlsx"
    if content == "another header":
        with xlsxwriter.Workbook(fixed) as book:
            book.add_worksheet().write_row(0, 0, [*HEADER[1:], HEADER[0]])
    elif content:
        fixed.write_bytes(content)
    replay = ("quarantine", "replay", manifest, "--object", "customers", "--fixed", "fixed.xlsx")
    code, answer = laptop.answer(*replay)
    assert (code, answer["reason"]) == (42, reason)


def test_repaired_rows_find_the_rows_that_their_references_name(laptop, world):
    world.spec["objects"] = [customers_object(), contacts_object()]
    world.write([row(1), row(2)], header=HEADER)
    world.write([["1", "K00001"], ["2", "K0002"]], "联系人.csv", header=["HM", "KHBM"])
    manifest = laptop.manifest()
    assert laptop.answer("run", manifest)[1]["counts"]["quarantined"] == 1
    laptop.answer("quarantine", "export", manifest, "--output", "q")
    exported = world.folder / "q/contacts.quarantine.csv"
    exported.write_text(
        exported.read_text(encoding="gb18030").replace("K0002", "K00002"), encoding="gb18030", newline=""
    )
    code, _ = laptop.answer("quarantine", "replay", manifest, "--object", "contacts", "--fixed", str(exported))
    assert code == 0
    assert world.query("select number, p.code from contact c join party p on p.id = c.party order by 1") == [
        ("1", "K00001"),
        ("2", "K00002"),
    ]


def test_a_run_that_loaded_nothing_has_nothing_to_replay(laptop, world):
    world.spec["errorBudget"] = {"rows": 0}
    world.write([row(1, YE="x")])
    manifest = laptop.manifest()
    laptop.answer("run", manifest)
    laptop.answer("quarantine", "export", manifest, "--output", "q")
    fixed = "q/customers.quarantine.csv"
    code, answer = laptop.answer("quarantine", "replay", manifest, "--object", "customers", "--fixed", fixed)
    assert (code, answer["reason"]) == (42, "NotSucceeded")
