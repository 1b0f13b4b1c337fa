from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.errors import Refusal
from e2e.demo import run
from e2e.demo.kubectl import Kubectl
from e2e.demo.live import Project


class ScriptedKubectl(Kubectl):
    """A kubectl whose answers to `get` are given beforehand, one for each call; the last one stays."""

    def __init__(self, *answers: list[dict[str, Any]] | Refusal) -> None:
        super().__init__(Path("kubeconfig"), "huasheng")
        self.answers = answers
        self.asked: Iterator[int] = iter(range(1000))

    def run(self, *arguments: str, given: str | None = None) -> str:
        assert arguments[0] == "get"
        assert given is None
        answer = self.answers[min(next(self.asked), len(self.answers) - 1)]
        if isinstance(answer, Refusal):
            raise answer
        return json.dumps({"items": answer})


def an_implementation(phase: str, *states: str, name: str = "erp", **status: Any) -> dict[str, Any]:
    modules = [{"name": f"m{number}", "wave": 1, "state": state} for number, state in enumerate(states)]
    return {
        "kind": "Implementation",
        "metadata": {"name": name, "generation": 1},
        "status": {"phase": phase, "observedGeneration": 1, "modules": modules, **status},
    }


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LOOK_EVERY", 0.0)


def test_the_objects_of_the_project_are_told_apart_by_kind_and_name() -> None:
    migration = {"kind": "MigrationJob", "metadata": {"name": "parties"}}
    check = {"kind": "AcceptanceCheck", "metadata": {"name": "erp"}}
    mine = an_implementation("Closed", "Accepted")
    other = an_implementation("Planning", "Pending", name="other")
    found = run.read_project(ScriptedKubectl([other, check, mine, migration]))
    assert found == Project(mine, [migration], [check])


def test_the_project_is_watched_through_an_absence_of_the_api_server() -> None:
    kubectl = ScriptedKubectl(
        [an_implementation("Configuring", "Configuring")],
        Refusal("connection refused"),
        Refusal("connection refused"),
        [an_implementation("Closed", "Accepted")],
    )
    assert run.watch(kubectl, None).closed


def test_an_api_server_that_stays_away_ends_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "ANSWER_WITHIN", 0.0)
    with pytest.raises(Refusal, match="connection refused"):
        run.watch(ScriptedKubectl(Refusal("connection refused")), None)


def test_a_project_that_stays_stalled_is_given_up_and_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "STALLED_FOR", 0.0)
    stalled = {"type": "Stalled", "status": "True", "reason": "AccountMissing", "message": "there is no account"}
    project = run.watch(ScriptedKubectl([an_implementation("Planning", "Pending", conditions=[stalled])]), None)
    assert run.fail(Path("kubeconfig"), project) == 1
    assert "AccountMissing: there is no account" in capsys.readouterr().err


def test_without_a_terminal_each_transition_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    same = [an_implementation("Configuring", "Configuring", "Pending")]
    run.watch(ScriptedKubectl(same, same, same, [an_implementation("Closed", "Accepted", "Accepted")]), None)
    lines = [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "phase: new → Configuring",
        "module m0: new → Configuring",
        "module m1: new → Pending",
        "phase: Configuring → Closed",
        "module m0: Configuring → Accepted",
        "module m1: Pending → Accepted",
    ]


def test_the_picture_is_the_look_that_shows_most(tmp_path: Path) -> None:
    picture = tmp_path / "demo.svg"
    looks = (("Live", "Migrating", "Pending"), ("Accepted", "Accepted", "Accepted"))
    run.watch(
        ScriptedKubectl([an_implementation("Configuring", *looks[0])], [an_implementation("Closed", *looks[1])]),
        picture,
    )
    drawn = picture.read_text(encoding="utf-8")
    assert "Migrating" in drawn
    assert "Accepted" not in drawn
