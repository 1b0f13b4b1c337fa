"""A file is cut into the same chunks, and surveyed to the same faults, however much of it is read at a time."""

from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilotage.api.v1alpha1.migrationjob import Encoding
from pilotage.migration import encoding, plan
from pilotage.migration.encoding import CODECS, survey
from pilotage.migration.plan import Chunk, cut_chunks
from pilotage.migration.records import read_records

LINES = st.lists(
    st.sampled_from([b"a,b", b"", b'"a', b'b",c', b'"q",""', "张三,李四".encode("gb18030"), b"x" * 30, b"\xff,1", b'"'])
)
FILES = st.tuples(LINES, st.sampled_from([b"\n", b"\r\n"]), st.booleans()).map(
    lambda parts: parts[1].join(parts[0]) + (parts[1] if parts[2] else b"")
)
RELAXED = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def cut_record_by_record(data: bytes, rows: int, most: int) -> list[Chunk]:
    """Chunks of at most so many records and bytes, where a longer record is alone."""
    groups: list[list] = [[]]
    for record in read_records(io.BytesIO(data), offset=0, line=1, end=len(data)):
        size = sum(len(found.raw) for found in groups[-1]) + len(record.raw)
        if groups[-1] and (len(groups[-1]) == rows or size > most):
            groups.append([])
        groups[-1].append(record)
    chunks = []
    for group in filter(None, groups):
        raw = b"".join(record.raw for record in group)
        low = group[0].offset
        chunks.append(Chunk(low, low + len(raw), group[0].line, hashlib.sha256(raw).hexdigest()))
    return chunks


@given(data=FILES, rows=st.integers(1, 6), read_at_a_time=st.integers(1, 60), most=st.sampled_from([20, 10**6]))
@RELAXED
def test_chunks_do_not_depend_on_how_the_file_is_read(data, rows, read_at_a_time, most, tmp_path):
    path = tmp_path / "f.csv"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "READ_BYTES", read_at_a_time)
        patch.setattr(plan, "MAX_CHUNK_BYTES", most)
        assert cut_chunks(path, 0, 1, rows) == cut_record_by_record(data, rows, most)


def first_fault(data: bytes, candidate: Encoding) -> tuple[int, int] | None:
    position = 0
    for number, raw in enumerate(io.BytesIO(data), start=1):
        try:
            raw.decode(CODECS[candidate])
        except UnicodeDecodeError as error:
            return number, position + error.start
        position += len(raw)
    return None


@given(data=FILES, read_at_a_time=st.integers(1, 60))
@RELAXED
def test_the_first_fault_of_each_encoding_has_its_place(data, read_at_a_time, tmp_path):
    path = tmp_path / "f.csv"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "READ_BYTES", read_at_a_time)
        found = survey(path, list(CODECS), counted=Encoding.GBK)
    for candidate, damage in found.damage.items():
        assert ((damage.line, damage.offset) if damage.lines else None) == first_fault(data, candidate)
    damaged = sum(first_fault(raw, Encoding.GBK) is not None for raw in io.BytesIO(data))
    assert found.damage[Encoding.GBK].lines == damaged
    assert (found.size, found.lines) == (len(data), len(io.BytesIO(data).readlines()))
    assert found.sha256 == hashlib.sha256(data).hexdigest()
