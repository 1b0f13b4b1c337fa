"""Tables of live databases, PostgreSQL and MariaDB, come over as they were in one declared state."""

from __future__ import annotations

import threading
import uuid

import pytest

from pilotage.api.v1alpha1.implementation import ConnectionType
from pilotage.api.v1alpha1.migrationjob import Consistency, Encoding
from pilotage.migration.errors import Halt
from pilotage.migration.source import live
from pilotage.migration.source.live import Address, read_live
from tests.migration.test_laptop import Laptop
from tests.migration.world import World, customers_object, row

pytestmark = pytest.mark.postgresql

ROWS = [*(row(number) for number in range(1, 61)), row(99, YE="许多")]
COLUMNS = "KHBM varchar(20), KHMC varchar(60), KHDJ varchar(4), YE varchar(20), KHRQ varchar(20)"


class Legacy:
    """A database of the old system, of one kind."""

    def __init__(self, kind: str, server) -> None:
        self.kind, self.server, self.database = kind, server, f"l{uuid.uuid4().hex[:12]}"
        server.query("postgres" if kind == "postgresql" else "", f"create database {self.database}")
        self.fill("customers", ROWS)

    def query(self, query: str, **options) -> list:
        return self.server.query(self.database, query, **options)

    def fill(self, table: str, rows: list[list[str]], options: str = "") -> None:
        self.query(f"create table {table} (id serial primary key, {COLUMNS}) {options}")
        values = ", ".join("(" + ", ".join(f"'{text}'" for text in line) + ")" for line in rows)
        self.query(f"insert into {table} (KHBM, KHMC, KHDJ, YE, KHRQ) values {values}")

    @property
    def uri(self) -> str:
        if self.kind == "mysql":
            return self.server.uri(self.database)
        return f"postgresql://postgres:not-a-secret@127.0.0.1:{self.server.port}/{self.database}"

    @property
    def address(self) -> Address:
        if self.kind == "mysql":
            user, password = "root", self.server.password
        else:
            user, password = "postgres", ""
        return Address(ConnectionType(self.kind), "127.0.0.1", self.server.port, self.database, user, password)


@pytest.fixture(params=["postgresql", "mysql"])
def legacy(request, server) -> Legacy:
    return Legacy(request.param, server if request.param == "postgresql" else request.getfixturevalue("mariadb"))


@pytest.fixture
def world(server, tmp_path) -> World:
    return World(server, tmp_path)


def migrate(world: World, legacy: Legacy, source: dict, **chosen) -> tuple[int, dict]:
    world.spec["source"] = {"connection": "old-erp", **source}
    fields = [
        {**field, "from": field["from"].lower()} if legacy.kind == "postgresql" and "from" in field else field
        for field in customers_object()["fields"]
    ]
    world.spec["objects"] = [customers_object(**{"from": chosen, "fields": fields})]
    laptop = Laptop(world)
    manifest = laptop.manifest()
    return laptop.answer("run", manifest, "--chunk-rows", "7", "--connection", f"old-erp={legacy.uri}")


@pytest.mark.parametrize(
    ("source", "chosen"),
    [
        ({}, {"table": "customers"}),
        ({"consistency": "Snapshot"}, {"query": "select * from customers where id > 0;", "key": ["id"]}),
        ({"consistency": "Freeze"}, {"table": "customers", "key": ["id"]}),
        ({"consistency": "Replica"}, {"query": "select * from customers", "key": ["id"]}),
    ],
)
def test_a_live_table_is_loaded_and_the_certificate_says_how_it_stood_still(world, legacy, source, chosen):
    code, answer = migrate(world, legacy, source, **chosen)
    assert code == 0, answer
    assert (answer["counts"]["read"], answer["counts"]["loaded"], answer["counts"]["quarantined"]) == (61, 60, 1)
    assert world.query("select name, balance from party where code = 'K00060'") == [("华升客户60有限公司", 60.5)]
    assert world.query("select src_line, code from mig.quarantine") == [(61, "E_TYPE")]
    ((found,),) = world.query("select certificate -> 'sources' -> 0 from mig.run")
    assert (found["consistency"], len(found["sha256"])) == (source.get("consistency", "Snapshot"), 64)


