"""Objects are merged parents first, however the spec lists them; circles are opened and closed again."""

from __future__ import annotations

import random

import psycopg
import pytest

from pilotage.migration.errors import Halt
from pilotage.migration.order import Late, Tie, arrange
from tests.migration.conftest import kill, wait_for
from tests.migration.world import World, contacts_object, customers_object, row

postgresql = pytest.mark.postgresql

TABLES = """
create table department (id bigserial primary key, code text not null unique, lead bigint);
create table employee (id bigserial primary key, number text not null unique, name text,
                       department bigint not null references department, boss bigint references employee);
alter table department add constraint led foreign key (lead) references employee;
create table account (code text primary key, above text references account);
"""


@pytest.fixture
def world(server, tmp_path) -> World:
    found = World(server, tmp_path)
    found.query(TABLES)
    found.spec["objects"] = [employees(), departments()]
    return found


def employees(**changes):
    return {
        "name": "employees",
        "from": {"file": "员工.csv"},
        "to": "employee",
        "key": ["number"],
        "fields": [
            {"to": "number", "from": "GH"},
            {"to": "name", "from": "XM"},
            {
                "to": "department",
                "from": "BM",
                "reference": {"object": "departments", "match": "code", "use": "id"},
            },
            {"to": "boss", "from": "SJ", "reference": {"object": "employees", "match": "number", "use": "id"}},
        ],
        **changes,
    }


def departments(**changes):
    return {
        "name": "departments",
        "from": {"file": "部门.csv"},
        "to": "department",
        "key": ["code"],
        "fields": [
            {"to": "code", "from": "BM"},
            {"to": "lead", "from": "ZG", "reference": {"object": "employees", "match": "number", "use": "id"}},
        ],
        **changes,
    }


def accounts(**changes):
    return {
        "name": "accounts",
        "from": {"file": "科目.csv"},
        "to": "account",
        "key": ["code"],
        "fields": [{"to": "code", "from": "DM"}, {"to": "above", "from": "SJ"}],
        **changes,
    }


def write_staff(world: World, staff: list[list[str]], led: list[list[str]]) -> None:
    world.write(staff, "员工.csv", header=["GH", "XM", "BM", "SJ"])
    world.write(led, "部门.csv", header=["BM", "ZG"])


STAFF = [["E3", "丙", "B", "E2"], ["E1", "甲", "A", ""], ["E2", "乙", "A", "E1"]]
LED = [["A", "E1"], ["B", "E3"]]


def staff(world: World) -> list[tuple]:
    return world.query(
        "select e.number, d.code, b.number from employee e join department d on d.id = e.department"
        " left join employee b on b.id = e.boss order by 1"
    )


def led(world: World) -> list[tuple]:
    return world.query("select code, number from department left join employee on employee.id = lead order by 1")


@postgresql
def test_a_parent_that_is_listed_last_is_merged_first(world):
    world.spec["objects"] = [contacts_object(), customers_object()]
    world.write([row(1), row(2)])
    world.write([["1", "K00001"], ["2", "K00002"]], "联系人.csv", header=["HM", "KHBM"])
    code, answer = world.call("run")
    assert (code, [found["name"] for found in answer["objects"]]) == (0, ["contacts", "customers"]), answer
    assert world.query("select number, code from contact c join party p on p.id = c.party order by 1") == [
        ("1", "K00001"),
        ("2", "K00002"),
    ]


@postgresql
def test_a_foreign_key_of_the_target_orders_objects_that_no_reference_ties(world):
    world.query("create table tier (code text primary key)")
    world.query("alter table party add foreign key (tier) references tier")
    tiers = {
        "name": "tiers",
        "from": {"file": "等级.csv"},
        "to": "tier",
        "key": ["code"],
        "fields": [{"to": "code", "from": "DJ"}],
    }
    world.spec["objects"] = [customers_object(), tiers]
    world.write([row(1), row(2)])
    world.write([["金牌"], ["银牌"]], "等级.csv", header=["DJ"])
    code, answer = world.call("run")
    assert (code, answer["counts"]["loaded"]) == (0, 4), answer


@postgresql
@pytest.mark.parametrize("listed", [[employees(), departments()], [departments(), employees()]])
def test_a_circle_is_closed_afterwards_and_the_certificate_says_by_which_columns(world, listed):
    world.spec["objects"] = listed
    world.spec["reconcile"] = [
        {"name": name, "object": name, "type": "Checksum"} for name in ("employees", "departments")
    ]
    write_staff(world, STAFF, LED)
    code, answer = world.call("run", "--chunk-rows", "1")
    assert (code, answer["counts"]["loaded"], answer["counts"]["balanced"]) == (0, 5, True), answer
    assert staff(world) == [("E1", "A", None), ("E2", "A", "E1"), ("E3", "B", "E2")]
    assert led(world) == [("A", "E1"), ("B", "E3")]
    assert world.query("select certificate -> 'order' from mig.run") == [
        (
            {
                "objects": ["departments", "employees"],
                "filledAfterwards": ["departments.lead", "employees.boss"],
                "deferred": [],
            },
        )
    ]


