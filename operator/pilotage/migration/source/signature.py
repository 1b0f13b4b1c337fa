"""Signature Version 4 of requests to an S3 store, of those without a body."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

DEFAULT_REGION: Final = "us-east-1"
_METHOD: Final = "AWS4-HMAC-SHA256"
_NO_BODY: Final = hashlib.sha256(b"").hexdigest()
# Others may be changed on the way by whoever passes the request on.
_SIGNED: Final = frozenset({"host", "range", "x-amz-content-sha256", "x-amz-date"})


@dataclass(frozen=True)
class Keys:
    """Whose request it is, and in which region of the store."""

    access: str
    secret: str = field(repr=False)
    region: str


def signed(headers: Mapping[str, str], path: str, keys: Keys, now: datetime) -> dict[str, str]:
    """The headers of a GET of the path (encoded, without a query), with those that sign it. `now` is in UTC."""
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {**headers, "x-amz-content-sha256": _NO_BODY, "x-amz-date": moment}
    named = sorted((name.lower(), value.strip()) for name, value in headers.items() if name.lower() in _SIGNED)
    names = ";".join(name for name, _ in named)
    request = "\n".join(("GET", path, "", *(f"{name}:{value}" for name, value in named), "", names, _NO_BODY))
    scope = f"{moment[:8]}/{keys.region}/s3/aws4_request"
    text = "\n".join((_METHOD, moment, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{keys.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    credential = f"{_METHOD} Credential={keys.access}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "Authorization": credential}
