"""Images made of nothing but a static program, written as docker archives; and bringing archives into containerd."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from e2e.cluster.errors import Refusal
from e2e.cluster.node import PAUSE_IMAGE
from e2e.cluster.places import BINARIES, BUILD, CONTAINERD_SOCKET

IMAGES = BUILD / "images"
BUSYBOX_IMAGE = "localhost/pilotage/busybox:dev"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def base_images() -> list[Path]:
    """Archives of the images that the cluster itself needs: the pause image, and a shell for volumes and tests."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    return [_pause_archive(), _busybox_archive()]


def write_archive(
    path: Path,
    image: str,
    files: Mapping[str, Path],
    links: Mapping[str, str],
    entrypoint: Sequence[str],
) -> Path:
    """Write a docker archive of one layer. files: path in the image -> file here; links: path -> target."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        for folder, mode in (("tmp", 0o1777), ("bin", 0o755)):
            archive.addfile(_entry(folder, tarfile.DIRTYPE, mode))
        for target, source in files.items():
            entry = _entry(target, tarfile.REGTYPE, 0o755)
            entry.size = source.stat().st_size
            with source.open("rb") as program:
                archive.addfile(entry, program)
        for target, destination in links.items():
            entry = _entry(target, tarfile.SYMTYPE, 0o777)
            entry.linkname = destination
            archive.addfile(entry)
    content = layer.getvalue()
    configuration = {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint), "Env": ["PATH=/bin"], "User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [image], "Layers": ["layer.tar"]}]
    unfinished = path.with_suffix(".unfinished")
    with tarfile.open(unfinished, "w") as archive:
        for name, data in (
            ("config.json", json.dumps(configuration).encode()),
            ("layer.tar", content),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = _entry(name, tarfile.REGTYPE, 0o644)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return unfinished.replace(path)


def ctr_command(*arguments: str) -> list[str]:
    """The command that asks the cluster's containerd."""
    return [str(BINARIES / "ctr"), "--address", str(CONTAINERD_SOCKET), "--namespace", "k8s.io", *arguments]


def load(archives: Sequence[Path]) -> None:
    """Import archives (docker or OCI) into the running cluster's containerd; Refusal when one cannot be read."""
    if not CONTAINERD_SOCKET.exists():
        raise Refusal("No embedded cluster is running here; start one with `python -m e2e.cluster up`.")
    for archive in archives:
        if not archive.is_file():
            raise Refusal(f"There is no image archive {archive}.")
        finished = subprocess.run(
            ctr_command("images", "import", "--local", str(archive)),
            capture_output=True,
            text=True,
            check=False,
        )
        if finished.returncode != 0:
            raise Refusal(f"{archive} could not be imported: {finished.stderr.strip()}")


def _pause_archive() -> Path:
    source = Path(__file__).with_name("pause.c")
    path = IMAGES / "pause.tar"
    if not _is_newer(path, source, Path(__file__)):
        program = IMAGES / "pause"
        command = ["gcc", "-static", "-Os", "-o", str(program), str(source)]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        if finished.returncode != 0:
            raise Refusal(f"gcc cannot build the pause program (Debian packages gcc, libc6-dev):\n{finished.stderr}")
        write_archive(path, PAUSE_IMAGE, {"pause": program}, {}, ["/pause"])
    return path


def _busybox_archive() -> Path:
    path = IMAGES / "busybox.tar"
    if not _is_newer(path, Path(__file__)):
        program = shutil.which("busybox")
        if program is None or not _is_static(Path(program)):
            raise Refusal("A statically linked busybox is needed; install the Debian package busybox-static.")
        applets = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
        links = {f"bin/{applet}": "busybox" for applet in applets if applet != "busybox"}
        write_archive(path, BUSYBOX_IMAGE, {"bin/busybox": Path(program)}, links, ["/bin/sh"])
    return path


def _is_newer(path: Path, *sources: Path) -> bool:
    return path.is_file() and all(path.stat().st_mtime > source.stat().st_mtime for source in sources)


def _is_static(program: Path) -> bool:
    return b"ld-linux" not in program.read_bytes()[:4096]


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.mode = mode
    return entry
