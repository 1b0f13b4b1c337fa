"""The parts of the embedded cluster: their files, their command lines, and the order in which they start."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from e2e.cluster.audit import write_audit_policy
from e2e.cluster.certificates import Authority
from e2e.cluster.control_plane import make_control_plane
from e2e.cluster.kubeconfig import write_kubeconfig
from e2e.cluster.manifests import DNS_USER, write_dns_manifests
from e2e.cluster.network import dns_command, write_corefile, write_network_configuration
from e2e.cluster.node import (
    containerd_command,
    kubelet_command,
    proxy_command,
    scheduler_command,
    write_containerd_configuration,
    write_kubelet_configuration,
    write_proxy_configuration,
)
from e2e.cluster.places import (
    ADMIN_KUBECONFIG,
    API_PORT,
    AUDIT_LOG,
    BINARIES,
    CERTIFICATES,
    CONFIGURATION,
    CONTAINERD_ROOT,
    ETCD_DATA,
    ETCD_SOCKET,
    KUBELET_ROOT,
    LOGS,
    NODE_ADDRESS,
    NODE_NAME,
    RUN,
    STATE,
    VOLUMES,
)
from e2e.cluster.storage import provisioner_command, write_storage_configuration

CONTROLLER_PORT = 10257
# In the order in which they start; the first three need nobody.
NAMES = (
    "etcd",
    "containerd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
    "local-path-provisioner",
)
# Address and port of everything that listens, for a clear word when somebody else is there.
LISTENERS = (
    (NODE_ADDRESS, API_PORT, "kube-apiserver"),
    ("127.0.0.1", CONTROLLER_PORT, "kube-controller-manager"),
    ("127.0.0.1", 10259, "kube-scheduler"),
    (NODE_ADDRESS, 10250, "kubelet"),
    ("127.0.0.1", 10248, "kubelet"),
    ("127.0.0.1", 10249, "kube-proxy"),
    ("127.0.0.1", 10256, "kube-proxy"),
    (NODE_ADDRESS, 53, "coredns"),
)


@dataclass(frozen=True)
class Parts:
    """Command line of every part, and the manifests to apply once the API server is ready."""

    commands: Mapping[str, list[str]]
    manifests: list[Path]
    environment: Mapping[str, str] = field(
        # containerd finds its shim, and the plugins find iptables, by PATH.
        default_factory=lambda: {"PATH": f"{BINARIES}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
    )


def make_parts() -> Parts:
    """Write certificates and configuration of a new cluster, in place of those of an earlier one."""
    shutil.rmtree(STATE, ignore_errors=True)
    for directory in (CONFIGURATION, LOGS, CONTAINERD_ROOT, KUBELET_ROOT, VOLUMES, RUN):
        directory.mkdir(parents=True, exist_ok=True)
    authority = Authority(CERTIFICATES)
    plane = make_control_plane(
        STATE,
        authority,
        etcd_data=ETCD_DATA,
        etcd_socket=ETCD_SOCKET,
        address=NODE_ADDRESS,
        port=API_PORT,
        admin_kubeconfig=ADMIN_KUBECONFIG,
        audit_policy=write_audit_policy(CONFIGURATION / "audit-policy.yaml"),
        audit_log=AUDIT_LOG,
    )

    def kubeconfig(part: str, user: str, *groups: str) -> Path:
        client = authority.client(part, user, groups)
        return write_kubeconfig(CONFIGURATION / f"{part}.kubeconfig", plane.url, authority.files.certificate, client)

    kubelet = kubeconfig("kubelet", f"system:node:{NODE_NAME}", "system:nodes")
    kubelet_server = authority.server("kubelet-server", NODE_NAME, [NODE_NAME, NODE_ADDRESS])
    write_network_configuration()
    write_containerd_configuration()
    write_kubelet_configuration(authority.files.certificate, kubelet_server)
    write_proxy_configuration(kubeconfig("kube-proxy", "system:kube-proxy"))
    write_corefile(kubeconfig("coredns", DNS_USER))
    return Parts(
        commands={
            "etcd": plane.etcd_command(),
            "containerd": containerd_command(),
            "kube-apiserver": plane.api_server_command(),
            "kube-controller-manager": plane.controller_manager_command(secure_port=CONTROLLER_PORT),
            "kube-scheduler": scheduler_command(kubeconfig("kube-scheduler", "system:kube-scheduler")),
            "kubelet": kubelet_command(kubelet),
            "kube-proxy": proxy_command(),
            "coredns": dns_command(),
            "local-path-provisioner": provisioner_command(
                kubeconfig("local-path-provisioner", "system:local-path-provisioner", "system:masters"),
            ),
        },
        manifests=[write_storage_configuration(), write_dns_manifests()],
    )
