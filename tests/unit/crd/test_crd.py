from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pilotage.api import crd
from pilotage.api.crd import KINDS, Kind, build_crd, drift, main
from pilotage.api.structural import NotStructuralError
from pilotage.api.v1alpha1.common import ApiModel

REPOSITORY = Path(__file__).parents[3]


def only_version(kind: Kind) -> dict[str, Any]:
    (version,) = build_crd(kind)["spec"]["versions"]
    return version


def kind_of(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.kind == name)


def test_the_committed_files_are_what_the_models_say():
    assert drift(REPOSITORY / "crds") == []


def test_the_chart_ships_the_same_files():
    shipped = REPOSITORY / "charts/pilotage/files/crds"
    assert shipped.resolve() == REPOSITORY / "crds"


def test_the_page_of_the_implementation_shows_the_example_as_it_is():
    example = (REPOSITORY / "manifests/examples/implementation.yaml").read_text(encoding="utf-8")
    page = (REPOSITORY / "docs/implementation.md").read_text(encoding="utf-8")
    assert f"```yaml\n{example}```" in page


def test_the_kinds_with_short_names_in_one_category():
    names = {crd["spec"]["names"]["kind"]: crd["spec"]["names"] for crd in map(build_crd, KINDS)}
    assert {kind: entry["shortNames"] for kind, entry in names.items()} == {
        "Implementation": ["impl"],
        "MigrationJob": ["mj"],
        "AcceptanceCheck": ["ac"],
        "SignOff": ["sgn"],
        "Attestation": ["att"],
    }
    assert all(entry["categories"] == ["pilotage"] for entry in names.values())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.status], ids=lambda kind: kind.kind)
def test_a_fresh_object_is_never_taken_for_an_observed_one(kind):
    version = only_version(kind)
    assert version["subresources"] == {"status": {}}
    assert version["schema"]["openAPIV3Schema"]["properties"]["status"]["default"] == {"observedGeneration": -1}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_uninstalling_the_operator_keeps_the_kind(kind):
    assert build_crd(kind)["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_column_leads_to_a_field_of_its_type(kind):
    root = only_version(kind)["schema"]["openAPIV3Schema"]
    for _name, type_, path in kind.columns:
        if path.startswith(".metadata"):
            continue
        field = root
        for step in path.partition("[?")[0].strip(".").split("."):
            field = field["properties"][step]
        assert field["type"] == ("array" if "[?" in path else type_), path


def test_the_columns_of_an_implementation():
    assert [name for name, _type, _path in kind_of("Implementation").columns] == [
        "Customer",
        "Phase",
        "Wave",
        "Live",
        "Waiting-On",
        "Issues",
        "Ready",
        "Age",
    ]


@pytest.mark.parametrize("name", ["MigrationJob", "AcceptanceCheck"])
def test_children_are_selected_by_their_implementation(name):
    assert only_version(kind_of(name))["selectableFields"] == [{"jsonPath": ".spec.implementationRef.name"}]


def test_a_model_without_bounds_gets_no_crd():
    class Boundless(ApiModel):
        text: str

    kind = kind_of("MigrationJob")
    with pytest.raises(NotStructuralError, match=r"Boundless\.text: a string without maxLength"):
        build_crd(Kind(kind.kind, kind.plural, "x", "", Boundless, kind.status, ()))


class TestCommand:
    def test_writes_what_check_then_accepts(self, tmp_path):
        assert main([str(tmp_path / "crds")]) == 0
        assert main(["--check", str(tmp_path / "crds")]) == 0
        assert len(list((tmp_path / "crds").iterdir())) == len(KINDS)

    def test_check_names_the_files_that_differ(self, tmp_path, capsys):
        main([str(tmp_path)])
        (tmp_path / "pilotage.dev_migrationjobs.yaml").write_text("{}")
        (tmp_path / "pilotage.dev_gone.yaml").write_text("{}")
        assert main(["--check", str(tmp_path)]) == 1
        assert "pilotage.dev_gone.yaml, pilotage.dev_migrationjobs.yaml; run `make crds`" in capsys.readouterr().err

    def test_a_broken_model_is_told_and_nothing_is_written(self, tmp_path, capsys, monkeypatch):
        class Boundless(ApiModel):
            text: str

        kind = kind_of("MigrationJob")
        broken = Kind(kind.kind, kind.plural, "x", "", Boundless, kind.status, ())
        monkeypatch.setattr(crd, "KINDS", (broken,))
        assert main([str(tmp_path)]) == 1
        assert "without maxLength" in capsys.readouterr().err
        assert not list(tmp_path.iterdir())


def test_no_file_has_anchors_or_lists_that_yaml_reads_differently():
    for kind in KINDS:
        text = crd.crd_yaml(kind)
        assert yaml.safe_load(text) == build_crd(kind)
        assert "&id" not in text
