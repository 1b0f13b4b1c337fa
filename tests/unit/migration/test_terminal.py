"""What a person reads at the end of a run, and a machine during it."""

from __future__ import annotations

import json

from pilotage.migration.terminal import in_words, live_progress


def test_the_answer_in_words_has_counts_checks_reasons_and_the_digest():
    answer = {
        "run": "r1",
        "outcome": "Rejected",
        "reason": "ReconciliationFailed",
        "message": "total differs",
        "certificateDigest": "sha256:ab",
        "counts": {"read": 1200, "loaded": 0, "quarantined": 2, "balanced": False},
        "checks": [{"name": "total", "passed": False, "source": "3", "target": "2"}],
        "topErrors": [{"object": "customers", "code": "E_TYPE", "column": "YE", "rows": 2, "line": 7}],
    }
    assert in_words(answer).splitlines() == [
        "Rejected: ReconciliationFailed: total differs",
        "run r1",
        "read 1,200, quarantined 2 (not balanced)",
        "check total: FAILED, source 3, target 2",
        "E_TYPE in YE: 2 rows of customers, first in line 7",
        "certificate sha256:ab",
    ]


def test_progress_is_a_json_line_where_nobody_looks(capsys):
    progress = {"chunksDone": 1, "chunksTotal": 2, "rowsRead": 3, "quarantined": 0, "rowsPerSecond": 9}
    with live_progress() as hear:
        hear(progress)
    assert json.loads(capsys.readouterr().out) == progress
