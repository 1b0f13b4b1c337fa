"""Quantities are counted as the scheduler counts them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from pilotage.plan.quantity import format_memory, parse_quantity, requests_of


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("0.5", "0.5"),
        ("500m", "0.5"),
        ("1500m", "1.5"),
        ("100n", "1e-7"),
        ("2k", 2000),
        ("1Ki", 1024),
        ("2Gi", 2 * 2**30),
        ("3T", 3 * 10**12),
        ("1e3", 1000),
        (4, 4),
    ],
)
def test_a_quantity_is_read(text: Any, number: Any) -> None:
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "much", "-1", "1 Gi", "1gi", "Gi", "1.2.3", "0x10", "1e999999999", "9" * 40])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


def container(cpu: str | None = None, memory: str | None = None, where: str = "requests") -> dict[str, Any]:
    given = {name: value for name, value in (("cpu", cpu), ("memory", memory)) if value}
    return {"name": "c", "resources": {where: given}} if given else {"name": "c"}


def workload(kind: str, *containers: dict[str, Any], first: tuple[dict[str, Any], ...] = (), **spec: Any) -> Any:
    pod = {"containers": list(containers), "initContainers": list(first)}
    return {"kind": kind, "spec": {"template": {"spec": pod}, **spec}}


@pytest.mark.parametrize(
    ("manifest", "cpu"),
    [
        (workload("Deployment", container("200m"), replicas=3), "0.6"),
        (workload("Deployment", container("200m")), "0.2"),
        (workload("StatefulSet", container("200m"), container("300m"), replicas=2), "1"),
        (workload("DaemonSet", container("100m")), "0.4"),
        (workload("Job", container("1"), parallelism=2), "2"),
        (workload("Deployment", container("1"), replicas=0), "0"),
        (workload("Deployment", container("200m"), first=(container("1"), container("500m"))), "1"),
        (workload("Deployment", container("2", where="limits")), "2"),
        (workload("Deployment", container()), "0"),
        ({"kind": "Service", "spec": {"ports": []}}, "0"),
        ({"kind": "ConfigMap"}, "0"),
    ],
)
def test_the_requests_of_all_copies_count_on_four_nodes(manifest: dict[str, Any], cpu: str) -> None:
    assert requests_of([manifest], 4)[0] == Decimal(cpu)


def test_memory_of_several_manifests_is_added() -> None:
    manifests = [
        workload("Deployment", container(memory="1Gi"), replicas=2),
        workload("Job", container(memory="512Mi")),
    ]
    assert format_memory(requests_of(manifests, 1)[1]) == "2.5 GiB"


@pytest.mark.parametrize(
    ("amount", "text"), [("64Mi", "64 MiB"), ("0", "0 MiB"), ("103Mi", "0.1 GiB"), ("1536Mi", "1.5 GiB")]
)
def test_memory_is_said_in_the_unit_that_shows_it(amount: str, text: str) -> None:
    assert format_memory(parse_quantity(amount)) == text
