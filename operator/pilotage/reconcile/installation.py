"""The key of this installation: made once, kept in a Secret beside the operator, used for digests of secret values."""

from __future__ import annotations

import base64
import secrets
from typing import Final

from pilotage.kube.client import Cluster, Conflict, NotFound
from pilotage.kube.resources import SECRETS

KEY_SECRET: Final = "pilotage-digest-key"  # noqa: S105 (a Secret's name)
KEY_FIELD: Final = "key"


async def installation_key(cluster: Cluster, namespace: str) -> bytes:
    """The key; made at the first start. A lost key changes every digest, so every release is upgraded once."""
    try:
        found = await cluster.get(SECRETS, namespace, KEY_SECRET)
    except NotFound:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": KEY_SECRET, "namespace": namespace},
            "data": {KEY_FIELD: base64.b64encode(secrets.token_bytes(32)).decode()},
        }
        try:
            found = await cluster.create(SECRETS, body)
        except Conflict:
            found = await cluster.get(SECRETS, namespace, KEY_SECRET)
    return base64.b64decode(found["data"][KEY_FIELD])
