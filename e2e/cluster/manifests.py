"""What the API server must hold before the node's services work: rights of CoreDNS."""

from __future__ import annotations

from pathlib import Path

import yaml

from e2e.cluster.places import CONFIGURATION

DNS_USER = "system:coredns"


def write_dns_manifests() -> Path:
    path = CONFIGURATION / "coredns.yaml"
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": DNS_USER},
        "rules": [
            {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": DNS_USER},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": DNS_USER},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": DNS_USER}],
    }
    path.write_text(yaml.safe_dump_all([role, binding], sort_keys=False))
    return path
