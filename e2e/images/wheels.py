"""Python packages for images, collected outside the build, where the user's pip settings (mirrors, proxies) hold."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from e2e.cluster.errors import Refusal
from e2e.cluster.places import BUILD
from e2e.images.recipes import Recipe
from e2e.images.tools import run

WHEELS = BUILD / "wheels"
IMAGE_PYTHON = (3, 11)


def wheels_digest(recipe: Recipe) -> str:
    return hashlib.sha256("\n".join(_requirements(recipe)).encode()).hexdigest()


def _requirements(recipe: Recipe) -> list[str]:
    return [*recipe.wheels, *([recipe.lock.read_text()] if recipe.lock else [])]


def collect_wheels(recipe: Recipe) -> Path | None:
    """A folder with the recipe's wheels and all they need, or None; collected once for each set of inputs.

    Of a lock nothing is taken that is not the very file it names.
    """
    if not _requirements(recipe):
        return None
    if sys.version_info[:2] != IMAGE_PYTHON:
        wanted = ".".join(map(str, IMAGE_PYTHON))
        raise Refusal(f"Images run Python {wanted}; run this with python{wanted}, so that the wheels fit.")
    folder = WHEELS / recipe.name
    stamp = folder / ".stamp"
    inputs = wheels_digest(recipe)
    if stamp.is_file() and stamp.read_text() == inputs:
        return folder
    print("  Python wheels", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    locked = ["--require-hashes", "--requirement", str(recipe.lock)] if recipe.lock else []
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(folder), *recipe.wheels, *locked])
    stamp.write_text(inputs)
    return folder
