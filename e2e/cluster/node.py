"""Configuration and command lines of what makes this machine a node: containerd, kubelet, kube-proxy, scheduler."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from e2e.cluster.certificates import KeyPair
from e2e.cluster.errors import Refusal
from e2e.cluster.network import CNI_CONFIGURATION, POD_RESOLVER
from e2e.cluster.places import (
    BINARIES,
    CLUSTER_DOMAIN,
    CNI_BINARIES,
    CONFIGURATION,
    CONTAINERD_ROOT,
    CONTAINERD_SOCKET,
    KUBELET_ROOT,
    NODE_ADDRESS,
    NODE_NAME,
    POD_LOGS,
    POD_NETWORK,
    RUN,
)

PAUSE_IMAGE = "localhost/pilotage/pause:dev"
CONTAINERD_CONFIGURATION = CONFIGURATION / "containerd.toml"
KUBELET_CONFIGURATION = CONFIGURATION / "kubelet.yaml"
PROXY_CONFIGURATION = CONFIGURATION / "kube-proxy.yaml"


def write_containerd_configuration() -> None:
    runc = shutil.which("runc")
    if runc is None:
        raise Refusal("runc is missing; install the Debian package runc.")
    CONTAINERD_CONFIGURATION.write_text(f"""\
version = 3
root = "{CONTAINERD_ROOT}"
state = "{RUN}/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp"]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[ttrpc]
  address = "{CONTAINERD_SOCKET}.ttrpc"

[plugins."io.containerd.cri.v1.images"]
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{PAUSE_IMAGE}"

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{CNI_BINARIES}"]
    conf_dir = "{CNI_CONFIGURATION}"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = "{runc}"
        Root = "{RUN}/runc"
        SystemdCgroup = false
""")


def write_kubelet_configuration(authority: Path, server: KeyPair) -> None:
    document = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(server.certificate),
        "tlsPrivateKeyFile": str(server.key),
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(POD_RESOLVER),
        "podLogsDir": str(POD_LOGS),
        "volumePluginDir": str(KUBELET_ROOT / "volume-plugins"),
        "evictionHard": {"memory.available": "64Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        # Nothing can be pulled again here, so nothing may be thrown away.
        "imageGCHighThresholdPercent": 100,
        "imageMinimumGCAge": "24h",
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "10s",
        "serializeImagePulls": False,
        "maxPods": 200,
    }
    KUBELET_CONFIGURATION.write_text(yaml.safe_dump(document, sort_keys=False))


def write_proxy_configuration(kubeconfig: Path) -> None:
    document = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "mode": "iptables",
        # Pods of one bridge answer each other past the node; without this, answers of a Service would miss it.
        "iptables": {"masqueradeAll": True, "minSyncPeriod": "0s"},
        "clusterCIDR": POD_NETWORK,
        "conntrack": {"maxPerCore": 0, "min": 0},
        "bindAddress": NODE_ADDRESS,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "hostnameOverride": NODE_NAME,
        "nodePortAddresses": [f"{NODE_ADDRESS}/32"],
    }
    PROXY_CONFIGURATION.write_text(yaml.safe_dump(document, sort_keys=False))


def containerd_command() -> list[str]:
    return [str(BINARIES / "containerd"), "--config", str(CONTAINERD_CONFIGURATION), "--log-level", "warn"]


def kubelet_command(kubeconfig: Path) -> list[str]:
    return [
        str(BINARIES / "kubelet"),
        f"--config={KUBELET_CONFIGURATION}",
        f"--kubeconfig={kubeconfig}",
        f"--root-dir={KUBELET_ROOT}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={NODE_ADDRESS}",
    ]


def scheduler_command(kubeconfig: Path) -> list[str]:
    return [
        str(BINARIES / "kube-scheduler"),
        f"--kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]


def proxy_command() -> list[str]:
    return [str(BINARIES / "kube-proxy"), f"--config={PROXY_CONFIGURATION}"]
