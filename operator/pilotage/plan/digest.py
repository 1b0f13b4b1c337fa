"""Digests of what people approve: the same content gives the same digest, whoever writes it down."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_digest(content: Any) -> str:
    """sha256 over canonical JSON: keys sorted, no spaces, UTF-8.

    Equal to RFC 8785 for what Pilotage hands it: texts, whole numbers, lists and mappings with ASCII keys.
    Raises TypeError for anything that JSON does not know.
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
