"""Which rendered pods a namespace would refuse: the API server tells only the controllers, whose pods then never come.

Source: the Pod Security Standards, levels baseline and restricted, as far as charts usually violate them; capabilities
that are added, sysctls, AppArmor, SELinux and Windows are left to the API server's own word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

VOLUMES: Final = frozenset(
    {
        "name", "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim",
        "projected", "secret",
    }
)  # fmt: skip
HOST: Final = ("hostNetwork", "hostPID", "hostIPC")


def pod_violations(manifests: Iterable[Mapping[str, Any]], level: str) -> Iterator[str]:
    """Each object whose pods would be refused at that level, with the reasons."""
    for manifest in manifests:
        pod = _pod_of(manifest)
        if pod is None:
            continue
        reasons = list(_baseline(pod))
        if level == "restricted":
            reasons += _restricted(pod)
        if reasons:
            name = (manifest.get("metadata") or {}).get("name", "")
            yield f"{manifest.get('kind')} {name} ({', '.join(dict.fromkeys(reasons))})"


def _pod_of(manifest: Mapping[str, Any]) -> Mapping[str, Any] | None:
    spec = manifest.get("spec") or {}
    match manifest.get("kind"):
        case "Pod":
            return spec
        case "Deployment" | "StatefulSet" | "DaemonSet" | "Job":
            return (spec.get("template") or {}).get("spec") or {}
        case "CronJob":
            job = (spec.get("jobTemplate") or {}).get("spec") or {}
            return (job.get("template") or {}).get("spec") or {}
        case _:
            return None


def _containers(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]


def _baseline(pod: Mapping[str, Any]) -> Iterator[str]:
    yield from (field for field in HOST if pod.get(field))
    if any(volume.get("hostPath") for volume in pod.get("volumes") or []):
        yield "hostPath volume"
    for container in _containers(pod):
        if (container.get("securityContext") or {}).get("privileged"):
            yield "privileged"
        if any(port.get("hostPort") for port in container.get("ports") or []):
            yield "hostPort"


def _restricted(pod: Mapping[str, Any]) -> Iterator[str]:
    if any(set(volume) - VOLUMES for volume in pod.get("volumes") or []):
        yield "volume type"
    shared = pod.get("securityContext") or {}
    for container in _containers(pod):
        own = container.get("securityContext") or {}
        if own.get("allowPrivilegeEscalation") is not False:
            yield "allowPrivilegeEscalation is not false"
        if own.get("runAsNonRoot", shared.get("runAsNonRoot")) is not True:
            yield "runAsNonRoot is not true"
        if own.get("runAsUser", shared.get("runAsUser")) == 0:
            yield "runAsUser is 0"
        if "ALL" not in ((own.get("capabilities") or {}).get("drop") or []):
            yield "capabilities are not dropped"
        profile = (own.get("seccompProfile") or shared.get("seccompProfile") or {}).get("type")
        if profile not in {"RuntimeDefault", "Localhost"}:
            yield "no seccompProfile"
