"""The container's last word: one JSON document in its termination message, at most 4096 bytes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

LIMIT: Final = 4096
SHORTENED: Final = ("groups", "openMappings", "topErrors", "objects", "checks")


def write_termination(document: Mapping[str, Any]) -> None:
    """Write the document where the kubelet looks for it, and as the last line of the output."""
    text = fitting(document)
    path = Path(os.environ.get("PILOTAGE_TERMINATION_LOG", "/dev/termination-log"))
    with suppress(OSError):
        if path.exists() or "PILOTAGE_TERMINATION_LOG" in os.environ:
            path.write_text(text, encoding="utf-8")
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def fitting(document: Mapping[str, Any]) -> str:
    """The document as JSON within the limit: the message is shortened first, then the longest lists."""
    found = dict(document)
    if len(str(found.get("message", ""))) > 1200:
        found["message"] = str(found["message"])[:1199] + "…"
    text = _json(found)
    for name in SHORTENED:
        while len(text.encode()) > LIMIT and found.get(name):
            found[name] = found[name][:-1]
            text = _json(found)
    return text


def _json(found: Mapping[str, Any]) -> str:
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))
