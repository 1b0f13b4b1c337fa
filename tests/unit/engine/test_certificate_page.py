"""The page that a finance person signs: all figures of the certificate, in the chosen language, and nothing else."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import pilotage.migration
from pilotage.migration.certificate_page import _MEANINGS, _TEXTS, LANGUAGES, certificate_page

CODE = re.compile(r'"(E_[A-Z_]+)"')


def counts(**changes: int) -> dict[str, Any]:
    outcomes = ("read", "loaded", "updated", "kept", "filtered", "duplicates", "quarantined")
    return dict.fromkeys(outcomes, 0) | changes | {"balanced": True}


def a_certificate(**changes: Any) -> dict[str, Any]:
    return {
        "run": "3f0c",
        "database": "erp",
        "planHash": "sha256:abc",
        "sources": [{"file": "客户.csv", "encoding": "GB18030", "sha256": "def"}],
        "counts": counts(read=20120, loaded=19915, duplicates=120, quarantined=85),
        "objects": [{"name": "customers", **counts(read=20120, loaded=19915, duplicates=120, quarantined=85)}],
        "checks": [
            {"name": "balance", "passed": True, "source": "1234.5", "target": "1234.5", "message": "1234.5 in the file"}
        ],
        "groups": [{"check": "balance", "group": "<b>华东</b>", "rows": 7, "source": "3.5", "target": "3.5"}],
        "errors": [{"object": "customers", "code": "E_FK", "column": "GYS", "rows": 15, "line": 9}],
        "versions": {"python": "3.11"},
        **changes,
    }


class Tables(HTMLParser):
    """The texts of all cells, row by row; fails on elements that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag in {"meta", "br"}:
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def rows_of(page: str) -> list[list[str]]:
    tables = Tables()
    tables.feed(page)
    assert tables.open == []
    return tables.rows


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_identity_is_on_the_page_for_each_object_and_together(language: str) -> None:
    rows = rows_of(certificate_page(a_certificate(), "sha256:123", "2026-11-23 08:00:00 +08:00", language))
    figures = ["20,120", "19,915", "0", "0", "0", "120", "85", _TEXTS[language]["yes"]]
    assert ["customers", *figures] in rows
    assert [_TEXTS[language]["total"], *figures] in rows


def test_a_number_that_does_not_hold_is_said_in_capitals() -> None:
    broken = a_certificate(objects=[{"name": "customers", **counts(read=2, loaded=1), "balanced": False}])
    rows = rows_of(certificate_page(broken, "", "", "en"))
    assert ["customers", "2", "1", "0", "0", "0", "0", "0", "NO"] in rows


@pytest.mark.parametrize("language", LANGUAGES)
def test_whoever_signs_sees_what_sql_changed_and_what_was_filled_afterwards(language: str) -> None:
    text = _TEXTS[language]
    order = {"objects": ["b", "a"], "filledAfterwards": ["b.lead"], "deferred": []}
    statement = "update staged set name = '<b>' where true"
    changed = a_certificate(order=order, sql=[{"object": "a", "statement": statement, "rows": 1200}])
    rows = rows_of(certificate_page(changed, "", "", language))
    assert ["a", statement, "1,200"] in rows
    assert [text["order"], "b, a"] in rows
    assert [text["filledAfterwards"], "b.lead"] in rows
    assert text["deferred"] not in {row[0] for row in rows}
    assert text["statements"] not in certificate_page(a_certificate(), "", "", language)


def test_what_comes_out_of_files_is_text_and_no_markup() -> None:
    page = certificate_page(a_certificate(), "", "", "zh-CN")
    assert "<b>华东</b>" not in page
    assert ["balance", "<b>华东</b>", "7", "3.5", "3.5"] in rows_of(page)


def test_reasons_are_told_in_the_customers_language() -> None:
    rows = rows_of(certificate_page(a_certificate(), "", "", "zh-CN"))
    assert ["customers", "E_FK", "引用的记录不存在或不唯一", "GYS", "15", "9"] in rows


def test_both_languages_have_all_texts() -> None:
    assert set(_TEXTS["en"]) == set(_TEXTS["zh-CN"])


def test_every_code_of_the_engine_has_a_meaning() -> None:
    sources = Path(pilotage.migration.__path__[0]).glob("*.py")
    codes = {code for source in sources for code in CODE.findall(source.read_text())}
    assert codes
    assert codes <= set(_MEANINGS)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", ["Mock", "Rehearsal"])
def test_the_page_of_a_run_that_loads_nothing_never_says_that_rows_reached_the_database(kind, language):
    found = certificate_page(
        a_certificate(runKind=kind, durations={"loading": 1.5, "settling": 20.0}), "d", "", language
    )
    assert _TEXTS[language]["lead"] not in found
    assert _TEXTS[language][f"lead_{kind}"] in found
    assert "1.5, 20" in found
