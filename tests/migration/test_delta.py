"""A Delta brings what changed in the source since the last run that loaded: that and nothing else, once."""

from __future__ import annotations

import json
from html import escape
from typing import Any

import pytest

from pilotage.migration import delta
from pilotage.migration.certificate_page import certificate_page
from pilotage.migration.worker import WorkerSettings, work
from tests.migration.test_laptop import Laptop
from tests.migration.test_live import Legacy
from tests.migration.world import HEADER, World, contacts_object, customers_object, row

pytestmark = [pytest.mark.postgresql, pytest.mark.timeout(180)]

CHECKS = [
    {"name": "stored", "object": "customers", "type": "Checksum"},
    {"name": "rows", "object": "customers", "type": "RowCount"},
    {"name": "balance", "object": "customers", "type": "ControlTotal", "field": "balance", "groupBy": "tier"},
]


def contacts(world: World, *pairs: tuple[str, str]) -> None:
    world.write([list(pair) for pair in pairs], "联系人.csv", header=["HM", "KHBM"])


@pytest.fixture
def world(server, tmp_path) -> World:
    """Ten customers, of whom K00001 was there before, and three contacts, all loaded by a Final run."""
    return loaded(World(server, tmp_path), [row(number) for number in range(1, 11)])


def loaded(found: World, rows: list[list[str]]) -> World:
    found.name = "customers"
    found.spec["objects"] = [contacts_object(), customers_object(onConflict={"policy": "FillNulls"})]
    found.spec["reconcile"] = CHECKS
    found.spec["rollback"] = {"beforeImages": True}
    found.query("insert into party (code, name, active) values ('K00001', '旧名', true)")
    found.write(rows)
    contacts(found, ("1", "K00002"), ("2", "K00003"), ("3", "K00010"))
    load(found, "Final")
    return found


def load(world: World, kind: str, **policy: Any) -> dict[str, Any]:
    code, answer = attempt(world, kind, **policy)
    assert (code, answer["outcome"]) == (0, "Succeeded"), answer
    assert answer["counts"]["balanced"]
    return answer["counts"]


def attempt(world: World, kind: str, **policy: Any) -> tuple[int, dict[str, Any]]:
    world.spec = {**world.spec, "run": kind, "delta": policy}
    world.run = f"{kind}-{json.dumps(policy, sort_keys=True)}".replace("%", "")
    return world.call("run", "--chunk-rows", "4")


def went_on(world: World) -> None:
    """The old system: K00004 has another name, K00009 is gone with nobody who refers to it, K00011 is new."""
    rows = [row(number) for number in range(1, 12) if number not in {4, 9}]
    world.write([*rows, row(4, KHMC="华升新名")])
    contacts(world, ("1", "K00002"), ("2", "K00011"), ("3", "K00010"))


def tables(world: World) -> list[Any]:
    return [world.query(f"select * from {table} order by id") for table in ("party", "contact")]


def names(world: World) -> dict[str, str]:
    return dict(world.query("select code, name from party"))


def shown(counts: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count and name != "balanced"}


def test_what_is_new_changed_and_gone_is_found_and_only_that_is_written(world):
    went_on(world)
    world.query("create table touched (code text); create function note() returns trigger language plpgsql as"
                " $$ begin insert into touched values (new.code); return new; end $$; create trigger note"
                " before insert or update on party for each row execute function note()")  # fmt: skip
    counts = load(world, "Delta")
    assert shown(counts) == {"read": 13, "loaded": 1, "updated": 2, "unchanged": 10, "missing": 1}
    assert world.query("select code from touched order by 1") == [("K00004",), ("K00011",)]
    assert names(world)["K00004"] == "华升新名"
    assert "K00009" in names(world)
    assert world.query("select p.code from contact c join party p on p.id = c.party order by number") == [
        ("K00002",),
        ("K00011",),
        ("K00010",),
    ]
    assert world.query("select object, target_key, outcome from mig.gone") == [("customers", ["K00009"], "kept")]


