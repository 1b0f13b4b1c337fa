"""S08, S17, S19, S20, S23, S25, S28: objects that the API server refuses before the operator ever sees them."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.attacks.conftest import OPERATOR, TENANT

pytestmark = pytest.mark.light

PROJECT: dict[str, Any] = {
    "apiVersion": "pilotage.dev/v1alpha1",
    "kind": "Implementation",
    "metadata": {"name": "erp", "namespace": TENANT},
    "spec": {
        "customer": {"code": "huasheng", "name": "华升商贸"},
        "connections": [{"name": "db", "type": "postgresql", "secretRef": {"name": "db"}}],
        "modules": [{"name": "core", "chart": {"configMapRef": {"name": "core"}}}],
    },
}
MIGRATION: dict[str, Any] = {
    "apiVersion": "pilotage.dev/v1alpha1",
    "kind": "MigrationJob",
    "metadata": {"name": "parties", "namespace": TENANT},
    "spec": {
        "implementationRef": {"name": "erp"},
        "module": "core",
        "source": {"volume": {"claimName": "legacy"}},
        "target": {"connection": "db"},
        "objects": [
            {
                "name": "c",
                "from": {"file": "a.csv"},
                "to": "party",
                "key": ["code"],
                "fields": [{"to": "code", "from": "A"}],
            }
        ],
    },
}
CHECK: dict[str, Any] = {
    "apiVersion": "pilotage.dev/v1alpha1",
    "kind": "AcceptanceCheck",
    "metadata": {"name": "smoke", "namespace": TENANT},
    "spec": {
        "implementationRef": {"name": "erp"},
        "gate": "ConfigurationReady",
        "metrics": [{"name": "up", "source": {"http": {"service": "web", "port": 80}}, "target": {"atLeast": "1"}}],
    },
}


def changed(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The object with another value at a dotted path."""
    result = copy.deepcopy(body)
    *way, last = (int(part) if part.isdigit() else part for part in path.split("."))
    place: Any = result
    for part in way:
        place = place.setdefault(part, {}) if isinstance(place, dict) else place[part]
    place[last] = value
    return result


@pytest.mark.parametrize("body", [PROJECT, MIGRATION, CHECK], ids=lambda body: body["kind"])
def test_what_the_attacks_begin_with_is_taken(ground, body):
    finished = ground.apply(body)
    assert finished.returncode == 0, finished.stderr


def is_refused(ground, body: dict[str, Any], path: str, value: Any) -> None:
    finished = ground.apply(changed(body, path, value))
    assert finished.returncode != 0, finished.stdout
    words = (
        "nvalid",
        "unknown field",
        "not declared",
        "Unsupported value",
        "must",
        "spec.",
        "too long",
        "forbidden",
        "converting",
    )
    assert any(word in finished.stderr for word in words), finished.stderr


ACCOUNTS = [
    "",
    None,
    "../kube-system/x",
    "kube-system/default",
    "kube-system:default",
    "system:masters",
    "system:admin",
    "Default",
    "default ",
    " default",
    "default\n",
    "dеfault",
    "a,b",
    "a" * 254,
    "-a",
    "a_b",
    "*",
    "%2e%2e",
    "default\u0000",
    7,
    ["a"],
    {"name": "a"},
]


@pytest.mark.parametrize("account", ACCOUNTS, ids=ascii)
def test_s19_an_account_that_is_none_of_the_namespace_is_refused(ground, account):
    if account is None:
        # A null is refused or means the default, which the binding names.
        finished = ground.apply(changed(PROJECT, "spec.serviceAccountName", None), "-o", "json")
        assert finished.returncode or json.loads(finished.stdout)["spec"]["serviceAccountName"] == "pilotage-deployer"
        return
    is_refused(ground, PROJECT, "spec.serviceAccountName", account)


ELSEWHERE = [
    (PROJECT, "spec.connections.0.secretRef.namespace"),
    (PROJECT, "spec.modules.0.chart.configMapRef.namespace"),
    (PROJECT, "spec.modules.0.namespace"),
    (PROJECT, "spec.modules.0.targetNamespace"),
    (PROJECT, "spec.targetNamespace"),
    (PROJECT, "spec.namespace"),
    (MIGRATION, "spec.implementationRef.namespace"),
    (MIGRATION, "spec.source.volume.namespace"),
    (MIGRATION, "spec.target.namespace"),
    (CHECK, "spec.implementationRef.namespace"),
    (CHECK, "spec.metrics.0.source.http.namespace"),
]


@pytest.mark.parametrize(("body", "path"), ELSEWHERE, ids=[path for _, path in ELSEWHERE])
def test_s20_no_reference_names_a_namespace(ground, body, path):
    is_refused(ground, body, path, "stranger")


DEEP = [
    (PROJECT, "spec.connections.0.secretRef.name"),
    (PROJECT, "spec.modules.0.chart.configMapRef.name"),
    (MIGRATION, "spec.implementationRef.name"),
    (CHECK, "spec.implementationRef.name"),
    (CHECK, "spec.metrics.0.source.http.service"),
]


