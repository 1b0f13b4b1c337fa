"""Release records: what is read from them and how they are written back."""

from __future__ import annotations

import base64
import gzip
from datetime import UTC, datetime

import pytest

from pilotage.delivery.records import decode_record, encode_record, parse_manifests, revision_of
from pilotage.plan.delivery import ATTEMPT_LABEL, INPUT_LABEL
from tests.unit.delivery.builders import record

MANIFEST = """---
# Source: core/templates/a.yaml
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
---
apiVersion: batch/v1
kind: Job
metadata: {name: activate}
---
"""


def test_a_record_becomes_a_revision():
    found = revision_of(
        record(3, labels={INPUT_LABEL: "a1", ATTEMPT_LABEL: "0"}, manifest=MANIFEST), with_manifest=True
    )
    assert (found.revision, found.status, found.chart, found.version) == (3, "deployed", "core", "1.2.3")
    assert (found.input, found.attempt) == ("a1", "0")
    assert found.workloads == [("Deployment", "web"), ("Job", "activate")]


def test_nanoseconds_are_read():
    found = revision_of(record(), with_manifest=False)
    assert found.last_deployed == datetime(2026, 11, 22, 1, 2, 3, 123456, tzinfo=UTC)


@pytest.mark.parametrize(("description", "rollback"), [("Rollback to 2", True), ("Upgrade complete", False)])
def test_a_rollback_is_known_by_its_description(description, rollback):
    assert revision_of(record(description=description), with_manifest=False).is_rollback is rollback


def test_what_is_written_back_is_read_again():
    secret = record()
    document = decode_record(secret)
    secret["data"]["release"] = encode_record(document | {"version": 9})
    assert revision_of(secret, with_manifest=False).revision == 9


def packed(text: bytes) -> str:
    return base64.b64encode(base64.b64encode(gzip.compress(text))).decode()


@pytest.mark.parametrize(
    "data",
    [
        "",
        "!!",
        base64.b64encode(b"plain").decode(),
        packed(b"no json"),
        packed(b" " * 20 * 1024 * 1024),
        packed(b"[" * 99999),
    ],
)
def test_an_unreadable_record_is_a_value_error_that_names_it(data):
    secret = record()
    secret["data"]["release"] = data
    with pytest.raises(ValueError, match=r"sh\.helm\.release\.v1\.core\.v1 cannot be read"):
        revision_of(secret, with_manifest=True)


@pytest.mark.parametrize("text", ["a: [", "[" * 100_000, "a: " * 3, "x" * 3 * 1024 * 1024])
def test_manifests_that_cannot_be_read_are_a_value_error(text):
    with pytest.raises(ValueError, match="rendered manifests"):
        parse_manifests(text)
