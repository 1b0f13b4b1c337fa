"""Who did what to the cluster: the audit policy of the API server."""

from __future__ import annotations

from pathlib import Path

import yaml

COMPONENTS = [
    "system:apiserver",
    "system:kube-controller-manager",
    "system:kube-scheduler",
    "system:kube-proxy",
    "system:coredns",
]


def write_audit_policy(path: Path) -> Path:
    """Every request by its metadata (user, impersonated user, verb, object, answer), once, when it is answered.

    The cluster's own components watching and renewing their leases are left out: they would bury the rest.
    """
    document = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/openapi/*", "/version"]},
            {"level": "None", "users": COMPONENTS, "verbs": ["get", "list", "watch"]},
            {"level": "None", "userGroups": ["system:nodes"], "verbs": ["get", "list", "watch"]},
            {
                "level": "None",
                "userGroups": ["system:nodes"],
                "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}],
            },
            {
                "level": "None",
                "users": COMPONENTS,
                "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}],
            },
            {"level": "Metadata"},
        ],
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path
