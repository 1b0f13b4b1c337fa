"""Proposals: valid as they are, modest where they guess, harmless whatever the file says."""

from __future__ import annotations

import io
import json
import zipfile
from xml.etree import ElementTree as ET

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.api.text import printable
from pilotage.api.v1alpha1.migrationjob import MAX_FIELDS, MigrationJobSpec, spec_problem
from pilotage.migration.conversion import Column
from pilotage.migration.look.manifest import to_yaml
from pilotage.migration.look.match import Target
from pilotage.migration.look.names import distinct_identifiers, identifier
from pilotage.migration.look.show import show
from pilotage.migration.look.workbook import write_look
from tests.unit.look.files import look_at, proposal_of, write

HOSTILE = 'x"; drop table party; --'


def lines(count: int = 30) -> list[str]:
    return [f"K{number:03},华升{number},{number}.50,2024-05-31" for number in range(count)]


def customers(tmp_path, *more: str):
    return look_at(write(tmp_path, "客户编码,客户名称,余额,建档日期", *lines(), *more, encoding="gb18030"))


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("客户编码", "customer_code"),
        ("余额（元）", "balance"),
        ("KHMC", "khmc"),
        ("Customer Name", "customer_name"),
        ("建档日期", "created_date"),
        ("熊猫", None),
        ("2024", "c_2024"),
        ("", None),
        (HOSTILE, "x_drop_table_party"),
        ("x" * 100, "x" * 63),
    ],
)
def test_a_header_becomes_a_name(header, name):
    assert identifier(header) == name


@settings(deadline=None)
@given(st.lists(st.text(max_size=80), max_size=20))
def test_whatever_the_headers_are_the_names_are_plain_and_distinct(headers):
    names = distinct_identifiers(headers)
    assert len(set(names)) == len(headers)
    assert all(identifier(name) == name for name in names)


def test_the_proposal_is_a_valid_migration_job_and_says_what_it_is_about(tmp_path):
    found = customers(tmp_path, "K900,华升,坏,2024-05-31")
    manifest = proposal_of(found).to_manifest()
    spec = MigrationJobSpec.model_validate(manifest["spec"])
    assert spec_problem(spec) is None
    assert spec.objects[0].key == ["customer_code"]
    assert [(field.to, field.from_, field.type and field.type.value) for field in spec.objects[0].fields] == [
        ("customer_code", "客户编码", None),
        ("customer_name", "客户名称", None),
        ("balance", "余额", "Decimal"),
        ("created_date", "建档日期", "Date"),
    ]
    assert spec.error_budget.rows == 1
    assert [(check.type.value, check.field) for check in spec.reconcile] == [
        ("RowCount", None),
        ("ControlTotal", "balance"),
        ("Checksum", None),
    ]


def test_the_yaml_is_the_proposal_with_comments(tmp_path):
    found = customers(tmp_path)
    proposal = proposal_of(found)
    text = to_yaml(found, proposal)
    assert yaml.safe_load(text) == proposal.to_manifest()
    assert "# encoding: GB18030 (proved over every line)" in text


def test_the_statement_makes_the_table_that_the_proposal_fills(tmp_path):
    statement = proposal_of(customers(tmp_path)).to_sql()
    assert 'create table "public"."customer"' in statement
    assert '"balance" numeric' in statement
    assert 'primary key ("customer_code")' in statement


def test_blanks_and_full_width_digits_are_cleaned(tmp_path):
    found = look_at(write(tmp_path, "编码,数量", *(f"K{number} ,１{number}" for number in range(10, 30))))
    fields = proposal_of(found).to_manifest()["spec"]["objects"][0]["fields"]
    assert [field.get("transform") for field in fields] == [["trim"], ["halfwidth"]]


def test_rows_with_one_key_go_to_the_quarantine_and_both_are_allowed_for(tmp_path):
    found = customers(tmp_path, *lines(1))
    manifest = proposal_of(found).to_manifest()
    assert manifest["spec"]["objects"][0]["sourceDuplicates"] == {"policy": "QuarantineAll"}
    assert manifest["spec"]["errorBudget"] == {"rows": 2}


def test_columns_without_a_name_of_their_own_are_left_out_and_told(tmp_path):
    proposal = proposal_of(look_at(write(tmp_path, "a,,b,b,c", *(f"{n},2,3,4,5" for n in range(20)))))
    assert [field.column.name for field in proposal.fields] == ["a", "c"]
    assert "3 columns without a name of their own are left out" in proposal.notes


