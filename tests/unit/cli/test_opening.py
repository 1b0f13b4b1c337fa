"""What a new customer's namespace and first project are made of."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pilotage.cli.__main__ import main
from pilotage.cli.decision import Refusal
from pilotage.cli.opening import parse_contact, parse_module


@pytest.mark.parametrize(
    ("text", "chart"),
    [
        ("core=oci://h:5000/charts/core:1.2.3", {"oci": "oci://h:5000/charts/core", "version": "1.2.3"}),
        ("core=https://h/charts#core:1.2.3", {"repository": "https://h/charts", "name": "core", "version": "1.2.3"}),
        ("core=configmap/chart-core", {"configMapRef": {"name": "chart-core"}}),
    ],
)
def test_a_chart_is_told_in_one_word(text: str, chart: dict[str, object]):
    assert parse_module(text).chart.model_dump(by_alias=True, exclude_none=True) == chart


def test_a_module_may_have_a_wave():
    assert (parse_module("sales@2=configmap/a").name, parse_module("sales@2=configmap/a").wave) == ("sales", 2)


@pytest.mark.parametrize("text", ["core", "core=", "Core=configmap/a", "core=oci://h/core", "core@0=configmap/a", "=x"])
def test_what_is_no_module_is_refused(text: str):
    with pytest.raises(Refusal, match="is no module"):
        parse_module(text)


@pytest.mark.parametrize("text", ["wang", "Boss:wang:王强", "CustomerLead:Wang:王强", "CustomerLead:wang:"])
def test_who_is_no_contact_is_refused(text: str):
    with pytest.raises(Refusal, match="is no contact"):
        parse_contact(text)


def written(tmp_path: Path, *words: str) -> list[dict[str, object]]:
    file = tmp_path / "new.yaml"
    with pytest.raises(SystemExit) as ended:
        main(["init", "huasheng", "--module", "core=configmap/core", *words, "-f", str(file)])
    assert ended.value.code == 0
    return list(yaml.safe_load_all(file.read_text()))


def test_the_objects_come_in_the_order_in_which_they_are_applied(tmp_path: Path):
    kinds = [body["kind"] for body in written(tmp_path, "--contact", "Engineer:chen:陈工:chen")]
    assert kinds == ["Namespace", "ServiceAccount", "RoleBinding", "RoleBinding", "RoleBinding", "Implementation"]


def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path):
    (tmp_path / "new.yaml").write_text("mine")
    with pytest.raises(SystemExit, match="stays as it is"):
        main(["init", "huasheng", "--module", "core=configmap/core", "-f", str(tmp_path / "new.yaml")])
    assert (tmp_path / "new.yaml").read_text() == "mine"


def test_a_project_without_a_module_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(SystemExit, match="needs a module"):
        main(["init", "huasheng"])