@postgresql
def test_rows_that_lead_nowhere_are_left_out_with_all_that_follow_from_it_and_no_others(world):
    # E9's boss is nobody; E8 follows E9, and C is led by E8; E7 is of C, which is gone.
    more = [["E9", "壬", "A", "E0"], ["E8", "辛", "A", "E9"], ["E7", "庚", "C", "E1"]]
    write_staff(world, [*STAFF, *more], [*LED, ["C", "E8"]])
    code, answer = world.call("run")
    assert (code, answer["counts"]["loaded"], answer["counts"]["quarantined"]) == (0, 5, 4), answer
    assert (len(staff(world)), led(world)) == (3, [("A", "E1"), ("B", "E3")])
    assert world.query("select object, code, column_name, bad_value from mig.quarantine order by 1, 4") == [
        ("departments", "E_FK", "ZG", "E8"),
        ("employees", "E_FK", "BM", "C"),
        ("employees", "E_FK", "SJ", "E0"),
        ("employees", "E_FK", "SJ", "E9"),
    ]


@postgresql
def test_a_row_that_the_database_refuses_takes_those_along_that_lead_to_it(world):
    world.query("alter table employee add check (name <> '恶')")
    write_staff(world, [*STAFF, ["E9", "恶", "A", ""], ["E8", "辛", "A", "E9"]], LED)
    code, answer = world.call("run")
    assert (code, answer["counts"]["loaded"], answer["counts"]["quarantined"]) == (0, 5, 2), answer
    assert world.query("select code, bad_value from mig.quarantine order by 1") == [("E_DB", ""), ("E_FK", "E9")]
    assert staff(world)[-1] == ("E3", "B", "E2")


@postgresql
def test_values_of_a_tree_need_no_reference_and_one_that_leads_nowhere_costs_its_own_branch_only(world):
    world.query("insert into account values ('1', null)")
    world.spec["objects"] = [accounts()]
    rows = [["100101", "1001"], ["1001", "1"], ["2", ""], ["901", "9"], ["90101", "901"]]
    world.write(rows, "科目.csv", header=["DM", "SJ"])
    code, answer = world.call("run")
    assert (code, answer["counts"]["loaded"], answer["counts"]["quarantined"]) == (0, 3, 2), answer
    assert world.query("select code, above from account order by 1") == [
        ("1", None),
        ("1001", "1"),
        ("100101", "1001"),
        ("2", None),
    ]


@postgresql
@pytest.mark.parametrize(
    ("policy", "bosses", "counts"),
    [
        ("KeepTarget", [None, None], {"kept": 2}),
        ("Overwrite", ["E2", "E1"], {"updated": 2}),
        ("FillNulls", ["E2", "E1"], {"updated": 2}),
    ],
)
def test_what_is_filled_afterwards_follows_the_conflict_policy(world, policy, bosses, counts):
    world.spec["objects"] = [employees(onConflict={"policy": policy}), departments(onConflict={"policy": "KeepTarget"})]
    world.query("insert into department (code) values ('A')")
    world.query("insert into employee (number, name, department) values ('E1', '甲', 1), ('E2', '乙', 1)")
    write_staff(world, [["E1", "甲", "A", "E2"], ["E2", "乙", "A", "E1"]], [["A", ""]])
    code, answer = world.call("run")
    [found] = [one for one in answer["objects"] if one["name"] == "employees"]
    assert (code, {name: found[name] for name in counts}, found["balanced"]) == (0, counts, True), answer
    assert [boss for _, _, boss in staff(world)] == bosses
    again, answer = world.call("run", "--run-id", "00000000-0000-4000-8000-000000000001")
    assert (again, answer["counts"]["kept"], answer["counts"]["updated"]) == (0, 3, 0), answer


@postgresql
def test_what_the_target_has_is_not_emptied_on_the_way(world):
    world.spec["objects"] = [employees(onConflict={"policy": "FillNulls"}), departments()]
    world.query("insert into department (code) values ('Z')")
    world.query("insert into employee (number, department) values ('E0', 1)")
    world.query("insert into employee (number, department, boss) values ('E1', 1, 1)")
    write_staff(world, [["E1", "甲", "A", "E2"], ["E2", "乙", "A", "E1"]], [["A", ""]])
    assert world.call("run")[0] == 0
    assert staff(world)[1:] == [("E1", "Z", "E0"), ("E2", "A", "E1")]


@postgresql
def test_a_circle_of_columns_that_must_not_be_empty_is_refused_before_anything_is_read(world):
    world.query("alter table department alter lead set not null")
    write_staff(world, STAFF, LED)
    code, answer = world.call("run")
    assert (code, answer["reason"]) == (42, "CircularReferences")
    assert "departments.lead, employees.department" in answer["message"]


