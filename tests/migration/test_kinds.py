"""Mock, Rehearsal and Final: how far a run goes, and what a Final run is held to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.migration.world import World, contacts_object, customers_object, row

pytestmark = [pytest.mark.postgresql, pytest.mark.timeout(180)]

SEQUENCES = "select sequencename, last_value from pg_sequences where schemaname = 'public' order by 1"
CHECKS = [
    {"name": "stored", "object": "customers", "type": "Checksum"},
    {"name": "balance", "object": "customers", "type": "ControlTotal", "field": "balance"},
]


@pytest.fixture
def world(server, tmp_path) -> World:
    found = World(server, tmp_path)
    found.name = "customers"
    found.spec["objects"] = [customers_object(onConflict={"policy": "Overwrite"}), contacts_object()]
    found.spec["reconcile"] = CHECKS
    found.query("insert into party (code, name, active) values ('K00001', '旧名', true)")
    found.write([row(number) for number in range(1, 6)] + [row(6, KHDJ="Z")])
    found.write([["1", "K00001"], ["2", "K00004"], ["3", "K00009"]], "联系人.csv", header=["HM", "KHBM"])
    return found


def go(world: World, kind: str, run: str = "", **changes: Any) -> tuple[int, dict]:
    world.spec = {**world.spec, "run": kind, **changes}
    world.run = run or f"{kind.lower()}-{json.dumps(changes, sort_keys=True)}"[:36]
    return world.call("run")


def certificate(world: World) -> dict:
    return world.query(f"select certificate from mig.run where run_id = '{world.run}'")[0][0]


def live(world: World) -> tuple[Any, ...]:
    tables = [world.query(f"select * from {table} order by id") for table in ("party", "contact", "kind")]
    return (*tables, world.query(SEQUENCES), world.query("select relname from pg_class where relkind in ('r', 'v')"
            " and relnamespace = 'public'::regnamespace order by 1"))  # fmt: skip


def scratch(world: World) -> str:
    return certificate(world)["scratchSchema"]


def test_a_mock_tells_everything_and_leaves_no_row(world):
    before = live(world)[:3]
    code, answer = go(world, "Mock")
    assert (code, answer["outcome"], answer["reason"]) == (0, "Succeeded", "Mocked"), answer
    counts = answer["counts"]
    assert (counts["read"], counts["loaded"], counts["updated"], counts["quarantined"]) == (9, 6, 1, 2)
    assert counts["balanced"]
    assert [(found["value"], found["rows"]) for found in answer["openMappings"]] == [("Z", 1)]
    assert {check["name"]: check["passed"] for check in answer["checks"]} == {"stored": True, "balance": True}
    assert live(world)[:3] == before
    assert world.query("select count(*) from mig.crosswalk") == [(0,)]
    assert world.query("select object, code from mig.quarantine order by 1") == [
        ("contacts", "E_FK"),
        ("customers", "E_MAPPING"),
    ]
    assert certificate(world)["runKind"] == "Mock"


def test_a_mock_fires_the_targets_triggers_and_undoes_what_they_did(world):
    world.query(
        "create table audit (code text); create function note() returns trigger language plpgsql as"
        " $$ begin insert into audit values (new.code); if new.code = 'K00003' then raise 'no'; end if;"
        " return new; end $$; create trigger note before insert on party for each row execute function note()"
    )
    code, answer = go(world, "Mock")
    assert code == 0, answer
    assert [found["code"] for found in answer["topErrors"]].count("E_DB") == 1
    assert world.query("select count(*) from audit") == [(0,)]


def test_a_mock_reads_on_past_its_budget_and_then_pauses_with_all_there_is(world):
    world.write([row(number, KHDJ="Z") for number in range(1, 101)])
    world.spec["errorBudget"] = {"rows": 0}
    world.spec = {**world.spec, "run": "Mock"}
    code, answer = world.call("run", "--chunk-rows", "10")
    assert (code, answer["outcome"], answer["reason"]) == (43, "Paused", "ErrorBudgetExceeded")
    assert answer["openMappings"][0]["rows"] == 100


def test_a_mock_is_made_anew_with_a_new_attempt(world):
    assert go(world, "Mock", "m")[1]["counts"]["quarantined"] == 2
    world.write([row(number) for number in range(1, 7)])
    assert world.call("plan")[0] == 0
    assert world.call("report")[1]["counts"]["quarantined"] == 2
    code, answer = world.call("run", "--attempt", "again")
    assert (code, answer["counts"]["quarantined"]) == (0, 1)


def test_a_rehearsal_loads_copies_and_touches_nothing_that_is_live(world):
    before = live(world)
    code, answer = go(world, "Rehearsal")
    assert (code, answer["reason"]) == (0, "Rehearsed"), answer
    counts = answer["counts"]
    assert (counts["loaded"], counts["updated"], counts["quarantined"], counts["balanced"]) == (6, 1, 2, True)
    assert live(world) == before
    place = scratch(world)
    assert world.query(f"select code, name from {place}.party order by code limit 2") == [
        ("K00001", "华升客户1有限公司"),
        ("K00002", "华升客户2有限公司"),
    ]
    assert world.query(f"select c.number, p.code from {place}.contact c join {place}.party p on p.id = c.party"
                       " order by 1") == [("1", "K00001"), ("2", "K00004")]  # fmt: skip
    assert world.query("select count(*) from mig.crosswalk") == [(0,)]
    assert certificate(world)["durations"].keys() == {"loading", "settling"}


def test_a_rehearsal_meets_the_constraints_of_the_live_tables(world):
    world.query("create unique index on party (name); create table branch (id int primary key)")
    world.query("alter table party add branch int references branch, add check (balance < 5)")
    world.spec["objects"] = [customers_object(onConflict={"policy": "Overwrite"})]
    world.spec["objects"][0]["fields"].append({"to": "branch", "value": 7})
    world.write([row(2), row(3), row(5)])
    world.spec["reconcile"] = []
    code, answer = go(world, "Rehearsal")
    assert (code, answer["counts"]["quarantined"]) == (0, 3), answer
    messages = "".join(found[0] for found in world.query("select message from mig.quarantine"))
    assert "party_branch_fkey" in messages
    assert "party_balance_check" in messages


def test_nothing_ties_the_scratch_schema_to_live_tables(world):
    world.spec["objects"][0]["fields"].append(
        {"to": "tier_id", "from": "KHDJ", "reference": {"table": "kind", "match": "code", "use": "id"}}
    )
    world.query("alter table party add tier_id int references kind")
    assert go(world, "Rehearsal")[0] == 0
    assert world.query(f"select distinct tier_id from {scratch(world)}.party order by 1 nulls last limit 2") == [
        (1,),
        (2,),
    ]
    world.query("alter table kind alter code type varchar(9); delete from contact")
    world.query("alter table party drop tier_id; drop table kind; delete from party; drop table contact, party")


def test_triggers_that_a_rehearsal_does_not_fire_are_named(world):
    world.query(
        "create function note() returns trigger language plpgsql as $$ begin raise 'fired'; end $$;"
        " create trigger note before insert on party for each row execute function note()"
    )
    assert go(world, "Rehearsal")[0] == 0
    assert certificate(world)["notExercised"] == ["party.note"]


def test_a_final_run_as_rehearsed_names_its_rehearsal_and_predicts_its_duration(world):
    assert go(world, "Rehearsal")[0] == 0
    rehearsal, place = world.run, scratch(world)
    digest = world.query("select certificate_digest from mig.run")[0][0]
    world.spec = {**world.spec, "run": "Final"}
    world.run = "final"
    code, answer = world.call("plan")
    assert code == 0, answer
    assert (answer["rehearsal"]["id"], answer["rehearsal"]["certificateDigest"]) == (rehearsal, digest)
    assert answer["rehearsal"]["predictedSeconds"] >= 1
    assert world.call("work")[0] == 0
    assert certificate(world)["rehearsal"]["id"] == rehearsal
    assert world.query("select count(*) from party") == [(5,)]
    assert world.query(f"select to_regnamespace('{place}')::text") == [(None,)]


def refused(world: World, **changes: Any) -> str:
    code, answer = go(world, "Final", **changes)
    assert (code, answer["outcome"], answer["reason"]) == (43, "Paused", "RehearsalOutdated"), answer
    assert world.query("select count(*) from party") == [(1,)]
    return answer["message"]


def test_a_final_run_refuses_what_was_not_rehearsed_and_names_it(world):
    assert go(world, "Rehearsal")[0] == 0
    first, second = world.spec["objects"]
    mapped = {**first, "fields": [*first["fields"][:-1], {"to": "active", "value": False}]}
    assert "the mapping of object customers" in refused(world, objects=[mapped, second])
    assert "object contacts, which is gone" in refused(world, objects=[first])
    assert "spec.errorBudget" in refused(world, objects=[first, second], errorBudget={"rows": 99})
    world.query("alter table party alter name type varchar(40)")
    assert "the target's columns of object customers" in refused(world, errorBudget={"rows": 100})
    world.query("alter table party alter name type varchar(60)")
    world.write([row(number) for number in range(1, 6)])
    assert "the source of object customers" in refused(world)
    assert go(world, "Rehearsal", "second")[0] == 0
    assert go(world, "Final", "agreed")[0] == 0


def test_a_source_that_went_on_is_loaded_within_the_declared_delta_and_refused_beyond_it(world):
    assert go(world, "Rehearsal")[0] == 0
    world.write([row(number) for number in range(1, 10)])
    assert "9 rows, 6 were rehearsed" in refused(world, rehearsal={"maxDelta": "49%"})
    code, answer = go(world, "Final", rehearsal={"maxDelta": "50%"})
    assert (code, answer["counts"]["loaded"]) == (0, 11), answer
    assert certificate(world)["rehearsal"]["moved"] == {"customers": 6}


def test_another_jobs_rehearsal_holds_nobody(world):
    assert go(world, "Rehearsal")[0] == 0
    world.write([row(1)])
    world.name = "others"
    assert go(world, "Final")[0] == 0
