"""Package the module charts so that the same sources always give the same archive, byte for byte.

`helm package` writes the times of the files into the archive: its digest differs in every checkout.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from e2e.cluster.places import REPOSITORY

CHARTS = REPOSITORY / "charts"
MODULES = ("core", "finance", "portal", "inventory", "purchasing", "sales")
LOCAL = "file://"


@dataclass(frozen=True)
class PackagedChart:
    """A chart as one archive. `digest` names its content: sha256:…"""

    name: str
    version: str
    archive: bytes

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.archive).hexdigest()}"


def package(folder: Path) -> PackagedChart:
    """The chart in `folder` with the charts that it depends on by `file://`; those of a repository are refused."""
    chart = yaml.safe_load((folder / "Chart.yaml").read_text(encoding="utf-8"))
    buffer = io.BytesIO()
    # Names, times and owners of this machine stay out of the archive, and of gzip's header.
    with (
        gzip.GzipFile(filename="", fileobj=buffer, mode="wb", compresslevel=9, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for name, path in sorted(chart_files(folder, chart["name"])):
            add_file(archive, name, path.read_bytes())
    return PackagedChart(chart["name"], chart["version"], buffer.getvalue())


def chart_files(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    """Each file of the chart under its name in the archive, those of local dependencies below `charts/`."""
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.is_file() and parts[0] != "charts" and not any(part.startswith(".") for part in parts):
            yield "/".join((prefix, *parts)), path
    chart = yaml.safe_load((folder / "Chart.yaml").read_text(encoding="utf-8"))
    for dependency in chart.get("dependencies", ()):
        if not dependency["repository"].startswith(LOCAL):
            message = f"{folder.name}: dependency {dependency['name']} is not a chart beside it"
            raise ValueError(message)
        source = (folder / dependency["repository"].removeprefix(LOCAL)).resolve()
        yield from chart_files(source, f"{prefix}/charts/{dependency['name']}")


def add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = 0o644
    archive.addfile(entry, io.BytesIO(content))


def package_modules() -> list[PackagedChart]:
    return [package(CHARTS / name) for name in MODULES]