def test_the_certificate_has_the_counts_and_names_the_run_that_it_goes_on_from(world):
    final = world.run
    went_on(world)
    load(world, "Delta", deletes="Apply")
    [(found,)] = world.query(f"select certificate from mig.run where run_id = '{world.run}'")
    assert (found["runKind"], found["baseline"]["run"], found["baseline"]["mappingChanged"]) == ("Delta", final, [])
    assert found["delta"]["deletes"] == "Apply"
    by_name = {counts["name"]: counts for counts in found["objects"]}
    assert (by_name["customers"]["deleted"], by_name["customers"]["unchanged"]) == (1, 8)
    page = certificate_page(found, "sha256:d", "2026-11-24", "zh-CN")
    assert "增量（Delta）" in page
    assert escape(final) in page
    assert "<th>目标中已删除</th>" in page


def test_a_source_that_did_not_change_changes_nothing(world):
    before = tables(world)
    assert shown(load(world, "Delta", deletes="Apply")) == {"read": 13, "unchanged": 13}
    assert tables(world) == before


def test_each_delta_goes_on_from_the_one_before(world):
    went_on(world)
    load(world, "Delta", round=1)
    assert shown(load(world, "Delta", round=2)) == {"read": 13, "unchanged": 13, "missing": 1}
    world.write([row(number) for number in range(1, 13)])
    assert shown(load(world, "Delta", round=3)) == {"read": 15, "loaded": 1, "updated": 1, "unchanged": 13}
    assert names(world)["K00004"] == "华升客户4有限公司"


def test_rows_that_are_gone_are_deleted_where_that_is_declared_children_first(world):
    rows = [row(number) for number in range(1, 11) if number != 10]
    world.write(rows)
    contacts(world, ("1", "K00002"), ("2", "K00003"))
    counts = load(world, "Delta", deletes="Apply", maxDeleted="50%")
    assert shown(counts) == {"read": 11, "unchanged": 11, "deleted": 2}
    assert "K00010" not in names(world)
    assert world.query("select number from contact order by 1") == [("1",), ("2",)]


def test_with_ignore_nobody_looks_for_what_is_gone(world):
    went_on(world)
    assert "missing" not in shown(load(world, "Delta", deletes="Ignore"))
    assert world.query("select count(*) from mig.gone") == [(0,)]


def test_a_row_that_was_there_before_the_first_run_is_never_deleted(world):
    world.write([row(number) for number in range(2, 11)])
    counts = load(world, "Delta", deletes="Apply")
    assert (counts["deleted"], counts["missing"]) == (0, 1)
    assert "K00001" in names(world)
    assert world.query("select outcome, reason from mig.gone") == [("kept", "was there before the first run")]


def test_more_deletions_than_declared_pause_the_run(world):
    before = tables(world)
    world.write([row(number) for number in range(1, 9)])
    code, answer = attempt(world, "Delta", deletes="Apply")
    assert (code, answer["outcome"], answer["reason"]) == (43, "Paused", "TooManyDeleted")
    assert "2 of 10 rows are gone from the source" in answer["message"]
    assert tables(world) == before


def test_a_row_that_cannot_be_read_is_not_taken_for_one_that_is_gone(world):
    before = tables(world)
    world.write([*(row(number) for number in range(1, 10)), row(10, YE="x")])
    code, answer = attempt(world, "Delta", deletes="Apply")
    assert (code, answer["reason"]) == (43, "DeletesUncertain"), answer
    assert tables(world) == before
    counts = load(world, "Delta", deletes="Report")
    assert (counts["quarantined"], counts["missing"], counts["unchanged"]) == (1, 1, 12)
    assert tables(world) == before
    # It is no news any more, and still the row that was loaded.
    world.write([*(row(number) for number in range(1, 9)), row(10, YE="x")])
    assert attempt(world, "Delta", deletes="Apply", maxDeleted="90%")[1]["reason"] == "DeletesUncertain"


def test_a_row_that_could_never_be_read_does_not_stand_against_deletions(server, tmp_path):
    bad = row(12, YE="x")
    world = loaded(World(server, tmp_path), [*(row(number) for number in range(1, 11)), bad])
    world.write([*(row(number) for number in range(1, 9)), bad, row(10)])
    counts = load(world, "Delta", deletes="Apply")
    assert (counts["deleted"], counts["quarantined"]) == (1, 1)
    assert "K00009" not in names(world)


