from __future__ import annotations

from pathlib import Path

import pytest

from e2e.cluster import build as building
from e2e.cluster import packages, programs
from e2e.cluster.build import require_built, stale_programs
from e2e.cluster.errors import Refusal
from e2e.cluster.programs import LIGHT, Program, all_programs
from e2e.cluster.toolchain import go_environment, is_new_enough


@pytest.fixture
def program(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "GO_MODULES", tmp_path / "go")
    monkeypatch.setattr(programs, "BINARIES", tmp_path / "bin")
    monkeypatch.setattr(building, "STAMPS", tmp_path / "stamps")
    folder = tmp_path / "go" / "tool"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module x\n")
    (folder / "go.sum").write_text("")
    return Program("tool", "example.org/tool", "tool")


def built(program: Program) -> None:
    program.binary.parent.mkdir(exist_ok=True)
    program.binary.write_text("binary")
    stamp = building.STAMPS / program.name
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(program.stamp())


def test_a_missing_program_is_built(program):
    assert stale_programs([program]) == [program]


def test_a_built_program_is_left_alone(program):
    built(program)
    assert stale_programs([program]) == []


def test_another_version_is_built_again(program):
    built(program)
    (program.folder / "go.mod").write_text("module x\nrequire y v2\n")
    assert stale_programs([program]) == [program]


def test_every_program_has_a_locked_module_file():
    for program in all_programs():
        assert (program.folder / "go.mod").is_file(), program
        assert (program.folder / "go.sum").is_file(), program


def test_the_light_clusters_programs_come_first():
    names = [program.name for program in all_programs()]
    assert set(names[: len(LIGHT)]) == LIGHT


def test_kubernetes_is_told_its_version():
    flags = next(program for program in all_programs() if program.name == "kubelet").linker_flags()
    assert "gitVersion=v1.37." in flags
    assert "gitMajor=1 " in flags
    assert flags.endswith("gitMinor=37")


def test_a_program_that_is_not_built_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(programs, "BINARIES", tmp_path)
    with pytest.raises(Refusal, match=r"etcd.*cluster build"):
        require_built(["etcd"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("go version go1.26.8 linux/amd64", True),
        ("go version go1.27rc1 linux/amd64", True),
        ("go version go2.0 linux/amd64", True),
        ("go version go1.19.8 linux/amd64", False),
        ("", False),
    ],
)
def test_an_old_compiler_is_not_taken(text, expected):
    assert is_new_enough(text) is expected


def test_the_users_mirror_is_honoured(monkeypatch):
    monkeypatch.setenv("GOPROXY", "https://mirror.example")
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    environment = go_environment()
    assert (environment["GOPROXY"], environment["GOFLAGS"]) == ("https://mirror.example", "-mod=mod")


def test_a_program_on_the_path_needs_no_package():
    assert packages.missing_packages({"sh": "dash"}) == []


def test_a_missing_program_names_its_package():
    assert packages.missing_packages({"no-such-program": "some-package"}) == ["some-package"]


def test_without_root_the_packages_are_named(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(Refusal, match="some-package"):
        packages.install_packages({"no-such-program": "some-package"})


def test_installed_services_do_not_start(tmp_path):
    policy = tmp_path / "policy-rc.d"
    with packages.services_kept_from_starting(policy):
        assert "exit 101" in policy.read_text()
    assert not policy.exists()


def test_somebody_elses_policy_stays(tmp_path):
    policy: Path = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")
    with packages.services_kept_from_starting(policy):
        assert "exit 0" in policy.read_text()
    assert "exit 0" in policy.read_text()