@postgresql
def test_a_circle_of_values_goes_by_constraints_that_can_be_deferred(world):
    world.query("create table pair (code text primary key, other text not null)")
    world.query("create table twin (code text primary key, other text not null references pair)")
    world.query("alter table pair add foreign key (other) references twin deferrable initially immediate")
    world.spec["objects"] = [
        {
            **accounts(),
            "name": name,
            "to": name,
            "fields": [{"to": "code", "from": "DM"}, {"to": "other", "from": "SJ"}],
        }
        for name in ("twin", "pair")
    ]
    world.write([["1", "2"], ["2", "1"]], "科目.csv", header=["DM", "SJ"])
    world.spec["rollback"] = {"beforeImages": True}
    code, answer = world.call("run")
    assert (code, answer["counts"]["loaded"]) == (0, 4), answer
    ((order,),) = world.query("select certificate -> 'order' from mig.run")
    assert order == {"objects": ["pair", "twin"], "filledAfterwards": [], "deferred": ["pair.other"]}
    assert world.call("rollback")[0] == 0
    assert world.query("select count(*) from pair") == world.query("select count(*) from twin") == [(0,)]


@postgresql
@pytest.mark.parametrize("kind", ["Mock", "Rehearsal"])
def test_a_circle_is_rehearsed_as_it_is_loaded(world, kind):
    world.spec["run"] = kind
    write_staff(world, STAFF, LED)
    code, answer = world.call("run")
    assert (code, answer["counts"]["loaded"]) == (0, 5), answer
    assert world.query("select count(*) from employee") == [(0,)]


@postgresql
def test_a_circle_is_taken_back_whole(world):
    world.spec["rollback"] = {"beforeImages": True}
    write_staff(world, STAFF, LED)
    assert world.call("run")[0] == 0
    code, answer = world.call("rollback")
    assert (code, answer.get("removed")) == (0, 5), answer
    assert world.query("select count(*) from employee") == world.query("select count(*) from department") == [(0,)]


@postgresql
def test_a_worker_killed_within_the_second_pass_leaves_nothing_and_the_next_one_ends_it(world, server):
    policies = {"onConflict": {"policy": "Overwrite"}}
    world.spec["objects"] = [employees(**policies), departments(**policies)]
    world.query("insert into department (code) values ('A')")
    world.query("insert into employee (number, name, department) values ('E1', '甲', 1)")
    write_staff(world, [["E1", "甲", "A", "E2"], ["E2", "乙", "A", "E1"]], [["A", "E1"]])
    assert world.call("plan", "--chunk-rows", "1")[0] == 0
    with psycopg.connect(host="127.0.0.1", port=server.port, dbname=world.database, user="postgres") as blocker:
        # Nothing but its boss is to change of this row, and that comes last.
        blocker.execute("select 1 from employee for update")
        process = world.start("work")
        wait_for(
            lambda: world.query(
                f"select 1 from pg_stat_activity where datname = '{world.database}' and wait_event_type = 'Lock'"
                " and query like '%with changed as (update%'"
            ),
            "the worker never came to the second pass",
        )
        kill(process)
    assert (staff(world), led(world)) == ([("E1", "A", None)], [("A", None)])
    assert world.call("work")[0] == 0
    assert staff(world) == [("E1", "A", "E2"), ("E2", "A", "E1")]
    assert led(world) == [("A", "E1")]


def tie(child: str, parent: str, column: str = "x", *, late: bool = True, deferrable: bool = False) -> Tie:
    return Tie(child, parent, (column,), Late(column) if late else None, deferrable)


def test_the_order_of_the_spec_stays_where_nothing_speaks_against_it():
    assert list(arrange(["c", "a", "b"], []).objects) == ["c", "a", "b"]
    assert list(arrange(["c", "a", "b"], [tie("c", "b")]).objects) == ["a", "b", "c"]


def test_a_circle_is_opened_where_it_can_be_and_what_hangs_on_it_waits():
    ties = [tie("a", "b", late=False), tie("b", "a"), tie("leaf", "a", "must", late=False), tie("leaf", "b")]
    order = arrange(["leaf", "a", "b"], ties)
    assert (list(order.objects), order.late, order.deferred) == (["b", "a", "leaf"], {"b": [Late("x")]}, [])


def test_objects_of_one_table_keep_their_order_within_a_circle():
    order = arrange(
        ["a1", "a2", "b"], [Tie("a2", "a1"), tie("b", "a1"), tie("b", "a2"), tie("a1", "b"), tie("a2", "b")]
    )
    assert list(order.objects).index("a1") < list(order.objects).index("a2")


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_ties_every_one_that_cannot_be_broken_is_kept(seed):
    chance = random.Random(seed)
    names = [f"o{number}" for number in range(8)]
    ties = [
        tie(*chance.choices(names, k=2), f"c{number}", late=chance.random() < 0.6, deferrable=chance.random() < 0.2)
        for number in range(chance.randint(1, 20))
    ]
    try:
        order = arrange(names, ties)
    except Halt:
        # Only what cannot be broken can be in the way.
        assert any(not one.late and not one.deferrable for one in ties)
        return
    assert sorted(order.objects) == names
    place = {name: number for number, name in enumerate(order.objects)}
    filled = {(name, one.column) for name, late in order.late.items() for one in late}
    for one in ties:
        kept = place[one.parent] < place[one.child]
        assert kept or (one.child, one.columns[0]) in filled or f"{one.child}.{one.columns[0]}" in order.deferred