def test_a_new_attempt_reads_the_database_anew(world, legacy):
    world.spec["errorBudget"] = {"rows": 0}
    code, answer = migrate(world, legacy, {}, table="customers")
    assert (code, answer["outcome"]) == (43, "Paused")
    legacy.query("update customers set YE = '99.50' where KHBM = 'K00099'")
    code, answer = migrate(world, legacy, {}, table="customers")
    assert (code, answer["counts"]["loaded"]) == (0, 61), answer


def rows_of(legacy: Legacy, consistency: Consistency, key: list[str], table: str = "customers", **options) -> list:
    found = read_live(
        legacy.address,
        consistency,
        None if "query" in options else table,
        options.get("query"),
        key,
        options.get("encoding", Encoding.AUTO),
    )
    return list(found.rows)


def test_pieces_by_a_key_of_several_columns_give_every_row_once(legacy, monkeypatch):
    monkeypatch.setattr(live, "PIECE_ROWS", 7)
    legacy.query("create table positions (number varchar(10), line int, note varchar(10), primary key (number, line))")
    expected = [(f"B{number % 9}", str(number), "x") for number in range(1, 101)]
    legacy.query("insert into positions values " + ", ".join(str(one) for one in expected))
    found = rows_of(legacy, Consistency.FREEZE, ["number", "line"], "positions")
    assert sorted(map(tuple, found)) == sorted(expected)
    assert sorted(map(tuple, rows_of(legacy, Consistency.SNAPSHOT, [], "positions"))) == sorted(expected)


def reason_of(legacy: Legacy, consistency: Consistency, key: list[str], table: str = "customers", **options) -> str:
    with pytest.raises(Halt) as halt:
        rows_of(legacy, consistency, key, table, **options)
    return halt.value.reason


def test_a_table_that_was_declared_frozen_and_is_written_to_is_refused(legacy, monkeypatch):
    monkeypatch.setattr(live, "PIECE_ROWS", 10)
    found = read_live(legacy.address, Consistency.FREEZE, "customers", None, ["id"], Encoding.AUTO)
    rows = iter(found.rows)
    next(rows)
    legacy.query("insert into customers (KHBM) values ('K1')")
    with pytest.raises(Halt, match="61 rows and greatest key 61 before, 62 and 62 after"):
        list(rows)


def test_a_snapshot_does_not_see_what_is_written_after_it(legacy):
    found = read_live(legacy.address, Consistency.SNAPSHOT, "customers", None, [], Encoding.AUTO)
    writer = threading.Thread(target=legacy.query, args=("insert into customers (KHBM) values ('K1')",))
    writer.start()
    writer.join()
    assert len(list(found.rows)) == 61


def test_a_key_that_is_not_unique_or_null_loses_no_row_silently(legacy, monkeypatch):
    monkeypatch.setattr(live, "PIECE_ROWS", 7)
    key = "KHDJ" if legacy.kind == "mysql" else "khdj"
    assert reason_of(legacy, Consistency.FREEZE, [key]) == "KeyAmbiguous"
    monkeypatch.setattr(live, "PIECE_ROWS", 1000)
    legacy.query("create table holes (a int, b int)")
    legacy.query("insert into holes values (1, 1), (null, 2)")
    assert len(rows_of(legacy, Consistency.FREEZE, ["b"], "holes")) == 2


