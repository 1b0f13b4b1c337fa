"""S39: what our images are made of is what was looked at, and what a chart's image is pinned to stays that."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from e2e.cluster.places import BINARIES, REPOSITORY
from e2e.images.recipes import RECIPES, lock_of

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
LOCKED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+) \\$", re.MULTILINE)


def locked(name: str) -> dict[str, str]:
    return dict(LOCKED.findall(lock_of(name).read_text()))


@pytest.mark.parametrize("name", ["operator", "engine"])
def test_s39_all_that_an_image_needs_is_locked_by_version_and_digest(name):
    versions = locked(name)
    wanted = [Requirement(text) for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"][name])]
    stale = [str(found) for found in wanted if versions.get(canonicalize_name(found.name), "") not in found.specifier]
    assert stale == [], "make lock"
    entries = re.split(r"^(?=\S+==)", lock_of(name).read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) == len(versions)
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("name", ["operator", "engine"])
def test_s39_a_lock_names_no_address_and_no_other_place(name):
    assert not re.search(r"https?:|file:|git\+|--(?:index|extra-index|find)|@ ", lock_of(name).read_text())


def test_s39_the_projects_own_images_are_made_from_locks():
    assert {recipe.name for recipe in RECIPES if recipe.lock} == {"operator", "engine"}


def a_wheel(folder: Path) -> Path:
    path = folder / "harmless-1.0-py3-none-any.whl"
    meta = "harmless-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("harmless.py", "")
        wheel.writestr(f"{meta}/METADATA", "Metadata-Version: 2.1\nName: harmless\nVersion: 1.0\n")
        wheel.writestr(f"{meta}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{meta}/RECORD", "")
    return path


@pytest.mark.timeout(60)
@pytest.mark.parametrize("line", ["harmless==1.0 --hash=sha256:" + "0" * 64, "harmless==1.0", "harmless"])
def test_s39_another_file_of_the_same_name_and_version_is_not_installed(tmp_path, line):
    a_wheel(tmp_path)
    (tmp_path / "lock").write_text(line + "\n")
    command = [
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--find-links", str(tmp_path), "--wheel-dir",
        str(tmp_path / "out"), "--require-hashes", "--requirement", str(tmp_path / "lock"),
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "hash" in ended.stderr.lower()


@pytest.mark.light
def test_s39_a_digest_of_the_operators_image_wins_over_every_tag():
    digest = "sha256:" + "a" * 64
    command = [
        str(BINARIES / "helm"), "template", "p", str(REPOSITORY / "charts/pilotage"), "--set", f"image.digest={digest}",
        "--set", "image.tag=latest", "--show-only", "templates/deployment.yaml",
    ]  # fmt: skip
    shown = yaml.safe_load(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    images = {found["image"] for found in shown["spec"]["template"]["spec"]["containers"]}
    assert images == {f"localhost/pilotage/operator@{digest}"}
