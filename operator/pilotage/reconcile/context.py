"""What every reconciler is handed: the cluster, what is known of it, and the clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pilotage.kube.client import Cluster
from pilotage.kube.store import Key, Store
from pilotage.reconcile.settings import Settings


def utc_now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


@dataclass
class Context:
    """The world as a reconciler sees it.

    `wake` puts a key on the queue; the queue coalesces, so waking once too often costs one cheap pass.
    """

    cluster: Cluster
    store: Store
    settings: Settings = field(default_factory=Settings)
    clock: Callable[[], datetime] = utc_now
    wake: Callable[[Key], None] = lambda _key: None


def deployer(namespace: str, service_account: str) -> str:
    """The user name under which changes in a customer's namespace are made.

    Raises ValueError for an empty account: without a name the API server would act as the operator itself.
    """
    if not service_account:
        msg = "spec.serviceAccountName is empty"
        raise ValueError(msg)
    return f"system:serviceaccount:{namespace}:{service_account}"


async def write_status(context: Context, resource: Any, body: Mapping[str, Any], status: dict[str, Any]) -> bool:
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
