"""Requirements from the spreadsheet that a project really has and back, with headings in Chinese or English. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pydantic

from pilotage.api.text import printable
from pilotage.api.v1alpha1.project import Fit, Priority, Requirement
from pilotage.cli.decision import Refusal

HEADINGS: Final = {
    "id": ("id", "编号", "需求编号", "序号"),
    "title": ("title", "requirement", "需求", "需求名称", "标题", "需求描述"),
    "source": ("source", "来源", "提出人", "提出部门"),
    "priority": ("priority", "优先级"),
    "fit": ("fit", "满足方式", "匹配", "实现方式"),
    "module": ("module", "模块"),
    "owner": ("owner", "负责人", "确认人"),
    "rationale": ("rationale", "说明", "理由", "备注"),
    "acceptedBy": ("acceptedby", "accepted by", "验收", "验收方式"),
    "deferTo": ("deferto", "defer to", "延至", "延后至"),
}
PRIORITIES: Final = {
    Priority.MUST: ("must", "必须", "必需", "高"),
    Priority.SHOULD: ("should", "应该", "重要", "中"),
    Priority.COULD: ("could", "可以", "可选", "低"),
    Priority.DEFERRED: ("deferred", "延后", "后续", "二期"),
    Priority.WONT_DO: ("wontdo", "won't do", "不做", "不实施"),
}
FITS: Final = {
    Fit.STANDARD: ("standard", "标准", "标准功能"),
    Fit.CONFIGURATION: ("configuration", "配置"),
    Fit.EXTENSION: ("extension", "开发", "二次开发", "定制"),
    Fit.GAP: ("gap", "差距", "不满足"),
}
CHOICES: Final[Mapping[str, Mapping[Any, Sequence[str]]]] = {"priority": PRIORITIES, "fit": FITS}
LARGEST: Final = 8 * 1024 * 1024
SHOWN_MISTAKES: Final = 20


@dataclass
class Imported:
    """What a sheet says. `aside` are headings that mean nothing here; their columns are not taken over."""

    requirements: list[dict[str, Any]] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)


def read_csv(content: bytes) -> list[list[str]]:
    """The rows of a text in UTF-8, else GB18030, separated by whatever its first line has most of."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = content.decode("gb18030")
        except UnicodeDecodeError as error:
            raise Refusal("the file is neither UTF-8 nor GB18030") from error
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise Refusal(f"the file is no CSV: {error}") from error


def requirements_of(rows: Sequence[Sequence[str]], spec: Mapping[str, Any]) -> Imported:
    """The requirements of the sheet whose headings stand in its first row that has any.

    `spec`: the Implementation's; its modules' titles and its contacts' names are taken for their names and ids. Raises
    Refusal with every mistake by row and column.
    """
    start = next((number for number, row in enumerate(rows) if _columns(row)), None)
    if start is None:
        raise Refusal("the sheet has no row of headings: it needs at least 编号 (id) and 需求 (title)")
    columns = _columns(rows[start])
    if missing := [HEADINGS[name][0] for name in ("id", "title") if name not in columns.values()]:
        raise Refusal(f"the sheet has no column {' and '.join(missing)}; it has {', '.join(filter(None, rows[start]))}")
    found = Imported(aside=[text for place, text in enumerate(rows[start]) if text.strip() and place not in columns])
    mistakes: list[str] = []
    for number, row in enumerate(rows[start + 1 :], start + 2):
        cells = {name: row[place].strip() for place, name in columns.items() if place < len(row) and row[place].strip()}
        if cells:
            found.requirements += _requirement(number, cells, spec, mistakes)
    ids = [one["id"] for one in found.requirements]
    mistakes += [f"id {one!r} is there more than once" for one in sorted({one for one in ids if ids.count(one) > 1})]
    if mistakes:
        more = len(mistakes) - SHOWN_MISTAKES
        rest = [f"  and {more} more"] if more > 0 else []
        lines = [f"  {line}" for line in mistakes[:SHOWN_MISTAKES]]
        raise Refusal("\n".join(["nothing was taken over:", *lines, *rest]))
    return found


def rows_of(spec: Mapping[str, Any], *, chinese: bool) -> list[list[str]]:
    """The requirements as rows that `requirements_of` reads back, headings first."""

    def said(words: Sequence[str]) -> str:
        return next(word for word in words if word.isascii() is not chinese)

    rows = [[said(words) for words in HEADINGS.values()]]
    for body in spec.get("requirements") or []:
        shown = Requirement.model_validate(body).to_manifest()
        for name, choices in CHOICES.items():
            shown[name] = said(choices[shown[name]])
        shown["acceptedBy"] = ", ".join(shown.get("acceptedBy") or [])
        rows.append([shown.get(name, "") for name in HEADINGS])
    return rows


def _columns(row: Sequence[str]) -> dict[int, str]:
    """What each column holds, by its place; empty where the row is no row of headings."""
    found: dict[int, str] = {}
    for place, text in enumerate(row):
        said = text.strip().lower()
        name = next((name for name, known in HEADINGS.items() if said in known), None)
        if name and name not in found.values():
            found[place] = name
    return found if len(found) > 1 else {}


def _requirement(
    number: int, cells: Mapping[str, str], spec: Mapping[str, Any], mistakes: list[str]
) -> Iterator[dict[str, Any]]:
    content: dict[str, Any] = dict(cells)
    for name, choices in CHOICES.items():
        if name in cells:
            chosen = next((choice for choice, known in choices.items() if cells[name].lower() in known), None)
            content[name] = chosen or cells[name]
    for name, entries, key, title in (("module", "modules", "name", "title"), ("owner", "contacts", "id", "name")):
        by_title = {entry.get(title): entry[key] for entry in spec.get(entries) or []}
        if name in cells:
            content[name] = by_title.get(cells[name], cells[name])
    if "acceptedBy" in cells:
        content["acceptedBy"] = [part for part in re.split(r"[,;、，；\s]+", cells["acceptedBy"]) if part]
    try:
        yield Requirement.model_validate(content).to_manifest()
    except pydantic.ValidationError as error:
        for one in error.errors():
            name = str(one["loc"][0])
            mistakes.append(f"row {number}, {name} {printable(cells.get(name, ''), 40)!r}: {one['msg']}")
