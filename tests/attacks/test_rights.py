"""S24: the operator's rights are those that its work was seen to need, and no more."""

from __future__ import annotations

import pytest

from e2e.cluster.places import REPOSITORY
from tests.attacks.conftest import OPERATOR, TENANT
from tests.attacks.rights import operator_rules, rights_table


def test_s24_the_page_shows_the_rules_of_the_chart_with_their_reasons():
    assert rights_table() in (REPOSITORY / "docs/security.md").read_text()
    assert all(rule.reason for rule in operator_rules())


@pytest.mark.parametrize("rule", operator_rules(), ids=lambda rule: f"{rule.resources[0]} {'/'.join(rule.verbs)}")
def test_s24_no_rule_holds_a_key_to_other_rights(rule):
    assert not {"*", "escalate", "bind", "impersonate", "delete", "deletecollection", "proxy"} & set(rule.verbs)
    assert "*" not in {*rule.groups, *rule.resources, *rule.names}
    assert not {"pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers", "nodes/proxy"} & set(
        rule.resources
    )
    assert not {"rbac.authorization.k8s.io", "admissionregistration.k8s.io", "certificates.k8s.io"} & set(rule.groups)
    if "secrets" in rule.resources:
        assert rule.scope == "its own namespace"
        assert set(rule.verbs) == {"create"} or (rule.names and set(rule.verbs) == {"get"})


@pytest.mark.light
@pytest.mark.parametrize(
    ("verb", "resource", "where"),
    [
        ("list", "secrets", ["-A"]),
        ("get", "secrets", ["-n", TENANT]),
        ("list", "secrets", ["-n", "pilotage-system"]),
        ("watch", "secrets", ["-n", "kube-system"]),
        ("create", "pods", ["-n", TENANT]),
        ("create", "pods", ["-n", TENANT, "--subresource=exec"]),
        ("create", "serviceaccounts", ["-n", TENANT, "--subresource=token"]),
        ("create", "clusterrolebindings.rbac.authorization.k8s.io", []),
        ("create", "rolebindings.rbac.authorization.k8s.io", ["-n", TENANT]),
        ("escalate", "clusterroles.rbac.authorization.k8s.io", []),
        ("bind", "clusterroles.rbac.authorization.k8s.io", []),
        ("impersonate", "users", []),
        ("impersonate", "groups", []),
        ("impersonate", "serviceaccounts", ["-n", "kube-system"]),
        ("impersonate", "serviceaccounts/default", ["-n", TENANT]),
        ("impersonate", "serviceaccounts/pilotage", ["-n", "pilotage-system"]),
        ("get", "nodes", ["--subresource=proxy"]),
        ("patch", "nodes", []),
        ("update", "customresourcedefinitions.apiextensions.k8s.io", []),
        ("delete", "namespaces", []),
        ("approve", "certificatesigningrequests.certificates.k8s.io", []),
        ("delete", "implementations.pilotage.dev", ["-n", TENANT]),
        ("create", "implementations.pilotage.dev", ["-n", TENANT]),
        ("get", "configmaps", ["-n", TENANT]),
    ],
    ids=str,
)
def test_s24_what_the_operator_may_not_do(ground, verb, resource, where):
    assert not ground.may(OPERATOR, verb, resource, *where)
