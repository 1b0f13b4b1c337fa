"""Bad input gets a coded answer and leaves the target untouched."""

from __future__ import annotations

import json

import pytest

from pilotage.plan.preflight import DATABASE_QUERIES
from tests.migration.world import World, customers_object, row

pytestmark = pytest.mark.postgresql


@pytest.fixture
def world(server, tmp_path) -> World:
    found = World(server, tmp_path)
    found.write([row(number) for number in range(1, 11)])
    return found


def refused(world: World, command: str = "plan", expected: int = 42) -> tuple[str, str]:
    code, answer = world.call(command)
    assert code == expected, answer
    assert world.query("select count(*) from party") == [(0,)]
    return answer["reason"], answer["message"]


def test_a_missing_table_is_named(world):
    world.spec["objects"] = [customers_object(to="partei")]
    reason, message = refused(world)
    assert (reason, "public.partei" in message) == ("TargetTableMissing", True)


def test_a_missing_file_is_named_with_those_that_are_there(world):
    (world.folder / "客户.csv").rename(world.folder / "customers.csv")
    reason, message = refused(world)
    assert reason == "SourceMissing"
    assert "客户.csv" in message
    assert "customers.csv" in message


def test_a_path_out_of_the_source_is_refused(world):
    world.spec["objects"] = [customers_object(**{"from": {"file": "a/../../x.csv"}})]
    assert refused(world)[0] == "SourceOutside"


def test_missing_columns_of_the_file_are_named(world):
    world.write([["1", "2"]], header=["KHBM", "MC"])
    reason, message = refused(world)
    assert reason == "ColumnsMissing"
    assert "KHDJ, KHMC, KHRQ, YE" in message


def test_missing_columns_of_the_target_are_named(world):
    world.query("alter table party drop column tier")
    assert refused(world) == ("TargetColumnMissing", "table public.party has no column tier")


def test_a_column_that_must_be_filled_and_is_not_is_named(world):
    world.query("alter table party add column owner text not null")
    reason, message = refused(world)
    assert (reason, "column owner" in message) == ("RequiredColumnUnmapped", True)


def test_utf8_declared_for_a_gb18030_file_names_line_and_offset(world):
    world.spec["source"]["encoding"] = "UTF-8"
    reason, message = refused(world)
    assert reason == "WrongEncoding"
    assert "line 2, byte offset 31 (bytes BB AA" in message


def test_gb18030_declared_for_a_utf8_file_is_refused_and_not_garbled(world):
    world.write([row(number) for number in range(1, 11)], encoding="utf-8")
    reason, message = refused(world)
    assert reason == "WrongEncoding"
    assert "is UTF-8 throughout" in message


def test_auto_proves_gb18030_over_the_whole_file(world):
    world.spec["source"]["encoding"] = "auto"
    assert world.call("run")[0] == 0
    assert world.query("select name from party where code = 'K00001'") == [("华升客户1有限公司",)]


def test_auto_takes_a_byte_order_mark_off(world):
    world.write([row(number) for number in range(1, 11)], encoding="utf-8")
    path = world.folder / "客户.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    world.spec["source"]["encoding"] = "auto"
    assert world.call("run")[1]["counts"]["loaded"] == 10


def test_auto_pauses_at_a_file_that_is_neither_and_names_both_places(world):
    path = world.folder / "客户.csv"
    path.write_bytes(path.read_bytes() + b"K1,\xff\xff,A,1,\r\n")
    world.spec["source"]["encoding"] = "auto"
    reason, message = refused(world, expected=43)
    assert reason == "EncodingUnproven"
    assert "line 12" in message


def test_gbk_has_no_four_byte_characters(world):
    world.spec["source"]["encoding"] = "GBK"
    world.write([row(1), row(2, KHMC="𠮷野家"), row(3)])
    assert world.call("run")[1]["counts"]["quarantined"] == 1
    assert world.query("select code, src_line from mig.quarantine") == [("E_ENCODING", 3)]


def test_an_unreachable_database_is_a_reason_to_try_again(world):
    code, answer = world.call("plan", environment={"PGPORT": "1"})
    assert (code, answer["reason"]) == (1, "DatabaseUnreachable")
    assert "not-a-secret" not in str(answer)


def test_a_source_that_moved_is_refused_until_a_new_attempt_asks_for_it(world):
    assert world.call("plan")[0] == 0
    world.write([row(number) for number in range(1, 21)])
    assert refused(world)[0] == "SourceMoved"
    assert world.call("plan", "--attempt", "2")[0] == 0
    assert world.call("work")[0] == 0
    assert world.query("select count(*) from party") == [(20,)]


def test_a_file_swapped_under_a_worker_is_found(world):
    assert world.call("plan")[0] == 0
    world.write([row(number + 1) for number in range(1, 11)])
    assert refused(world, "work")[0] == "SourceMoved"


