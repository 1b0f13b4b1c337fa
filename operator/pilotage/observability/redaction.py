"""Takes secrets out of a text: known values in any usual encoding, and credentials that are recognised by form."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

MASK: Final = "*****"
SHORTEST_SECRET: Final = 4
"""Shorter values would mask ordinary words, and are no secrets worth the name."""

_CREDENTIALS: Final = (
    # the user's part of an URL: postgresql://user:password@host
    (re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+(?=@)"), rf"\1:{MASK}"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {MASK}"),
    (
        re.compile(
            r"(?i)((?:password|passwd|pwd|secret|token|api[_-]?key)[\"']?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&}]+)"
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), MASK),
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text with every secret masked, also where it stands encoded: base64 at any offset, percent, hex, JSON, repr.

    Credentials that are recognised by their form alone (URLs, `password=`, bearer tokens) are masked as well.
    """
    forms = {form for secret in secrets if len(secret) >= SHORTEST_SECRET for form in _forms(secret)}
    # The longest first: a shorter form may be part of a longer one and would leave its rest behind.
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    for pattern, replacement in _CREDENTIALS:
        text = pattern.sub(replacement, text)
    return text


def _forms(secret: str) -> Iterator[str]:
    data = secret.encode("utf-8", "surrogatepass")
    yield secret
    yield from (line for line in secret.splitlines() if len(line) >= 2 * SHORTEST_SECRET)
    yield quote(secret, safe="", errors="replace")
    yield quote(secret, errors="replace")
    yield quote_plus(secret, errors="replace")
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield repr(data)[2:-1]
    yield data.hex()
    yield data.hex().upper()
    for offset in range(3):
        yield from _base64_forms(data, offset)


def _base64_forms(data: bytes, offset: int) -> Iterator[str]:
    """How `data` looks inside the base64 of a longer text in which it begins at `offset` modulo 3."""
    encoded = base64.b64encode(b"\0" * offset + data).decode()
    # Characters that mix with a neighbour's bits depend on that neighbour; the ones between do not.
    begin = (0, 2, 3)[offset]
    end = (offset + len(data)) // 3 * 4
    core = encoded[begin:end]
    if len(core) >= SHORTEST_SECRET:
        yield core
        yield core.replace("+", "-").replace("/", "_")
