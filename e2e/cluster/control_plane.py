"""The command lines of etcd, the API server and the controller manager, the same for both forms of the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.certificates import Authority, KeyPair, write_token_key
from e2e.cluster.kubeconfig import write_kubeconfig
from e2e.cluster.places import API_SERVICE_ADDRESS, BINARIES, CLUSTER_DOMAIN, SERVICE_NETWORK

API_SERVER_NAMES = (
    "localhost",
    "127.0.0.1",
    API_SERVICE_ADDRESS,
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{CLUSTER_DOMAIN}",
)


@dataclass(frozen=True)
class ControlPlane:
    """Files and addresses of one control plane; `make` writes the files, the methods say how its parts are started.

    `etcd_socket` must be a short path: the kernel takes 107 bytes.
    """

    directory: Path
    etcd_data: Path
    etcd_socket: Path
    address: str
    port: int
    authority: KeyPair
    server: KeyPair
    token_key: Path
    admin_kubeconfig: Path
    controller_kubeconfig: Path
    audit_policy: Path | None
    audit_log: Path | None

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.port}"

    def etcd_command(self) -> list[str]:
        endpoint = f"unix://{self.etcd_socket}"
        peer = f"unix://{self.etcd_socket}.peer"
        return [
            str(BINARIES / "etcd"),
            f"--data-dir={self.etcd_data}",
            f"--listen-client-urls={endpoint}",
            f"--advertise-client-urls={endpoint}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--auto-compaction-retention=5m",
            "--quota-backend-bytes=4294967296",
            "--log-level=warn",
        ]

    def api_server_command(self) -> list[str]:
        command = [
            str(BINARIES / "kube-apiserver"),
            f"--etcd-servers=unix://{self.etcd_socket}",
            f"--bind-address={self.address}",
            *self._advertisement(),
            f"--secure-port={self.port}",
            f"--tls-cert-file={self.server.certificate}",
            f"--tls-private-key-file={self.server.key}",
            f"--client-ca-file={self.authority.certificate}",
            f"--kubelet-certificate-authority={self.authority.certificate}",
            f"--kubelet-client-certificate={self.server.certificate}",
            f"--kubelet-client-key={self.server.key}",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
            "--allow-privileged=true",
            "--anonymous-auth=true",
            f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
            f"--service-account-signing-key-file={self.token_key}",
            f"--service-account-key-file={self.token_key}",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            "--profiling=false",
        ]
        if self.audit_policy is not None and self.audit_log is not None:
            command += [
                f"--audit-policy-file={self.audit_policy}",
                f"--audit-log-path={self.audit_log}",
                "--audit-log-format=json",
                "--audit-log-maxsize=1000",
            ]
        return command

    def _advertisement(self) -> list[str]:
        # The Service `kubernetes` may not point at a loopback address: pods could not follow it.
        if self.address == "127.0.0.1":
            return ["--endpoint-reconciler-type=none"]
        return [f"--advertise-address={self.address}"]

    def controller_manager_command(self, *, secure_port: int = 0) -> list[str]:
        """`secure_port` 0 serves no health or metrics endpoint."""
        return [
            str(BINARIES / "kube-controller-manager"),
            f"--kubeconfig={self.controller_kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={secure_port}",
            f"--service-account-private-key-file={self.token_key}",
            f"--root-ca-file={self.authority.certificate}",
            f"--cluster-signing-cert-file={self.authority.certificate}",
            f"--cluster-signing-key-file={self.authority.key}",
            "--use-service-account-credentials=true",
            # At the default 20 requests a second the controllers alone need 7 seconds to start.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            "--leader-elect=false",
            "--profiling=false",
        ]


def make_control_plane(
    directory: Path,
    authority: Authority,
    *,
    etcd_data: Path,
    etcd_socket: Path,
    address: str,
    port: int,
    admin_kubeconfig: Path,
    audit_policy: Path | None,
    audit_log: Path | None,
) -> ControlPlane:
    """Write certificates, keys and kubeconfigs of a control plane below `directory`."""
    token_key = directory / "certificates" / "tokens.key"
    write_token_key(token_key)
    server = authority.server(
        "kube-apiserver",
        "kube-apiserver",
        [*API_SERVER_NAMES, address],
        group="system:masters",
    )
    admin = authority.client("admin", "kubernetes-admin", ["system:masters"])
    controller = authority.client("kube-controller-manager", "system:kube-controller-manager")
    url = f"https://{address}:{port}"
    return ControlPlane(
        directory=directory,
        etcd_data=etcd_data,
        etcd_socket=etcd_socket,
        address=address,
        port=port,
        authority=authority.files,
        server=server,
        token_key=token_key,
        admin_kubeconfig=write_kubeconfig(admin_kubeconfig, url, authority.files.certificate, admin),
        controller_kubeconfig=write_kubeconfig(
            directory / "kube-controller-manager.kubeconfig", url, authority.files.certificate, controller
        ),
        audit_policy=audit_policy,
        audit_log=audit_log,
    )
