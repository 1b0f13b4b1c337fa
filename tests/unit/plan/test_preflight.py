"""The preflight names each thing that is missing, with the remedy; what it cannot measure never passes."""

from __future__ import annotations

from typing import Any

import pytest

from pilotage.api.v1alpha1.implementation import AssessmentCheck, AssessmentResult, EnvironmentExpectations
from pilotage.plan.preflight import ConnectionProbe, EnvironmentFacts, allows, assess

EVERYTHING = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
USER = "system:serviceaccount:huasheng:pilotage-deployer"


def node(cpu: str = "4", memory: str = "8Gi") -> dict[str, Any]:
    return {"status": {"allocatable": {"cpu": cpu, "memory": memory}}}


def deployment(cpu: str = "500m", memory: str = "1Gi", replicas: int = 1) -> dict[str, Any]:
    container = {"name": "web", "resources": {"requests": {"cpu": cpu, "memory": memory}}}
    return {"kind": "Deployment", "spec": {"replicas": replicas, "template": {"spec": {"containers": [container]}}}}


def checks(expects: dict[str, Any] | None = None, **fields: Any) -> dict[str, AssessmentCheck]:
    values: dict[str, Any] = {
        "version": "v1.37.2",
        "nodes": [node()],
        "storage_classes": ["standard"],
        "rules": EVERYTHING,
        "manifests": [deployment()],
    }
    facts = EnvironmentFacts(**(values | fields))
    return {found.name: found for found in assess(EnvironmentExpectations.model_validate(expects or {}), facts, USER)}


def failed(found: dict[str, AssessmentCheck]) -> list[str]:
    assert all(check.remedy for check in found.values() if check.result is AssessmentResult.FAIL)
    return [name for name, check in found.items() if check.result is not AssessmentResult.PASS]


def test_a_cluster_that_offers_everything_passes() -> None:
    found = checks()
    assert list(found) == ["kubernetes-version", "cpu", "memory", "storage-class", "permissions"]
    assert failed(found) == []


@pytest.mark.parametrize(
    ("version", "expects", "passes"),
    [
        ("v1.37.2", None, True),
        ("v1.33.0", None, True),
        ("v1.32.9", None, False),
        ("v1.9.0", None, False),
        ("v1.34.1+k3s1", ">=1.34", True),
        ("v1.34.1", ">=1.35", False),
        ("v1.32.0", ">=1.20", False),
        ("v2.0.0", ">=1.35", True),
        ("nonsense", None, False),
    ],
)
def test_versions_are_compared_as_numbers_and_never_below_the_minimum(
    version: str, expects: str | None, *, passes: bool
) -> None:
    found = checks({"kubernetes": expects} if expects else None, version=version)
    assert (failed(found) == []) is passes


@pytest.mark.parametrize(
    ("fields", "expects", "missing"),
    [
        ({"nodes": [node(cpu="1")], "manifests": [deployment("600m", replicas=2)]}, {}, ["cpu"]),
        ({"nodes": [node(cpu="600m"), node(cpu="600m")], "manifests": [deployment("600m", replicas=2)]}, {}, []),
        ({"nodes": [node(memory="1023Mi")]}, {}, ["memory"]),
        ({"nodes": [node(memory="1Gi")]}, {}, []),
        ({}, {"memory": "9Gi"}, ["memory"]),
        ({}, {"cpu": "4001m"}, ["cpu"]),
        ({"nodes": []}, {}, ["cpu", "memory"]),
        ({}, {"storageClass": "fast"}, ["storage-class"]),
        ({}, {"storageClass": "standard"}, []),
    ],
)
def test_capacity_and_storage_must_be_there(
    fields: dict[str, Any], expects: dict[str, Any], missing: list[str]
) -> None:
    assert failed(checks(expects, **fields)) == missing


def test_storage_classes_that_the_charts_name_must_be_there_too() -> None:
    claim = {"kind": "PersistentVolumeClaim", "spec": {"storageClassName": "fast"}}
    stateful = {"kind": "StatefulSet", "spec": {"volumeClaimTemplates": [{"spec": {"storageClassName": "slow"}}]}}
    found = checks(manifests=[claim, stateful])["storage-class"]
    assert found.result is AssessmentResult.FAIL
    assert "fast, slow" in found.message


def test_each_missing_right_is_named_by_verb_and_resource() -> None:
    rules = [
        {"verbs": ["get", "list", "create", "delete"], "apiGroups": [""], "resources": ["secrets"]},
        {"verbs": ["*"], "apiGroups": [""], "resources": ["configmaps", "pods", "pods/log"]},
        {"verbs": ["get", "create", "delete"], "apiGroups": ["batch"], "resources": ["jobs"]},
        {"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments"]},
    ]
    message = checks(rules=rules)["permissions"].message
    assert message == (
        f"{USER} may not: update secrets, create deployments.apps, patch deployments.apps, delete deployments.apps"
    )


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ({"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments"]}, True),
        ({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, True),
        ({"verbs": ["list"], "apiGroups": ["apps"], "resources": ["deployments"]}, False),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["deployments"]}, False),
        ({"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments/scale"]}, False),
        ({"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["web"]}, False),
        ({"verbs": ["get"]}, False),
    ],
)
def test_a_rule_allows_only_what_it_says_of_all_objects(rule: dict[str, Any], *, allowed: bool) -> None:
    assert allows([rule], "get", "apps", "deployments") is allowed


@pytest.mark.parametrize(
    ("reachable", "result"),
    [(True, AssessmentResult.PASS), (False, AssessmentResult.FAIL), (None, AssessmentResult.UNKNOWN)],
)
def test_a_connection_passes_only_when_it_was_reached(reachable: bool | None, result: AssessmentResult) -> None:
    found = checks(probes=[ConnectionProbe("erp", reachable, "said so")])
    assert found["connection-erp"].result is result
