"""Looks at one file: bytes first, then structure and values; no database, no specification."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pilotage.api.v1alpha1.migrationjob import Encoding
from pilotage.migration.errors import Halt
from pilotage.migration.look.defects import Defect, DefectLog
from pilotage.migration.look.profile import TableProfile
from pilotage.migration.look.structure import (
    Layout,
    Tally,
    check_rows,
    header_problems,
    read_blocks,
    read_layout,
    read_rows,
)
from pilotage.migration.look.survey import ByteSurvey, Verdict, decide_encoding, survey_bytes

PROFILED_BYTES: Final = 4 << 20

Progress = Callable[[str, int, int], None]
"""Hears what is being done, how many bytes of it are done, and how many there are."""


@dataclass(frozen=True)
class Look:
    """What was found in one file."""

    path: Path
    survey: ByteSurvey
    verdict: Verdict
    layout: Layout
    profile: TableProfile
    tally: Tally
    defects: Sequence[Defect]
    problems: Sequence[str]

    @property
    def sampled(self) -> bool:
        """Whether values were looked at in a part of the rows only. Bytes and structure are always looked at whole."""
        return self.share < 1

    @property
    def share(self) -> float:
        """Part of the rows whose values were looked at, 0 to 1."""
        rows = self.tally.records - self.tally.blank - self.tally.damaged
        return self.tally.profiled / rows if rows else 1.0


def examine(
    path: Path, *, declared: Encoding, delimiter: str | None, every_row: bool, progress: Progress = lambda *_: None
) -> Look:
    """Look at the file. Values are looked at in every row of a file up to PROFILED_BYTES, and of a larger one in blocks
    spread evenly over it, unless `every_row` asks for all.

    Raises Halt when the file is no text, when its encoding cannot be proved, or when it has no header.
    """
    if not path.is_file():
        raise Halt("SourceMissing", f"{path} is not a file")
    if not os.access(path, os.R_OK):
        raise Halt("SourceUnreadable", f"{path} cannot be read: check its owner and mode")
    size, done = path.stat().st_size, 0

    def count(title: str, read: int) -> None:
        nonlocal done
        done += read
        progress(title, done, size)

    survey = survey_bytes(path, declared, lambda read: count("bytes", read))
    verdict = decide_encoding(path, declared, survey)
    layout = read_layout(path, verdict, survey.size, delimiter)
    log, tally, profile = DefectLog(), Tally(), TableProfile.of(layout.header)
    log.take(survey.defects)
    stride = 1 if every_row else -(-survey.size // PROFILED_BYTES)
    done = 0
    for number, block in enumerate(read_blocks(path, layout, survey.size)):
        if number % stride == 0:
            profile.observe(read_rows(block, layout, verdict.encoding, tally, log))
        else:
            check_rows(block, layout, verdict, tally, log)
        count("rows", len(block.raw))
    key = profile.key()
    for column in profile.columns:
        log.take(column.defects())
    if len(key) == 1 and not key[0].unique:
        log.take([key[0].repeated()])
    return Look(path, survey, verdict, layout, profile, tally, log.list(), _problems(survey, layout, profile))


def _problems(survey: ByteSurvey, layout: Layout, profile: TableProfile) -> list[str]:
    problems = header_problems(layout.header)
    if survey.crlf and survey.lone_lf:
        fewer = min(survey.crlf, survey.lone_lf)
        problems.append(f"{fewer} lines end in another way than most ({survey.line_end})")
    if survey.lone_cr:
        problems.append(f"{survey.lone_cr} carriage returns stand inside lines")
    if not profile.key():
        problems.append("no column, and no two of the first, identify a row")
    return problems
