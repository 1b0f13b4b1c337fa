"""A loaded run is taken back: what it inserted goes, what it overwrote is as before, or it says what stands against."""

from __future__ import annotations

import csv
from typing import Any

import pytest

from tests.migration.conftest import kill, wait_for
from tests.migration.world import World, contacts_object, customers_object, row

pytestmark = [pytest.mark.postgresql, pytest.mark.timeout(180)]


@pytest.fixture
def world(server, tmp_path) -> World:
    found = World(server, tmp_path)
    found.query(
        "alter table party add seen timestamptz default now(), add raw bytea default '\\x00ff', add list int[];"
        " insert into party (code, name, active, balance, list) values ('K00001', '旧名', true, 1.50, '{1,2}'),"
        " ('K00002', null, false, null, null)"
    )
    found.spec["objects"] = [customers_object(onConflict={"policy": "Overwrite"}), contacts_object()]
    found.spec["rollback"] = {"beforeImages": True}
    found.write([row(number) for number in range(1, 6)])
    found.write([["1", "K00001"], ["2", "K00004"]], "联系人.csv", header=["HM", "KHBM"])
    return found


def tables(world: World) -> list[Any]:
    return [world.query(f"select * from {table} order by id") for table in ("party", "contact")]


def left(world: World) -> list[tuple]:
    return world.query(
        "select (select state from mig.run), (select count(*) from mig.undo), (select count(*) from mig.crosswalk)"
    )


def test_a_run_is_taken_back_to_the_last_value_and_a_second_time_does_nothing(world):
    before = tables(world)
    assert world.call("run")[1]["counts"]["updated"] == 2
    for _ in range(2):
        code, answer = world.call("rollback")
        assert (code, answer["outcome"], answer["removed"], answer["restored"]) == (0, "RolledBack", 5, 2), answer
        assert tables(world) == before
    assert left(world) == [("rolledback", 0, 0)]


def test_a_run_that_was_taken_back_is_loaded_again_with_a_new_attempt(world):
    assert world.call("run")[0] == 0
    loaded = world.target()["party"]
    assert world.call("rollback")[0] == 0
    code, answer = world.call("report")
    assert (code, answer["outcome"]) == (0, "RolledBack")
    assert world.call("work")[0] == 42
    code, answer = world.call("run", "--attempt", "again")
    assert (code, answer["counts"]["loaded"], answer["counts"]["balanced"]) == (0, 5, True)
    assert world.target()["party"] == loaded


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("update party set name = '新名' where code = 'K00003'", "customers, line 4: changed"),
        ("update party set balance = 1.51 where code = 'K00001'", "customers, line 2: changed"),
        ("update party set list = '{7}' where code = 'K00005'", "customers, line 6: changed"),
        ("delete from contact where number = '2'", "contacts, line 3: gone"),
    ],
)
def test_rows_that_somebody_changed_since_are_listed_and_nothing_is_taken_back(world, change, reason):
    assert world.call("run")[0] == 0
    world.query(change)
    loaded = tables(world)
    code, answer = world.call("rollback", "--refused", "refused.csv")
    assert (code, answer["outcome"], answer["reason"]) == (44, "Rejected", "RollbackRefused")
    assert reason in answer["message"]
    assert tables(world) == loaded
    with (world.folder / "refused.csv").open(encoding="utf-8-sig", newline="") as file:
        found = list(csv.DictReader(file))
    assert [f"{one['object']}, line {one['line']}: {one['reason']}" for one in found] == [reason]
    assert left(world)[0][0] == "succeeded"


@pytest.mark.parametrize("action", ["no action", "cascade", "set null"])
def test_rows_that_others_refer_to_stay_whatever_the_constraint_would_do(world, action):
    world.query(
        f"create table sale (id serial, party bigint constraint sale_party references party on delete {action})"
    )
    assert world.call("run")[0] == 0
    world.query("insert into sale (party) select id from party where code in ('K00001', 'K00003')")
    loaded = tables(world)
    code, answer = world.call("rollback")
    assert (code, answer["reason"]) == (44, "RollbackRefused")
    assert "customers, line 4: referred to by sale (constraint sale_party)" in answer["message"]
    assert "line 2" not in answer["message"]
    assert tables(world) == loaded
    world.query("delete from sale where party = (select id from party where code = 'K00003')")
    assert world.call("rollback")[0] == 0
    assert world.query("select count(*) from sale") == [(1,)]


def test_two_objects_that_filled_one_row_are_taken_back_in_reverse(world):
    suppliers = customers_object(
        name="suppliers", onConflict={"policy": "Overwrite"}, **{"from": {"file": "供应商.csv"}}
    )
    world.spec["objects"] = [world.spec["objects"][0], suppliers]
    world.write([row(1, KHMC="甲"), row(3, KHMC="乙")], "供应商.csv")
    before = tables(world)
    assert world.call("run")[1]["counts"]["updated"] == 4
    assert world.query("select name from party where code in ('K00001', 'K00003') order by code") == [("甲",), ("乙",)]
    assert world.call("rollback")[0] == 0
    assert tables(world) == before


@pytest.mark.parametrize("policy", [{"policy": "FillNulls"}, {"policy": "NewerWins", "column": "since"}])
def test_filled_gaps_are_gaps_again_and_rows_that_stayed_are_not_asked_about(world, policy):
    world.spec["objects"][0]["onConflict"] = policy
    before = tables(world)
    assert world.call("run")[0] == 0
    assert world.call("rollback")[1]["restored"] == 2
    assert tables(world) == before


def test_what_a_client_of_another_time_zone_asks_for_is_the_same_row(world):
    assert world.call("run")[0] == 0
    code, answer = world.call("rollback", environment={"PGTZ": "Asia/Shanghai", "PGOPTIONS": "-c bytea_output=escape"})
    assert code == 0, answer


def test_without_before_images_and_before_it_is_loaded_a_run_is_not_taken_back(world):
    world.spec["rollback"] = {}
    assert world.call("plan")[0] == 0
    assert world.call("rollback")[1]["reason"] == "NothingToRollBack"
    assert world.call("run")[0] == 0
    code, answer = world.call("rollback")
    assert (code, answer["reason"]) == (42, "NoBeforeImages")


def test_a_rollback_that_is_killed_leaves_the_run_whole_and_the_next_takes_it_back(world, server):
    before = tables(world)
    assert world.call("run")[0] == 0
    loaded = tables(world)
    world.query(
        "create function wait() returns trigger language plpgsql as $$ begin perform pg_sleep(60); return old; end $$;"
        " create trigger wait before delete on party for each row execute function wait()"
    )
    process = world.start("rollback")
    sleeping = f"select 1 from pg_stat_activity where datname = '{world.database}' and wait_event = 'PgSleep'"
    wait_for(lambda: world.query(sleeping), "the rollback never came to the rows")
    kill(process)
    world.query(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{world.database}'"
                " and wait_event = 'PgSleep'")  # fmt: skip
    world.query("drop trigger wait on party")
    assert tables(world) == loaded
    assert world.call("rollback")[0] == 0
    assert tables(world) == before
