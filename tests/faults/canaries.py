"""Secrets that must not get out: what they look like in the usual encodings, and where they were seen."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from urllib.parse import quote

# Signs that each encoding changes in its own way.
PASSWORD = 'canary<in>the"mine/Ω&1'
TOKEN = 'canary>of the"chart\\Ω%2'


def forms(secret: str) -> Iterator[tuple[str, bytes]]:
    """The name of each encoding, and the bytes to look for."""
    data = secret.encode()
    yield "plain", data
    yield "reversed", data[::-1]
    yield "percent", quote(secret, safe="").encode()
    yield "percent in a path", quote(secret).encode()
    yield "json", json.dumps(secret)[1:-1].encode()
    yield "json in UTF-8", json.dumps(secret, ensure_ascii=False)[1:-1].encode()
    yield "repr", repr(secret)[1:-1].encode()
    yield "hex", data.hex().encode()
    yield "HEX", data.hex().upper().encode()
    for offset in range(3):
        # What stands before and after decides about the signs at the edges.
        whole = base64.b64encode(b"\0" * offset + data)
        inner = whole[4 if offset else 0 : -4]
        yield f"base64 at offset {offset}", inner
        yield f"base64url at offset {offset}", inner.translate(bytes.maketrans(b"+/", b"-_"))


FORMS = {form: name for secret in (PASSWORD, TOKEN) for name, form in forms(secret)}


def seen_in(content: bytes) -> list[str]:
    """In which encodings a canary stands in the content."""
    return [name for form, name in FORMS.items() if form in content]
