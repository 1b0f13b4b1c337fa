"""What people see of projects."""

from __future__ import annotations

import io
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.places import REPOSITORY
from pilotage import cli
from pilotage.cli.__main__ import main
from pilotage.cli.decision import Refusal
from pilotage.cli.files import exported
from pilotage.cli.show import Project, age, console, duties, overview, tree
from pilotage.cli.words import _WORDS, ENGLISH, Language
from pilotage.plan.conditions import timestamp
from tests.support.builders import NOW, a_module, an_implementation
from tests.unit.cli.test_decision import gate

SINCE = timestamp(NOW - timedelta(hours=3))


def project(**status: Any) -> Project:
    modules = [
        {"name": "core", "wave": 1, "state": "Live", "since": SINCE},
        {"name": "sales", "wave": 2, "state": "Failed", "since": SINCE, "message": "\x1b[2J the pod\ndoes not start"},
    ]
    action = {"who": "王强", "what": "decide on gate GoLiveApproved of wave 2", "due": timestamp(NOW)}
    reported = {
        "observedGeneration": 1,
        "phase": "Configuring",
        "wave": 2,
        "live": "1/2",
        "waitingOn": "wave 2",
        "modules": modules,
        "gates": [gate(wave=2, message="waits for the sign-off of CustomerLead", overdue=True)],
        "nextActions": [action],
    }
    body = an_implementation(a_module("core"), a_module("sales"), status=reported | status)
    migration = {
        "metadata": {"name": "customers"},
        "status": {"phase": "Loading", "progress": {"chunksDone": 3, "chunksTotal": 12, "eta": "2026-11-23T09:00:00Z"}},
    }
    check = {"metadata": {"name": "load"}, "spec": {"gate": "StableRunComplete"}, "status": {"clock": "12m/30m"}}
    return Project(body, [migration], [check])


def shown(found: Any) -> str:
    stream = io.StringIO()
    console(stream).print(found)
    return stream.getvalue()


def test_a_tree_has_modules_by_wave_with_progress_gates_and_who_must_act():
    text = shown(tree(project(), NOW, Language("en")))
    assert "huasheng/erp  华升商贸  Configuring  wave 2 of 2  1/2 modules live" in text
    assert text.index("─ wave 1") < text.index("core") < text.index("─ wave 2") < text.index("sales")
    assert re.search(r"core +Live +3h", text)
    assert "3 of 12 chunks  done about 2026-11-23T09:00:00Z" in text
    assert re.search(r"load +Pending +StableRunComplete +12m/30m", text)
    assert re.search(r"GoLiveApproved of wave 2 +Open +0s +digest 5891b5b522d5 +overdue: waits for the sign-off", text)
    assert "王强: decide on gate GoLiveApproved of wave 2" in text


def test_the_steps_of_a_cutover_are_shown_with_their_minutes_until_it_is_done():
    steps = [
        {"name": "freeze", "state": "Done", "plannedMinutes": 15, "actualMinutes": 9},
        {"name": "backup", "state": "Running", "plannedMinutes": 20, "message": "Job backup-1 is at work"},
    ]
    record = {"state": "Running", "startedAt": "2026-11-23T07:00:00Z", "plannedMinutes": 35, "steps": steps}
    module = {"name": "core", "wave": 1, "state": "CuttingOver", "since": "2026-11-23T07:00:00Z"}
    text = shown(tree(project(modules=[module | {"cutover": record}]), NOW, Language("en")))
    assert "freeze  Done" in text
    assert "9/15 minutes" in text
    assert "Job backup-1 is at work" in text
    done = record | {"state": "Done"}
    assert "9/15 minutes" not in shown(tree(project(modules=[module | {"cutover": done}]), NOW, Language("en")))


def test_what_an_object_says_never_reaches_the_terminal_as_a_control_sequence():
    text = shown(tree(project(), NOW, Language("en")))
    assert "\x1b" not in text
    assert r"\x1b[2J the pod\ndoes not start" in text


def test_the_tree_speaks_chinese():
    text = shown(tree(project(), NOW, Language("zh-CN")))
    assert "批次 2/2" in text
    assert "下一步" in text


def test_an_overview_has_a_line_for_each_project():
    text = shown(overview([project(), Project(an_implementation(a_module("core")))], Language("en")))
    assert len(text.strip().splitlines()) == 3


def test_a_project_that_nobody_has_looked_at_yet_is_shown_too():
    assert "huasheng/erp" in shown(tree(Project(an_implementation(a_module("core"))), NOW, Language("en")))


