"""Which Go programs the clusters are made of. Their versions stand in `e2e/go/NAME/go.mod`."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.places import BINARIES, GO_MODULES

LIGHT = frozenset({"etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "helm"})
KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kubectl", "kube-scheduler", "kubelet", "kube-proxy")
CONTAINERD = ("containerd", "containerd-shim-runc-v2", "ctr")
CNI_PLUGINS = ("main/bridge", "main/loopback", "ipam/host-local", "meta/portmap")


@dataclass(frozen=True)
class Program:
    """One binary: the folder of its module file, the package that holds its main function, where it goes."""

    module: str
    package: str
    output: str

    @property
    def name(self) -> str:
        return Path(self.output).name

    @property
    def binary(self) -> Path:
        return BINARIES / self.output

    @property
    def folder(self) -> Path:
        return GO_MODULES / self.module

    def linker_flags(self) -> str:
        """Kubernetes says its version only when the linker is told; the others carry theirs as a constant."""
        if self.module != "kubernetes":
            return "-s -w"
        found = re.search(
            r"^(?:require|\t)\s*k8s\.io/kubernetes v((\d+)\.(\d+)\.\d+)", self._module_text(), re.MULTILINE
        )
        if found is None:
            msg = f"{self.folder / 'go.mod'} requires no released version of k8s.io/kubernetes"
            raise ValueError(msg)
        version, major, minor = found.groups()
        prefix = "-X k8s.io/component-base/version."
        return f"-s -w {prefix}gitVersion=v{version} {prefix}gitMajor={major} {prefix}gitMinor={minor}"

    def stamp(self) -> str:
        """A digest of everything that decides what the binary is, except the compiler."""
        digest = hashlib.sha256()
        for name in ("go.mod", "go.sum"):
            digest.update((self.folder / name).read_bytes())
        digest.update(f"{self.package} {self.linker_flags()}".encode())
        return digest.hexdigest()

    def _module_text(self) -> str:
        return (self.folder / "go.mod").read_text()


def all_programs() -> list[Program]:
    """Every program, those of the light cluster first: others can start to work while the rest is built."""
    programs = [
        Program("etcd", "go.etcd.io/etcd/server/v3", "etcd"),
        *(Program("kubernetes", f"k8s.io/kubernetes/cmd/{name}", name) for name in KUBERNETES),
        Program("helm", "helm.sh/helm/v4/cmd/helm", "helm"),
        *(Program("containerd", f"github.com/containerd/containerd/v2/cmd/{name}", name) for name in CONTAINERD),
        *(
            Program("cni", f"github.com/containernetworking/plugins/plugins/{kind}", f"cni/{Path(kind).name}")
            for kind in CNI_PLUGINS
        ),
        Program("coredns", "github.com/coredns/coredns", "coredns"),
        Program("local-path-provisioner", "github.com/rancher/local-path-provisioner", "local-path-provisioner"),
    ]
    return sorted(programs, key=lambda program: program.name not in LIGHT)
