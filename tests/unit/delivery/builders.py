"""Chart archives and release records as Helm writes them."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from typing import Any

CHART_YAML = "apiVersion: v2\nname: core\nversion: 1.2.3\n"


def entry(
    name: str, content: bytes | str = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    data = content.encode() if isinstance(content, str) else content
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    return info, data


def archive(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as made:
        for info, data in entries:
            made.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def chart(files: Mapping[str, bytes | str] | None = None, *, name: str = "core") -> bytes:
    """A packaged chart with Chart.yaml and these files, by their path inside it."""
    described = {"Chart.yaml": CHART_YAML.replace("core", name)} | dict(files or {})
    return archive(*(entry(f"{name}/{path}", content) for path, content in described.items()))


def record(
    number: int = 1,
    status: str = "deployed",
    *,
    labels: Mapping[str, str] | None = None,
    manifest: str = "",
    **info: Any,
) -> dict[str, Any]:
    """The Secret of one revision of release `core`."""
    document = {
        "name": "core",
        "version": number,
        "info": {"status": status, "description": "Install complete", "last_deployed": "2026-11-22T01:02:03.123456789Z"}
        | info,
        "chart": {"metadata": {"name": "core", "version": "1.2.3"}},
        "manifest": manifest,
    }
    packed = base64.b64encode(gzip.compress(json.dumps(document).encode()))
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "helm.sh/release.v1",
        "metadata": {
            "name": f"sh.helm.release.v1.core.v{number}",
            "namespace": "huasheng",
            "uid": f"uid-{number}",
            "resourceVersion": str(100 + number),
            "labels": {"owner": "helm", "name": "core", "version": str(number), "status": status} | dict(labels or {}),
        },
        "data": {"release": base64.b64encode(packed).decode()},
    }
