"""The workloads of a new revision are judged by what the API server has, not by what a watch told before."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from pilotage.kube.client import Unavailable
from pilotage.kube.resources import DEPLOYMENTS
from pilotage.kube.store import Key, Store
from pilotage.plan.delivery import ReleaseFacts, Revision
from pilotage.plan.health import Health
from pilotage.reconcile.context import Context
from pilotage.reconcile.observe import _in_use
from pilotage.reconcile.workloads import PodReader, WorkloadReader, observe_health
from tests.support.clock import VirtualClock
from tests.support.world import World

KEY = Key("implementations", "huasheng", "erp")
ACCOUNT = "system:serviceaccount:huasheng:pilotage-deployer"
MANIFEST = {"kind": "Deployment", "metadata": {"name": "erp-core"}}


def a_deployment(generation: int, seen: int) -> dict[str, Any]:
    """Healthy as of the generation that its controller has seen."""
    status = {"observedGeneration": seen, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    metadata = {"name": "erp-core", "namespace": "huasheng", "uid": "1", "generation": generation}
    return {"metadata": metadata, "spec": {"replicas": 1}, "status": status}


def a_release(revision: int, status: str = "deployed", *, acting: bool = False) -> ReleaseFacts:
    return ReleaseFacts("erp-core", (Revision(revision, status, input=f"i{revision}", manifests=(MANIFEST,)),), acting)


@pytest.fixture
async def cluster() -> World:
    world = World(VirtualClock().now)
    await world.create(DEPLOYMENTS, a_deployment(2, 0))
    return world


def a_context(cluster: World) -> Context:
    """Its store still shows the Deployment as it was before the upgrade."""
    store = Store(lambda *_: [KEY])
    delivery = SimpleNamespace(pods=PodReader(3.0))
    context = Context(cluster, store, delivery=delivery)  # type: ignore[arg-type]
    old = a_deployment(1, 1)
    store.observe(DEPLOYMENTS, "ADDED", old | {"metadata": old["metadata"] | {"resourceVersion": "0"}})
    return context


async def health(context: Context, release: ReleaseFacts) -> Health:
    return (await observe_health(context, KEY, release, ACCOUNT))[0]


async def test_the_pods_of_the_revision_before_do_not_count_for_the_new_one(cluster: World) -> None:
    context, reader = a_context(cluster), WorkloadReader()
    assert await health(context, a_release(2)) is Health.CURRENT
    await reader.catch_up(context, KEY, a_release(2))
    assert await health(context, a_release(2)) is Health.IN_PROGRESS


async def test_a_workload_that_is_gone_is_missing(cluster: World) -> None:
    context = a_context(World(VirtualClock().now))
    await WorkloadReader().catch_up(context, KEY, a_release(2))
    assert await health(context, a_release(2)) is Health.MISSING


async def test_each_revision_is_read_once_and_none_while_helm_is_at_work(cluster: World) -> None:
    context, reader, asked = a_context(cluster), WorkloadReader(), []
    read = cluster.get

    async def get(*arguments: Any, **named: Any) -> Any:
        asked.append(arguments[2])
        return await read(*arguments, **named)

    cluster.get = get  # type: ignore[method-assign]
    await reader.catch_up(context, KEY, a_release(2, acting=True))
    await reader.catch_up(context, KEY, replace(a_release(2), revisions=()))
    assert asked == []
    for _ in range(3):
        await reader.catch_up(context, KEY, a_release(2))
    assert asked == ["erp-core"]
    await reader.catch_up(context, KEY, a_release(2, "failed"))
    await reader.catch_up(context, KEY, a_release(3))
    reader.forget(KEY)
    await reader.catch_up(context, KEY, a_release(3))
    assert asked == ["erp-core"] * 4


async def test_what_could_not_be_read_is_read_again(cluster: World) -> None:
    context, reader = a_context(cluster), WorkloadReader()
    read = cluster.get

    async def refuse(*_: Any, **__: Any) -> Any:
        raise Unavailable(503, "ServiceUnavailable", "not now")

    cluster.get = refuse  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await reader.catch_up(context, KEY, a_release(2))
    cluster.get = read  # type: ignore[method-assign]
    await reader.catch_up(context, KEY, a_release(2))
    assert await health(context, a_release(2)) is Health.IN_PROGRESS


@pytest.mark.parametrize(
    ("reached", "judged", "expected"),
    [("Live", "i2", True), ("Accepted", "i2", True), ("Prepared", "i2", False), ("Live", "i1", False)],
)
def test_only_what_was_judged_good_with_this_input_is_in_use(reached: str, judged: str, expected: bool) -> None:
    body = {"status": {"modules": [{"name": "core", "reached": reached, "desiredInput": judged}]}}
    assert _in_use(body, "core", a_release(2)) is expected
    assert not _in_use({}, "core", a_release(2))
