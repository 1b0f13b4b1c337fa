"""Dump files of MySQL and PostgreSQL come to the rows that their servers would make of them."""

from __future__ import annotations

import pytest

from pilotage.migration.errors import Halt
from pilotage.migration.source import dump
from tests.unit.engine.sources import Rows, chunks_of, opened, read

MYSQL = """-- MySQL dump 10.13  Distrib 5.7, it's old
/*!40101 SET NAMES gbk */;
DROP TABLE IF EXISTS `other`;
CREATE TABLE `other` (`x` int) ENGINE=InnoDB;
INSERT INTO `other` VALUES (1),(2);
CREATE TABLE `客户` (
  `编码` varchar(20) NOT NULL COMMENT '编码, (唯一)',
  `名``称` varchar(60) DEFAULT 'a,b',
  `余额` decimal(12,2),
  `key` enum('a','b'),
  PRIMARY KEY (`编码`), KEY `k` (`余额`)
) ENGINE=InnoDB DEFAULT CHARSET=gbk;
/*!40000 ALTER TABLE `客户` DISABLE KEYS */;
INSERT INTO `客户` VALUES ('K1','誠\\'實;(甲)',-1.50,NULL),
 ('K2','a''b\\\\',1e3,'a') , ('K3',_binary 'x\\ny',0x41,'-- no comment');
INSERT INTO `客户` VALUES ('K4','乗',NULL,'b') ON DUPLICATE KEY UPDATE `余额`=';';
/*!40000 ALTER TABLE `客户` ENABLE KEYS */;
INSERT INTO `客户` (`编码`,`名``称`,`余额`,`key`) VALUES ('K5','',0,'');
"""

POSTGRESQL = r"""--
-- PostgreSQL database dump
--
\restrict abc'def
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
CREATE TABLE public.party (id bigint NOT NULL, name character varying(60), note text,
    CONSTRAINT positive CHECK ((id > 0)));
COPY public.other (a, b) FROM stdin;
1	x;y'
\.
COPY public.party (id, name, note) FROM stdin;
1	华升	a\tb\\n
2	\N	\N
3	O'Neill; (x)	\N
\.
INSERT INTO public.party VALUES (4, 'C:\dir', E'a\'b\n') ;
INSERT INTO public.party (id, name, note) VALUES (5, 'it''s', NULL), (6, '{"a": [1]}', '\x41');
"""


def rows_of(folder, text: str, table: str, encoding: str = "utf-8", **source) -> Rows:
    (folder / "f.sql").write_bytes(text.encode(encoding))
    return read(folder, ["x"], file="f.sql", table=table, **source)


@pytest.mark.parametrize("read_at_a_time", [1, 7, 1 << 20])
def test_a_gbk_dump_of_mysql_is_decoded_before_it_is_unescaped(tmp_path, monkeypatch, read_at_a_time):
    monkeypatch.setattr(dump, "READ_BYTES", read_at_a_time)
    found = rows_of(tmp_path, MYSQL, "客户", "gbk")
    assert b"\\" in "誠乗".encode("gbk")
    assert found.header == ["编码", "名`称", "余额", "key"]
    assert list(found.texts.values()) == [
        ["K1", "誠'實;(甲)", "-1.50", ""],
        ["K2", "a'b\\", "1e3", "a"],
        ["K3", "x\ny", "0x41", "-- no comment"],
        ["K4", "乗", "", "b"],
        ["K5", "", "0", ""],
    ]


@pytest.mark.parametrize("read_at_a_time", [1, 7, 1 << 20])
@pytest.mark.parametrize("table", ["party", "public.party"])
def test_a_dump_of_postgresql_has_rows_in_copy_blocks_and_inserts(tmp_path, monkeypatch, read_at_a_time, table):
    monkeypatch.setattr(dump, "READ_BYTES", read_at_a_time)
    found = rows_of(tmp_path, POSTGRESQL, table)
    assert found.header == ["id", "name", "note"]
    assert list(found.texts.values()) == [
        ["1", "华升", "a\tb\\n"],
        ["2", "", ""],
        ["3", "O'Neill; (x)", ""],
        ["4", "C:\\dir", "a'b\n"],
        ["5", "it's", ""],
        ["6", '{"a": [1]}', "\\x41"],
    ]


def test_bytes_that_are_not_of_the_dumps_encoding_cost_their_row_only(tmp_path):
    raw = "SET NAMES utf8mb4;INSERT INTO t (a,b) VALUES (1,'甲'),(2,'\udcbb\udcaa'),(3,'乙');"
    (tmp_path / "f.sql").write_bytes(raw.encode(errors="surrogateescape"))
    found = read(tmp_path, ["a"], file="f.sql", table="t")
    assert (found.texts, found.refused) == ({1: ["1", "甲"], 3: ["3", "乙"]}, {2: "E_ENCODING"})


def test_damage_that_happens_to_be_utf8_is_damage_all_the_same(tmp_path):
    raw = "SET NAMES ascii;INSERT INTO t (a) VALUES ('甲'),('x');"
    (tmp_path / "f.sql").write_text(raw, encoding="utf-8")
    found = read(tmp_path, ["a"], file="f.sql", table="t")
    assert (found.texts, found.refused) == ({2: ["x"]}, {1: "E_ENCODING"})


def reason_of(folder, text: str, **source) -> tuple[str, str]:
    (folder / "f.sql").write_text(text)
    with pytest.raises(Halt) as halt:
        chunks_of(opened(folder, ["a"], file="f.sql", **source))
    return halt.value.reason, halt.value.message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("INSERT INTO u VALUES (1);", "TableUnknown"),
        ("INSERT INTO t VALUES (1);", "ColumnsMissing"),
        ("INSERT INTO t (a) VALUES (now());", "SourceUnreadable"),
        ("INSERT INTO t (a) VALUES ('never closed", "SourceUnreadable"),
        ("INSERT INTO t (a) VALUES (1);INSERT INTO t (b) VALUES (1);", "ColumnsAmbiguous"),
        ("-- PostgreSQL database dump\nCOPY t (a) FROM stdin;\n1\n", "SourceUnreadable"),
        ("PGDMP", "SourceUnreadable"),
        ("SET NAMES koi8r;INSERT INTO t (a) VALUES (1);", "EncodingUnproven"),
        ("SET NAMES gbk;INSERT INTO t (a) VALUES (1);SET NAMES utf8;", "WrongEncoding"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(tmp_path, text, reason):
    assert reason_of(tmp_path, text, table="t")[0] == reason


def test_a_table_has_to_be_named(tmp_path):
    assert reason_of(tmp_path, MYSQL)[0] == "SpecInvalid"


def test_a_name_that_wants_to_be_sql_is_a_name(tmp_path):
    name = "t; drop table party; --"
    reason, message = reason_of(tmp_path, "INSERT INTO t (a) VALUES (1);", table=name)
    assert (reason, name in message) == ("TableUnknown", True)
