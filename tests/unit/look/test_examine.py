"""A corpus of nasty files: what is found, where, and what is refused."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.api.v1alpha1.migrationjob import Encoding
from pilotage.migration.encoding import prove
from pilotage.migration.errors import Halt
from pilotage.migration.look import examine as examining
from pilotage.migration.look.structure import MAX_COLUMNS
from pilotage.migration.records import read_records
from tests.unit.look.files import defect, look_at, write, write_bytes

HEADER = "编码,名称,余额"
ROWS = [f"K{number:03},华升{number}号,{number}.50" for number in range(1, 41)]


def refusal(path, **options) -> tuple[str, str]:
    with pytest.raises(Halt) as caught:
        look_at(path, **options)
    return caught.value.reason, caught.value.message


def places(found, code, column=""):
    return [(place.line, place.offset) for place in defect(found, code, column).places]


@pytest.mark.parametrize(("encoding", "proved"), [("utf-8", Encoding.UTF_8), ("gbk", Encoding.GB18030)])
def test_the_encoding_is_proved_over_the_whole_file(tmp_path, encoding, proved):
    found = look_at(write(tmp_path, HEADER, *ROWS, encoding=encoding))
    assert (found.verdict.encoding, found.verdict.proved) == (proved, True)
    assert [column.name for column in found.profile.columns] == ["编码", "名称", "余额"]
    assert found.tally.records == len(ROWS)
    assert not found.defects


def test_a_byte_order_mark_is_taken_off_the_header(tmp_path):
    found = look_at(write(tmp_path, HEADER, *ROWS, encoding="utf-8-sig"))
    assert found.verdict.mark == 3
    assert found.layout.header[0] == "编码"


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_the_delimiter_is_found(tmp_path, delimiter, encoding):
    # 亅's second byte in GB18030 is a bar.
    lines = [line.replace(",", delimiter) for line in (HEADER, *ROWS, "K999,亅,9.90")]
    found = look_at(write(tmp_path, *lines, encoding=encoding))
    assert found.layout.delimiter == delimiter
    assert (found.tally.records, found.defects) == (41, [])


def test_a_damaged_line_asks_which_encoding_was_meant_and_names_both_places(tmp_path):
    raw = "\r\n".join([HEADER, *ROWS]).encode("gb18030") + b"\r\nK9,\xff\xff,1\r\n"
    reason, message = refusal(write_bytes(tmp_path, raw))
    assert reason == "EncodingUnproven"
    assert "line 42, byte offset" in message
    assert "UTF-8 (42 of 42 lines fail" in message
    assert "GB18030 (1 fail" in message
    assert "most likely GB18030" in message
    assert "--encoding GB18030" in message


def test_a_declared_encoding_names_each_line_that_it_cannot_read(tmp_path):
    start = "\r\n".join([HEADER, *ROWS]).encode("gb18030") + b"\r\n"
    found = look_at(write_bytes(tmp_path, start + b"K9,\xff\xff,1\r\n"), declared=Encoding.GB18030)
    assert places(found, "E_ENCODING") == [(42, len(start) + 3)]
    assert not found.verdict.proved


def test_two_files_of_different_encodings_put_together_are_told_as_such(tmp_path):
    half = "\r\n".join(ROWS) + "\r\n"
    reason, message = refusal(write_bytes(tmp_path, (HEADER + "\r\n" + half).encode("gb18030") + half.encode()))
    assert reason == "EncodingUnproven"
    assert "two encodings put together" in message


def test_the_euro_sign_of_windows_is_explained(tmp_path):
    raw = "\r\n".join([HEADER, *ROWS]).encode("gb18030") + b"\r\nK9,\x80 12,1\r\n"
    assert "the byte 80, the euro sign" in refusal(write_bytes(tmp_path, raw))[1]


def test_a_wrong_declaration_is_refused(tmp_path):
    reason, message = refusal(write(tmp_path, HEADER, *ROWS), declared=Encoding.GB18030)
    assert (reason, "UTF-8 throughout" in message) == ("WrongEncoding", True)
    assert refusal(write(tmp_path, HEADER, *ROWS, encoding="gbk"), declared=Encoding.UTF_8)[0] == "WrongEncoding"


@pytest.mark.parametrize(
    ("raw", "reason", "said"),
    [
        (b"", "SourceEmpty", "empty"),
        (b"PK\x03\x04rest", "NotText", "save the sheet as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0rest", "NotText", "old Excel workbook"),
        (b"\x1f\x8brest", "NotText", "unpack it"),
        ("编码,名称\r\n".encode("utf-16"), "NotText", "UTF-16"),
        ("code,name\r\n".encode("utf-16-le"), "NotText", "UTF-16"),
        (b'"never closed\r\n', "HeaderUnreadable", "first line"),
    ],
)
def test_what_is_no_text_is_refused_with_what_to_do(tmp_path, raw, reason, said):
    found, message = refusal(write_bytes(tmp_path, raw))
    assert found == reason
    assert said in message


def test_a_missing_file_is_named(tmp_path):
    assert refusal(tmp_path / "nowhere.csv")[0] == "SourceMissing"


def test_ragged_rows_and_lone_quotes_are_named_with_line_and_offset(tmp_path):
    lines = [HEADER, *ROWS, "K1,two", 'K2,"torn,3', "K3,a,b,c"]
    path = write(tmp_path, *lines)
    ends = [sum(len((line + "\r\n").encode()) for line in lines[:number]) for number in range(len(lines))]
    found = look_at(path)
    assert places(found, "E_COLUMNS") == [(42, ends[41]), (44, ends[43])]
    assert places(found, "E_PARSE") == [(43, ends[42])]
    assert found.tally.damaged == 3


def test_quoted_line_breaks_stay_in_one_record_and_later_lines_keep_their_numbers(tmp_path):
    found = look_at(write(tmp_path, HEADER, 'K1,"one\ntwo",1', "K2,short", *ROWS))
    assert places(found, "E_COLUMNS")[0][0] == 4
    assert found.tally.records == 42


def test_line_ends_are_counted(tmp_path):
    found = look_at(write_bytes(tmp_path, b"a,b\r\n1,2\r\n3,4\n5,6\r\n7\r,8\r\n"))
    assert found.survey.line_end == "CRLF"
    assert "1 lines end in another way than most (CRLF)" in found.problems
    assert "1 carriage returns stand inside lines" in found.problems


def test_blank_lines_are_no_rows(tmp_path):
    found = look_at(write(tmp_path, HEADER, *ROWS, "", "  ", ""))
    assert (found.tally.records - found.tally.blank, found.tally.blank, found.defects) == (40, 3, [])


def test_nul_and_control_characters_are_found_at_their_byte(tmp_path):
    found = look_at(write_bytes(tmp_path, b"a,b\r\n1,x\x00y\r\n2,\x1b[31m\r\n3,z\r\n"))
    assert places(found, "E_NUL_BYTE") == [(2, 8)]
    assert places(found, "W_CONTROL") == [(3, 14)]


def test_suspicious_values_are_named_with_their_column(tmp_path):
    rows = [f"K{number:03},{number}.5,2024-05-{number % 28 + 1:02}" for number in range(200)]
    rows[7] = "K007,12.5万元,2024/05/08"
    rows[9] = "K009,１２.5,1900-01-01"
    rows[11] = "K011,1,2024-02-30"
    rows[13] = "K012,1,2024-05-01"
    found = look_at(write(tmp_path, "编码,余额,日期", *rows))
    assert {(one.code, one.column, one.count, one.places[0].line) for one in found.defects} == {
        ("E_DUP_SOURCE", "编码", 1, 15),
        ("E_RANGE", "日期", 1, 13),
        ("E_TYPE", "余额", 1, 9),
        ("W_FULLWIDTH", "余额", 1, 11),
        ("W_MIXED_DATES", "日期", 1, 9),
        ("W_PLACEHOLDER_DATE", "日期", 1, 11),
        ("W_UNIT", "余额", 1, 9),
    }


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("a,,b", "column 2 has no name"),
        ("a,a,b", "the name a stands for several columns"),
        (f"a,b,{'x' * 201}", "longer than 200"),
        ("2024,17,3.5", "is it a row, and the header missing?"),
    ],
)
def test_headers_that_cannot_be_mapped_are_explained(tmp_path, header, said):
    assert any(said in problem for problem in look_at(write(tmp_path, header, "1,2,3")).problems)


def test_a_single_line_of_2_gib_is_refused_at_once_in_little_memory(tmp_path):
    path = tmp_path / "line.csv"
    with path.open("wb") as file:
        file.write(b"a," * (1 << 20))
        file.truncate(2 << 30)
    tracemalloc.start()
    reason, message = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (reason, "line 1 (byte offset 0)" in message) == ("LineTooLong", True)
    assert peak < 32 << 20


def test_a_line_that_ends_within_its_block_but_is_too_long_is_refused(tmp_path):
    reason, message = refusal(write(tmp_path, "a,b", "1,2", "1," + "x" * (1 << 20), "3,4"))
    assert (reason, "line 3 (byte offset 10)" in message) == ("LineTooLong", True)


def test_columns_without_end_are_refused(tmp_path):
    assert refusal(write(tmp_path, "," * 900_000, "1"))[0] == "TooManyColumns"
    wide = ",".join(f"c{number}" for number in range(MAX_COLUMNS))
    assert len(look_at(write(tmp_path, wide, wide)).layout.header) == MAX_COLUMNS


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(examining, "PROFILED_BYTES", 1 << 20)
    row = "K{:09},华升贸易有限公司华升贸易有限公司华升贸易有限公司,{}.50\r\n"
    peaks = []
    for rows in (30_000, 90_000):
        raw = (HEADER + "\r\n" + "".join(row.format(number, number) for number in range(rows))).encode("gb18030")
        path = write_bytes(tmp_path, raw)
        tracemalloc.start()
        found = look_at(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (found.tally.records, found.sampled) == (rows, True)
    assert peaks[1] < peaks[0] * 1.3


def test_of_a_large_file_structure_is_looked_at_whole_and_values_in_part(tmp_path, monkeypatch):
    monkeypatch.setattr(examining, "PROFILED_BYTES", 1 << 20)
    rows = [f"K{number:09},{'x' * 80},{number}" for number in range(60_000)]
    rows[11_000], rows[23_000], rows[35_000], rows[47_000] = "a", "a,b", "a,b,c,d", 'a,"b,c'
    found = look_at(write(tmp_path, HEADER, *rows))
    assert 0 < found.share < 1
    assert defect(found, "E_COLUMNS").count == 3
    assert [line for line, _ in places(found, "E_COLUMNS")] == [11_002, 23_002, 35_002]
    assert places(found, "E_PARSE")[0][0] == 47_002
    assert look_at(found.path, every_row=True).share == 1


LINES = st.lists(
    st.one_of(
        st.sampled_from(["", "a,b", "1,2", 'x,"y', '"q,r",s', "一,二", "亅|,丏"]).map(
            lambda text: text.encode("gb18030")
        ),
        st.sampled_from(["一,二", "\ufeffx"]).map(str.encode),
        st.binary(max_size=6),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(LINES, st.sampled_from([b"\n", b"\r\n"]))
def test_its_verdict_is_the_engines_verdict_and_its_records_are_the_engines_records(tmp_path_factory, lines, end):
    path = tmp_path_factory.mktemp("look") / "x.csv"
    path.write_bytes(b"a,b" + end + end.join(lines))
    answer = answer_of(lambda: prove(path, Encoding.AUTO))
    found = answer_of(lambda: look_at(path, delimiter=","))
    if isinstance(found, str):
        assert found in {answer, "NotText"}
        return
    proof = prove(path, Encoding.AUTO)
    assert (found.verdict.encoding, found.verdict.mark, found.survey.size) == (proof.encoding, proof.mark, proof.size)
    with path.open("rb") as file:
        records = list(read_records(file, offset=proof.mark, line=1, end=proof.size))
    assert found.tally.records == len(records) - 1
    assert found.tally.blank == sum(record.blank for record in records[1:])


def answer_of(ask):
    try:
        return ask()
    except Halt as halt:
        return halt.reason


@settings(deadline=None)
@given(st.lists(st.sampled_from(["1,2\n", "\n", "1\n", '1,"2\n', '"1\n",2\n', "1,2,3\n", "华,升\n"]), max_size=30))
def test_checking_without_values_finds_what_reading_with_values_finds(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("look") / "x.csv"
    path.write_text("a,b\n" + "".join(lines))
    found = [examine_with(path, stride) for stride in (1, 2)]
    assert found[0] == found[1]


def examine_with(path, stride):
    with pytest.MonkeyPatch.context() as patch:
        # With a limit of 1 byte only the first block is read with values; the file is made of one line a block.
        patch.setattr("pilotage.migration.look.structure.BLOCK_BYTES", 8 if stride > 1 else 1 << 20)
        patch.setattr(examining, "PROFILED_BYTES", 1 if stride > 1 else 1 << 20)
        look = look_at(path, delimiter=",")
    structure = [one for one in look.defects if one.code in {"E_COLUMNS", "E_PARSE"}]
    return look.tally.records, look.tally.blank, look.tally.damaged, structure
