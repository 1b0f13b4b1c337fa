"""The demo's objects: they are valid, they fit together, and a customer's cluster with strict rules takes them."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode

import pytest

from e2e.cluster.errors import Refusal
from e2e.demo import scene, verify
from e2e.demo.kubectl import Kubectl
from e2e.demo.verify import Finding, report
from pilotage.api.v1alpha1.acceptancecheck import AcceptanceCheckSpec
from pilotage.api.v1alpha1.implementation import ImplementationSpec
from pilotage.api.v1alpha1.migrationjob import MigrationJobSpec, spec_problem


def specs(kind, model):
    return {
        found["metadata"]["name"]: model.model_validate(found["spec"])
        for found in scene.project()
        if found["kind"] == kind
    }


@pytest.fixture(scope="module")
def implementation():
    return specs("Implementation", ImplementationSpec)["erp"]


def test_each_module_is_pinned_to_the_chart_that_the_operator_is_given(implementation):
    charts = scene.chart_config_maps()
    for module in implementation.modules:
        archive = b64decode(charts[module.name]["binaryData"]["chart.tgz"])
        assert module.chart.config_map_ref.name == charts[module.name]["metadata"]["name"]
        assert module.chart.digest == f"sha256:{hashlib.sha256(archive).hexdigest()}"


def test_a_module_waits_for_exactly_the_checks_and_migrations_that_point_at_it(implementation):
    checks = specs("AcceptanceCheck", AcceptanceCheckSpec)
    migrations = specs("MigrationJob", MigrationJobSpec)
    for module in implementation.modules:
        pointing = {name for name, check in checks.items() if not check.modules or module.name in check.modules}
        assert set(module.checks) == pointing
        assert set(module.migrations) == {name for name, job in migrations.items() if job.module == module.name}


def test_the_migrations_contradict_nothing_in_themselves():
    for name, spec in specs("MigrationJob", MigrationJobSpec).items():
        assert spec_problem(spec) is None, name


def test_modules_that_change_the_database_share_one_mutex(implementation):
    assert {module.name for module in implementation.modules if module.mutex != "erp-database"} == {"portal"}


def test_there_are_at_least_three_waves_and_dependencies_lie_in_earlier_ones(implementation):
    waves = {module.name: module.wave for module in implementation.modules}
    assert len(set(waves.values())) >= 3
    for module in implementation.modules:
        assert all(waves[needed] < module.wave for needed in module.depends_on)


def test_every_pod_of_the_scene_satisfies_the_restricted_standard():
    for name in ("database.yaml", "legacy.yaml"):
        for found in scene.manifests(name):
            if template := found.get("spec", {}).get("template"):
                assert_restricted(template["spec"])


def assert_restricted(pod):
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        rules = container["securityContext"]
        assert rules["readOnlyRootFilesystem"]
        assert rules["allowPrivilegeEscalation"] is False
        assert rules["capabilities"] == {"drop": ["ALL"]}


def test_the_job_that_writes_the_files_is_named_after_its_generator(monkeypatch):
    before = scene.legacy_manifests()[1]["metadata"]["name"]
    monkeypatch.setattr(scene, "generator_digest", lambda: "f00dfeed0")
    job = scene.legacy_manifests()[1]
    assert before != job["metadata"]["name"] == "legacy-export-f00dfeed"
    assert "--generator=f00dfeed" in job["spec"]["template"]["spec"]["containers"][0]["command"]


def test_no_file_of_the_scene_holds_a_password():
    for path in scene.MANIFESTS.glob("*.yaml"):
        assert "kind: Secret\n" not in path.read_text(encoding="utf-8")


class Cluster(Kubectl):
    """kubectl whose answers are given; what is applied is kept."""

    def __init__(self, objects):
        self.objects, self.applied = objects, []

    def find(self, kind, name):
        return self.objects.get((kind, name))

    def apply(self, manifests):
        self.applied += manifests

    def run(self, *arguments, given=None):
        return "the log\n"


def test_passwords_are_made_once_and_stay():
    fresh = Cluster({})
    scene.ensure_secrets(fresh)
    assert {found["metadata"]["name"] for found in fresh.applied} == {"erp-db", "erp-administrator"}
    assert len({found["stringData"]["password"] for found in fresh.applied}) == 2
    prepared = Cluster({("secret", found["metadata"]["name"]): found for found in fresh.applied})
    scene.ensure_secrets(prepared)
    assert prepared.applied == []


def test_a_job_that_failed_is_told_with_its_log_and_not_waited_for():
    job = {"metadata": {"name": "export"}}
    failed = {**job, "status": {"conditions": [{"type": "Failed", "status": "True"}]}}
    with pytest.raises(Refusal, match=r"Job export failed\.\nthe log"):
        Cluster({("job", "export"): failed}).complete_job(job, seconds=600)


def test_a_job_that_is_complete_is_left_alone():
    job = {"metadata": {"name": "export"}}
    complete = {**job, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    cluster = Cluster({("job", "export"): complete})
    cluster.complete_job(job, seconds=0)
    assert cluster.applied == []


def test_a_finding_that_differs_is_shown_with_what_was_expected(capsys):
    assert report([Finding("companies", 1, 1)])
    assert not report([Finding("companies", 1, 1), Finding("parties", 20_000, 19_999)])
    assert "✗ parties: 19999, expected 20000" in capsys.readouterr().out


class Migrations(Cluster):
    """A cluster whose migrations report counts."""

    def run(self, *arguments, given=None):
        return json.dumps({"items": list(self.objects.values())})


def test_one_row_too_few_is_a_wrong_finding():
    truth = verify.planted(verify.make_export(4_000))
    counts = {key: truth["expected"]["customers"][key] for key in verify.COUNTED}
    status = {"phase": "Succeeded", "objects": [{"name": "customers", **counts, "loaded": counts["loaded"] - 1}]}
    cluster = Migrations({("migrationjobs.pilotage.dev", "parties"): {"status": status}})
    findings = {found.question: found.right for found in verify.migration_findings(cluster, truth)}
    assert findings == {"rows of customers": False, "migration parties": True, "migration materials": False}