def test_more_columns_than_an_object_takes_are_left_out_and_told(tmp_path):
    wide = ",".join(f"c{number}" for number in range(MAX_FIELDS + 1))
    proposal = proposal_of(look_at(write(tmp_path, wide, wide)))
    MigrationJobSpec.model_validate(proposal.to_manifest()["spec"])
    assert len(proposal.fields) == MAX_FIELDS
    assert any(f"only the first {MAX_FIELDS}" in note for note in proposal.notes)


def target(**columns: Column) -> Target:
    return Target("public", "party", columns, {"tier": "客户等级"}, [["id"], ["code"]])


def test_columns_are_matched_by_name_comment_and_type_and_each_says_how_sure(tmp_path):
    header = "客户编码,KHMC,余额,客户等级,电话,姓名"
    found = look_at(write(tmp_path, header, *(f"K{n:03},华升{n},{n}.5,A,13900000{n:03},人{n}" for n in range(30))))
    wanted = target(
        id=Column("id", "int8", "bigint", not_null=True, has_default=True),
        code=Column("code", "varchar", "varchar(20)", 20, not_null=True),
        khmc=Column("khmc", "varchar", "varchar(60)", 60),
        balance=Column("balance", "numeric", "numeric(12,2)"),
        tier=Column("tier", "text", "text"),
        since=Column("since", "date", "date", not_null=True),
    )
    proposal = proposal_of(found, target=wanted, table="party")
    assert {(one.column.name, one.to, one.match.confidence) for one in proposal.fields} == {
        ("客户编码", "code", "likely"),
        ("KHMC", "khmc", "sure"),
        ("余额", "balance", "sure"),
        ("客户等级", "tier", "sure"),
    }
    assert proposal.key == ["code"]
    assert any("party.since must not be empty and nothing fills it" in note for note in proposal.notes)
    assert any("was found for: 电话, 姓名" in note for note in proposal.notes)


def test_a_type_that_does_not_fit_makes_a_match_less_sure_and_says_why(tmp_path):
    found = look_at(write(tmp_path, "code,since", *(f"K{number},soon" for number in range(30))))
    wanted = target(code=Column("code", "text", "text"), since=Column("since", "date", "date"))
    (match,) = [one.match for one in proposal_of(found, target=wanted, table="party").fields if one.to == "since"]
    assert (match.confidence, match.why) == ("a guess", "same name, no value is Date")


def test_hostile_headers_and_values_stay_quoted_text(tmp_path):
    header = f"code,{HOSTILE.replace(chr(34), chr(39))},'=cmd()',\x1b]0;x\x07,\"a\nb: &x\""
    values = 'K{},\x1b[31m,"=1+cmd|\'/c calc\'!A1",# {{x}},"a\n- b: 1"'
    found = look_at(write(tmp_path, header, *(values.format(number) for number in range(20))))
    proposal = proposal_of(found)
    text = to_yaml(found, proposal)
    assert yaml.safe_load(text) == proposal.to_manifest()
    assert spec_problem(MigrationJobSpec.model_validate(proposal.to_manifest()["spec"])) is None
    screen = io.StringIO()
    show(found, proposal, screen)
    for shown in (text, screen.getvalue()):
        assert all(sign.isprintable() or sign == "\n" for sign in shown)
    assert "drop table party;" not in proposal.to_sql()


def test_a_header_that_is_named_in_a_note_cannot_leave_its_comment(tmp_path):
    found = look_at(write(tmp_path, 'code,"a\nspec: {x}\x1b[2J"', *(f"K{number},1" for number in range(20))))
    proposal = proposal_of(found, target=target(code=Column("code", "text", "text")), table="party")
    assert any("spec: {x}" in note for note in proposal.notes)
    text = to_yaml(found, proposal)
    assert yaml.safe_load(text) == proposal.to_manifest()
    assert "\x1b" not in text


@settings(deadline=None)
@given(st.text())
def test_what_is_printable_fits_on_one_line_of_a_terminal(text):
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) <= 60


def test_the_workbook_holds_texts_and_no_formulas(tmp_path):
    found = look_at(write(tmp_path, "code,text", *(f"K{number},=1+1" for number in range(20)), "K1,@SUM(A1)\x01"))
    path = tmp_path / "look.xlsx"
    write_look(path, found, proposal_of(found))
    with zipfile.ZipFile(path) as book:
        sheets = [book.read(name) for name in book.namelist() if name.startswith("xl/worksheets/sheet")]
    trees = [ET.fromstring(sheet) for sheet in sheets]
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    assert len(trees) == 4
    assert not any(list(tree.iter(f"{space}f")) for tree in trees)
    texts = [node.text for tree in trees for node in tree.iter(f"{space}t")]
    assert "=1+1" in json.dumps(texts)
