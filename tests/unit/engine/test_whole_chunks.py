"""Whole chunks at a time come to what row by row comes to: values, reasons, messages, places and totals."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilotage.api.v1alpha1.migrationjob import Encoding, FieldType, MigrationObject, Transform
from pilotage.migration.chunk import read_chunk
from pilotage.migration.conversion import Column
from pilotage.migration.errors import Halt
from pilotage.migration.ledger import Claim
from pilotage.migration.plan import ObjectPlan
from tests.unit.engine.row_by_row import read_row_by_row

HEADER = ["甲", "乙", "丙"]
COLUMNS = {
    column.name: column
    for column in (
        Column("plain", "text", "text"),
        Column("short", "varchar", "character varying(5)", max_length=5),
        Column("small", "int2", "smallint", not_null=True),
        Column("whole", "int4", "integer"),
        Column("large", "int8", "bigint"),
        Column("amount", "numeric", "numeric(6,2)", precision=6, scale=2),
        Column("rounded", "numeric", "numeric(4,0)", precision=4, scale=0),
        Column("free", "numeric", "numeric"),
        Column("double", "float8", "double precision"),
        Column("yes", "bool", "boolean"),
        Column("day", "date", "date"),
        Column("moment", "timestamp", "timestamp without time zone"),
        Column("fixed", "bpchar", "character(3)", max_length=3),
    )
}
# Texts at the edges of every rule, and whatever else there is.
EDGES = [
    "", " ", "\u3000", "\x1c", "\x85", "a", "A", "ａＢ１", "é", "ß", "İ", "Σ", "张\u3000三", " 华升 ", "\x00",
    "x\x00", "\ufeff", "0", "-0", "00", "+1", "007", "-7", "32767", "32768", "-32769", "2147483648", "9" * 18, "9" * 19,
    "1" * 39, "1.0", "1.50", "-0.00", ".5", "5.", "1.234", "9999.99", "99999.9", "0.10", "1e5", "１２", "1,5", "NaN",
    "12.340000", "true", "True", "是", "否", "t", "2024-05-31", "2024/5/31", "20240531", "2024年5月31日", "2024月5年1",
    "2024.5.31", "2024531日", "2024-02-30", "0000-01-01", "0001-01-01", "0999-1-1", "2024-5/31", "202405",
    "2024-05-31日", "20240531日",
    "2024-05-31 08:30:00", "2024-05-31T08:30:00", "2024/05/31 08:30:00", "2024-05-31 24:00:00", "2024-05-31 08:30:60",
    "2024-05-31 08:30", "2024-05-31 08:30:00.5", "2024-05-31T08:30:00+08:00", "2024T05-31 08:30:00", "1900-01-01",
    "1.2万元", "￥1,234.50元", "-3,000", "12万", "1亿", "8600元整", "1,23元", "+86 139-1234-5678", "0571-88888888",
    "110105491231002", "11010519491231002x", "11010519491231002X", "2024-05-31 20:30:00", "9999-12-31 23:00:00",
    "86139", "a-b-c",
    "13912345678", "K1", "k1", "AB", "甲", "乙", "x" * 6, "\ue7c7",
]  # fmt: skip
TEXTS = st.one_of(st.sampled_from(EDGES), st.text(max_size=6), st.text("0123456789.-+/", max_size=9))
PATTERNS = [
    r"K[0-9]+",
    r"1\d{10}",
    r"[^\d]+",
    r"\w+",
    r"(?:a|A)?.*",
    r"[A-Za-z0-9.-]{2,5}",
    r"a++b",
    r"[一-龥]{2,}",
    r".",
    r"x{,3}",
]


BOUNDS = {
    FieldType.INTEGER: ("-5", "7"),
    FieldType.DECIMAL: ("0", "12"),
    FieldType.DATE: ("2000-01-01", "2024-05-31"),
    FieldType.TIMESTAMP: ("2000-01-01", "2024-05-31 08:30:00"),
    FieldType.BOOLEAN: ("false", "false"),
}
FILTERS = [{"in": ["张三", "a", "", "1.0"]}, {"notIn": ["A", "0"]}, {"pattern": "[^0-9]*"}]


@st.composite
def mappings(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {"to": draw(st.sampled_from(sorted(COLUMNS)))}
    if draw(st.integers(0, 9)) == 0:
        return {**found, "value": draw(st.sampled_from(["1", "x" * 9, True, 7, "2024-05-31"]))}
    if draw(st.integers(0, 5)) == 0:
        columns = draw(st.lists(st.sampled_from(HEADER), min_size=2, unique=True))
        found["join"] = {"columns": columns, "separator": draw(st.sampled_from(["", "-", " "]))}
    else:
        found["from"] = draw(st.sampled_from(HEADER))
    found["transform"] = draw(st.lists(st.sampled_from(sorted(Transform)), max_size=3))
    if found["to"] == "moment" and draw(st.booleans()):
        found["addHours"] = draw(st.sampled_from([8, -8]))
    low, high = BOUNDS.get(COLUMNS[found["to"]].field_type, ("a", "x"))
    if "type" not in found and draw(st.integers(0, 3)) == 0:
        found["range"] = draw(st.sampled_from([{"min": low}, {"max": high}, {"min": low, "max": high}]))
    optional = {
        "type": st.sampled_from(["String", "Integer", "Decimal", "Boolean", "Date", "Timestamp"]),
        "nulls": st.lists(st.sampled_from(EDGES), min_size=1, max_size=4, unique=True),
        "split": st.fixed_dictionaries({"by": st.sampled_from(["-", ",", "万", " "]), "part": st.integers(1, 3)}),
        "length": st.sampled_from([{"min": 2}, {"max": 3}, {"min": 1, "max": 4}]),
        "required": st.booleans(),
        "default": st.sampled_from(["", " ", "0", "2024-01-01", "甲"]),
        "pattern": st.sampled_from(PATTERNS),
        "enum": st.lists(st.sampled_from(EDGES), min_size=1, max_size=8, unique=True),
        "map": st.dictionaries(st.sampled_from(EDGES), st.sampled_from(EDGES), min_size=1, max_size=5),
    }
    for name, strategy in optional.items():
        if draw(st.integers(0, 4)) == 0 and not (name == "type" and "range" in found):
            found[name] = draw(strategy)
    if "map" in found:
        found["onUnmapped"] = draw(st.sampled_from(["Reject", "Keep", "Null"]))
    if "type" not in found and draw(st.integers(0, 9)) == 0:
        found["reference"] = {"table": "kind", "match": "code", "use": "id"}
    return found


@st.composite
def objects(draw: st.DrawFn) -> dict[str, Any]:
    fields = draw(st.lists(mappings(), min_size=1, max_size=4, unique_by=lambda field: field["to"]))
    found = {"name": "things", "from": {"file": "f.csv"}, "to": "thing", "key": [fields[0]["to"]], "fields": fields}
    if draw(st.integers(0, 2)) == 0:
        found["where"] = [{"column": draw(st.sampled_from(HEADER)), **draw(st.sampled_from(FILTERS))}]
    if draw(st.booleans()):
        found["sourceDuplicates"] = {"policy": "First", "orderBy": draw(st.sampled_from(HEADER))}
    return found


def quoted(text: str, style: int) -> str:
    """As a tidy exporter writes it, or as an untidy one does."""
    if style == 0 or (style == 1 and any(sign in text for sign in ',"\r\n')):
        return '"' + text.replace('"', '""') + '"'
    return text


LINES = st.one_of(
    st.lists(st.tuples(TEXTS, st.sampled_from([0, 1, 1, 1, 2])), min_size=3, max_size=3),
    st.lists(st.tuples(TEXTS, st.sampled_from([1, 2])), max_size=5),
).map(lambda cells: ",".join(quoted(text, style) for text, style in cells))


@st.composite
def files(draw: st.DrawFn, encoding: Encoding) -> bytes:
    codec = {Encoding.UTF_8: "utf-8", Encoding.GB18030: "gb18030", Encoding.GBK: "gbk"}[encoding]
    end = draw(st.sampled_from(["\n", "\r\n"]))
    lines = draw(st.lists(LINES, max_size=12))
    raw = [line.encode(codec, errors="ignore") for line in lines]
    if draw(st.integers(0, 3)) == 0:
        raw.insert(
            draw(st.integers(0, len(raw))),
            draw(st.sampled_from([b"\xff,1,2", b"a,\x81,", b'"', b" \t", b"a\rb,,", b"\xef\xbb\xbf"])),
        )
    data = end.encode().join(raw)
    return data + draw(st.sampled_from([end.encode(), b""]))


def a_plan(definition: dict[str, Any], encoding: Encoding) -> ObjectPlan:
    return ObjectPlan(
        MigrationObject.model_validate(definition), 0, "f.csv", encoding, ",", HEADER, COLUMNS, sha256="", staging="s"
    )


def shown(amounts: Any) -> dict[str, Any]:
    return {name: amount.normalize() for name, amount in amounts.items()}


def assert_same(plan: ObjectPlan, data: bytes, folder: Path) -> None:
    (folder / "f.csv").write_bytes(data)
    held = Claim("things", 7, 0, len(data), 2, hashlib.sha256(data).hexdigest(), 1)
    summed = [field.to for field in plan.definition.fields]
    found, expected = read_chunk(plan, held, data, summed), read_row_by_row(plan, data, summed)
    assert (found.read, found.filtered) == (expected.read, expected.filtered)
    rejected = [((record.raw, record.offset, record.line), list(rejects)) for record, rejects in found.rejected]
    assert rejected == expected.rejected
    rows = sorted(found.staged.rows())
    assert [(seq, line, bytes.fromhex(raw[2:]), *rest) for seq, _, line, raw, *rest in rows] == expected.staged
    assert {chunk for _, chunk, *_ in rows} <= {7}
    assert shown(found.totals) == shown(expected.totals)
    assert shown(found.excluded) == shown(expected.excluded)


@given(data=st.data(), definition=objects(), encoding=st.sampled_from([Encoding.UTF_8, Encoding.GB18030, Encoding.GBK]))
@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
def test_whole_columns_come_to_what_single_rows_come_to(data, definition, encoding, tmp_path):
    assert_same(a_plan(definition, encoding), data.draw(files(encoding)), tmp_path)


@pytest.mark.parametrize("to", sorted(COLUMNS))
@pytest.mark.parametrize("kind", [None, "String", "Integer", "Decimal", "Boolean", "Date", "Timestamp"])
def test_every_edge_of_every_type_is_judged_alike(to, kind, tmp_path):
    field = {"to": to, "from": "甲"} | ({"type": kind} if kind else {})
    definition = {"name": "things", "from": {"file": "f.csv"}, "to": "thing", "key": [to], "fields": [field]}
    lines = [f"{quoted(text, 1)},," for text in EDGES]
    assert_same(a_plan(definition, Encoding.UTF_8), "\n".join(lines).encode(), tmp_path)


@pytest.mark.parametrize("transform", [*([step] for step in Transform), ["halfwidth", "trim", "upper"]])
def test_every_edge_is_cleaned_alike(transform, tmp_path):
    field = {"to": "plain", "from": "甲", "transform": transform}
    definition = {"name": "things", "from": {"file": "f.csv"}, "to": "thing", "key": ["plain"], "fields": [field]}
    lines = [f"{quoted(text, 1)},," for text in [*EDGES, "\x1cx\x1f", "\x85x\u2003", "～！", "ǆ", "ΑΣ", "ⅷ"]]
    assert_same(a_plan(definition, Encoding.UTF_8), "\n".join(lines).encode(), tmp_path)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_mean_what_python_says(pattern, tmp_path):
    field = {"to": "plain", "from": "甲", "pattern": pattern}
    definition = {"name": "things", "from": {"file": "f.csv"}, "to": "thing", "key": ["plain"], "fields": [field]}
    lines = [f"{quoted(text, 1)},," for text in [*EDGES, "aab", "١", "K١", "1391234567٨", "xxx", "xxxx", "中文"]]
    assert_same(a_plan(definition, Encoding.UTF_8), "\n".join(lines).encode(), tmp_path)


def test_a_file_that_changed_since_it_was_planned_is_refused(tmp_path):
    definition = {
        "name": "things",
        "from": {"file": "f.csv"},
        "to": "thing",
        "key": ["plain"],
        "fields": [{"to": "plain", "from": "甲"}],
    }
    with pytest.raises(Halt, match="changed between planning and loading"):
        read_chunk(a_plan(definition, Encoding.UTF_8), Claim("things", 0, 0, 6, 2, "0" * 64, 1), b"a,b,c\n", [])
