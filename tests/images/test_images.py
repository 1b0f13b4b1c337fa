"""The image tool's decisions: what an image depends on, and when it is built again. No image is built here."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.cluster.errors import Refusal
from e2e.images import build, wheels
from e2e.images.__main__ import main
from e2e.images.recipes import RECIPES, Recipe, recipes_named
from e2e.images.tools import Tool


@pytest.fixture
def recipe(tmp_path, monkeypatch) -> Recipe:
    """An image of one Dockerfile and one source file, in a checkout of its own."""
    (tmp_path / "images" / "tool").mkdir(parents=True)
    (tmp_path / "images" / "tool" / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n")
    (tmp_path / "code.py").write_text("print(1)\n")
    monkeypatch.setattr(build, "REPOSITORY", tmp_path)
    monkeypatch.setattr(build, "RECIPE_FOLDERS", tmp_path / "images")
    monkeypatch.setattr(build, "ARCHIVES", tmp_path / "archives")
    monkeypatch.delenv("BASE_IMAGE", raising=False)
    return Recipe("tool", ("python3",), sources=("code.py",))


@pytest.fixture
def built(monkeypatch) -> list[str]:
    """Names of the images that were built, each as an empty archive."""
    names: list[str] = []

    def build_image(recipe: Recipe, _tool: object) -> None:
        names.append(recipe.name)
        build.archive(recipe).write_bytes(b"")

    monkeypatch.setattr(build, "build_image", build_image)
    monkeypatch.setattr(build, "find_tool", lambda: Tool("none"))
    return names


def test_an_image_is_built_once_while_nothing_changes(recipe, built):
    build.build_images([recipe])
    build.build_images([recipe])
    assert built == ["tool"]


@pytest.mark.parametrize("changed", ["code.py", "images/tool/Dockerfile"])
def test_a_changed_file_builds_the_image_again(recipe, built, tmp_path, changed):
    build.build_images([recipe])
    (tmp_path / changed).write_text("changed\n")
    build.build_images([recipe])
    assert built == ["tool", "tool"]


def test_another_base_builds_the_image_again(recipe, built, monkeypatch):
    build.build_images([recipe])
    monkeypatch.setenv("BASE_IMAGE", "docker.io/library/debian:bookworm")
    build.build_images([recipe])
    assert built == ["tool", "tool"]


def test_a_lost_archive_is_built_again(recipe, built):
    (archive,) = build.build_images([recipe])
    archive.unlink()
    build.build_images([recipe])
    assert built == ["tool", "tool"]


def test_a_missing_source_is_named(recipe, built, tmp_path):
    (tmp_path / "code.py").unlink()
    with pytest.raises(Refusal, match=r"tool needs code\.py"):
        build.build_images([recipe])
    assert built == []


def test_compiled_python_is_no_input(recipe, tmp_path):
    before = build.inputs_digest(recipe)
    (tmp_path / "images" / "tool" / "__pycache__").mkdir()
    (tmp_path / "images" / "tool" / "__pycache__" / "x.pyc").write_bytes(b"1")
    assert build.inputs_digest(recipe) == before


@pytest.mark.parametrize("name", ["operator", "engine"])
def test_a_change_of_the_project_collects_no_wheels(name):
    (recipe,) = recipes_named([name])
    assert recipe.wheels == ()
    assert "pilotage" not in recipe.lock.read_text().replace("pilotage[", "")


def test_of_a_lock_nothing_is_taken_by_name_alone(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(wheels, "WHEELS", tmp_path)
    monkeypatch.setattr(wheels, "run", asked.append)
    lock = tmp_path / "requirements.lock"
    lock.write_text("kopf==1.0 --hash=sha256:00")
    wheels.collect_wheels(Recipe("tool", (), lock=lock))
    assert asked[0][-3:] == ["--require-hashes", "--requirement", str(lock)]
    lock.write_text("kopf==1.1 --hash=sha256:11")
    wheels.collect_wheels(Recipe("tool", (), lock=lock))
    assert len(asked) == 2


def test_another_python_than_the_images_is_refused(monkeypatch):
    monkeypatch.setattr(wheels.sys, "version_info", (3, 13, 0))
    with pytest.raises(Refusal, match=r"python3\.11"):
        wheels.collect_wheels(Recipe("tool", (), wheels=("x",)))


def test_the_engine_holds_neither_kopf_nor_kubernetes():
    (engine,) = recipes_named(["engine"])
    assert not any(line.startswith(("kopf", "kubernetes")) for line in engine.lock.read_text().splitlines())


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_dockerfile_takes_its_base_as_an_argument_and_runs_as_nobody_in_particular(recipe):
    text = (Path(build.RECIPE_FOLDERS) / recipe.name / "Dockerfile").read_text()
    assert text.startswith("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n")
    assert "USER 65532:65532\n" in text


def test_an_unknown_image_is_refused_by_name(capsys):
    assert main(["build", "nothing"]) == 2
    assert "nothing" in capsys.readouterr().err
