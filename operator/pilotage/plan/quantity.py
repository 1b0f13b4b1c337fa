"""Kubernetes quantities: cpu in cores, memory in bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

_SUFFIX: Final = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
}
# No longer than the API server's own numbers: a long exponent makes digits by the billion when it is written out.
_QUANTITY = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,2})?)([numkMGTP]|[KMGTP]i)?")


def parse_quantity(text: str | float) -> Decimal:
    """The number that a quantity such as `500m`, `2Gi` or `1.5` stands for. Raises ValueError when it is none."""
    found = _QUANTITY.fullmatch(str(text).strip())
    if not found:
        msg = f"{text!r} is not a quantity"
        raise ValueError(msg)
    return Decimal(found.group(1)) * _SUFFIX[found.group(2) or ""]


def requests_of(manifests: Iterable[Mapping[str, Any]], nodes: int) -> tuple[Decimal, Decimal]:
    """Processors in cores and memory in bytes that the pods of these manifests request while all of them run.

    A pod counts the greater of its containers' sum and its largest init container, as the scheduler does.
    """
    cpu = memory = Decimal(0)
    for manifest in manifests:
        copies = _copies(manifest, nodes)
        if copies == 0:
            continue
        pod = ((manifest.get("spec") or {}).get("template") or {}).get("spec") or {}
        cpu += copies * _pod_request(pod, "cpu")
        memory += copies * _pod_request(pod, "memory")
    return cpu, memory


def _copies(manifest: Mapping[str, Any], nodes: int) -> int:
    spec = manifest.get("spec") or {}
    match manifest.get("kind"):
        case "Deployment" | "StatefulSet":
            return int(spec.get("replicas", 1) or 0)
        case "DaemonSet":
            return nodes
        case "Job":
            return int(spec.get("parallelism", 1) or 0)
        case _:
            return 0


def _pod_request(pod: Mapping[str, Any], resource: str) -> Decimal:
    def request(container: Mapping[str, Any]) -> Decimal:
        resources = container.get("resources") or {}
        given = (resources.get("requests") or {}).get(resource) or (resources.get("limits") or {}).get(resource)
        return parse_quantity(given) if given is not None else Decimal(0)

    together = sum((request(container) for container in pod.get("containers") or []), Decimal(0))
    first = max((request(container) for container in pod.get("initContainers") or []), default=Decimal(0))
    return max(together, first)


def format_memory(amount: Decimal) -> str:
    """Memory for people: GiB with one decimal, below a tenth of one MiB."""
    if amount < Decimal(2**30) / 10:
        return f"{amount / Decimal(2**20):.0f} MiB"
    return f"{amount / Decimal(2**30):.1f} GiB"
