"""Texts of others, made fit to be shown."""

from __future__ import annotations


def printable(text: str, limit: int = 60) -> str:
    """The text on one line without anything that a terminal would obey, shortened to `limit` characters."""
    shown = "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text[: limit + 1]
    )
    return shown if len(text) <= limit and len(shown) <= limit else shown[: limit - 1] + "…"
