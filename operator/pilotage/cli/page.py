"""Pages of Markdown: what objects say stands in them as text, and nothing of it is markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from pilotage.api.text import printable

LONGEST: Final = 500
MARKUP: Final = frozenset("\\`*_[]|#~")


def plain(words: str) -> str:
    """Words of others: one line, and no sign that Markdown or HTML would take for markup."""
    text = printable(words, LONGEST)
    return "".join(f"\\{sign}" if sign in MARKUP else escape(sign, quote=False) for sign in text)


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; none when it has no rows."""
    found = ["| " + " | ".join(map(plain, row)) + " |" for row in rows]
    return ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles), *found] if found else []


def bullets(words: Iterable[str]) -> list[str]:
    """The lines of a list."""
    return [f"- {plain(found)}" for found in words]
