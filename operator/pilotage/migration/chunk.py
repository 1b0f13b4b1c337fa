"""One chunk from bytes to validated rows. No database, no transaction: only the source file is read."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from pilotage.migration.encoding import decode
from pilotage.migration.errors import Halt
from pilotage.migration.ledger import Claim
from pilotage.migration.mapping import Reject, RowReader
from pilotage.migration.plan import ObjectPlan, source_path
from pilotage.migration.records import Record, read_records, split_fields


@dataclass
class ChunkResult:
    """Rows for staging, reasons for the quarantine, and the numbers for the ledger."""

    staged: list[tuple[Any, ...]] = field(default_factory=list)
    rejected: list[tuple[Record, Sequence[Reject]]] = field(default_factory=list)
    read: int = 0
    filtered: int = 0
    totals: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    excluded: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))

    def numbers(self) -> dict[str, Any]:
        """What the ledger keeps of this chunk."""
        return {
            "read": self.read,
            "filtered": self.filtered,
            "staged": len(self.staged),
            "quarantined": len(self.rejected),
            "totals": {name: str(amount) for name, amount in self.totals.items()},
            "excluded": {name: str(amount) for name, amount in self.excluded.items()},
        }


def read_chunk(plan: ObjectPlan, held: Claim, root: Path, summed: Sequence[str]) -> ChunkResult:
    """Decode, map and check every record of the chunk; `summed` are the fields with a control total.

    Raises Halt when the bytes are no longer those that were planned.
    """
    result, reader, digest = ChunkResult(), RowReader(plan.definition, plan.columns, plan.header), hashlib.sha256()
    with source_path(root, plan.file).open("rb") as file:
        for record in read_records(file, offset=held.low, line=held.line, end=held.high):
            digest.update(record.raw)
            result.read += 1
            if record.blank:
                result.filtered += 1
            else:
                _read_record(plan, held, reader, record, summed, result)
    if digest.hexdigest() != held.sha256:
        raise Halt("SourceMoved", f"{plan.file} changed between planning and loading (bytes {held.low} to {held.high})")
    return result


def _read_record(
    plan: ObjectPlan, held: Claim, reader: RowReader, record: Record, summed: Sequence[str], result: ChunkResult
) -> None:
    texts, problem = parse(record, plan)
    if problem:
        result.rejected.append((record, [problem]))
        return
    values, rejects = reader.read(texts)
    for name in summed:
        if (amount := reader.amount(texts, name)) is not None:
            result.totals[name] += amount
            if rejects:
                result.excluded[name] += amount
    if rejects:
        result.rejected.append((record, rejects))
        return
    order = None if reader.order_by is None else texts[reader.order_by].strip().replace("\x00", "")
    result.staged.append((record.offset, held.chunk, record.line, record.raw, order, *values))


def parse(record: Record, plan: ObjectPlan) -> tuple[list[str], Reject | None]:
    """The record's texts, or the one reason why it has none."""
    try:
        text = decode(record.raw, plan.encoding)
    except UnicodeDecodeError as error:
        place = record.offset + error.start
        damaged = record.raw[error.start : max(error.end, error.start + 1)].hex(" ").upper()
        return [], Reject("E_ENCODING", "", damaged, f"byte offset {place}: not {plan.encoding}")
    if record.torn:
        return [], Reject("E_PARSE", "", "", "a quote is opened and never closed")
    try:
        return split_fields(text, plan.delimiter), None
    except csv.Error as error:
        return [], Reject("E_PARSE", "", "", str(error))
