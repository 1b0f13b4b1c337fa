"""The preflight names each thing that is missing, with the remedy; what it cannot measure never passes."""

from __future__ import annotations

from typing import Any

import pytest

from pilotage.api.v1alpha1.implementation import (
    AssessmentCheck,
    AssessmentResult,
    DatabaseExpectations,
    EnvironmentExpectations,
)
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
    assert list(found) == [
        "kubernetes-version", "cpu", "memory", "storage-class", "ingress-class", "architecture", "quota",
        "pod-security", "permissions",
    ]  # fmt: skip
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


def of_arch(name: str) -> dict[str, Any]:
    return {"status": {"allocatable": {"cpu": "4", "memory": "8Gi"}, "nodeInfo": {"architecture": name}}}


def a_quota(**hard: str) -> dict[str, Any]:
    return {"metadata": {"name": "team"}, "spec": {"hard": hard}}


INGRESS = {"kind": "Ingress", "spec": {"ingressClassName": "nginx"}}
UNNAMED_CLAIM = {"kind": "PersistentVolumeClaim", "spec": {"resources": {}}}


@pytest.mark.parametrize(
    ("fields", "expects", "missing"),
    [
        ({"manifests": [INGRESS]}, {}, ["ingress-class"]),
        ({"manifests": [INGRESS], "ingress_classes": ["nginx"]}, {}, []),
        ({}, {"ingressClass": "traefik"}, ["ingress-class"]),
        ({"manifests": [UNNAMED_CLAIM], "default_storage_class": False}, {}, ["storage-class"]),
        ({"manifests": [UNNAMED_CLAIM]}, {}, []),
        ({"nodes": [of_arch("amd64"), of_arch("arm64")]}, {"arch": "amd64"}, ["architecture"]),
        ({"nodes": [of_arch("amd64")]}, {"arch": "amd64"}, []),
        ({"nodes": [of_arch("amd64"), of_arch("arm64")]}, {}, []),
        ({"quotas": [a_quota(**{"requests.cpu": "499m"})]}, {}, ["quota"]),
        ({"quotas": [a_quota(cpu="500m", memory="1Gi", pods="4")]}, {}, []),
        ({"quotas": [a_quota(memory="1023Mi")]}, {}, ["quota"]),
        ({"quotas": None}, {}, ["quota"]),
    ],
)
def test_what_the_cluster_and_the_namespace_lack(
    fields: dict[str, Any], expects: dict[str, Any], missing: list[str]
) -> None:
    assert failed(checks(expects, **fields)) == missing


def test_quotas_that_may_not_be_read_are_not_known_and_hold_nothing() -> None:
    quota = checks(quotas=None)["quota"]
    assert quota.result is AssessmentResult.UNKNOWN
    assert not quota.holds


def a_pod(**container: Any) -> dict[str, Any]:
    secure = {
        "allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    pod = container.pop("pod", {})
    context = secure | container.pop("securityContext", {})
    template = {"spec": {"containers": [{"name": "web", "securityContext": context, **container}], **pod}}
    return {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": template}}


@pytest.mark.parametrize(
    ("manifest", "baseline", "restricted"),
    [
        (a_pod(), "", ""),
        (a_pod(securityContext={"privileged": True}), "privileged", "privileged"),
        (a_pod(ports=[{"hostPort": 80}]), "hostPort", "hostPort"),
        (a_pod(pod={"hostNetwork": True}), "hostNetwork", "hostNetwork"),
        (a_pod(pod={"volumes": [{"name": "d", "hostPath": {"path": "/"}}]}), "hostPath volume", "volume type"),
        (a_pod(pod={"volumes": [{"name": "d", "nfs": {"server": "s"}}]}), "", "volume type"),
        (a_pod(securityContext={"allowPrivilegeEscalation": None}), "", "allowPrivilegeEscalation is not false"),
        (a_pod(securityContext={"runAsNonRoot": None}), "", "runAsNonRoot is not true"),
        (a_pod(securityContext={"runAsUser": 0}), "", "runAsUser is 0"),
        (a_pod(securityContext={"capabilities": {"drop": ["NET_RAW"]}}), "", "capabilities are not dropped"),
        (a_pod(securityContext={"seccompProfile": None}), "", "no seccompProfile"),
        (deployment(), "", "runAsNonRoot is not true"),
    ],
)
def test_pods_that_the_namespace_would_refuse_are_named_with_the_reason(
    manifest: dict[str, Any], baseline: str, restricted: str
) -> None:
    for level, reason in (("", ""), ("privileged", ""), ("baseline", baseline), ("restricted", restricted)):
        found = checks(manifests=[manifest], pod_security=level)["pod-security"]
        assert (found.result is AssessmentResult.FAIL) == bool(reason)
        assert reason in found.message


def test_each_failure_has_ways_out_of_the_closed_list_and_says_whether_it_can_be_waived() -> None:
    found = checks({"memory": "9Gi"}, version="v1.20.0", rules=[])
    assert [str(way) for way in found["memory"].remedies] == ["Resize", "ReduceScope", "HostInCloud"]
    assert {name for name, check in found.items() if check.strict} == {"kubernetes-version", "permissions"}
    assert all(check.remedies for check in found.values() if check.result is AssessmentResult.FAIL)


SERVER = {"version": "160003", "charset": "UTF8", "maxConnections": "100", "timeZone": "Asia/Shanghai"}


def database(expects: dict[str, Any], **settings: str) -> AssessmentCheck:
    wanted = DatabaseExpectations.model_validate(expects)
    probe = ConnectionProbe("erp", reachable=True, expects=wanted, settings=SERVER | settings)
    return checks(probes=[probe])["database-erp"]


def test_a_database_that_offers_what_is_expected_passes_and_says_what_it_is() -> None:
    found = database({"version": ">=16.3", "charset": "utf8", "maxConnections": 100})
    assert found.result is AssessmentResult.PASS
    assert found.message == "version 16.3, UTF8, 100 connections, time zone Asia/Shanghai"


@pytest.mark.parametrize(
    ("expects", "settings", "message", "remedy"),
    [
        ({"version": ">=17"}, {}, "version 16.3, wanted >=17", "UpgradeInStages"),
        ({"version": ">=16.4"}, {}, "version 16.3, wanted >=16.4", "UpgradeInStages"),
        ({"version": ">=9"}, {"version": "x" * 256}, "version 0.0, wanted >=9", "UpgradeInStages"),
        ({"version": ">=9"}, {"version": "9" * 256}, "version 0.0, wanted >=9", "UpgradeInStages"),
        ({"charset": "UTF8"}, {"charset": "SQL_ASCII"}, "character set SQL_ASCII, wanted UTF8", "CustomerAction"),
        ({"charset": "UTF8"}, {"charset": ""}, "character set not known, wanted UTF8", "CustomerAction"),
        ({"maxConnections": 101}, {}, "max_connections 100, wanted at least 101", "Resize"),
        ({"maxConnections": 1}, {"maxConnections": "many"}, "max_connections 0, wanted at least 1", "Resize"),
    ],
)
def test_a_database_that_falls_short_is_told_with_the_way_out(
    expects: dict[str, Any], settings: dict[str, str], message: str, remedy: str
) -> None:
    found = database(expects, **settings)
    assert found.result is AssessmentResult.FAIL
    assert not found.strict
    assert (found.message, found.remedies) == (message, [remedy])


def test_a_database_is_judged_only_once_it_answers() -> None:
    probe = ConnectionProbe("erp", reachable=False, message="no route", expects=DatabaseExpectations(version=">=15"))
    assert "database-erp" not in checks(probes=[probe])
