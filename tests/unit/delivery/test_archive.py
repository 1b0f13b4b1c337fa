"""Which chart archives are taken, and what is said against the others."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

import pytest

from e2e.charts import MODULES, package
from pilotage.delivery.archive import MAX_ENTRIES, ChartError, inspect_archive
from tests.unit.delivery.builders import CHART_YAML, archive, chart, entry


def refusal(data: bytes) -> str:
    with pytest.raises(ChartError) as caught:
        inspect_archive(data)
    assert caught.value.reason == "ChartRefused"
    return caught.value.message


def test_a_packaged_chart_tells_its_name_and_version():
    found = inspect_archive(chart({"templates/a.yaml": "a: 1"}))
    assert (found.name, found.version) == ("core", "1.2.3")


@pytest.mark.parametrize("name", MODULES)
def test_our_own_charts_are_taken(name):
    assert inspect_archive(package(name)).name == name


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(kind):
    assert "link or device" in refusal(archive(entry("core/a", kind=kind, link="/etc/passwd")))


@pytest.mark.parametrize("name", ["../a", "core/../../a", "/etc/passwd", "core\\values.schema.json"])
def test_a_path_that_leads_elsewhere_is_refused(name):
    assert "points outside" in refusal(archive(entry(name, "a: 1")))


def test_no_archive_at_all_is_refused():
    assert "no packaged chart" in refusal(b"<html>not found</html>")


def test_a_torn_archive_is_refused():
    data = chart({"templates/a.yaml": "a: 1" * 5000})
    assert "no packaged chart" in refusal(data[: len(data) // 2])


def test_a_bomb_is_stopped_while_it_unpacks():
    assert "unpacks to more than" in refusal(chart({name: bytes(20 * 1024 * 1024) for name in "abc"}))


def test_a_bomb_in_a_header_is_stopped_too():
    header = tarfile.TarInfo("core/pax")
    header.type, header.size = tarfile.XHDTYPE, 60 * 1024 * 1024
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as out:
        out.write(header.tobuf(tarfile.PAX_FORMAT) + bytes(60 * 1024 * 1024))
    assert "unpacks to more than" in refusal(packed.getvalue())


def test_a_file_larger_than_a_whole_chart_may_be_is_refused_by_its_header():
    assert "core/a is larger than" in refusal(chart({"a": bytes(60 * 1024 * 1024)}))


def test_too_many_entries_are_refused():
    assert "more than 5000 files" in refusal(archive(*(entry(f"core/{n}") for n in range(MAX_ENTRIES + 1))))


@pytest.mark.parametrize(
    "text",
    ["", "- a", "name: core", "name: [core]\nversion: 1.0.0", "name: core\nversion: 1.0", "a: &a [*a, *b]", "{" * 9000],
)
def test_a_chart_without_a_proper_description_is_refused(text):
    refusal(chart({"Chart.yaml": text}))


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "https://example.org/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"properties": {"a": {"allOf": [{"$ref": "other.json"}]}}},
        {"$ref": "#/a", "$dynamicRef": "https://example.org/schema.json"},
    ],
)
def test_a_schema_that_refers_to_elsewhere_is_refused(schema):
    assert "only references into the schema itself" in refusal(chart({"values.schema.json": json.dumps(schema)}))


def test_a_schema_in_a_dialect_that_helm_would_fetch_is_refused():
    schema = {"properties": {"a": {"$id": "x", "$schema": "https://example.org/dialect"}}}
    assert "published JSON Schema draft" in refusal(chart({"values.schema.json": json.dumps(schema)}))


def test_a_schema_that_refers_to_itself_is_taken():
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/definitions/a", "definitions": {"a": {}}}
    assert inspect_archive(chart({"values.schema.json": json.dumps(schema)}))


def test_a_packed_dependency_is_looked_at_too():
    inner = chart({"values.schema.json": '{"$ref": "file:///etc/passwd"}'}, name="inner")
    assert "file:///etc/passwd" in refusal(chart({"charts/inner-1.2.3.tgz": inner}))


@pytest.mark.parametrize("place", ["charts/inner-1.2.3.tgz", "charts/open/charts/inner-1.2.3.tgz"])
def test_what_helm_is_given_was_looked_at_file_by_file(place):
    inner = chart({"charts/again-1.2.3.tgz": chart(name="again")}, name="inner")
    taken = inspect_archive(chart({place: inner + bytes(1024), "values.yaml": "a: 1"})).data
    with tarfile.open(fileobj=io.BytesIO(taken)) as opened:
        assert opened.getnames() == ["core/Chart.yaml", f"core/{place}", "core/values.yaml"]
        assert opened.extractfile(f"core/{place}").read() == inspect_archive(inner).data


def test_charts_packed_without_end_are_refused():
    data = chart()
    for _ in range(4):
        data = chart({"charts/core-1.2.3.tgz": data})
    assert "too deeply" in refusal(data)


def test_the_description_of_a_dependency_is_not_taken_for_the_charts_own():
    data = archive(
        entry("core/charts/a/Chart.yaml", CHART_YAML.replace("core", "a")), entry("core/Chart.yaml", CHART_YAML)
    )
    assert inspect_archive(data).name == "core"
