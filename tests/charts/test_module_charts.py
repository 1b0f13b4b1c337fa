"""The module charts as helm renders them from the archives that a customer's namespace gets."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.charts import MODULES, digest, package
from e2e.cluster.places import BINARIES

pytestmark = pytest.mark.light

TRYTON_MODULES = tuple(name for name in MODULES if name != "portal")


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("charts")
    for name in MODULES:
        (folder / f"{name}.tgz").write_bytes(package(name))
    return folder


def helm(archives: Path, name: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(BINARIES / "helm"), "template", f"erp-{name}", str(archives / f"{name}.tgz"), "--values", "-"]
    return subprocess.run(command, input=json.dumps(values or {}), capture_output=True, text=True, check=False)


def rendered(archives: Path, name: str, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    finished = helm(archives, name, values)
    assert finished.returncode == 0, finished.stderr
    return [manifest for manifest in yaml.safe_load_all(finished.stdout) if manifest]


def of_kind(manifests: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def pods(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [manifest["spec"]["template"] for manifest in manifests if "template" in manifest.get("spec", {})]


@pytest.mark.parametrize("name", MODULES)
def test_an_archive_is_the_same_each_time(name):
    assert digest(package(name)) == digest(package(name))


@pytest.mark.parametrize("name", MODULES)
def test_every_pod_satisfies_the_restricted_standard_and_writes_to_tmp_alone(archives, name):
    for pod in pods(rendered(archives, name)):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"]["cpu"].endswith("m")
            written = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
            assert written == ["/tmp"]


@pytest.mark.parametrize("name", MODULES)
def test_annotations_and_labels_are_texts(archives, name):
    for pod in pods(rendered(archives, name)):
        metadata = pod["metadata"]
        values = [*metadata["labels"].values(), *metadata.get("annotations", {}).values()]
        assert all(isinstance(value, str) for value in values)


@pytest.mark.parametrize("name", TRYTON_MODULES)
def test_a_checksum_of_digits_alone_stays_a_text(archives, name):
    """The sha256 of purchasing's modules began with sixteen digits once, and the API server refused the number."""
    text = helm(archives, name).stdout
    checksums = [line.split(": ", 1)[1] for line in text.splitlines() if line.strip().startswith("checksum/")]
    assert checksums
    assert all(checksum.startswith('"') for checksum in checksums)


def test_a_changed_configuration_makes_a_new_job_and_leaves_the_server_running(archives):
    before = rendered(archives, "core", {"organisation": {"company": "甲有限公司", "code": "A"}})
    after = rendered(archives, "core", {"organisation": {"company": "乙有限公司", "code": "A"}})
    assert of_kind(before, "Job")[0]["metadata"]["name"] != of_kind(after, "Job")[0]["metadata"]["name"]
    assert of_kind(before, "Deployment") == of_kind(after, "Deployment")


def test_an_unchanged_chart_renders_the_same_job(archives):
    assert of_kind(rendered(archives, "finance"), "Job") == of_kind(rendered(archives, "finance"), "Job")


def test_the_configuration_reaches_the_jobs_settings(archives):
    departments = [{"name": "财务部", "head": "李敏"}, {"name": "信息部"}]
    manifests = rendered(archives, "core", {"organisation": {"departments": departments, "company": "甲", "code": "A"}})
    (settings,) = (manifest for manifest in of_kind(manifests, "ConfigMap") if "settings.json" in manifest["data"])
    organisation = json.loads(settings["data"]["settings.json"])["organisation"]
    assert organisation["departments"] == departments
    assert organisation["company"] == "甲"


def test_the_chart_of_accounts_names_its_own_default_accounts(archives):
    manifests = rendered(archives, "finance")
    accounting = json.loads(of_kind(manifests, "ConfigMap")[0]["data"]["settings.json"])["accounting"]
    types = {account["code"]: account["type"] for account in accounting["accounts"]}
    assert types[accounting["receivable"]] == "Receivable"
    assert types[accounting["payable"]] == "Payable"
    assert len(types) == len(accounting["accounts"])


@pytest.mark.parametrize(
    ("name", "values", "complaint"),
    [
        ("core", {"organisation": {"company": ""}}, "company"),
        ("core", {"organisation": {"departments": [{"head": "李敏"}]}}, "name"),
        ("finance", {"accounting": {"standard": "IFRS"}}, "standard"),
        ("finance", {"accounting": {"accounts": [{"code": "1001", "name": "库存现金", "type": "Cash"}]}}, "type"),
        ("inventory", {"modules": []}, "modules"),
        ("portal", {"replicas": 0}, "replicas"),
        ("sales", {"unknown": True}, "unknown"),
    ],
)
def test_values_outside_the_schema_are_refused_with_their_path(archives, name, values, complaint):
    finished = helm(archives, name, values)
    assert finished.returncode != 0
    assert complaint in finished.stderr
