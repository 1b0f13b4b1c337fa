"""The meaning of a chunk, spelt out row by row: what the engine does to whole columns has to come to the same."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal

from pilotage.migration.conversion import Refused
from pilotage.migration.encoding import decode
from pilotage.migration.mapping import FieldRules, Reject, field_rules, filter_rules
from pilotage.migration.plan import ObjectPlan
from pilotage.migration.records import Record, read_records, split_fields


@dataclass
class Expected:
    """Staged rows as (offset, line, raw, order, values), rejected ones as (record, reasons), and the numbers."""

    staged: list[tuple] = field(default_factory=list)
    rejected: list[tuple] = field(default_factory=list)
    read: int = 0
    filtered: int = 0
    totals: defaultdict = field(default_factory=lambda: defaultdict(Decimal))
    excluded: defaultdict = field(default_factory=lambda: defaultdict(Decimal))


def read_row_by_row(plan: ObjectPlan, data: bytes, summed: list[str]) -> Expected:
    expected = Expected()
    rules = field_rules(plan.definition, plan.columns, plan.header)
    for record in read_records(io.BytesIO(data), offset=0, line=2, end=len(data)):
        expected.read += 1
        if record.blank:
            expected.filtered += 1
        else:
            _read_record(plan, rules, record, summed, expected)
    return expected


def _read_record(plan: ObjectPlan, rules: list[FieldRules], record: Record, summed: list[str], expected: Expected):
    texts, problem = _parse(record, plan)
    if problem is None and len(texts) != len(plan.header):
        problem = Reject("E_COLUMNS", "", "", f"has {len(texts)} columns, the header has {len(plan.header)}")
    if problem:
        expected.rejected.append(((record.raw, record.offset, record.line), [problem]))
        return
    if not all(found.takes(texts[found.position]) for found in filter_rules(plan.definition, plan.header)):
        expected.filtered += 1
        return
    cleaned = [rule.clean(rule.source(texts)) for rule in rules]
    values, rejects = [], []
    for rule, text in zip(rules, cleaned, strict=True):
        try:
            values.append(rule.read(text))
        except Refused as refused:
            rejects.append(rule.against(text, refused))
    for rule, text in zip(rules, cleaned, strict=True):
        if rule.field.to in summed and (amount := rule.amount(text)) is not None:
            expected.totals[rule.field.to] += amount
            if rejects:
                expected.excluded[rule.field.to] += amount
    if rejects:
        expected.rejected.append(((record.raw, record.offset, record.line), rejects))
        return
    order_by = plan.definition.source_duplicates.order_by
    order = texts[plan.header.index(order_by)].strip().replace("\x00", "") if order_by else None
    expected.staged.append((record.offset, record.line, record.raw, order, *values))


def _parse(record: Record, plan: ObjectPlan) -> tuple[list[str], Reject | None]:
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
