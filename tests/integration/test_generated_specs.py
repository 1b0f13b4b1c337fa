"""Every field of every kind changed in many ways: what the API server takes, the models and the operator can bear."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from e2e.cluster.light import LightCluster
from e2e.cluster.places import BINARIES, REPOSITORY
from e2e.cluster.probe import wait_until
from pilotage.api.crd import KINDS, Kind
from tests.support.mutations import Mutation, mutations

pytestmark = [pytest.mark.light, pytest.mark.timeout(600)]

LEAST_FOR_A_FIELD = 3
REFUSED = re.compile(r'error when creating ".*?m(\d{4})\.json": (.*)')


def kubectl(kubeconfig: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(BINARIES / "kubectl"), f"--kubeconfig={kubeconfig}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory):
    with LightCluster(tmp_path_factory.mktemp("generated"), audit=False) as cluster:
        applied = kubectl(cluster.kubeconfig, "apply", "--server-side", "-f", str(REPOSITORY / "crds"))
        assert applied.returncode == 0, applied.stderr
        assert wait_until(
            lambda: all(kubectl(cluster.kubeconfig, "get", kind.plural).returncode == 0 for kind in KINDS), 60
        )
        yield cluster.kubeconfig


def the_example(kind: Kind) -> dict[str, Any]:
    file = REPOSITORY / "manifests" / "examples" / f"{kind.kind.lower()}.yaml"
    body: dict[str, Any] = next(iter(yaml.safe_load_all(file.read_text())))
    body["metadata"] = {"name": body["metadata"]["name"], "namespace": "default"}
    return body


def the_schema(kind: Kind) -> Mapping[str, Any]:
    document = yaml.safe_load((REPOSITORY / "crds" / kind.file_name).read_text())
    found: Mapping[str, Any] = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


def fields_of(node: Mapping[str, Any], path: str = "") -> set[str]:
    found = {path} if path else set()
    for name, child in node.get("properties", {}).items():
        found |= fields_of(child, f"{path}.{name}")
    return found | (fields_of(node["items"], f"{path}[]") if "items" in node else set())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_field_is_changed_and_what_the_server_takes_the_model_takes_too(kubeconfig, tmp_path, kind):
    body = the_example(kind)
    changes = list(mutations(the_schema(kind), body["spec"]))
    seen = Counter(change.field for change in changes)
    assert {field for field in fields_of(the_schema(kind)) if seen[field] < LEAST_FOR_A_FIELD} == set()
    for number, change in enumerate(changes):
        name = body["metadata"] | {"name": f"m{number:04d}"}
        (tmp_path / f"m{number:04d}.json").write_text(
            json.dumps({**body, "metadata": name, "spec": change.of(body["spec"])})
        )
    answer = kubectl(kubeconfig, "create", "--dry-run=server", "--validate=strict", "-o", "json", "-f", str(tmp_path))
    refused = {int(number): words for number, words in REFUSED.findall(answer.stderr)}
    # kubectl prints one object after the other; a brace in the first column ends each.
    stored = [json.loads(text + "}") for text in answer.stdout.split("\n}\n") if text.strip()]
    accepted = {int(item["metadata"]["name"][1:]): item["spec"] for item in stored}
    assert refused.keys() | accepted.keys() == set(range(len(changes))), answer.stderr[-2000:]
    assert min(len(accepted), len(refused)) > 30
    unnamed = {str(changes[number]): words for number, words in refused.items() if not names(changes[number], words)}
    assert unnamed == {}
    unborne = {str(changes[number]): error for number, spec in accepted.items() if (error := model_refuses(kind, spec))}
    assert unborne == {}


def names(change: Mutation, words: str) -> bool:
    """Whether the refusal tells the person which field is meant: it, or the one that it stands in."""
    return any(part in words for part in change.field.replace("[]", "").split(".")[-3:])


def model_refuses(kind: Kind, stored: Mapping[str, Any]) -> str:
    try:
        kind.spec.model_validate(stored)
    except ValidationError as error:
        return str(error)
    return ""