def test_duties_name_the_cluster():
    found = project()
    assert "huasheng:huasheng/erp" in shown(
        duties([("huasheng", found, found.status.next_actions[0])], NOW, Language("en"))
    )


@pytest.mark.parametrize(("back", "text"), [(5, "5s"), (65, "1m"), (7300, "2h"), (3 * 86400, "3d"), (-5, "0s")])
def test_an_age_is_in_its_largest_unit(back: int, text: str):
    assert age(timestamp(NOW - timedelta(seconds=back)), NOW) == text


def test_every_word_is_translated_and_used():
    files = [path for path in Path(cli.__file__).parent.glob("*.py") if path.name != "words.py"]
    source = "".join(path.read_text() for path in files)
    said = set(re.findall(r"""say\(\s*["']([^"']+)["']""", source))
    assert said <= set(_WORDS)
    assert set(ENGLISH) <= set(_WORDS)
    assert [word for word in _WORDS if f'"{word}"' not in source and f"'{word}'" not in source] == []


def test_a_plan_is_told_by_its_files_alone(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    files = [str(file) for file in sorted((REPOSITORY / "e2e/demo/manifests").glob("*.yaml"))]
    with pytest.raises(SystemExit) as ended:
        main(["plan", *files, "--language", "en"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "install module finance as release" in shown
    assert "accepted in the end" in shown


def simulated(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[str | int | None, str]:
    files = [str(file) for file in sorted((REPOSITORY / "e2e/demo/manifests").glob("*.yaml"))]
    with pytest.raises(SystemExit) as ended:
        main(["simulate", *files, "--start", "2026-12-01", *options])
    return ended.value.code, capsys.readouterr().out


def test_a_simulation_draws_the_course_and_tells_the_date(capsys: pytest.CaptureFixture[str]):
    code, text = simulated(capsys, "--fail", "install:finance")
    assert code == 0
    assert re.search(r"^finance +ccc?x+c", text, re.MULTILINE)
    assert re.search(r"^Engineer +1 +0\.2", text, re.MULTILINE)
    assert text.splitlines()[-1].strip() == "accepted on 2026-12-01, 0 days after the beginning"


def test_a_simulation_for_machines_has_lanes_waits_events_and_its_assumptions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assumed = tmp_path / "assume.yaml"
    assumed.write_text("install: 1d\nworkingTime: {begins: 8, holidays: [2026-12-24]}")
    found = json.loads(simulated(capsys, "--assume", str(assumed), "-o", "json")[1])
    assert found["begins"] == "2026-12-01T00:00:00Z"
    core = next(lane for lane in found["lanes"] if lane["name"] == "core")
    assert core["spans"][0] == {"state": "Configuring", "begins": found["begins"], "ends": "2026-12-02T00:00:00Z"}
    assert found["assumptions"]["workingTime"]["holidays"] == ["2026-12-24"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("instal: 1d", "instal: Extra inputs are not permitted"),
        ("workingTime: {timeZone: Shanghai}", "'Shanghai' is no time zone"),
        ("workingTime: {begins: 9, ends: 9}", "it has no hours"),
        ("migrations: {orders: 3h}", "there is no MigrationJob orders; there are materials, parties"),
    ],
)
def test_an_assumption_that_means_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, text: str
):
    assumed = tmp_path / "assume.yaml"
    assumed.write_text(content)
    assert text in str(simulated(capsys, "--assume", str(assumed))[0])


def test_a_plan_of_a_bad_manifest_names_the_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "bad.yaml"
    file.write_text("{kind: Implementation, metadata: {name: a}, spec: {customer: {code: A}, modules: [{name: x}]}}")
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(file)])
    assert "spec.customer.name: Field required" in str(ended.value.code)
    assert "spec.modules.0.chart: Field required" in str(ended.value.code)
    assert capsys.readouterr().out == ""


def test_a_file_of_exported_projects_is_read(tmp_path: Path):
    file = tmp_path / "huasheng.yaml"
    file.write_text("kind: List\nitems:\n- {kind: Implementation, metadata: {name: a}}\n- {kind: Secret}\n")
    assert [body["metadata"]["name"] for body in exported(file)] == ["a"]


@pytest.mark.parametrize("text", ["", "a: [", "kind: Secret"])
def test_a_file_without_a_project_is_refused_with_the_command_that_writes_one(tmp_path: Path, text: str):
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(Refusal, match=str(file)):
        exported(file)
