"""The image that a Dockerfile starts from: named by the user, or made of Debian packages on the spot."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
from pathlib import Path

from e2e.cluster.packages import IMAGE_PROGRAMS, install_packages
from e2e.images.recipes import Recipe
from e2e.images.tools import Tool, run

SUITE = "bookworm"
SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
REGISTRY_BASE = "docker.io/library/python:3.11-slim-bookworm"


def base_image(recipe: Recipe, tool: Tool) -> str:
    """The base for a recipe: $BASE_IMAGE, else one of Debian packages (needs root), else a registry's.

    A base of ours holds the recipe's packages already; on any other the Dockerfile installs them with apt-get.
    """
    chosen = os.environ.get("BASE_IMAGE")
    if chosen:
        return chosen
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return REGISTRY_BASE
    digest = hashlib.sha256(" ".join((SUITE, *recipe.packages)).encode()).hexdigest()[:12]
    # Packages that differ within one base name make two bases: the digest keeps them apart.
    image = f"localhost/pilotage/base-{recipe.base_name}:{digest}"
    if not tool.has(image):
        print(f"  base of Debian packages: {' '.join(recipe.packages)}", flush=True)
        install_packages({"mmdebstrap": IMAGE_PROGRAMS["mmdebstrap"]})
        with tempfile.TemporaryDirectory(prefix="pilotage-base-") as folder:
            root = Path(folder) / "root.tar"
            make_root(recipe.packages, root)
            tool.import_root(root, image)
    return image


def make_root(packages: tuple[str, ...], root: Path) -> None:
    """Write a small Debian with those packages as a tar archive; apt's mirrors and proxies are this machine's."""
    command = [
        "mmdebstrap",
        "--variant=minbase",
        "--quiet",
        f"--include={','.join(packages)}",
        # Manuals, translations and package lists are of no use in a container.
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        # Java's packages put links to their manuals there and fail without the folder.
        '--essential-hook=mkdir -p "$1"/usr/share/man/man1',
        '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*',
    ]
    suite, *mirrors = mirror_arguments()
    run([*command, suite, str(root), *mirrors])


def mirror_arguments() -> list[str]:
    """The suite, and where this machine is the same Debian its own sources; otherwise Debian's public mirror serves."""
    if platform.freedesktop_os_release().get("VERSION_CODENAME") != SUITE:
        return [SUITE]
    return [SUITE, *(str(path) for path in SOURCES if path.is_file())][:2]