@pytest.mark.parametrize(("body", "path"), DEEP, ids=[path for _, path in DEEP])
@pytest.mark.parametrize("name", ["../stranger/db", "stranger/db", "a?b=c", "a#b", "A", "a b", "."])
def test_s20_no_name_leads_elsewhere(ground, body, path, name):
    is_refused(ground, body, path, name)


@pytest.mark.parametrize(
    ("body", "path", "value"),
    [
        (PROJECT, "spec.modules.0.wave", 0),
        (PROJECT, "spec.modules.0.wave", 101),
        (PROJECT, "spec.modules.0.wave", 2**63),
        (PROJECT, "spec.modules.0.wave", 1.5),
        (PROJECT, "spec.rollout.maxParallel", 0),
        (PROJECT, "spec.rollout.maxParallel", 10**6),
        (PROJECT, "spec.modules.0.timeout", "9999999999h"),
        (PROJECT, "spec.modules.0.timeout", "-1m"),
        (PROJECT, "spec.modules.0.timeout", "1h" * 20),
        (PROJECT, "spec.environment.expects.cpu", "1e999"),
        (PROJECT, "spec.environment.expects.memory", "9" * 40),
        (PROJECT, "spec.environment.expects.kubernetes", ">=9.9"),
        (PROJECT, "spec.modules", []),
        (PROJECT, "spec.modules.0.title", "x" * 201),
        (PROJECT, "spec.customer.code", "a" * 64),
        (PROJECT, "spec.modules", [{"name": f"m{n}", "chart": {"configMapRef": {"name": "a"}}} for n in range(101)]),
        (PROJECT, "spec.modules.0.outputs", [{"name": "a", "value": "x" * 4097}]),
        (PROJECT, "spec.modules.0.config", [{"key": "a..b"}]),
        (PROJECT, "spec.modules.0.config", [{"key": "../a"}]),
        (MIGRATION, "spec.parallelism", -1),
        (MIGRATION, "spec.parallelism", 10**6),
        (MIGRATION, "spec.parallelism", 0),
        (MIGRATION, "spec.deadline", "0x10"),
        (MIGRATION, "spec.resources.memory", "many"),
        (MIGRATION, "spec.errorBudget", {"rows": -1}),
        (MIGRATION, "spec.errorBudget", {"rows": 2**64}),
        (CHECK, "spec.metrics.0.minSamples", 0),
        (CHECK, "spec.metrics.0.minSamples", 10**9),
        (CHECK, "spec.metrics.0.interval", "10"),
        (CHECK, "spec.metrics.0.target.atLeast", "NaN"),
        (CHECK, "spec.metrics.0.target.atLeast", "1e9"),
        (CHECK, "spec.metrics.0.target.atLeast", "Infinity"),
        (CHECK, "spec.metrics.0.target.atLeast", "9" * 31),
        (CHECK, "spec.metrics", []),
        (CHECK, "spec.metrics.0.source.http.port", 0),
        (CHECK, "spec.metrics.0.source.http.port", 65536),
        (CHECK, "spec.metrics.0.source.http.expect", {"status": 999}),
        (CHECK, "spec.metrics.0.source.http.expect", {"body": "x" * 513}),
    ],
    ids=str,
)
def test_s08_a_number_or_length_beyond_its_bounds_is_refused(ground, body, path, value):
    is_refused(ground, body, path, value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.template", {"spec": {"hostNetwork": True}}),
        ("spec.podTemplate", {}),
        ("spec.image", "evil"),
        ("spec.command", ["sh"]),
        ("spec.env", [{"name": "LD_PRELOAD", "value": "/a"}]),
        ("spec.volumes", [{"hostPath": {"path": "/"}}]),
        ("spec.source", {"hostPath": {"path": "/etc"}}),
        ("spec.source", {"secret": {"name": "a"}}),
        ("spec.resources.image", "evil"),
        ("spec.source", {"volume": {"claimName": "../x"}}),
        ("spec.source", {"volume": {"claimName": "a", "path": "../../etc"}}),
        ("spec.source", {"volume": {"claimName": "a", "path": "a/../../b"}}),
        ("spec.source", {"configMap": {"name": "a", "key": "../b"}}),
        ("spec.source", {"volume": {"claimName": "a"}, "configMap": {"name": "b"}}),
        ("spec.securityContext", {"privileged": True}),
        ("spec.serviceAccountName", "admin"),
        ("spec.priorityClassName", "system-node-critical"),
        ("spec.nodeName", "node"),
        ("spec.objects.0.from", {"file": "/etc/passwd"}),
    ],
    ids=str,
)
def test_s23_a_migration_names_no_image_command_path_or_pod(ground, path, value):
    is_refused(ground, MIGRATION, path, value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("url", "http://169.254.169.254/"),
        ("host", "localhost"),
        ("service", "web.stranger"),
        ("service", "127.0.0.1"),
        ("service", "[::1]"),
        ("service", "localhost:80"),
        ("service", "a@b"),
        ("service", "web.stranger.svc"),
        ("path", "http://169.254.169.254"),
        ("path", "a"),
        ("path", "@169.254.169.254"),
        ("path", "/a b"),
        ("path", "/a\r\nX: y"),
        ("path", "/a#b"),
        ("path", "/" + "a" * 1024),
        ("headers", {"Authorization": "Bearer x"}),
        ("method", "POST"),
        ("body", "x"),
        ("scheme", "file"),
        ("followRedirects", True),
        ("insecureSkipVerify", True),
        ("secretRef", {"name": "a"}),
    ],
    ids=str,
)
def test_s25_http_evidence_names_a_service_of_the_namespace_and_nothing_else(ground, path, value):
    is_refused(ground, CHECK, f"spec.metrics.0.source.http.{path}", value)


