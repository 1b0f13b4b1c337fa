"""The tool that builds images: docker, podman or buildah, whichever is there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.errors import Refusal
from e2e.cluster.packages import IMAGE_PROGRAMS, install_packages


@dataclass(frozen=True)
class Tool:
    """One of docker, podman and buildah, with what differs between them."""

    name: str

    def build(self, context: Path, dockerfile: Path, image: str, arguments: dict[str, str]) -> None:
        """Build image from the Dockerfile with that context and those build arguments."""
        pairs = [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
        command = {
            "docker": ["docker", "build"],
            "podman": ["podman", "build"],
            "buildah": ["buildah", "bud", "--isolation", "chroot", "--layers"],
        }[self.name]
        run([*command, *pairs, "--file", str(dockerfile), "--tag", image, str(context)])

    def save(self, image: str, archive: Path) -> None:
        """Write the image as a docker archive."""
        unfinished = archive.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        run(
            {
                "docker": ["docker", "save", "--output", str(unfinished), image],
                "podman": ["podman", "save", "--format", "docker-archive", "--output", str(unfinished), image],
                "buildah": ["buildah", "push", image, f"docker-archive:{unfinished}:{image}"],
            }[self.name],
        )
        unfinished.replace(archive)

    def has(self, image: str) -> bool:
        kind = ["inspect", "--type", "image"] if self.name == "buildah" else ["image", "inspect"]
        return subprocess.run([self.name, *kind, image], capture_output=True, check=False).returncode == 0

    def import_root(self, root: Path, image: str) -> None:
        """Make an image of a root file system (a tar archive)."""
        if self.name != "buildah":
            run([self.name, "import", str(root), image])
            return
        container = run(["buildah", "from", "scratch"]).strip()
        try:
            run(["buildah", "add", container, str(root), "/"])
            run(["buildah", "commit", container, image])
        finally:
            run(["buildah", "rm", container])


def find_tool() -> Tool:
    """The first of docker, podman, buildah that answers; buildah is installed when none does and we may."""
    for name, question in (("docker", ["docker", "info"]), ("podman", ["podman", "info"])):
        if shutil.which(name) and subprocess.run(question, capture_output=True, check=False).returncode == 0:
            return Tool(name)
    if shutil.which("buildah") is None:
        install_packages({"buildah": IMAGE_PROGRAMS["buildah"]})
    return Tool("buildah")


def run(command: Sequence[str]) -> str:
    """Run a command and give its output; Refusal with its last lines when it fails."""
    # overlay needs no fuse as root; the variable is read by buildah and podman alone.
    environment = {"STORAGE_DRIVER": "overlay", **os.environ}
    finished = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if finished.returncode != 0:
        last_words = "\n".join((finished.stdout + finished.stderr).strip().splitlines()[-15:])
        raise Refusal(f"`{' '.join(command[:4])} ...` failed:\n{last_words}")
    return finished.stdout