def test_what_is_not_there_is_named_and_a_query_cannot_write(legacy):
    assert reason_of(legacy, Consistency.SNAPSHOT, [], "nobody") == "SourceRefused"
    assert reason_of(legacy, Consistency.SNAPSHOT, [], 'x"; drop table customers; --`') == "SourceRefused"
    assert reason_of(legacy, Consistency.FREEZE, ["nothing"]) == "ColumnsMissing"
    for query in ("select 1; delete from customers", "delete from customers", "select 1) x; drop table customers; --"):
        assert reason_of(legacy, Consistency.SNAPSHOT, [], query=query) == "SourceRefused"
    assert legacy.query("select count(*) from customers")[0][0] == 61


def test_a_server_that_is_not_there_is_asked_again_later(legacy, world):
    legacy.server = type("Gone", (), {"port": 1, "uri": lambda _self, name: f"mysql://u:p@127.0.0.1:1/{name}"})()
    code, answer = migrate(world, legacy, {}, table="customers")
    assert (code, answer["reason"]) == (1, "SourceUnreachable")
    assert "p@" not in answer["message"]


def test_every_type_of_mariadb_comes_as_its_own_text(mariadb):
    legacy = Legacy("mysql", mariadb)
    legacy.query(
        "create table kinds (a decimal(20,4), b double, c date, d datetime(3), e time, f year, g bit(8), h json,"
        " i varbinary(4), j enum('甲','乙'), k tinyint(1), l text)"
    )
    legacy.query(
        "insert into kinds values (12.5, 0.1, '2024-05-31', '2024-05-31 08:30:00.5', '-12:00:00', 2024, b'101',"
        " '{\"a\": 1}', x'00ff', '乙', 1, null)"
    )
    (found,) = rows_of(legacy, Consistency.SNAPSHOT, [], "kinds")
    assert found[:5] == ["12.5000", "0.1", "2024-05-31", "2024-05-31 08:30:00.500", "-12:00:00"]
    assert found[5:] == ["2024", "05", '{"a": 1}', "00ff", "乙", "1", ""]


def test_every_type_of_postgresql_comes_as_its_own_text(server):
    legacy = Legacy("postgresql", server)
    legacy.query(
        "create table kinds (a numeric, b float8, c date, d timestamptz, e interval, f boolean, g bytea, h jsonb,"
        " i text[], j date)"
    )
    legacy.query(
        "insert into kinds values ('NaN', 0.1, 'infinity', '2024-05-31 08:30+08', '1 day 2 hours', true, '\\x00ff',"
        " '{\"a\": 1}', '{a,b}', '0044-03-15 BC')"
    )
    (found,) = rows_of(legacy, Consistency.SNAPSHOT, [], "kinds")
    assert found[:5] == ["NaN", "0.1", "infinity", "2024-05-31 00:30:00+00", "P1DT2H"]
    assert found[5:] == ["true", "\\x00ff", '{"a": 1}', "{a,b}", "0044-03-15 BC"]


def test_gbk_bytes_in_columns_that_call_themselves_latin1_are_read_as_declared(mariadb):
    legacy = Legacy("mysql", mariadb)
    legacy.query("create table old (id int primary key, 名称 varchar(20) charset latin1)")
    legacy.query(f"insert into old values (1, x'{'华升'.encode('gbk').hex()}'), (2, x'bbff')")
    found = read_live(legacy.address, Consistency.SNAPSHOT, "old", None, ["id"], Encoding.GBK)
    assert found.header == ["id", "名称"]
    assert list(found.rows) == [["1", "华升"], ["2", "\udcbb\udcff"]]


def test_a_table_without_transactions_has_no_snapshot(mariadb):
    legacy = Legacy("mysql", mariadb)
    legacy.fill("stock", ROWS, "engine = MyISAM")
    assert reason_of(legacy, Consistency.SNAPSHOT, [], "stock") == "SnapshotUnavailable"
    assert reason_of(legacy, Consistency.SNAPSHOT, [], query="select * from `stock` s") == "SnapshotUnavailable"
    assert len(rows_of(legacy, Consistency.FREEZE, ["id"], "stock")) == 61
