"""What every reconciler is handed: the cluster, what is known of it, and the clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from pilotage.kube.client import Cluster, NotFound
from pilotage.kube.resources import Resource
from pilotage.kube.store import Key, Store
from pilotage.reconcile.settings import Settings

if TYPE_CHECKING:
    from pilotage.delivery.chart import ChartFetcher
    from pilotage.delivery.helm import HelmEngine
    from pilotage.reconcile.inputs import InputPreparer
    from pilotage.reconcile.ledger import Ledger
    from pilotage.reconcile.releases import ReleaseReader
    from pilotage.reconcile.workloads import PodReader, WorkloadReader
    from pilotage.render.renderer import Renderer


class RolloutMetrics(Protocol):
    """Hears what was reported of an Implementation."""

    def observe_implementation(self, namespace: str, name: str, status: Mapping[str, Any]) -> None: ...
    def forget_implementation(self, namespace: str, name: str) -> None: ...


def utc_now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


@dataclass
class Context:
    """The world as a reconciler sees it.

    `wake` puts a key on the queue; the queue coalesces, so waking once too often costs one cheap pass.
    What stands behind `delivery` is only there where Implementations are reconciled.
    """

    cluster: Cluster
    store: Store
    settings: Settings = field(default_factory=Settings)
    clock: Callable[[], datetime] = utc_now
    wake: Callable[[Key], None] = lambda _key: None
    delivery: Delivery | None = None

    @property
    def rollout(self) -> Delivery:
        """What Implementations are delivered with. Raises RuntimeError where it was not given."""
        if self.delivery is None:
            msg = "this context delivers no Implementations"
            raise RuntimeError(msg)
        return self.delivery


@dataclass
class Delivery:
    """What the reconciler of Implementations works with, besides the cluster."""

    engine: HelmEngine
    charts: ChartFetcher
    renderer: Renderer
    inputs: InputPreparer
    releases: ReleaseReader
    pods: PodReader
    workloads: WorkloadReader
    ledger: Ledger
    metrics: RolloutMetrics


def deployer(namespace: str, service_account: str) -> str:
    """The user name under which changes in a customer's namespace are made.

    Raises ValueError for an empty account: without a name the API server would act as the operator itself.
    """
    if not service_account:
        msg = "spec.serviceAccountName is empty"
        raise ValueError(msg)
    return f"system:serviceaccount:{namespace}:{service_account}"


async def read_anew(context: Context, resource: Resource, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The object of that name as the API server has it now, None when it is gone. Asked before an effect.

    What a watch or a first list tells may be old, and acting on it would install anew what was removed for good.
    """
    metadata = body["metadata"]
    try:
        found = await context.cluster.get(resource, metadata["namespace"], metadata["name"])
    except NotFound:
        found = None
    woken = set()
    if found is None or found["metadata"]["uid"] != metadata["uid"]:
        woken |= context.store.observe(resource, "DELETED", body)
    if found is not None:
        woken |= context.store.observe(resource, "MODIFIED", found)
    for key in woken:
        context.wake(key)
    return context.store.get(resource, metadata["namespace"], metadata["name"])


async def write_status(context: Context, resource: Resource, body: Mapping[str, Any], status: dict[str, Any]) -> bool:
    """Replace the object's status when it differs from what is stored, and tell whether it was written.

    The answer goes into the store, so that the next pass reads this write. A conflict is raised to the
    caller's queue: somebody changed the object, so everything has to be looked at again.
    """
    if body.get("status") == status:
        return False
    written = await context.cluster.replace_status(resource, {**body, "status": status})
    for key in context.store.observe(resource, "MODIFIED", written):
        context.wake(key)
    return True
