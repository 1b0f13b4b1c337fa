"""The bridge that pods and node share, how pods get on it, and how they find names."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from e2e.cluster.errors import Refusal
from e2e.cluster.places import (
    BINARIES,
    BRIDGE,
    CLUSTER_DOMAIN,
    CNI_NETWORK,
    CONFIGURATION,
    NODE_ADDRESS,
    POD_NETWORK,
    RUN,
)

CNI_CONFIGURATION = CONFIGURATION / "cni"
POD_RESOLVER = CONFIGURATION / "resolv.conf"
COREFILE = CONFIGURATION / "Corefile"


def make_bridge() -> None:
    """Make the bridge with the node's address on it, if it is not there, and let the machine forward packets."""
    if not Path(f"/sys/class/net/{BRIDGE}").exists():
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{NODE_ADDRESS}/24", "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")


def require_free_network() -> None:
    """Raise Refusal when another interface already has the pods' network."""
    prefix = POD_NETWORK.rsplit(".", 1)[0]
    answer = subprocess.run(["ip", "-o", "-4", "addr"], capture_output=True, text=True, check=False).stdout
    for line in answer.splitlines():
        interface, address = line.split()[1], line.split()[3]
        if interface != BRIDGE and address.startswith(f"{prefix}."):
            raise Refusal(
                f"Interface {interface} has {address}, in the pods' network {POD_NETWORK}: another cluster or network "
                "is there. End it, or use CLUSTER=kind.",
            )


def write_network_configuration() -> None:
    """Write the CNI plugins' configuration, the pods' resolv.conf and CoreDNS's Corefile."""
    CNI_CONFIGURATION.mkdir(parents=True, exist_ok=True)
    (CNI_CONFIGURATION / "10-pilotage.conflist").write_text(json.dumps(_cni_plugins(), indent=1))
    POD_RESOLVER.write_text(f"nameserver {NODE_ADDRESS}\n")


def write_corefile(kubeconfig: Path) -> Path:
    """Service names from the API server, every other name from this machine's own name servers, if it has any."""
    forward = "    forward . /etc/resolv.conf\n    cache 30\n" if _machine_has_name_servers() else ""
    COREFILE.write_text(
        f".:53 {{\n    bind {NODE_ADDRESS}\n    errors\n"
        f"    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{\n"
        f"        kubeconfig {kubeconfig}\n        pods insecure\n        ttl 5\n"
        f"        fallthrough in-addr.arpa ip6.arpa\n    }}\n{forward}}}\n",
    )
    return COREFILE


def dns_command() -> list[str]:
    return [str(BINARIES / "coredns"), "-conf", str(COREFILE)]


def _cni_plugins() -> dict[str, object]:
    return {
        "cniVersion": "1.0.0",
        "name": CNI_NETWORK,
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isGateway": True,
                "ipMasq": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(RUN / "addresses"),
                    "ranges": [[{"subnet": POD_NETWORK, "gateway": NODE_ADDRESS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _machine_has_name_servers() -> bool:
    try:
        return re.search(r"^\s*nameserver\s", Path("/etc/resolv.conf").read_text(), re.MULTILINE) is not None
    except OSError:
        return False


def _ip(*arguments: str) -> None:
    finished = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise Refusal(f"`ip {' '.join(arguments)}` failed: {finished.stderr.strip()}")
