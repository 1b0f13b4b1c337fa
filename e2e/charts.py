"""Package the module charts so that the same files always give the same bytes: `python -m e2e.charts [FOLDER]`."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from e2e.cluster.places import BUILD, REPOSITORY

CHARTS = REPOSITORY / "charts"
SHARED = "tryton"
MODULES = ("core", "finance", "inventory", "purchasing", "sales", "portal")
VENDORED = "charts"


def package(name: str) -> bytes:
    """The chart of that name as a .tgz with the shared chart inside, as `helm package` makes it, but reproducible."""
    return pack(chart_files(name))


def package_folder(folder: Path, name: str, replaced: Mapping[str, bytes] | None = None) -> bytes:
    """The chart in a folder as a .tgz; `replaced` gives files by their path in the chart another content."""
    replaced = replaced or {}
    return pack(
        (path, replaced.get(path.removeprefix(f"{name}/"), content)) for path, content in folder_files(folder, name)
    )


def pack(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Paths and contents as a .tgz that depends on nothing else."""
    buffer = io.BytesIO()
    # Neither gzip's header nor a tar entry carries a time or an owner, or each run would give another digest.
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", filename="", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path, content in files:
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def digest(archive: bytes) -> str:
    """As an Implementation's `chart.digest` wants it."""
    return f"sha256:{hashlib.sha256(archive).hexdigest()}"


def chart_files(name: str) -> Iterator[tuple[str, bytes]]:
    """Paths in the archive and contents, in a fixed order."""
    yield from folder_files(CHARTS / name, name)
    if f"file://../{SHARED}" in (CHARTS / name / "Chart.yaml").read_text():
        yield from folder_files(CHARTS / SHARED, f"{name}/{VENDORED}/{SHARED}")


def folder_files(folder: Path, prefix: str) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and inside.parts[0] not in {VENDORED, "Chart.lock"}:
            yield f"{prefix}/{inside.as_posix()}", path.read_bytes()


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0]) if arguments else BUILD / "charts"
    folder.mkdir(parents=True, exist_ok=True)
    for name in MODULES:
        archive = package(name)
        path = folder / f"{name}.tgz"
        path.write_bytes(archive)
        print(f"{digest(archive)}  {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