def test_a_parent_that_cannot_be_read_any_more_loses_no_child(world):
    world.write([*(row(number) for number in range(1, 10)), row(10, YE="x")])
    contacts(world, ("1", "K00010"), ("2", "K00003"), ("3", "K00010"))
    counts = load(world, "Delta")
    assert (counts["updated"], counts["quarantined"]) == (1, 1)
    assert world.query("select p.code from contact c join party p on p.id = c.party where number = '1'") == [
        ("K00010",)
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("update party set name = '客户自改' where code = 'K00004'", "changed"),
        ("delete from party where code = 'K00004'", "deleted"),
    ],
)
def test_a_row_that_both_changed_refuses_the_delta_and_is_listed(world, change, reason):
    went_on(world)
    world.query(change)
    before = tables(world)
    code, answer = attempt(world, "Delta")
    assert (code, answer["outcome"], answer["reason"]) == (44, "Rejected", "TargetChanged")
    assert f"customers, line 11: {reason}" in answer["message"]
    assert answer["counts"]["refused"] == 1
    assert tables(world) == before
    assert world.query("select object, target_key, reason from mig.refusal") == [("customers", ["K00004"], reason)]


def test_or_it_is_quarantined_and_the_others_are_brought_and_it_is_found_again_until_somebody_decides(world):
    went_on(world)
    world.query("update party set name = '客户自改' where code = 'K00004'")
    counts = load(world, "Delta", onTargetChanged="Quarantine")
    assert shown(counts) == {
        "read": 13, "loaded": 1, "updated": 1, "unchanged": 10, "quarantined": 1, "missing": 1, "refused": 1,
    }  # fmt: skip
    assert names(world)["K00004"] == "客户自改"
    assert world.query(f"select code from mig.quarantine where run_id = '{world.run}'") == [("E_TARGET_CHANGED",)]
    assert load(world, "Delta", onTargetChanged="Quarantine", round=2)["refused"] == 1
    world.query("update party set name = '华升新名' where code = 'K00004'")
    assert shown(load(world, "Delta", round=3)) == {"read": 13, "kept": 1, "unchanged": 12, "missing": 1}
    assert shown(load(world, "Delta", round=4)) == {"read": 13, "unchanged": 13, "missing": 1}


def test_what_users_did_to_rows_that_the_source_left_alone_stays(world):
    went_on(world)
    world.query("update party set name = '客户自改' where code = 'K00005'; delete from party where code = 'K00006'")
    load(world, "Delta")
    assert names(world)["K00005"] == "客户自改"
    assert "K00006" not in names(world)


@pytest.mark.parametrize("action", ["no action", "cascade"])
def test_rows_that_others_refer_to_or_that_were_changed_are_not_deleted(world, action):
    world.query(
        f"create table sale (party bigint constraint sale_party references party on delete {action});"
        " insert into sale select id from party where code = 'K00008';"
        " update party set balance = 0 where code = 'K00007'"
    )
    world.write([row(number) for number in range(1, 11) if number not in {6, 7, 8}])
    before = tables(world)
    code, answer = attempt(world, "Delta", deletes="Apply", maxDeleted="50%")
    assert (code, answer["reason"]) == (44, "TargetChanged")
    assert "not deleted: referred to by sale (constraint sale_party)" in answer["message"]
    # A key is customers' data and stays in their database.
    assert "K00008" not in answer["message"]
    assert tables(world) == before
    counts = load(world, "Delta", deletes="Apply", maxDeleted="50%", onTargetChanged="Quarantine")
    assert (counts["deleted"], counts["missing"], counts["refused"]) == (1, 2, 2)
    assert world.query("select count(*) from sale") == [(1,)]
    assert {"K00007", "K00008"} <= names(world).keys()
    assert "K00006" not in names(world)


def test_rows_that_were_there_before_are_changed_as_the_conflict_policy_says(world):
    world.write([row(1, KHMC="新名", YE="99"), *(row(number) for number in range(2, 11))])
    counts = load(world, "Delta")
    assert (counts["kept"], counts["updated"]) == (1, 0)
    assert names(world)["K00001"] == "旧名"


def test_a_new_row_whose_key_users_have_made_meanwhile_is_a_conflict_as_ever(world):
    world.spec["objects"][1]["onConflict"] = {"policy": "Fail"}
    world.query("insert into party (code, name, active) values ('K00011', '用户新建', true)")
    went_on(world)
    code, answer = attempt(world, "Delta")
    assert (code, answer["reason"]) == (44, "KeyConflict")


