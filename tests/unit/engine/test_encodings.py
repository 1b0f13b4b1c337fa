"""The encodings of legacy files, code by code: nothing is replaced, and a fault costs its own line only."""

from __future__ import annotations

import random
import shutil
import subprocess

import pytest

from pilotage.api.v1alpha1.migrationjob import Encoding
from pilotage.migration.blocks import Block, Layout, read_block
from pilotage.migration.encoding import decode, prove, to_utf8
from pilotage.migration.errors import Undecided

TWO_BYTE = [bytes((lead, trail)) for lead in range(0x81, 0xFF) for trail in range(0x40, 0xFF) if trail != 0x7F]
SEED = 18030
GARBLED = "锟斤拷，浣犲ソ"


def sampled_four_byte_codes(count: int = 2000) -> list[bytes]:
    """Codes all over the four-byte range, of those that stand for a character."""
    chance = random.Random(SEED)
    found = []
    while len(found) < count:
        code = bytes(
            (
                chance.randint(0x81, 0xFE),
                chance.randint(0x30, 0x39),
                chance.randint(0x81, 0xFE),
                chance.randint(0x30, 0x39),
            )
        )
        try:
            code.decode("gb18030")
        except UnicodeDecodeError:
            continue
        found.append(code)
    return found


def block_of(lines: list[bytes], encoding: Encoding, end: bytes = b"\n") -> Block:
    return read_block(b"".join(line + b",x" + end for line in lines), Layout(encoding, ",", 2), offset=0, line=1)


def as_the_c_library_says(codes: list[bytes]) -> list[str]:
    if not shutil.which("iconv"):
        pytest.skip("the C library's iconv is not installed")
    version = subprocess.run(["iconv", "--version"], capture_output=True, text=True, check=True).stdout
    if "GLIBC" not in version and "GNU libc" not in version:
        pytest.skip("this iconv is not that of the GNU C library")
    command = ["iconv", "-f", "GB18030", "-t", "UTF-8"]
    found = subprocess.run(command, input=b"\n".join(codes), capture_output=True, check=True)
    return found.stdout.decode().split("\n")


@pytest.mark.parametrize("codes", [TWO_BYTE, sampled_four_byte_codes()], ids=["two bytes", "four bytes"])
def test_every_code_of_gb18030_is_what_the_c_library_says(codes):
    expected = as_the_c_library_says(codes)
    block = block_of(codes, Encoding.GB18030)
    assert block.rejected == {}
    assert block.texts["0"].to_list() == expected


def test_every_two_byte_code_of_gbk_is_read_or_costs_its_own_line_only():
    block = block_of(TWO_BYTE, Encoding.GBK)
    assert block.texts.height + len(block.rejected) == len(TWO_BYTE)
    assert {reject.code for reject in block.rejected.values()} == {"E_ENCODING"}
    read = dict(zip(block.texts["record"], block.texts["0"], strict=True))
    assert all(read[number] == TWO_BYTE[number].decode("gbk") for number in read)
    # GB 2312, which everybody has, is read throughout.
    assert all(TWO_BYTE.index(bytes((lead, 0xA1))) in read for lead in range(0xB0, 0xF8))


@pytest.mark.parametrize("encoding", list(Encoding)[1:])
def test_whole_texts_are_converted_as_single_ones_are(encoding):
    lines = []
    for code in [*TWO_BYTE, *sampled_four_byte_codes(), "张三".encode(), b"plain"]:
        try:
            lines.append((code, decode(code, encoding)))
        except UnicodeDecodeError:
            continue
    assert to_utf8(b"\n".join(code for code, _ in lines), encoding).decode().split("\n") == [text for _, text in lines]


@pytest.mark.parametrize("damaged", [b"\x80", b"\xff", b"K\x81", b"\x81\x30\x81", b"\xd5\xc5\xc8"], ids=bytes.hex)
@pytest.mark.parametrize("encoding", [Encoding.GB18030, Encoding.GBK])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_damage_is_isolated_to_its_line_with_place_and_bytes(damaged, encoding, end):
    good = "张三".encode("gbk")
    data = good + b",1" + end + b"1," + damaged + end + good + b",3" + end
    block = read_block(data, Layout(encoding, ",", 2), offset=1000, line=5)
    assert block.texts["1"].to_list() == ["1", "3"]
    assert list(block.rejected) == [1]
    record, reject = block.record(1), block.rejected[1]
    assert (record.raw, record.line) == (b"1," + damaged + end, 6)
    assert reject.code == "E_ENCODING"
    place = int(reject.message.split()[2].rstrip(":"))
    assert data[place - 1000 :].hex(" ").upper().startswith(reject.value)
    assert bytes.fromhex(reject.value) in damaged + end


@pytest.mark.parametrize("delimiter", ["\t", "|", ";"])
def test_a_delimiter_divides_characters_and_not_bytes(delimiter):
    # A character of GBK whose second byte is that of a vertical bar.
    fields = ["億", "張", "x|y" if delimiter != "|" else "xy"]
    assert "億".encode("gbk")[1:] == b"|"
    data = delimiter.join(fields).encode("gbk") + b"\n"
    block = read_block(data, Layout(Encoding.GBK, delimiter, 3), offset=0, line=1)
    assert block.texts.row(0)[1:] == tuple(fields)


def test_a_tail_cut_off_in_the_middle_of_a_character_costs_the_last_line_only():
    data = b"a,1\n" + "b,张".encode("gbk")[:-1]
    block = read_block(data, Layout(Encoding.GB18030, ",", 2), offset=0, line=1)
    assert block.texts["0"].to_list() == ["a"]
    assert block.rejected[1].code == "E_ENCODING"


def test_a_file_of_two_encodings_is_proved_to_be_neither(tmp_path):
    path = tmp_path / "f.csv"
    path.write_bytes("张三,1\n".encode("gb18030") + "李四光,2\n".encode())
    with pytest.raises(Undecided, match=r"neither UTF-8 \(first fault: line 1.*nor GB18030 \(first fault: line 2"):
        prove(path, Encoding.AUTO)


@pytest.mark.parametrize(
    ("data", "encoding", "mark"),
    [
        (b"plain\n", Encoding.UTF_8, 0),
        ("张三\n".encode(), Encoding.UTF_8, 0),
        ("张三\n".encode("utf-8-sig"), Encoding.UTF_8, 3),
        ("张三\n".encode("gbk"), Encoding.GB18030, 0),
        ("𠮷\n".encode("gb18030"), Encoding.GB18030, 0),
        ("\ufeff张三\n".encode("gb18030"), Encoding.GB18030, 4),
        # Garbled before it was saved: its bytes are sound, and nothing is guessed.
        (f"{GARBLED}\n".encode(), Encoding.UTF_8, 0),
    ],
)
def test_auto_proves_the_encoding_over_the_whole_file(data, encoding, mark, tmp_path):
    path = tmp_path / "f.csv"
    path.write_bytes(data)
    found = prove(path, Encoding.AUTO)
    assert (found.encoding, found.mark, found.size) == (encoding, mark, len(data))


def test_text_that_was_garbled_before_is_kept_as_it_is():
    assert block_of([GARBLED.encode()], Encoding.UTF_8).texts["0"].to_list() == [GARBLED]
