"""Looks at a chart archive before Helm does, and writes it anew: Helm reads nothing but what was looked at here.

Two readers of one archive can disagree about names and sizes: of the several headers that may carry a name, Python and
Go do not follow the same one. So the archive itself is never handed on.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from pilotage.delivery.documents import load_documents

MAX_PACKED: Final = 10 * 1024 * 1024
MAX_UNPACKED: Final = 50 * 1024 * 1024
MAX_ENTRIES: Final = 5000
MAX_METADATA: Final = 64 * 1024
MAX_SCHEMA: Final = 1024 * 1024
SCHEMA: Final = "values.schema.json"
DESCRIPTION: Final = "Chart.yaml"
LIMITS: Final = {SCHEMA: MAX_SCHEMA, DESCRIPTION: MAX_METADATA}
MAX_NESTING: Final = 3  # a chart's packed dependencies, and theirs

# Helm carries these with it; any other dialect it would fetch.
KNOWN_DIALECTS: Final = frozenset(
    f"{scheme}://json-schema.org/{dialect}schema"
    for scheme in ("http", "https")
    for dialect in ("", "draft-04/", "draft-06/", "draft-07/", "draft/2019-09/", "draft/2020-12/")
)
REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")


class ChartError(Exception):
    """A chart that cannot be used; `reason` for machines, the message with what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class Inspected:
    """A chart that was looked at. `data` is an archive of just the files that were seen."""

    name: str
    version: str
    data: bytes


@dataclass
class _Budget:
    """What is left for an archive and the archives inside it."""

    entries: int = MAX_ENTRIES
    size: int = MAX_UNPACKED

    def spend(self, entries: int, size: int) -> None:
        self.entries -= entries
        self.size -= size
        if self.entries < 0 or self.size < 0:
            raise _refused(f"the archive unpacks to more than {MAX_ENTRIES} files or {MAX_UNPACKED} bytes")


class _Unpacked(gzip.GzipFile):
    """The unpacked stream; raises as soon as more comes out than the budget allows, headers included."""

    def __init__(self, data: bytes, budget: _Budget) -> None:
        super().__init__(fileobj=io.BytesIO(data))
        self._budget = budget

    def read(self, size: int | None = -1) -> bytes:
        part = super().read(min(size, 65536) if size is not None and size >= 0 else 65536)
        self._budget.spend(0, len(part))
        return part


def inspect_archive(data: bytes) -> Inspected:
    """The chart in the archive, with its name and version.

    Raises ChartError for anything but a bounded archive of regular files whose value schemas refer only to themselves.
    Charts packed inside it are looked at in the same way and out of the same budget.
    """
    return _inspect(data, _Budget(), MAX_NESTING)


def _inspect(data: bytes, budget: _Budget, nesting: int) -> Inspected:
    if len(data) > MAX_PACKED:
        raise _refused(f"the archive is larger than {MAX_PACKED} bytes")
    if nesting == 0:
        raise _refused("charts are packed inside charts too deeply")
    metadata: Any = None
    written = io.BytesIO()
    try:
        with (
            _Unpacked(data, budget) as unpacked,
            tarfile.open(fileobj=unpacked, mode="r|") as archive,
            gzip.GzipFile(fileobj=written, mode="wb", compresslevel=1, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as rewritten,
        ):
            for member in archive:
                budget.spend(1, 0)
                place = _place_of(member)
                if member.isdir():
                    continue
                content = _content(archive, member, LIMITS.get(place.name, MAX_UNPACKED))
                if place.name == SCHEMA:
                    _refuse_outside_references(content)
                elif place.name == DESCRIPTION and len(place.parts) == 2:
                    metadata = _first(load_documents(content.decode()))
                elif place.parent.name == "charts" and place.suffix in {".tgz", ".gz"}:
                    content = _inspect(content, budget, nesting - 1).data
                entry = tarfile.TarInfo(str(place))
                entry.size, entry.mode = len(content), 0o644
                rewritten.addfile(entry, io.BytesIO(content))
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError) as error:
        raise _refused(f"the archive is no packaged chart: {type(error).__name__}: {str(error)[:200]}") from error
    return Inspected(*_name_and_version(metadata), written.getvalue())


def _first(documents: list[Any]) -> Any:
    return documents[0] if documents else None


def _name_and_version(metadata: Any) -> tuple[str, str]:
    if not isinstance(metadata, dict):
        raise _refused("the archive holds no Chart.yaml: make it with `helm package`")
    for field in ("name", "version"):
        text = metadata.get(field)
        if not isinstance(text, str) or not text or len(text) > 250:
            raise _refused(f"Chart.yaml has no {field}, or one that is no text")
    return metadata["name"], metadata["version"]


def _place_of(member: tarfile.TarInfo) -> PurePosixPath:
    place = PurePosixPath(member.name)
    if not (member.isfile() or member.isdir()) or member.issparse():
        raise _refused(f"{member.name[:200]} is a link or device, or has holes: a chart holds regular files only")
    if not member.name.isprintable():
        raise _refused(f"{member.name[:200]!r} is no file's name: it holds characters that cannot be printed")
    # Helm takes a backslash for a separator, so that it would see other names than we do.
    if place.is_absolute() or ".." in place.parts or "\\" in member.name:
        raise _refused(f"{member.name[:200]} points outside the chart")
    return place


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, limit: int) -> bytes:
    if member.size > limit:
        raise _refused(f"{member.name[:200]} is larger than {limit} bytes")
    opened = archive.extractfile(member)
    return opened.read() if opened else b""


def _refuse_outside_references(text: bytes) -> None:
    try:
        pending = [json.loads(text)]
    except (ValueError, RecursionError) as error:
        raise _refused(f"values.schema.json is no JSON: {error}") from error
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += node
        elif isinstance(node, dict):
            _refuse_outside(node)
            pending += list(node.values())


def _refuse_outside(node: dict[str, Any]) -> None:
    for keyword in REFERENCES:
        reference = node.get(keyword)
        if isinstance(reference, str) and not reference.startswith("#"):
            place = reference[:200]
            raise _refused(f"values.schema.json refers to {place}: only references into the schema itself are taken")
    dialect = node.get("$schema")
    if isinstance(dialect, str) and dialect.removesuffix("#") not in KNOWN_DIALECTS:
        raise _refused(f"values.schema.json is written in {dialect[:200]}: use a published JSON Schema draft")


def _refused(message: str) -> ChartError:
    return ChartError("ChartRefused", message)
