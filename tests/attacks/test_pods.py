"""Every pod that we run, or have run, is one that Pod Security `restricted` lets in, on a real API server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.places import REPOSITORY
from pilotage.api.v1alpha1.implementation import Connection
from pilotage.api.v1alpha1.migrationjob import MigrationJobSpec
from pilotage.evidence.probe_job import build_probe_job
from pilotage.plan.migration_facts import RUN_STAGES, Stage, identify
from pilotage.reconcile.migration_manifests import stage_job
from pilotage.reconcile.settings import Settings
from tests.attacks.conftest import TENANT
from tests.attacks.test_schema import CHECK, MIGRATION

pytestmark = pytest.mark.light

LIVE = Connection.model_validate({"name": "db", "type": "postgresql", "secretRef": {"name": "db"}})
SOURCES: dict[str, Any] = {
    "volume": {"volume": {"claimName": "legacy", "path": "a/b"}},
    "configMap": {"configMap": {"name": "a", "key": "b.csv"}},
}


def stages() -> dict[str, dict[str, Any]]:
    jobs = {}
    for name, source in SOURCES.items():
        body = {**MIGRATION, "spec": MIGRATION["spec"] | {"source": source}}
        body["metadata"] = body["metadata"] | {"uid": "u", "generation": 1}
        spec = MigrationJobSpec.model_validate(body["spec"])
        for stage in (*RUN_STAGES, Stage.ROLLBACK):
            for live in (None, LIVE):
                jobs[f"{stage} from {'a database' if live else name}"] = stage_job(
                    body, spec, stage, identify(body, ""), secret="db", live=live, retry_at="", settings=Settings()
                )
    return jobs


def pods(ground) -> dict[str, dict[str, Any]]:
    rendered = ground.helm(
        "template", "pilotage", str(REPOSITORY / "charts/pilotage"), "--namespace", "pilotage-system"
    )
    assert rendered.returncode == 0, rendered.stderr
    owner = CHECK | {"metadata": CHECK["metadata"] | {"uid": "u"}}
    made = stages() | {
        "probe": build_probe_job(name="a", namespace=TENANT, owner=owner, secret="db", image="i", probe={}, labels={}),
        "operator": next(
            found for found in yaml.safe_load_all(rendered.stdout) if found and found["kind"] == "Deployment"
        ),
    }
    return {name: found["spec"]["template"]["spec"] for name, found in made.items()}


@pytest.mark.parametrize("name", ["operator", "probe", *stages()])
def test_s23_a_pod_of_ours_is_let_in_by_pod_security_restricted(ground, name):
    spec = pods(ground)[name]
    spec.pop("serviceAccountName", None)
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": TENANT}, "spec": spec}
    tried = ground.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", body=body)
    assert tried.returncode == 0, tried.stderr


@pytest.mark.parametrize("name", ["operator", "probe", *stages()])
def test_s23_it_writes_nowhere_but_to_its_scratch_and_carries_a_token_only_where_it_needs_one(ground, name):
    spec = pods(ground)[name]
    for container in spec["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["resources"]["limits"]["memory"]
        writable = {mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        scratch = {volume["name"] for volume in spec["volumes"] if volume.get("emptyDir", {}).get("sizeLimit")}
        assert writable <= scratch
    assert spec["automountServiceAccountToken"] is (name == "operator")
    assert not {"hostPath", "projected", "secret"} & {kind for volume in spec["volumes"] for kind in volume}


@pytest.mark.parametrize(
    "change",
    [
        {"hostNetwork": True},
        {"hostPID": True},
        {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]},
        {"containers": [{"name": "a", "image": "a", "securityContext": {"privileged": True}}]},
        {"containers": [{"name": "a", "image": "a", "securityContext": {"runAsUser": 0}}]},
    ],
    ids=json.dumps,
)
def test_s15_a_namespace_that_enforces_restricted_lets_no_privileged_pod_of_a_chart_in(ground, change):
    spec = {"containers": [{"name": "a", "image": "a"}]} | change
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": TENANT}, "spec": spec}
    tried = ground.kubectl("create", "--dry-run=server", "-f", "-", body=body)
    assert "violates PodSecurity" in tried.stderr


def test_s23_no_manifest_of_ours_mounts_or_names_a_path_of_the_host():
    for file in Path(REPOSITORY / "charts/pilotage/templates").glob("*.yaml"):
        assert "hostPath" not in file.read_text()
