"""Where things lie.

What belongs to a checkout lies under its `build/`. What the kernel knows by name (mounts, sockets, the bridge) has
fixed places outside any checkout, so that a cluster can find and clear what a dead one of another checkout left.
"""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD = REPOSITORY / "build"
BINARIES = BUILD / "bin"
CNI_BINARIES = BINARIES / "cni"
STAMPS = BUILD / "stamps"
GO_MODULES = REPOSITORY / "e2e" / "go"

STATE = BUILD / "cluster"
CERTIFICATES = STATE / "certificates"
CONFIGURATION = STATE / "configuration"
LOGS = STATE / "logs"
ETCD_DATA = STATE / "etcd"
AUDIT_LOG = LOGS / "audit.log"
ADMIN_KUBECONFIG = STATE / "kubeconfig"

# One embedded cluster a machine: these names are the same for every checkout.
ROOT = Path("/var/lib/pilotage-cluster")
PROCESSES = ROOT / "processes"
OWNER = ROOT / "owner"
CONTAINERD_ROOT = ROOT / "containerd"
KUBELET_ROOT = ROOT / "kubelet"
POD_LOGS = ROOT / "pod-logs"
VOLUMES = ROOT / "volumes"
RUN = Path("/run/pilotage-cluster")
LOCK = Path("/run/pilotage-cluster.lock")
CONTAINERD_SOCKET = RUN / "containerd.sock"
ETCD_SOCKET = RUN / "etcd.sock"

BRIDGE = "pilotage0"
CNI_NETWORK = "pilotage"
NODE_ADDRESS = "10.244.0.1"
POD_NETWORK = "10.244.0.0/24"
SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
API_PORT = 6443
CLUSTER_DOMAIN = "cluster.local"
NODE_NAME = "pilotage"
