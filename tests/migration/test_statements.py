"""A user's own SQL over the staged rows: it changes and leaves out, and the counts say so."""

from __future__ import annotations

import psycopg
import pydantic
import pytest

from pilotage.api.v1alpha1.migrationjob import MigrationObject
from tests.migration.conftest import kill, wait_for
from tests.migration.world import World, contacts_object, customers_object, row

postgresql = pytest.mark.postgresql


@pytest.fixture
def world(server, tmp_path) -> World:
    return World(server, tmp_path)


@postgresql
def test_rows_are_changed_by_a_table_that_no_mapping_reaches_and_the_certificate_says_how_many(world):
    world.query("create table merged (old text, new text); insert into merged values ('K00002', 'K00001')")
    move = "update staged set code = m.new, name = staged.name || '(并)' from merged m where m.old = staged.code"
    world.spec["objects"] = [customers_object(sql=[move])]
    world.write([row(1), row(2), row(3)])
    code, answer = world.call("run")
    # Its key is that of another row now, of which the first counts.
    assert (code, answer["counts"]["loaded"], answer["counts"]["duplicates"]) == (0, 2, 1), answer
    assert world.query("select code from party order by 1") == [("K00001",), ("K00003",)]
    assert world.query("select certificate -> 'sql' from mig.run") == [
        ([{"object": "customers", "statement": move, "rows": 1}],)
    ]


@postgresql
def test_rows_that_are_left_out_are_counted_as_filtered_and_nothing_refers_to_them(world):
    leave = ["UPDATE staged SET _outcome = 'filtered' WHERE name like '%2%'", "update staged set tier = 'x%s' || _line"]
    world.spec["objects"] = [customers_object(sql=leave), contacts_object()]
    world.spec["reconcile"] = [
        {"name": "rows", "object": "customers", "type": "RowCount"},
        {"name": "sum", "object": "customers", "type": "ControlTotal", "field": "balance"},
        {"name": "values", "object": "customers", "type": "Checksum"},
    ]
    world.write([row(1), row(2), row(3)])
    world.write([["1", "K00001"], ["2", "K00002"]], "联系人.csv", header=["HM", "KHBM"])
    code, answer = world.call("run", "--chunk-rows", "1")
    assert code == 0, answer
    assert answer["objects"][0] == {
        "name": "customers", "read": 3, "loaded": 2, "filtered": 1, "balanced": True,
        "updated": 0, "kept": 0, "duplicates": 0, "quarantined": 0,
        "unchanged": 0, "deleted": 0, "missing": 0, "refused": 0,
    }  # fmt: skip
    assert world.query("select code, tier from party order by 1") == [("K00001", "x%s2"), ("K00003", "x%s4")]
    assert world.query("select object, code from mig.quarantine") == [("contacts", "E_FK")]
    assert world.query("select count(*) from mig.crosswalk where object = 'customers'") == [(2,)]


@postgresql
def test_amounts_that_it_changes_fail_the_control_total(world):
    world.spec["objects"] = [customers_object(sql=["update staged set balance = '7' where code = 'K00001'"])]
    world.spec["reconcile"] = [{"name": "sum", "object": "customers", "type": "ControlTotal", "field": "balance"}]
    world.write([row(1), row(2)])
    code, answer = world.call("run")
    assert (code, answer["reason"]) == (44, "ReconciliationFailed")
    assert world.query("select count(*) from party") == [(0,)]


@postgresql
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("update staged set nonsense = 1", "nonsense"),
        ("update staged set name = name; commit", "multiple commands"),
        ("update staged set _line = 1", "_line"),
        ("update staged set _outcome = 'loaded' where code = 'K00001'", "line 2 the _outcome 'loaded'"),
        ("update staged set name = (1 / 0)::text", "division by zero"),
    ],
)
def test_what_the_database_refuses_or_the_counts_could_not_bear_fails_the_run_by_its_number(world, statement, said):
    world.spec["objects"] = [customers_object(sql=["update staged set name = 'x'", statement])]
    world.write([row(1), row(2)])
    code, answer = world.call("run")
    assert (code, answer["reason"], said in answer["message"]) == (42, "SqlRefused", True), answer
    assert world.query("select count(*) from party") == [(0,)]


@postgresql
@pytest.mark.parametrize("kind", ["Mock", "Rehearsal"])
def test_it_is_rehearsed_as_it_is_loaded(world, kind):
    world.spec |= {"run": kind, "objects": [customers_object(sql=["update staged set _outcome = 'filtered'"])]}
    world.write([row(1), row(2)])
    code, answer = world.call("run")
    assert (code, answer["counts"]["filtered"], answer["counts"]["balanced"]) == (0, 2, True), answer


@postgresql
def test_a_worker_killed_after_it_leaves_the_counts_as_they_were_and_the_next_one_ends_it(world, server):
    world.spec["objects"] = [customers_object(sql=["update staged set _outcome = 'filtered' where code = 'K00001'"])]
    world.write([row(1), row(2), row(3)])
    assert world.call("plan")[0] == 0
    # Its insertion waits.
    hold = "begin perform pg_advisory_xact_lock(7); return new; end"
    world.query(f"create function hold() returns trigger language plpgsql as '{hold}'")
    world.query("create trigger hold before insert on party for each row execute function hold()")
    with psycopg.connect(host="127.0.0.1", port=server.port, dbname=world.database, user="postgres") as blocker:
        blocker.execute("select pg_advisory_lock(7)")
        process = world.start("work")
        wait_for(
            lambda: world.query(
                f"select 1 from pg_stat_activity where datname = '{world.database}' and wait_event = 'advisory'"
            ),
            "the worker never came to the merge",
        )
        kill(process)
    assert world.query("select sum(rows_filtered)::int from mig.chunk") == [(0,)]
    code, _ = world.call("work")
    answer = world.call("report")[1]
    assert (code, answer["counts"]["loaded"], answer["counts"]["filtered"]) == (0, 2, 1), answer


@pytest.mark.parametrize(
    "statement",
    ["delete from staged where true", "drop table party", "with x as (delete from party) update staged set a = 1", ""],
)
def test_only_an_update_of_the_staged_rows_is_a_statement(statement):
    with pytest.raises(pydantic.ValidationError):
        MigrationObject.model_validate(customers_object(sql=[statement]))
