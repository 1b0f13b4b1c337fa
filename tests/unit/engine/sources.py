"""Builders: files of every format, and all that comes through the door out of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from pilotage.api.v1alpha1.migrationjob import MigrationObject, MigrationSource
from pilotage.migration.blocks import RECORD, read_line_block
from pilotage.migration.plan import Chunk, ObjectPlan, cut_source
from pilotage.migration.source.door import Opened, open_source

SOURCE = {"volume": {"claimName": "legacy"}}


class Rows(NamedTuple):
    """Texts by line, and the codes of lines that were refused."""

    header: list[str]
    texts: dict[int, list[str]]
    refused: dict[int, str]


def opened(folder: Path, mapped: list[str], **source: Any) -> Opened:
    return open_source(MigrationSource.model_validate(SOURCE), definition(mapped, source), folder)


def definition(mapped: list[str], source: dict[str, Any]) -> MigrationObject:
    fields = [{"to": f"c{index}", "from": name} for index, name in enumerate(mapped)]
    return MigrationObject.model_validate(
        {"name": "things", "from": source, "to": "t", "key": ["c0"], "fields": fields}
    )


def chunks_of(found: Opened, rows: int = 1000) -> list[tuple[Chunk, bytes]]:
    chunks: list[tuple[Chunk, bytes]] = []
    cut_source(found, rows, lambda chunk, data: chunks.append((chunk, data)), kept=True)
    return chunks


def read(folder: Path, mapped: list[str], *, rows: int = 1000, **source: Any) -> Rows:
    """Every line of a file that is no CSV, chunk by chunk as workers read it."""
    found = opened(folder, mapped, **source)
    plan = ObjectPlan(
        definition(mapped, source), 0, "f", found.encoding, found.delimiter, found.header, {}, "", "s", found.form
    )
    result = Rows(found.header, {}, {})
    for chunk, data in chunks_of(found, rows):
        block = read_line_block(data, len(found.header), plan.line_texts, offset=chunk.low, line=chunk.line)
        for number, *texts in block.texts.select(RECORD, *map(str, range(len(found.header)))).rows():
            result.texts[block.record(number).line] = texts
        for number, reject in block.rejected.items():
            result.refused[block.record(number).line] = reject.code
    return result
