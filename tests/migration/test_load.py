"""What becomes of rows: loaded, merged, quarantined with all reasons and the original bytes, and counted exactly."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.migration.world import HEADER, World, contacts_object, customers_object, row

pytestmark = pytest.mark.postgresql


@pytest.fixture
def world(server, tmp_path) -> World:
    return World(server, tmp_path)


def test_clean_rows_are_loaded_mapped_and_certified(world):
    world.write([row(number) for number in range(1, 51)])
    code, answer = world.call("run")
    assert (code, answer["outcome"]) == (0, "Succeeded")
    assert answer["counts"] == {
        "read": 50, "loaded": 50, "updated": 0, "kept": 0, "filtered": 0, "duplicates": 0, "quarantined": 0,
        "unchanged": 0, "deleted": 0, "missing": 0, "refused": 0,
        "balanced": True,
    }  # fmt: skip
    assert answer["certificateDigest"].startswith("sha256:")
    found = world.query("select code, name, tier, balance::text, active, since::text from party order by id limit 1")
    assert found == [("K00001", "华升客户1有限公司", "银牌", "1.50", True, "2024-05-31")]


def test_a_row_is_quarantined_with_all_its_reasons_and_its_original_bytes(world):
    bad = row(2, KHMC=" ", KHDJ="Z", YE="十元")
    raw = world.write([row(1), bad, row(3)])
    assert world.call("run")[0] == 0
    found = world.query("select code, column_name, src_line, src_raw from mig.quarantine order by 1")
    assert [(code, column, line) for code, column, line, _ in found] == [
        ("E_MAPPING", "KHDJ", 3), ("E_NULL", "KHMC", 3), ("E_TYPE", "YE", 3)
    ]  # fmt: skip
    assert all(bytes(stored) == ",".join(bad).encode("gb18030") + b"\r\n" for *_, stored in found)
    assert all(bytes(stored) in raw for *_, stored in found)
    assert world.query("select count(*) from party") == [(2,)]


def test_full_width_text_is_repaired_and_four_byte_characters_survive(world):
    world.write([row(1, KHBM="Ｋ０００９９", KHMC="𠮷野家㐂有限公司", YE="１２．５０")])
    assert world.call("run")[0] == 0
    assert world.query("select code, name, balance::text from party") == [("K00099", "𠮷野家㐂有限公司", "12.50")]


def test_wrong_bytes_cost_one_line_and_name_the_place(world):
    raw = world.write([row(1), row(2), row(3)])
    lines = raw.split(b"\r\n")
    lines[2] = lines[2].replace(b"K00002,", b"K00002,\xff\xff")
    (world.folder / "客户.csv").write_bytes(b"\r\n".join(lines))
    code, answer = world.call("run")
    assert (code, answer["counts"]["loaded"], answer["counts"]["quarantined"]) == (0, 2, 1)
    [(error, value, message, stored)] = world.query("select code, bad_value, message, src_raw from mig.quarantine")
    offset = len(lines[0]) + len(lines[1]) + 4 + len("K00002,")
    assert (error, value, bytes(stored)) == ("E_ENCODING", "FF", lines[2] + b"\r\n")
    assert f"byte offset {offset}:" in message


def test_quotes_and_embedded_newlines_stay_in_one_row_however_the_file_is_cut(world):
    world.write([row(number, KHMC=f'"第{number}行\n""甲"", 乙"') for number in range(1, 31)])
    assert world.call("run", "--chunk-rows", "4")[0] == 0
    assert world.query("select count(*), count(*) filter (where name like '%\n\"甲\", 乙') from party") == [(30, 30)]
    assert world.query("select count(*) from mig.chunk") == [(8,)]


def test_a_quote_that_never_closes_costs_its_own_line_only(world):
    world.write([row(1), row(2, KHMC='"未闭合'), row(3), row(4)])
    code, answer = world.call("run")
    assert (code, answer["counts"]["loaded"], answer["counts"]["quarantined"]) == (0, 3, 1)
    assert world.query("select code, src_line from mig.quarantine") == [("E_PARSE", 3)]


def test_too_few_columns_and_blank_lines_are_told_apart(world):
    world.write([row(1), ["K00002", "只有两列"], [""], row(3)])
    _, answer = world.call("run")
    assert (answer["counts"]["filtered"], answer["counts"]["quarantined"], answer["counts"]["balanced"]) == (1, 1, True)
    assert world.query("select code from mig.quarantine") == [("E_COLUMNS",)]


@pytest.mark.parametrize(
    ("policy", "names", "counts"),
    [
        ({"policy": "First"}, ["首"], (1, 2, 0)),
        ({"policy": "Last"}, ["末"], (1, 2, 0)),
        ({"policy": "Last", "orderBy": "KHRQ"}, ["中"], (1, 2, 0)),
        ({"policy": "QuarantineAll"}, [], (0, 0, 3)),
    ],
)
def test_duplicates_are_decided_over_the_whole_file_and_not_by_chunks(world, policy, names, counts):
    world.spec["objects"] = [customers_object(sourceDuplicates=policy)]
    world.write([
        row(1, KHMC="首", KHRQ="2024-01-01"), row(1, KHMC="中", KHRQ="2024-03-01"), row(1, KHMC="末", KHRQ="2024-02-01")
    ])  # fmt: skip
    _, answer = world.call("run", "--chunk-rows", "1")
    assert [name for (name,) in world.query("select name from party")] == names
    found = answer["counts"]
    assert (found["loaded"], found["duplicates"], found["quarantined"]) == counts
    assert found["balanced"]


def test_duplicates_under_fail_reject_the_run_and_name_the_lines(world):
    world.spec["objects"] = [customers_object(sourceDuplicates={"policy": "Fail"})]
    world.write([row(1), row(2), row(1)])
    code, answer = world.call("run")
    assert (code, answer["outcome"], answer["reason"]) == (44, "Rejected", "DuplicateKeys")
    assert "lines 2, 4" in answer["message"]
    assert world.query("select count(*) from party") == [(0,)]


@pytest.mark.parametrize(
    ("policy", "name", "tier", "outcome"),
    [
        ("KeepTarget", "旧名", None, "kept"),
        ("Overwrite", "华升客户1有限公司", "银牌", "updated"),
        ("FillNulls", "旧名", "银牌", "updated"),
        ("Quarantine", "旧名", None, "quarantined"),
    ],
)
def test_a_key_that_the_target_has_follows_the_conflict_policy(world, policy, name, tier, outcome):
    world.query("insert into party (code, name, active) values ('K00001', '旧名', true)")
    world.spec["objects"] = [customers_object(onConflict={"policy": policy})]
    world.write([row(1), row(2)])
    _, answer = world.call("run")
    assert world.query("select name, tier from party where code = 'K00001'") == [(name, tier)]
    assert (answer["counts"][outcome], answer["counts"]["loaded"], answer["counts"]["balanced"]) == (1, 1, True)


@pytest.mark.parametrize(
    ("there", "name", "outcome"),
    [
        ("2024-05-30", "华升客户1有限公司", "updated"),
        ("2024-05-31", "旧名", "kept"),
        ("2024-06-01", "旧名", "kept"),
        (None, "华升客户1有限公司", "updated"),
    ],
)
def test_of_two_rows_of_one_key_the_newer_wins(world, there, name, outcome):
    value = f"'{there}'" if there else "null"
    world.query(f"insert into party (code, name, active, since) values ('K00001', '旧名', true, {value})")
    world.spec["objects"] = [customers_object(onConflict={"policy": "NewerWins", "column": "since"})]
    world.write([row(1), row(2)])
    _, answer = world.call("run")
    assert world.query("select name from party where code = 'K00001'") == [(name,)]
    assert (answer["counts"][outcome], answer["counts"]["loaded"], answer["counts"]["balanced"]) == (1, 1, True)


def test_a_row_without_a_date_is_not_newer(world):
    world.query("insert into party (code, name, active) values ('K00001', '旧名', true)")
    world.spec["objects"] = [customers_object(onConflict={"policy": "NewerWins", "column": "since"})]
    world.write([row(1, KHRQ="")])
    _, answer = world.call("run")
    assert world.query("select name from party") == [("旧名",)]
    assert answer["counts"]["kept"] == 1


@pytest.mark.parametrize("given", [{"policy": "NewerWins"}, {"policy": "NewerWins", "column": "code"}])
def test_newer_wins_needs_a_column_that_is_loaded(world, given):
    world.spec["objects"] = [customers_object(onConflict=given)]
    world.write([row(1)])
    _, answer = world.call("run")
    assert (answer["reason"], "onConflict.column" in answer["message"]) == ("SpecInvalid", True)


def test_a_conflict_under_fail_rejects_the_run_and_touches_nothing(world):
    world.query("insert into party (code, name, active) values ('K00002', '旧名', true)")
    world.write([row(1), row(2)])
    code, answer = world.call("run")
    assert (code, answer["reason"]) == (44, "KeyConflict")
    assert world.query("select code, name from party") == [("K00002", "旧名")]


def test_references_lead_to_loaded_rows_and_orphans_are_quarantined(world):
    world.spec["objects"] = [customers_object(), contacts_object()]
    world.write([row(1), row(2), row(1, KHMC="重复")])
    world.write([["138", "K00001"], ["139", "K00002"], ["140", "K99999"]], "联系人.csv", header=["HM", "KHBM"])
    _, answer = world.call("run")
    assert world.target()["contact"] == [("138", "K00001"), ("139", "K00002")]
    assert world.query("select code, column_name, bad_value, src_line from mig.quarantine") == [
        ("E_FK", "KHBM", "K99999", 4)
    ]
    assert answer["counts"]["balanced"]


def test_a_reference_to_a_table_stores_the_column_asked_for(world):
    contacts = contacts_object()
    contacts["fields"].append(
        {"to": "kind", "from": "LX", "reference": {"table": "kind", "match": "name", "use": "code"}}
    )
    world.spec["objects"] = [customers_object(), contacts]
    world.write([row(1)])
    world.write([["138", "K00001", "乙"]], "联系人.csv", header=["HM", "KHBM", "LX"])
    assert world.call("run")[0] == 0
    assert world.query("select kind from contact") == [("B",)]


def test_a_firm_that_is_customer_and_supplier_is_one_row(world):
    supplier = customers_object(name="suppliers", onConflict={"policy": "FillNulls"})
    supplier["from"] = {"file": "供应商.csv"}
    world.spec["objects"] = [customers_object(), supplier]
    world.write([row(1, KHDJ=""), row(2)])
    world.write([row(1, KHMC="供方甲"), row(3)], "供应商.csv")
    _, answer = world.call("run")
    assert world.query("select count(*) from party") == [(3,)]
    assert (answer["counts"]["loaded"], answer["counts"]["updated"]) == (3, 1)
    assert world.query("select name, tier from party where code = 'K00001'") == [("华升客户1有限公司", "银牌")]


def test_a_control_total_agrees_to_the_cent_and_leaves_quarantined_rows_out(world):
    world.spec["reconcile"] = [
        {"name": "balance", "object": "customers", "type": "ControlTotal", "field": "balance", "expected": "9.50"},
        {"name": "rows", "object": "customers", "type": "RowCount", "expected": "4"},
    ]
    world.write([row(1), row(2), row(2, YE="1.00"), row(3, KHMC="")])
    code, answer = world.call("run")
    assert (code, answer["outcome"]) == (44, "Rejected")
    world.spec["reconcile"][0]["expected"] = "8.50"
    world.run += "b"
    code, answer = world.call("run")
    assert code == 0, answer
    assert answer["checks"][0] == {
        "name": "balance", "passed": True, "source": "4", "target": "4",
        "message": "8.5 in the file, 4.5 left out, 4 in the target",
    }  # fmt: skip


def test_a_wrong_control_total_rejects_the_run_and_the_target_stays_untouched(world):
    world.spec["reconcile"] = [
        {"name": "balance", "object": "customers", "type": "ControlTotal", "field": "balance", "expected": "7"}
    ]
    world.write([row(1), row(2)])
    code, answer = world.call("run")
    assert (code, answer["outcome"], answer["reason"]) == (44, "Rejected", "ReconciliationFailed")
    assert "7 expected, the file adds up to 4" in answer["message"]
    assert answer["counts"]["loaded"] == 0
    assert world.query("select count(*) from party") == [(0,)]


def test_a_trigger_that_changes_amounts_is_found_by_the_control_total(world):
    world.query(
        "create function halve() returns trigger language plpgsql as $$ begin new.balance := new.balance / 2;"
        " return new; end $$; create trigger halve before insert on party for each row execute function halve()"
    )
    world.spec["reconcile"] = [{"name": "balance", "object": "customers", "type": "ControlTotal", "field": "balance"}]
    world.write([row(1), row(2)])
    assert world.call("run")[1]["reason"] == "ReconciliationFailed"
    assert world.query("select count(*) from party") == [(0,)]


def test_rows_that_the_database_refuses_are_singled_out(world):
    world.query("alter table party add constraint no_fives check (code not like '%5')")
    world.query("alter table party add constraint name_once unique (name)")
    world.write([row(number) for number in range(1, 30)] + [row(77, KHMC="华升客户2有限公司"), row(78, KHDJ="Z")])
    code, answer = world.call("run")
    assert (code, answer["outcome"]) == (0, "Succeeded")
    counts = answer["counts"]
    assert (counts["read"], counts["loaded"], counts["quarantined"], counts["balanced"]) == (31, 26, 5, True)
    reasons = world.query("select src_line, code, message from mig.quarantine where code = 'E_DB' order by 1")
    assert [line for line, *_ in reasons] == [6, 16, 26, 31]
    assert "no_fives" in reasons[0][2]
    assert "name_once" in reasons[3][2]


def test_a_constraint_that_refuses_every_row_stops_at_the_budget_without_showing_row_data(world):
    world.query("alter table party add constraint nobody check (code = '')")
    world.spec["errorBudget"] = {"rows": 3}
    world.write([row(number) for number in range(1, 200)])
    code, answer = world.call("run")
    assert (code, answer["outcome"], answer["reason"]) == (43, "Paused", "ErrorBudgetExceeded")
    assert "华升" not in answer["message"]
    assert world.query("select count(*) from party") == [(0,)]
    assert world.query("select count(*) from mig.quarantine where code = 'E_DB'") == [(4,)]


@pytest.mark.parametrize("policy", ["Overwrite", "FillNulls"])
def test_updates_that_the_database_refuses_are_singled_out(world, policy):
    world.query(
        "insert into party (code, name, active, balance)"
        " select 'K' || lpad(n::text, 5, '0'), null, true, 1 from generate_series(1, 6) n"
    )
    world.query("alter table party add constraint no_fives check (name not like '%5有限公司')")
    world.spec["objects"] = [customers_object(onConflict={"policy": policy})]
    world.write([row(number) for number in range(1, 9)])
    code, answer = world.call("run")
    assert (code, answer["outcome"]) == (0, "Succeeded")
    counts = answer["counts"]
    assert (counts["updated"], counts["loaded"], counts["quarantined"], counts["balanced"]) == (5, 2, 1, True)
    [(line, code, message, stored)] = world.query("select src_line, code, message, src_raw from mig.quarantine")
    assert (line, code, bytes(stored)) == (6, "E_DB", ",".join(row(5)).encode("gb18030") + b"\r\n")
    assert "no_fives" in message
    assert "华升" not in message
    assert world.query("select name, tier from party where code = 'K00005'") == [(None, None)]


def test_rows_that_only_a_deferred_constraint_refuses_are_singled_out(world):
    world.query("alter table party add constraint name_once unique (name) deferrable initially deferred")
    world.write([row(1), row(2), row(3, KHMC="华升客户1有限公司")])
    code, answer = world.call("run")
    assert (code, answer["counts"]["loaded"], answer["counts"]["quarantined"]) == (0, 2, 1)
    [(line, code, message)] = world.query("select src_line, code, message from mig.quarantine")
    assert (line, code) == (4, "E_DB")
    assert "name_once" in message


def test_a_deferred_constraint_may_be_broken_until_the_last_object_is_merged(world):
    world.query("create table tier (name text primary key)")
    world.query("alter table party add foreign key (tier) references tier deferrable initially deferred")
    tiers = {"name": "tiers", "from": {"file": "等级.csv"}, "to": "tier", "key": ["name"]}
    world.spec["objects"] = [customers_object(), {**tiers, "fields": [{"to": "name", "from": "DJ"}]}]
    world.write([row(1), row(2)])
    world.write([["金牌"], ["银牌"]], "等级.csv", header=["DJ"])
    _, answer = world.call("run")
    assert (answer["outcome"], answer["counts"]["loaded"], answer["counts"]["quarantined"]) == ("Succeeded", 4, 0)


def test_sequences_are_moved_past_filled_keys(world):
    customers = customers_object()
    customers["fields"].append({"to": "id", "from": "ID"})
    world.spec["objects"] = [customers]
    world.write([[*row(1), "4711"]], header=[*HEADER, "ID"])
    assert world.call("run")[0] == 0
    assert world.query("insert into party (code, active) values ('new', true) returning id") == [(4712,)]


def test_a_worker_stays_small_however_wide_the_rows_are(world):
    wide = "宽" * 1500
    rows = [row(number, KHDJ=wide) for number in range(9_000)] + [row(9_001, KHDJ=f'"{wide}\n{wide}"')]
    customers = customers_object()
    customers["fields"][2] = {"to": "tier", "from": "KHDJ"}
    world.spec["objects"] = [customers]
    assert len(world.write(rows)) > 25 * 2**20
    assert world.call("plan")[0] == 0
    worker = world.start("work")
    peak = 0
    while worker.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{worker.pid}/status").read_text())
        peak = max(peak, int(found[1]) if found else 0)
    assert worker.returncode == 0
    assert 0 < peak < 400 * 1024
    assert world.query("select count(*) from party") == [(9_001,)]
