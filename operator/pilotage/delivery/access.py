"""The kubeconfig that a helm process is given: the API server as this operator knows it, as a tenant's account."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

IN_CLUSTER_TOKEN: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


@dataclass(frozen=True)
class ApiAccess:
    """Where the API server is and how this operator identifies itself there. Files by path, so that they may rotate."""

    server: str
    certificate_authority: str
    token_file: str = ""
    client_certificate: str = ""
    client_key: str = ""

    @staticmethod
    def of(configuration: Any) -> ApiAccess:
        """The access that the client library's configuration stands for."""
        in_cluster = IN_CLUSTER_TOKEN.exists() and not configuration.cert_file
        return ApiAccess(
            server=configuration.host,
            certificate_authority=configuration.ssl_ca_cert or "",
            token_file=str(IN_CLUSTER_TOKEN) if in_cluster else "",
            client_certificate=configuration.cert_file or "",
            client_key=configuration.key_file or "",
        )


def kubeconfig(access: ApiAccess, namespace: str, account: str) -> str:
    """A kubeconfig that acts as `account`. Raises ValueError without one: helm would act as the operator."""
    if not account.startswith(f"system:serviceaccount:{namespace}:") or account.endswith(":"):
        msg = f"{account!r} is not a service account of namespace {namespace}"
        raise ValueError(msg)
    user: dict[str, str] = {"as": account}
    if access.token_file:
        user["tokenFile"] = access.token_file
    if access.client_certificate:
        user |= {"client-certificate": access.client_certificate, "client-key": access.client_key}
    cluster = {"server": access.server, "certificate-authority": access.certificate_authority}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": "tenant", "user": user}],
        "contexts": [{"name": "tenant", "context": {"cluster": "cluster", "user": "tenant", "namespace": namespace}}],
        "current-context": "tenant",
    }
    return json.dumps(document)
