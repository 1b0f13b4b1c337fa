"""S10 to S12, S18: chart archives that lead elsewhere, grow, or say one thing to us and another to Helm."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
import time

import pytest

from pilotage.delivery.archive import MAX_PACKED, ChartError, inspect_archive
from tests.attacks.archives import ELSEWHERE, gnu_name, hidden_schemas, member, pax, stream
from tests.unit.delivery.builders import CHART_YAML, archive, chart, entry

DESCRIPTION = entry("core/Chart.yaml", CHART_YAML)


def refused(data: bytes) -> str:
    begun = time.monotonic()
    with pytest.raises(ChartError) as caught:
        inspect_archive(data)
    assert caught.value.reason == "ChartRefused"
    assert len(caught.value.message) < 1000
    assert time.monotonic() - begun < 5
    return caught.value.message


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        b"Z",
        b"V",
        b"M",
        b"D",
    ],
)
@pytest.mark.parametrize("name", ["core/a", "core/Chart.yaml", "core/values.schema.json"])
def test_s10_only_regular_files_are_taken(kind, name):
    refused(archive(DESCRIPTION, entry(name, kind=kind, link="/etc/passwd")))


@pytest.mark.parametrize(
    "name",
    [
        "../a",
        "..",
        "core/..",
        "core/../a",
        "core/../../../../etc/cron.d/a",
        "/a",
        "/etc/passwd",
        "//a",
        "core/a/../../b",
        "core\\a",
        "..\\a",
        "C:\\a",
        "core/a\nb",
        "core/a\rb",
        "core/\x1b[2J",
        "core/a\x7f",
        "core/\u202egpj.yaml",
        "core/\u200b",
        "core/a\tb",
        "\udcff/a",
    ],
)
def test_s10_a_name_that_leads_elsewhere_or_deceives_is_refused(name):
    refused(archive(DESCRIPTION, entry(name, "a: 1")))


def test_s10_a_link_followed_by_a_file_below_it_is_refused():
    link = entry("core/templates", kind=tarfile.SYMTYPE, link="/etc")
    refused(archive(DESCRIPTION, link, entry("core/templates/passwd", "root::0:0")))


def test_s10_modes_owners_and_times_do_not_reach_helm():
    info, data = entry("core/run.sh", "#!/bin/sh")
    info.mode, info.uid, info.uname, info.mtime = 0o6777, 0, "root", 2**33
    with tarfile.open(fileobj=io.BytesIO(inspect_archive(archive(DESCRIPTION, (info, data))).data)) as taken:
        assert {(found.mode, found.uname, found.mtime) for found in taken} == {(0o644, "", 0)}


SPARSE = pax(**{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(10**10)})
BOMBS = {
    "a file of 60 MiB": lambda: chart({"a": bytes(60 << 20)}),
    "three files of 20 MiB": lambda: chart({name: bytes(20 << 20) for name in "abc"}),
    "5,001 files": lambda: archive(*(entry(f"core/{number}") for number in range(5001))),
    "5,001 folders": lambda: archive(*(entry(f"core/{number}", kind=tarfile.DIRTYPE) for number in range(5001))),
    "a packed bomb": lambda: chart({"charts/a-1.tgz": chart({"a": bytes(60 << 20)})}),
    "ten packed charts of 6 MiB": lambda: chart({f"charts/{n}-1.tgz": chart({"a": bytes(6 << 20)}) for n in range(10)}),
    "charts in charts in charts": lambda: chart(
        {"charts/a-1.tgz": chart({"charts/a-1.tgz": chart({"charts/a-1.tgz": chart()})})}
    ),
    "a description of 1 MiB": lambda: chart({"Chart.yaml": CHART_YAML + "#" * (1 << 20)}),
    "a schema of 2 MiB": lambda: chart({"values.schema.json": b" " * (2 << 20)}),
    "more than can be packed": lambda: bytes(MAX_PACKED + 1),
    "10 GB of holes": lambda: stream(
        member("core/Chart.yaml", CHART_YAML.encode()), SPARSE, member("core/a", b"1\n0\n10\n" + bytes(505))
    ),
    "holes in GNU's own way": lambda: stream(member("core/a", b"", tarfile.GNUTYPE_SPARSE, tarfile.GNU_FORMAT)),
    "a header of 60 MiB": lambda: gzip.compress(
        tarfile.TarInfo("a").tobuf()[:124] + b"00400000000\0" + bytes(60 << 20)
    ),
    "a size that is negative": lambda: stream(pax(size="-1"), member("core/a", b"1")),
    "a size of 10 GB": lambda: stream(pax(size=str(10**10)), member("core/a", b"1")),
    "half an archive": lambda: chart({"a": random.Random(1).randbytes(9999)})[:2000],
    "an archive in an archive": lambda: gzip.compress(chart()),
    "an archive that is not packed": lambda: gzip.decompress(chart()),
    "a page": lambda: b"<html>not found</html>",
    "nothing": lambda: b"",
    "zeros": lambda: gzip.compress(bytes(1 << 20)),
    "a million zeros, thirty times": lambda: gzip.compress(bytes(1 << 20)) * 60,
}


@pytest.mark.parametrize("name", BOMBS)
def test_s10_an_archive_that_grows_or_is_none_is_refused_in_time(name):
    refused(BOMBS[name]())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "7",
        "name: core",
        "version: 1.0.0",
        "name: [core]\nversion: 1.0.0",
        "name: core\nversion: 1.0",
        "name: core\nversion: null",
        "name: ''\nversion: 1.0.0",
        f"name: {'a' * 300}\nversion: 1.0.0",
        "a: &a [*a, *a]",
        "{" * 9000,
        "name: !!python/object/apply:os.system [id]\nversion: 1.0.0",
        "name: core\nversion: 1" + ":59" * 9999,
        "\ud800".encode("utf-8", "surrogatepass"),
        b"\xff\xfe\x00",
    ],
)
def test_s10_a_description_that_is_none_is_refused(text):
    refused(chart({"Chart.yaml": text}))


SCHEMAS = [
    {"$ref": ELSEWHERE},
    {"$ref": "file:///etc/passwd"},
    {"$ref": "other.json"},
    {"$ref": "//169.254.169.254/latest"},
    {"$ref": "../../../etc/passwd"},
    {"$ref": f"{ELSEWHERE}#/definitions/a"},
    {"$ref": ""},
    {"$dynamicRef": ELSEWHERE},
    {"$recursiveRef": ELSEWHERE},
    {"properties": {"a": {"allOf": [{"not": {"$ref": ELSEWHERE}}]}}},
    {"$defs": {"a": {"items": [{"$ref": ELSEWHERE}]}}},
    {"const": {"$ref": ELSEWHERE}},
    {"$schema": ELSEWHERE},
    {"$schema": "http://json-schema.org.evil.example/draft-07/schema#"},
    {"$schema": "http://json-schema.org/draft-99/schema#"},
    {"properties": {"a": {"$id": "a", "$schema": ELSEWHERE}}},
    [{"$ref": ELSEWHERE}],
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
@pytest.mark.parametrize("place", ["", "charts/sub/"])
def test_s12_a_schema_that_names_another_place_is_refused(schema, place):
    assert "values.schema.json" in refused(chart({f"{place}values.schema.json": json.dumps(schema)}))


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "", "nonsense", b"\xff\xff", '{"a":' * 50_000])
def test_s12_a_schema_that_is_none_is_refused(text):
    refused(chart({"values.schema.json": text}))


@pytest.mark.parametrize("name", hidden_schemas())
def test_s12_a_schema_is_found_wherever_helm_would_find_it_or_helm_never_gets_it(name):
    try:
        taken = inspect_archive(hidden_schemas()[name]).data
    except ChartError:
        return
    assert ELSEWHERE not in texts_in(taken)


def texts_in(data: bytes) -> str:
    """What every reader finds in the files that are named as schemas."""
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        return "".join(
            (opened.extractfile(found).read()).decode() for found in opened if found.name.endswith("values.schema.json")
        )


def test_s10_of_two_headers_for_one_name_helm_sees_what_we_saw():
    twice = stream(
        member("core/Chart.yaml", CHART_YAML.encode()),
        pax(path="core/harmless.txt"),
        gnu_name("core/values.schema.json"),
        member("core/x", b"{}"),
    )
    with tarfile.open(fileobj=io.BytesIO(inspect_archive(twice).data)) as taken:
        assert taken.getnames() == ["core/Chart.yaml", "core/harmless.txt"]