def test_a_delta_is_taken_back_to_the_last_value_and_the_next_finds_the_same_again(world):
    went_on(world)
    before = tables(world)
    final = world.run
    first = load(world, "Delta", deletes="Apply")
    assert first["deleted"] == 1
    code, answer = world.call("rollback")
    assert (code, answer["removed"], answer["restored"]) == (0, 1, 3), answer
    assert tables(world) == before
    assert load(world, "Delta", deletes="Apply", round=2) == first
    world.run = final
    code, answer = world.call("rollback")
    assert (code, answer["reason"]) == (44, "RollbackRefused")
    assert "goes on from run" in answer["message"]


def test_a_mapping_may_learn_and_what_it_moves_is_a_change(world):
    went_on(world)
    world.spec["objects"][1]["fields"][2]["map"] = {"A": "金牌", "B": "铜牌"}
    counts = load(world, "Delta")
    # Six have the letter B; the one that was there before is only filled where it was empty, and K00011 is new.
    assert world.query("select count(*) from party where tier = '铜牌'") == [
        (counts["updated"] + counts["loaded"] - 2,)
    ]
    [(found,)] = world.query(f"select certificate from mig.run where run_id = '{world.run}'")
    assert found["baseline"]["mappingChanged"] == ["customers"]


def test_what_cannot_be_compared_is_refused_by_name(world):
    first, second = world.spec["objects"]
    fields = [field for field in second["fields"] if field["to"] != "tier"]
    world.spec |= {"objects": [first, {**second, "fields": fields}], "reconcile": []}
    code, answer = attempt(world, "Delta")
    assert (code, answer["reason"]) == (42, "BaselineDiffers")
    assert "table, key or columns of object customers" in answer["message"]
    world.spec["objects"] = [second]
    assert "object contacts, which is gone" in attempt(world, "Delta", round=2)[1]["message"]
    world.spec["objects"] = [second, {**second, "name": "suppliers"}]
    code, answer = attempt(world, "Delta", round=3)
    assert (code, answer["reason"]) == (42, "SpecInvalid")
    assert "customers and suppliers fill one table" in answer["message"]


@pytest.mark.parametrize("name", ["", "another"])
def test_without_a_loaded_run_of_the_same_name_there_is_nothing_to_go_on_from(world, name):
    world.name = name
    code, answer = attempt(world, "Delta")
    assert (code, answer["reason"]) == (42, "BaselineMissing")


def test_of_two_deltas_that_were_planned_from_one_run_the_second_is_refused(world):
    went_on(world)
    world.spec = {**world.spec, "run": "Delta", "delta": {}}
    for world.run in ("one", "two"):
        assert world.call("plan")[0] == 0
    world.run = "one"
    assert world.call("work")[0] == 0
    after = tables(world)
    world.run = "two"
    assert world.call("work")[0] == 43
    code, answer = world.call("report")
    assert (answer["outcome"], answer["reason"]) == ("Paused", "BaselineMoved")
    assert tables(world) == after
    code, answer = world.call("run", "--attempt", "again")
    assert (code, shown(answer["counts"])) == (0, {"read": 13, "unchanged": 13, "missing": 1})


@pytest.mark.parametrize(("first", "leaf"), [(1, 1), (2, 3), (3, 1000)])
def test_whatever_the_size_of_buckets_the_same_rows_are_found(world, monkeypatch, first, leaf):
    went_on(world)
    world.spec = {**world.spec, "run": "Delta", "delta": {"deletes": "Apply"}}
    world.run = "delta"
    assert world.call("plan")[0] == 0
    monkeypatch.setattr(delta, "FIRST_WIDTH", first)
    monkeypatch.setattr(delta, "LEAF_ROWS", leaf)
    for name, value in world.server.environment(world.database).items():
        monkeypatch.setenv(name, value)
    assert work(WorkerSettings(world.run, "one", world.folder)) == "succeeded"
    counts = world.call("report")[1]["counts"]
    assert shown(counts) == {"read": 13, "loaded": 1, "updated": 2, "unchanged": 10, "deleted": 1}


