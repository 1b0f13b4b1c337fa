"""Kubernetes Events on transitions. Best effort: an Event that cannot be written never fails a pass."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from typing import Any

from pilotage.kube.client import ApiError
from pilotage.kube.resources import EVENTS
from pilotage.plan.conditions import shorten, timestamp
from pilotage.reconcile.context import Context

logger = logging.getLogger(__name__)


async def emit(context: Context, about: Mapping[str, Any], reason: str, message: str, *, warning: bool = False) -> None:
    """Write one Event about the object. The name is derived from its content, so a repeated pass does not repeat it."""
    metadata = about["metadata"]
    now = timestamp(context.clock())
    digest = hashlib.sha256(f"{metadata['uid']}|{reason}|{message}|{now}".encode()).hexdigest()[:16]
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name'][:200]}.{digest}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata.get("resourceVersion", ""),
        },
        "reason": reason or "Transition",
        "message": shorten(message, 1000),
        "type": "Warning" if warning else "Normal",
        "source": {"component": "pilotage"},
        "reportingComponent": "pilotage.dev/operator",
        "reportingInstance": context.settings.identity,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    try:
        await context.cluster.create(EVENTS, body)
    except ApiError as error:
        logger.info("event %s not written: %s", reason, error)
