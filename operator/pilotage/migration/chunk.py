"""One chunk from bytes to validated rows. No database, no transaction."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from pilotage.migration import expressions
from pilotage.migration.blocks import RECORD, Block, Layout, read_block, read_line_block
from pilotage.migration.conversion import Refused
from pilotage.migration.errors import Halt
from pilotage.migration.ledger import Claim
from pilotage.migration.mapping import FieldRules, FilterRules, Reject, field_rules, filter_rules
from pilotage.migration.plan import ObjectPlan
from pilotage.migration.records import Record
from pilotage.migration.source.content import source_path
from pilotage.migration.source.forms import Form


@dataclass
class ChunkResult:
    """Rows for staging, reasons for the quarantine, and the numbers for the ledger.

    The columns of `staged` are those of the staging table in its order, without the outcome.
    """

    staged: pl.DataFrame
    rejected: list[tuple[Record, Sequence[Reject]]] = field(default_factory=list)
    read: int = 0
    filtered: int = 0
    totals: dict[str, Decimal] = field(default_factory=dict)
    excluded: dict[str, Decimal] = field(default_factory=dict)

    def numbers(self) -> dict[str, Any]:
        """What the ledger keeps of this chunk."""
        return {
            "read": self.read,
            "filtered": self.filtered,
            "staged": self.staged.height,
            "quarantined": len(self.rejected),
            "totals": {name: str(amount) for name, amount in self.totals.items()},
            "excluded": {name: str(amount) for name, amount in self.excluded.items()},
        }


def read_range(plan: ObjectPlan, held: Claim, root: Path) -> bytes:
    """The bytes of a chunk out of its file."""
    with source_path(root, plan.file).open("rb") as file:
        file.seek(held.low)
        return file.read(held.high - held.low)


def read_chunk(plan: ObjectPlan, held: Claim, data: bytes, summed: Sequence[str]) -> ChunkResult:
    """Decode, map and check every record of the chunk's bytes; `summed` are the fields with a control total.

    Raises Halt when the bytes are no longer those that were planned.
    """
    if hashlib.sha256(data).hexdigest() != held.sha256:
        raise Halt("SourceMoved", f"{plan.file} changed between planning and loading (bytes {held.low} to {held.high})")
    block = _block(plan, held, data)
    rules = field_rules(plan.definition, plan.columns, plan.header)
    taken = _filter(filter_rules(plan.definition, plan.header), block.texts)
    texts = _clean(rules, taken)
    values, rejects = _read(rules, texts)
    good = ~pl.int_range(texts.height, eager=True).is_in(list(rejects))
    result = ChunkResult(
        _staged(plan, held, block, values.filter(good), taken.filter(good)),
        read=block.records.height,
        filtered=block.blank + block.texts.height - taken.height,
    )
    for index, found in enumerate(rules):
        if found.field.to in summed:
            amounts = _amounts(found, texts.to_series(index))
            _add_up(result.totals, found.field.to, amounts)
            _add_up(result.excluded, found.field.to, amounts.filter(~good))
    numbers = taken[RECORD]
    whole = {number: [reject] for number, reject in block.rejected.items()}
    single = {numbers[row]: reasons for row, reasons in rejects.items()}
    result.rejected = [(block.record(number), found) for number, found in sorted({**whole, **single}.items())]
    return result


def _block(plan: ObjectPlan, held: Claim, data: bytes) -> Block:
    if plan.form is Form.CSV:
        layout = Layout(plan.encoding, plan.delimiter, len(plan.header))
        return read_block(data, layout, offset=held.low, line=held.line)
    return read_line_block(data, len(plan.header), plan.line_texts, offset=held.low, line=held.line)


def _filter(filters: Sequence[FilterRules], texts: pl.DataFrame) -> pl.DataFrame:
    for found in filters:
        column = texts[str(found.position)]
        texts = texts.filter(column.is_in([text for text in column.unique() if found.takes(text)]))
    return texts


def _clean(rules: Sequence[FieldRules], texts: pl.DataFrame) -> pl.DataFrame:
    """The cleaned texts of each field, in the order of the fields."""
    names = [f"field {index}" for index in range(len(rules))]
    sources = texts.with_columns(
        expressions.source(rule).alias(name) for rule, name in zip(rules, names, strict=True)
    ).select(names)
    found = sources.select(
        expressions.cleaned(rule, pl.col(name)).alias(name) for rule, name in zip(rules, names, strict=True)
    )
    for index, rule in enumerate(rules):
        column = found.to_series(index)
        if column.null_count():
            rows = column.is_null().arg_true()
            by_hand = [rule.clean(text) for text in sources.to_series(index).gather(rows)]
            found.replace_column(index, column.scatter(rows, by_hand))
    return found


def _read(rules: Sequence[FieldRules], texts: pl.DataFrame) -> tuple[pl.DataFrame, dict[int, list[Reject]]]:
    """The values of each field, and all reasons against each row that has any."""
    values = texts.select(
        expressions.read(rule, pl.col(f"field {index}")).alias(f"value {index}") for index, rule in enumerate(rules)
    )
    rejects: defaultdict[int, list[Reject]] = defaultdict(list)
    for index, rule in enumerate(rules):
        column = values.to_series(index)
        if column.null_count():
            left = texts.select(pl.int_range(pl.len()).alias("row"), pl.col(f"field {index}").alias("text")).filter(
                column.is_null()
            )
            if rule.may_be_empty:
                left = left.filter(~expressions.is_empty(pl.col("text")))
            by_hand = _read_by_hand(rule, left["row"].to_list(), left["text"].to_list(), rejects)
            values.replace_column(index, column.scatter(left["row"], by_hand))
    return values, rejects


def _read_by_hand(
    rule: FieldRules, rows: Sequence[int], texts: Sequence[str], rejects: defaultdict[int, list[Reject]]
) -> list[str | None]:
    known: dict[str, str | Reject | None] = {}
    values: list[str | None] = []
    for row, text in zip(rows, texts, strict=True):
        if text not in known:
            try:
                known[text] = rule.read(text)
            except Refused as refused:
                known[text] = rule.against(text, refused)
        value = known[text]
        if isinstance(value, Reject):
            rejects[row].append(value)
            value = None
        values.append(value)
    return values


def _staged(plan: ObjectPlan, held: Claim, block: Block, values: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    records = block.records[texts[RECORD]]
    order_by = plan.definition.source_duplicates.order_by
    order = pl.lit(None, dtype=pl.String)
    if order_by:
        column = texts[str(plan.header.index(order_by))]
        order = pl.lit(column.str.strip_chars(expressions.WHITE_SPACE).str.replace_all("\x00", "", literal=True))
    return values.select(
        pl.lit(records["offset"]).alias("_seq"),
        pl.lit(held.chunk).alias("_chunk"),
        pl.lit(records["line"]).alias("_line"),
        pl.lit("\\x" + records["raw"].bin.encode("hex")).alias("_raw"),
        order.alias("_order"),
        *values.columns,
    )


def _amounts(rule: FieldRules, texts: pl.Series) -> pl.Series:
    """The number in each text as a canonical text, null where there is none."""
    if rule.field.default:
        texts = texts.replace("", rule.field.default)
    found = pl.DataFrame({"text": texts}).select(expressions.decimal(pl.col("text"))).to_series()
    rows = found.is_null().arg_true()
    amounts = [rule.amount(text) for text in texts.gather(rows)]
    return found.scatter(rows, [None if amount is None else format(amount, "f") for amount in amounts])


def _add_up(sums: dict[str, Decimal], name: str, amounts: pl.Series) -> None:
    if amounts.len() > amounts.null_count():
        sums[name] = sum(map(Decimal, amounts.drop_nulls()), Decimal(0))
