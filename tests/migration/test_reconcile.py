"""What was to be written against what the target gives back: by checksum, by row, by group."""

from __future__ import annotations

import json

import pytest

from tests.migration.world import World, row

pytestmark = [pytest.mark.postgresql, pytest.mark.timeout(180)]

CHECKSUM = {"name": "stored", "object": "customers", "type": "Checksum"}
BY_TIER = {"name": "by-tier", "object": "customers", "type": "ControlTotal", "field": "balance", "groupBy": "tier"}


@pytest.fixture
def world(server, tmp_path) -> World:
    return World(server, tmp_path)


def tamper(world: World, body: str) -> None:
    """A trigger of the target that changes what is written."""
    world.query(
        f"create function tamper() returns trigger language plpgsql as $$ begin {body} end $$;"
        " create trigger tamper before insert on party for each row execute function tamper()"
    )


def certificate(world: World) -> dict:
    (found,) = world.query("select certificate from mig.run")
    return found[0]


def test_rows_that_are_stored_as_they_were_written_pass(world):
    world.spec["reconcile"] = [CHECKSUM]
    world.write([row(number) for number in range(1, 300)])
    code, answer = world.call("run")
    assert code == 0, answer
    check = answer["checks"][0]
    assert (check["passed"], check["message"]) == (True, "rows stored as written: 299")
    assert check["source"] == check["target"] != "0"


def test_backslashes_and_missing_values_are_no_difference(world):
    world.spec["reconcile"] = [CHECKSUM]
    world.write([row(1, KHMC="甲\\N乙\\"), row(2, YE="", KHRQ=""), row(3, YE="1.500")])
    code, answer = world.call("run")
    assert code == 0, answer
    assert answer["checks"][0]["passed"]


def test_a_row_of_as_many_columns_as_a_mapping_may_have_is_compared(world):
    fields = world.spec["objects"][0]["fields"]
    more = [f"extra_{number}" for number in range(128 - len(fields))]
    world.query("alter table party " + ", ".join(f"add column {name} text" for name in more))
    fields += [{"to": name, "from": "KHMC"} for name in more]
    world.spec["reconcile"] = [CHECKSUM]
    world.write([row(number) for number in range(1, 10)])
    code, answer = world.call("run")
    assert code == 0, answer
    assert answer["checks"][0]["message"] == "rows stored as written: 9"


def test_a_trigger_that_rewrites_one_name_is_found_with_line_and_column_and_without_the_name(world):
    world.spec["reconcile"] = [CHECKSUM]
    tamper(world, "if new.code = 'K00007' then new.name := 'X'; end if; return new;")
    world.write([row(number) for number in range(1, 100)])
    code, answer = world.call("run")
    assert (code, answer["reason"]) == (44, "ReconciliationFailed")
    assert "rows stored otherwise than written: 1 (line 8: name)" in answer["message"]
    assert "华升" not in json.dumps(answer, ensure_ascii=False)
    assert world.query("select count(*) from party") == [(0,)]


def test_a_trigger_that_swallows_rows_is_found(world):
    world.spec["reconcile"] = [CHECKSUM]
    tamper(world, "if new.code in ('K00003', 'K00005') then return null; end if; return new;")
    world.write([row(number) for number in range(1, 10)])
    code, answer = world.call("run")
    assert code == 44
    assert "line 4: not in the target; line 6: not in the target" in answer["message"]


def test_rows_that_the_policy_left_alone_are_not_compared(world):
    world.spec["objects"][0]["onConflict"] = {"policy": "KeepTarget"}
    world.spec["reconcile"] = [CHECKSUM]
    world.query("insert into party (code, name, active) values ('K00001', '旧名', true)")
    world.write([row(1), row(2)])
    code, answer = world.call("run")
    assert code == 0, answer
    assert answer["checks"][0]["message"] == "rows stored as written: 1"


def test_sums_by_group_are_in_the_certificate(world):
    world.spec["reconcile"] = [BY_TIER]
    world.write([row(number) for number in range(1, 5)])
    assert world.call("run")[0] == 0
    groups = certificate(world)["groups"]
    assert sorted((group["group"], group["rows"], group["source"], group["target"]) for group in groups) == sorted(
        [("金牌", 2, "7", "7"), ("银牌", 2, "5", "5")]
    )


def test_an_amount_that_moved_to_another_group_is_found_though_the_total_agrees(world):
    world.spec["reconcile"] = [BY_TIER]
    tamper(world, "if new.code = 'K00001' then new.tier := '铜牌'; end if; return new;")
    world.write([row(number) for number in range(1, 5)])
    code, answer = world.call("run")
    assert (code, answer["reason"]) == (44, "ReconciliationFailed")
    assert "tier 铜牌: 0 rows with 0 in the source, 1 with 1.5 in the target" in answer["message"]
    assert world.query("select count(*) from party") == [(0,)]