def test_the_budget_is_looked_at_after_every_chunk_and_nothing_is_half_loaded(world):
    world.spec["errorBudget"] = {"rows": 3}
    world.write([row(number, YE="x" if number < 20 else "1") for number in range(1, 201)])
    assert world.call("plan", "--chunk-rows", "10")[0] == 0
    code, answer = world.call("work")
    assert (code, answer["outcome"], answer["reason"]) == (43, "Paused", "ErrorBudgetExceeded")
    assert "10 rows quarantined of 10 read, the budget allows 3" in answer["message"]
    assert world.query("select count(*) filter (where state = 'done'), count(*) from mig.chunk") == [(1, 20)]
    assert world.query("select count(*) from party") == [(0,)]
    report = world.call("report")[1]
    assert (report["outcome"], report["counts"]["loaded"], report["topErrors"][0]["code"]) == ("Paused", 0, "E_TYPE")


def test_a_paused_run_is_taken_up_by_a_new_attempt_after_the_file_was_repaired(world):
    world.spec["errorBudget"] = {"rows": 0}
    world.write([row(1), row(2, YE="x")])
    assert world.call("run")[0] == 43
    world.write([row(1), row(2)])
    assert world.call("run", "--attempt", "repaired")[0] == 0
    assert world.query("select count(*) from party") == [(2,)]


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"percent": "1%", "minRowsBeforePercent": 50}, "20.00%"),
        ({"rows": 100, "perCode": [{"code": "E_TYPE", "rows": 5}]}, "E_TYPE"),
    ],
)
def test_percent_and_single_codes_have_budgets_too(world, budget, said):
    world.spec["errorBudget"] = budget
    world.write([row(number, YE="x" if number % 5 == 0 else "1") for number in range(1, 101)])
    code, answer = world.call("run")
    assert (code, said in answer["message"]) == (43, True)


def test_orphans_over_the_budget_pause_the_run_and_keep_their_reasons(world):
    contacts = {
        "name": "contacts", "from": {"file": "联系人.csv"}, "to": "contact", "key": ["number"],
        "errorBudget": {"rows": 1},
        "fields": [
            {"to": "number", "from": "HM"},
            {"to": "party", "from": "KHBM", "reference": {"object": "customers", "match": "code", "use": "id"}},
        ],
    }  # fmt: skip
    world.spec["objects"] = [customers_object(), contacts]
    world.write([["1", "K00001"], ["2", "X"], ["3", "Y"]], "联系人.csv", header=["HM", "KHBM"])
    assert world.call("run")[0] == 43
    assert world.query("select count(*) from party") == [(0,)]
    assert world.query("select code, bad_value from mig.quarantine order by 2") == [("E_FK", "X"), ("E_FK", "Y")]


def test_a_probe_answers_read_only_and_within_its_time(world):
    questions = (
        '{"queries": [{"name": "one", "query": "select 42"}, {"name": "none", "query": "select 1 where false"},'
        ' {"name": "write", "query": "delete from party"},'
        ' {"name": "slow", "query": "select pg_sleep(30)", "timeoutSeconds": 0.2}]}'
    )
    code, answer = world.call("probe", environment={"PILOTAGE_PROBE": questions})
    assert code == 0
    found = {result["name"]: (result["value"], result["error"]) for result in answer["results"]}
    assert found["one"] == ("42", None)
    assert found["none"] == (None, "no row: one is needed")
    assert "read-only" in found["write"][1]
    assert "statement timeout" in found["slow"][1]


def test_a_probe_reads_what_the_preflight_expects_of_a_database(world):
    questions = json.dumps({"queries": [{"name": name, "query": query} for name, query in DATABASE_QUERIES.items()]})
    code, answer = world.call("probe", environment={"PILOTAGE_PROBE": questions})
    assert code == 0
    assert all(result["error"] is None for result in answer["results"])
    found = {result["name"]: result["value"] for result in answer["results"]}
    [(number, charset, most, zone)] = world.query(
        "select (select setting from pg_settings where name = 'server_version_num'),"
        " (select pg_encoding_to_char(encoding) from pg_database where datname = current_database()),"
        " (select setting from pg_settings where name = 'max_connections'),"
        " (select setting from pg_settings where name = 'TimeZone')"
    )
    assert found == {"version": number, "charset": charset, "maxConnections": most, "timeZone": zone}


def test_a_probe_says_why_a_database_cannot_be_reached(world):
    code, answer = world.call("probe", environment={"PILOTAGE_PROBE": '{"connect": true}', "PGPORT": "1"})
    assert code == 0
    assert answer["results"][0]["value"] is None
    assert answer["results"][0]["error"]
