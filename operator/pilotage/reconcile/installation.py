"""The key of this installation: made once, kept in a Secret beside the operator, used for digests of secret values."""

from __future__ import annotations

import asyncio
import base64
import logging
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

from pilotage.kube.client import ApiError, Cluster, NotFound
from pilotage.kube.resources import SECRETS

KEY_SECRET: Final = "pilotage-digest-key"  # noqa: S105 (a Secret's name)
KEY_FIELD: Final = "key"
PATIENCE: Final = 120.0
AGAIN_AFTER: Final = 1.0

logger = logging.getLogger(__name__)


async def installation_key(cluster: Cluster, namespace: str) -> bytes:
    """The key; made at the first start. A lost key changes every digest, so every release is upgraded once.

    Asks again while the API server gives no answer, refuses (in its first moments it knows no roles) or somebody else
    makes it, and raises ApiError after two minutes.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            found = await _found_or_made(cluster, namespace)
        except ApiError as error:
            if time.monotonic() > deadline:
                raise
            logger.warning("Secret %s in namespace %s was neither read nor made: %s", KEY_SECRET, namespace, error)
            await asyncio.sleep(AGAIN_AFTER)
        else:
            return base64.b64decode(found["data"][KEY_FIELD])


async def _found_or_made(cluster: Cluster, namespace: str) -> Mapping[str, Any]:
    try:
        return await cluster.get(SECRETS, namespace, KEY_SECRET)
    except NotFound:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": KEY_SECRET, "namespace": namespace},
            "data": {KEY_FIELD: base64.b64encode(secrets.token_bytes(32)).decode()},
        }
        return await cluster.create(SECRETS, body)
