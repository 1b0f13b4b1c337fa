"""The subcommand `look`, as a person calls it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.api.v1alpha1.migrationjob import MigrationJobSpec, spec_problem
from pilotage.migration.__main__ import main
from tests.unit.look.files import write, write_bytes

ROWS = [f"K{number:03},华升{number},{number}.50" for number in range(30)]


@pytest.fixture(scope="module", autouse=True)
def signals():
    """A process of its own would end with its handlers; this one goes on to other tests."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def file(tmp_path):
    return write(tmp_path, "客户编码,客户名称,余额", *ROWS, encoding="gbk")


def test_the_table_shows_encoding_columns_and_mapping(file, capsys):
    assert main(["look", str(file)]) == 0
    shown = capsys.readouterr().out
    for expected in (
        "GB18030 (proved over every line)",
        "客户编码 *",
        "Decimal",
        "customer_code",
        "no defect was found",
    ):
        assert expected in shown


def test_the_yaml_goes_to_a_file_or_to_standard_output_and_is_the_same(file, tmp_path, capsys):
    assert main(["look", str(file), "--format", "yaml"]) == 0
    shown = capsys.readouterr().out
    assert main(["look", str(file), "--format", "yaml", "--output", str(tmp_path / "job.yaml")]) == 0
    assert (tmp_path / "job.yaml").read_text(encoding="utf-8") == shown
    assert MigrationJobSpec.model_validate(yaml.safe_load(shown)["spec"]).objects[0].to == "customer"


def test_the_table_of_the_proposal_can_be_named(file, capsys):
    assert main(["look", str(file), "--format", "sql", "--table", "crm.kunde"]) == 0
    assert 'create table "crm"."kunde"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--against", "postgresql://x"], "TableUnnamed"),
        (["--against", "postgresql://[", "--table", "t"], "ConnectionInvalid"),
        (["--format", "xlsx"], "OutputUnnamed"),
        (["--delimiter", ",,"], "DelimiterInvalid"),
        (["--format", "yaml", "--output", "/nowhere/job.yaml"], "FileUnusable"),
        (["--encoding", "UTF-8"], "WrongEncoding"),
    ],
)
def test_what_cannot_be_done_is_said_on_standard_error(file, capsys, arguments, reason):
    assert main(["look", str(file), *arguments]) == 42
    output, errors = capsys.readouterr()
    assert (output, reason in errors) == ("", True)


PIECES = st.lists(
    st.sampled_from(
        [b"a,b", b"\n", b"\r\n", b'"', b",", b"\t", b"|", b"1", b"2024-05-31", b"\x00", b"\x1b", b"=", b"'"]
    )
    | st.text("编码余额（元）１万 ", max_size=4).map(lambda text: text.encode("gb18030"))
    | st.binary(max_size=4),
    max_size=40,
).map(b"".join)


@settings(deadline=None, max_examples=150)
@given(PIECES, st.sampled_from(["table", "yaml", "sql", "xlsx"]))
def test_any_bytes_get_an_answer_and_every_proposal_is_valid(tmp_path_factory, raw, form):
    folder = tmp_path_factory.mktemp("look")
    path, output = write_bytes(folder, raw), folder / "output"
    code = main(["look", str(path), "--format", form, "--output", str(output)])
    assert code in {0, 42}
    if code == 0 and form == "yaml":
        spec = MigrationJobSpec.model_validate(yaml.safe_load(output.read_text(encoding="utf-8"))["spec"])
        assert spec_problem(spec) is None


def test_a_file_of_nothing_but_a_header_has_columns_and_a_proposal(tmp_path, capsys):
    assert main(["look", str(write(tmp_path, "编码,名称")), "--format", "yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["spec"]["objects"][0]["key"] == ["code"]


def test_the_image_of_the_engine_needs_neither_rich_nor_xlsxwriter():
    program = "import sys; sys.modules.update(rich=None, xlsxwriter=None); import pilotage.migration.__main__"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