def test_only_rows_of_differing_buckets_are_looked_at_one_by_one(world, monkeypatch):
    world.write([row(number) for number in range(1, 11)] + [row(11)])
    world.spec = {**world.spec, "run": "Delta", "delta": {}}
    world.run = "delta"
    assert world.call("plan")[0] == 0
    looked_at = []
    differing_buckets = delta.differing_buckets

    def watched(connection):
        looked_at.append(differing_buckets(connection))
        return looked_at[-1]

    monkeypatch.setattr(delta, "differing_buckets", watched)
    for name, value in world.server.environment(world.database).items():
        monkeypatch.setenv(name, value)
    assert work(WorkerSettings(world.run, "one", world.folder)) == "succeeded"
    [(bucket,)] = world.query("select left(md5(jsonb_build_array('K00011')::text), 3)")
    assert looked_at == [{3: [bucket]}, {}]


@pytest.fixture
def tree(server, tmp_path) -> World:
    """Customers each of whom has a parent of the same file, which no order of rows suits."""
    found = World(server, tmp_path)
    found.name = "tree"
    found.query("alter table party add main bigint references party")
    main = {"to": "main", "from": "SJ", "reference": {"object": "customers", "match": "code", "use": "id"}}
    customers = customers_object()
    customers["fields"].append(main)
    found.spec["objects"] = [customers]
    found.spec["rollback"] = {"beforeImages": True}
    branches(found, {1: 3, 2: 1, 3: 3, 4: 2, 5: 4})
    load(found, "Final")
    return found


def branches(world: World, parents: dict[int, int]) -> None:
    rows = [[*row(number), f"K{parent:05}"] for number, parent in parents.items()]
    world.write(rows, header=[*HEADER, "SJ"])


def parents(world: World) -> dict[str, str]:
    return dict(world.query("select c.code, p.code from party c left join party p on p.id = c.main order by 1"))


def test_a_tree_follows_its_branches_and_is_put_back_as_it_was(tree):
    before = tables(tree)
    branches(tree, {1: 3, 2: 3, 3: 3, 6: 2, 7: 6})
    counts = load(tree, "Delta", deletes="Apply", maxDeleted="50%")
    assert shown(counts) == {"read": 5, "loaded": 2, "updated": 1, "unchanged": 2, "deleted": 2}
    assert parents(tree) == {"K00001": "K00003", "K00002": "K00003", "K00003": "K00003", "K00006": "K00002",
                             "K00007": "K00006"}  # fmt: skip
    assert tree.call("rollback")[1]["restored"] == 3
    assert tables(tree) == before


def test_a_branch_whose_parent_is_gone_from_the_source_stays_where_it_is(tree):
    before = tables(tree)
    branches(tree, {1: 3, 2: 1, 3: 3, 5: 4})
    assert shown(load(tree, "Delta")) == {"read": 4, "unchanged": 4, "missing": 1}
    code, answer = attempt(tree, "Delta", deletes="Apply", maxDeleted="50%")
    assert (code, answer["reason"]) == (44, "TargetChanged")
    assert "referred to by party (constraint party_main_fkey)" in answer["message"]
    assert tables(tree) == before


def test_a_live_database_is_read_again_and_only_its_changes_are_brought(mariadb, server, tmp_path):
    world, legacy = World(server, tmp_path), Legacy("mysql", mariadb)
    world.spec |= {
        "source": {"connection": "old-erp"},
        "objects": [customers_object(**{"from": {"table": "customers"}})],
    }
    laptop = Laptop(world)

    def brought(kind: str) -> dict[str, int]:
        manifest = world.folder / "job.yaml"
        manifest.write_text(json.dumps({"metadata": {"name": "live"}, "spec": world.spec}))
        code, answer = laptop.answer("run", manifest.name, "--run", kind, "--connection", f"old-erp={legacy.uri}")
        assert code == 0, answer
        return shown(answer["counts"])

    assert brought("Final") == {"read": 61, "loaded": 60, "quarantined": 1}
    legacy.query("update customers set KHMC = '华升新名' where KHBM = 'K00007'")
    legacy.query("delete from customers where KHBM = 'K00008'")
    counts = {"read": 60, "updated": 1, "unchanged": 58, "quarantined": 1, "missing": 1}
    assert brought("Delta") == counts
    assert names(world)["K00007"] == "华升新名"
    # The same command again says what came of it, and does nothing.
    assert brought("Delta") == counts
