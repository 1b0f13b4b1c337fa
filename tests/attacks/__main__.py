"""`python -m tests.attacks`: run all attacks, count the payloads of each case, and write the table if asked to."""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.places import REPOSITORY
from tests.attacks.cases import CASES
from tests.attacks.rights import rights_table
from tests.support.pages import write_between

CASE = re.compile(r"test_(s\d\d)_")


class Tally:
    """Counts payloads by case: a payload that two tests try counts once, and has succeeded where one of them fails."""

    def __init__(self) -> None:
        self.payloads: dict[str, set[str]] = defaultdict(set)
        self.succeeded: Counter[str] = Counter()
        self.skipped = 0

    def pytest_runtest_logreport(self, report: Any) -> None:
        found = CASE.search(report.nodeid)
        if found is None:
            return
        case, (_, bracket, payload) = found.group(1).upper(), report.nodeid.partition("[")
        if report.skipped:
            self.skipped += 1
        elif report.failed:
            self.succeeded[case] += 1
        elif report.when == "call":
            self.payloads[case].add(payload if bracket else report.nodeid)

    def table(self) -> str:
        total = sum(len(found) for found in self.payloads.values())
        lines = [
            f"Run of {datetime.now(UTC):%Y-%m-%d}: {total} payloads, {sum(self.succeeded.values())} succeeded.",
            "",
            "| | What is tried | Payloads | Succeeded |",
            "|---|---|--:|--:|",
        ]
        lines += [
            f"| {case} | {title} | {len(self.payloads[case])} | {self.succeeded[case]} |"
            for case, title in CASES.items()
        ]
        return "\n".join(lines)


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    arguments.add_argument("--document", type=Path, help="write the table between the marks of this page")
    chosen = arguments.parse_args()
    tally = Tally()
    code = pytest.main(["-q", str(REPOSITORY / "tests/attacks")], plugins=[tally])
    if chosen.document:
        write_between(chosen.document, "rights", rights_table())
    if (
        chosen.document
        and not tally.succeeded
        and not tally.skipped
        and code in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
    ):
        write_between(chosen.document, "attacks", tally.table())
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
