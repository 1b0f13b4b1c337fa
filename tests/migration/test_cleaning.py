"""Fields are cleaned, joined, split, filtered and checked on their way into a real table."""

from __future__ import annotations

import pytest

from tests.migration.world import World, customers_object, row

pytestmark = pytest.mark.postgresql

PERSONS = """
create table person (number int primary key, id_number char(18), mobile text, credit numeric(14, 2), place text,
                     brand text, born date, seen timestamp)
"""


@pytest.fixture
def world(server, tmp_path) -> World:
    return World(server, tmp_path)


def test_what_old_systems_hold_comes_out_clean(world):
    world.query(PERSONS)
    fields = [
        {"to": "number", "from": "BH"},
        {"to": "id_number", "from": "SFZ", "transform": ["trim", "idNumber"], "length": {"min": 18, "max": 18}},
        {"to": "mobile", "from": "SJ", "transform": ["halfwidth", "mobile"]},
        {"to": "credit", "from": "ED", "transform": ["money"], "range": {"min": "0", "max": "500000"}},
        {"to": "place", "join": {"columns": ["SF", "CS"], "separator": "·"}},
        {"to": "brand", "from": "XH", "split": {"by": "-", "part": 2}},
        {"to": "born", "from": "SR", "nulls": ["1900-01-01"]},
        {"to": "seen", "from": "SJC", "addHours": 8},
    ]
    world.spec["objects"] = [
        {"name": "persons", "from": {"file": "人员.csv"}, "to": "person", "key": ["number"], "fields": fields}
    ]
    header = ["BH", "SFZ", "SJ", "ED", "SF", "CS", "XH", "SR", "SJC"]
    world.write(
        [
            ["1", "110105491231002", "＋86 139-1234-5678", "1.2万元", "浙江", "杭州", "A-华升-9", "1900/1/1",
             "2024-05-31 20:30:00"],
            ["2", "", "", "", "", "上海", "A", "2024年5月31日", "2024-05-31"],
            ["3", "1101", "", "60万", "", "", "", "", ""],
        ],
        "人员.csv",
        header=header,
    )  # fmt: skip
    code, answer = world.call("run")
    assert (code, answer["counts"]["quarantined"]) == (0, 1)
    assert world.query(
        "select id_number, mobile, credit::text, place, brand, born::text, seen::text from person order by number"
    ) == [
        ("11010519491231002X", "13912345678", "12000.00", "浙江·杭州", "华升", None, "2024-06-01 04:30:00"),
        (None, None, None, "上海", None, "2024-05-31", "2024-05-31 08:00:00"),
    ]
    reasons = world.query("select code, column_name, message from mig.quarantine order by 1")
    assert reasons == [
        ("E_LENGTH", "SFZ", "4 characters, at least 18 are needed"),
        ("E_RANGE", "ED", "is above 500000"),
    ]


def test_rows_that_a_filter_leaves_out_are_counted_and_not_judged(world):
    world.spec["objects"] = [customers_object(where=[{"column": "KHDJ", "notIn": ["Z"]}])]
    world.spec["reconcile"] = [
        {"name": "balance", "object": "customers", "type": "ControlTotal", "field": "balance", "expected": "1.50"}
    ]
    world.write([row(1), row(2, KHDJ=" Z ", YE="no number"), row(3, KHDJ="Z")])
    code, answer = world.call("run")
    assert (code, answer["outcome"]) == (0, "Succeeded")
    counts = answer["counts"]
    assert (counts["read"], counts["loaded"], counts["filtered"], counts["quarantined"]) == (3, 1, 2, 0)
    assert counts["balanced"]


def test_rows_that_share_a_unique_value_are_all_put_away(world):
    found = customers_object()
    found["fields"][1]["unique"] = True
    world.spec["objects"] = [found]
    world.write([row(1, KHMC="华升"), row(2, KHMC="华升 "), row(3)])
    code, answer = world.call("run")
    assert (code, answer["counts"]["loaded"], answer["counts"]["quarantined"]) == (0, 1, 2)
    reasons = world.query("select distinct code, column_name from mig.quarantine")
    assert reasons == [("E_DUP_SOURCE", "KHMC")]


def test_values_that_no_map_knows_are_open_tasks(world):
    world.write([row(1, KHDJ="冻结"), row(2, KHDJ="冻结"), row(3, KHDJ="DJ"), row(4)])
    code, answer = world.call("run")
    assert code == 0
    assert answer["openMappings"] == [
        {"object": "customers", "column": "KHDJ", "value": "冻结", "rows": 2},
        {"object": "customers", "column": "KHDJ", "value": "DJ", "rows": 1},
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pattern": "["}, "field balance: [ is not a regular expression"),
        ({"range": {"max": "much"}}, "field balance: the bound much of its range is no value: not a number"),
        ({"addHours": 8}, "field balance: addHours needs a column of type timestamp"),
    ],
)
def test_a_rule_that_means_nothing_is_refused_when_planning(world, changes, said):
    found = customers_object()
    found["fields"][3] |= changes
    world.spec["objects"] = [found]
    world.write([row(1)])
    code, answer = world.call("plan")
    assert (code, answer["reason"]) == (42, "SpecInvalid")
    assert said in answer["message"]
