"""Build images into archives under build/images; what has not changed is not built again."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from e2e.cluster.errors import Refusal
from e2e.cluster.places import BUILD, REPOSITORY
from e2e.images.base import base_image
from e2e.images.recipes import Recipe
from e2e.images.tools import Tool, find_tool
from e2e.images.wheels import collect_wheels, wheels_digest

ARCHIVES = BUILD / "images"
RECIPE_FOLDERS = Path(__file__).parent


def archive(recipe: Recipe) -> Path:
    return ARCHIVES / f"{recipe.name}.tar"


def build_images(recipes: list[Recipe]) -> list[Path]:
    """Build what changed and give the archives of all; prints a line for each image.

    One build at a time in a checkout: a second one waits, and then finds most of its work done.
    """
    ARCHIVES.mkdir(parents=True, exist_ok=True)
    with (ARCHIVES / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return build_changed(recipes)


def build_changed(recipes: list[Recipe]) -> list[Path]:
    tool: Tool | None = None
    for recipe in recipes:
        inputs = inputs_digest(recipe)
        stamp = ARCHIVES / f"{recipe.name}.stamp"
        if archive(recipe).is_file() and stamp.is_file() and stamp.read_text() == inputs:
            print(f"{recipe.name}: unchanged", flush=True)
            continue
        tool = tool or find_tool()
        print(f"{recipe.name}: building with {tool.name}", flush=True)
        began = time.monotonic()
        build_image(recipe, tool)
        stamp.write_text(inputs)
        size = archive(recipe).stat().st_size / 1_000_000
        print(f"{recipe.name}: {size:.0f} MB in {time.monotonic() - began:.0f} s", flush=True)
    return [archive(recipe) for recipe in recipes]


def build_image(recipe: Recipe, tool: Tool) -> None:
    base = base_image(recipe, tool)
    wheels = collect_wheels(recipe)
    with tempfile.TemporaryDirectory(prefix="pilotage-image-") as folder:
        context = Path(folder)
        for path in input_files(recipe):
            target = context / path.relative_to(REPOSITORY)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        if wheels:
            shutil.copytree(wheels, context / "wheels")
        arguments = {"BASE_IMAGE": base, "PACKAGES": " ".join(recipe.packages)}
        if wheels:
            # buildah's cache does not look into mounts: a layer made of other wheels must differ in its text.
            arguments["WHEELS_DIGEST"] = wheels_digest(recipe)
        tool.build(context, RECIPE_FOLDERS / recipe.name / "Dockerfile", recipe.image, arguments)
    tool.save(recipe.image, archive(recipe))


def inputs_digest(recipe: Recipe) -> str:
    """Digest of all that an image depends on within our reach: its recipe, its files and the base asked for."""
    digest = hashlib.sha256(repr(recipe).replace(str(REPOSITORY), "").encode())
    digest.update(os.environ.get("BASE_IMAGE", "").encode())
    digest.update(sources_digest(recipe).encode())
    return digest.hexdigest()


def sources_digest(recipe: Recipe) -> str:
    digest = hashlib.sha256()
    for path in input_files(recipe):
        digest.update(str(path.relative_to(REPOSITORY)).encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def input_files(recipe: Recipe) -> Iterator[Path]:
    """The files of the repository that go into an image, in a fixed order; Refusal names one that is missing."""
    for source in (RECIPE_FOLDERS / recipe.name, *(REPOSITORY / source for source in recipe.sources)):
        if not source.exists():
            raise Refusal(f"The image {recipe.name} needs {source.relative_to(REPOSITORY)}, which is not there yet.")
        found = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
        yield from (
            path
            for path in found
            if not {"__pycache__", ".mypy_cache"} & set(path.parts)
            and not any(part.endswith(".egg-info") for part in path.parts)
        )
