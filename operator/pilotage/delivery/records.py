"""Helm's release records: Secrets that hold a gzipped JSON document. What they say is the truth about a release."""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import json
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pilotage.api.v1alpha1.common import IMPLEMENTATION_LABEL
from pilotage.delivery.documents import load_documents
from pilotage.delivery.shapes import check_shape
from pilotage.plan.delivery import ATTEMPT_LABEL, INPUT_LABEL, Revision

MAX_MANIFEST: Final = 2 * 1024 * 1024
MAX_RECORD: Final = 16 * 1024 * 1024  # unpacked; a Secret's megabyte could unpack to a gigabyte


def decode_record(secret: Mapping[str, Any]) -> dict[str, Any]:
    """The release document in a record. Raises ValueError when it cannot be read."""
    try:
        outer = base64.b64decode(secret["data"]["release"])
        with gzip.open(io.BytesIO(base64.b64decode(outer))) as packed:
            document = json.loads(packed.read(MAX_RECORD))
    except (KeyError, TypeError, binascii.Error, OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise _unreadable(secret, type(error).__name__) from error
    if not isinstance(document, dict):
        raise _unreadable(secret, f"it holds a {type(document).__name__}")
    return document


def encode_record(document: Mapping[str, Any]) -> str:
    """The document as a record's `data.release` holds it."""
    packed = gzip.compress(json.dumps(document).encode(), mtime=0)
    return base64.b64encode(base64.b64encode(packed)).decode()


def revision_of(secret: Mapping[str, Any], *, with_manifest: bool) -> Revision:
    """The revision that a record stands for; its manifests only where they are asked for.

    Raises ValueError for a record that Helm has not written: whoever may write Secrets can write one.
    """
    document = decode_record(secret)
    labels = secret["metadata"].get("labels") or {}
    try:
        info, metadata = document.get("info") or {}, ((document.get("chart") or {}).get("metadata")) or {}
        return Revision(
            revision=int(document["version"]),
            status=str(info.get("status") or labels.get("status") or ""),
            description=str(info.get("description") or ""),
            chart=str(metadata.get("name") or ""),
            version=str(metadata.get("version") or ""),
            input=labels.get(INPUT_LABEL, ""),
            attempt=labels.get(ATTEMPT_LABEL, ""),
            owner=labels.get(IMPLEMENTATION_LABEL, ""),
            last_deployed=_moment(info.get("last_deployed")),
            manifests=tuple(parse_manifests(document.get("manifest") or "")) if with_manifest else (),
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise _unreadable(secret, f"it is not as Helm writes it ({type(error).__name__})") from error


def _unreadable(secret: Mapping[str, Any], why: str) -> ValueError:
    return ValueError(f"release record {secret['metadata']['name']} cannot be read: {why}")


def parse_manifests(text: str) -> list[dict[str, Any]]:
    """The objects of a multi-document YAML text. Raises ValueError when it is none, far too large or far too deep."""
    if not isinstance(text, str):
        msg = f"the rendered manifests are a {type(text).__name__}"
        raise ValueError(msg)  # noqa: TRY004 (callers know one error for all that a record can hold)
    if len(text) > MAX_MANIFEST:
        msg = f"the rendered manifests are {len(text)} characters long; at most {MAX_MANIFEST} are taken"
        raise ValueError(msg)
    try:
        found = [document for document in load_documents(text) if document is not None]
        for document in found:
            check_shape(document)
    except ValueError as error:
        msg = f"the rendered manifests cannot be read: {error}"
        raise ValueError(msg) from error
    return found


def _moment(text: Any) -> datetime | None:
    """Helm writes nanoseconds; Python reads microseconds."""
    if not text:
        return None
    whole, dot, rest = str(text).partition(".")
    if dot:
        digits = rest[: next((at for at, sign in enumerate(rest) if not sign.isdigit()), len(rest))]
        rest = digits[:6].ljust(6, "0") + rest[len(digits) :]
        return datetime.fromisoformat(f"{whole}.{rest}")
    return datetime.fromisoformat(whole)
