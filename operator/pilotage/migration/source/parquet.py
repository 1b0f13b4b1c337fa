"""Parquet files, a slice of rows at a time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl

from pilotage.migration.errors import Halt
from pilotage.migration.source.content import Content
from pilotage.migration.source.table import Table, canonical_text

SLICE_ROWS: Final = 20_000


def read_parquet(content: Content) -> Table:
    """The file's columns and rows; lists and structs as JSON, bytes as hex. Raises Halt when it cannot be read."""
    source: Path | io.BytesIO = io.BytesIO(content.whole("a Parquet file")) if content.packed else content.path
    try:
        frame = pl.scan_parquet(source, glob=False)
        header = frame.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise Halt("SourceUnreadable", f"{content.name} is no Parquet file that can be read: {error}") from error
    return Table(header, _rows(frame, content.name))


def _rows(frame: pl.LazyFrame, name: str) -> Iterator[list[str]]:
    try:
        for batch in frame.collect_batches(chunk_size=SLICE_ROWS, maintain_order=True):
            for row in batch.iter_rows():
                yield [canonical_text(value) for value in row]
    except (pl.exceptions.PolarsError, OSError) as error:
        raise Halt("SourceUnreadable", f"{name} is damaged: {error}") from error