@pytest.mark.parametrize(
    "path", ["spec.objects.0.to", "spec.objects.0.fields.0.to", "spec.objects.0.key.0", "spec.target.schema"]
)
@pytest.mark.parametrize(
    "name",
    [
        'party"; drop table party; --',
        "party; drop table party",
        "a'b",
        "$$",
        "party\u0000",
        "",
        "a" * 64,
        "pg_catalog.pg_class",
        "a b",
    ],
)
def test_s28_a_table_or_column_is_a_plain_name(ground, path, name):
    is_refused(ground, MIGRATION, path, name)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("oci", "oci://a b"),
        ("oci", "http://a"),
        ("oci", "file:///etc"),
        ("repository", "file:///etc"),
        ("repository", "ftp://a"),
        ("repository", "gopher://a"),
        ("repository", "http://a b"),
        ("repository", "/etc"),
        ("name", "--debug x"),
        ("name", "../a"),
        ("version", "--post-renderer=x"),
        ("version", "$(id)"),
        ("digest", "sha256:1"),
        ("path", "/etc"),
        ("configMapRef", {"name": "--a"}),
    ],
    ids=str,
)
def test_s18_a_chart_has_no_address_of_another_scheme_and_no_flag_of_helm(ground, path, value):
    source = {"oci": {}, "repository": {"name": "a"}, "name": {"repository": "https://a"}}.get(
        path, {"configMapRef": {"name": "a"}}
    )
    is_refused(ground, PROJECT, "spec.modules.0.chart", {"version": "1.0.0"} | source | {path: value})


@pytest.mark.parametrize("name", ["--set=a=b", "a b", "A", "../a", "a.b", "-a", "a" * 54, ""])
def test_s17_a_release_has_a_plain_name(ground, name):
    is_refused(ground, PROJECT, "spec.modules.0.releaseName", name)


@pytest.mark.parametrize("size", [1 << 20, 3 << 20])
def test_s07_values_at_the_api_server_s_own_limit_are_its_refusal_or_stored(ground, size):
    finished = ground.apply(changed(PROJECT, "spec.values", {"a": "x" * size}))
    assert finished.returncode == 0 or "too large" in finished.stderr.lower() or "exceed" in finished.stderr.lower()


@pytest.mark.parametrize("body", [PROJECT, MIGRATION, CHECK], ids=lambda body: body["kind"])
def test_s21_whoever_edits_an_object_does_not_write_its_status(ground, body):
    ground.kubectl("-n", TENANT, "create", "rolebinding", "li", "--clusterrole=edit", "--user=li")
    plural = f"{body['kind'].lower()}s.pilotage.dev"
    assert not ground.may("li", "update", plural, "-n", TENANT, "--subresource=status")
    assert ground.may(OPERATOR, "update", plural, "-n", TENANT, "--subresource=status")
    forged = copy.deepcopy(body) | {"status": {"observedGeneration": 1, "phase": "Succeeded"}}
    forged["metadata"]["name"] = "forged"
    ground.done("create", "-f", "-", body=forged)
    stored = json.loads(ground.done("-n", TENANT, "get", plural, "forged", "-o", "json"))
    ground.done("-n", TENANT, "delete", plural, "forged", "--wait=false")
    assert stored.get("status", {}).get("observedGeneration", -1) == -1
    assert stored.get("status", {}).get("phase") != "Succeeded"


UNKNOWN = [
    (CHECK, "spec.metrics.0.source.prometheus", {"query": "up"}),
    (CHECK, "spec.metrics.0.source.http.prometheus", "up"),
    (PROJECT, "spec.documents", [{"name": "runbook"}]),
    (PROJECT, "spec.modules.0.postRenderer", "sh"),
    (PROJECT, "spec.modules.0.plugins", ["a"]),
]


@pytest.mark.parametrize(("body", "path", "value"), UNKNOWN, ids=[path for _, path, _ in UNKNOWN])
def test_s16_what_does_not_exist_is_refused_at_apply(ground, body, path, value):
    is_refused(ground, body, path, value)
