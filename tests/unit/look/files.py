"""Builders: a legacy file, and a look at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pilotage.api.v1alpha1.migrationjob import Encoding
from pilotage.migration.look.defects import Defect
from pilotage.migration.look.examine import Look, examine
from pilotage.migration.look.propose import Proposal, propose


def write(folder: Path, *lines: str, encoding: str = "utf-8", end: str = "\r\n", name: str = "客户.csv") -> Path:
    return write_bytes(folder, "".join(line + end for line in lines).encode(encoding), name)


def write_bytes(folder: Path, raw: bytes, name: str = "客户.csv") -> Path:
    path = folder / name
    path.write_bytes(raw)
    return path


def look_at(path: Path, **options: Any) -> Look:
    return examine(path, **{"declared": Encoding.AUTO, "delimiter": None, "every_row": False, **options})


def proposal_of(found: Look, **options: Any) -> Proposal:
    proposal = propose(
        found.profile,
        found.defects,
        file=found.path.name,
        encoding=found.verdict.encoding,
        delimiter=found.layout.delimiter,
        share=found.share,
        **options,
    )
    assert proposal
    return proposal


def defect(found: Look, code: str, column: str = "") -> Defect:
    (one,) = (one for one in found.defects if (one.code, one.column) == (code, column))
    return one
