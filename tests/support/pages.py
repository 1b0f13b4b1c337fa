"""Tables in documents that the run whose figures they show writes itself."""

from __future__ import annotations

from pathlib import Path


def write_between(page: Path, name: str, text: str) -> None:
    """Put the text between the page's marks of that name. Raises ValueError when they are not there."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = page.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        msg = f"{page} has no place for the table: {begin} and {end} are missing"
        raise ValueError(msg)
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")
