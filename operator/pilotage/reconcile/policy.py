"""Whether the API server proves who records a sign-off or an attestation, and since when.

The policies come with the operator's chart.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from pilotage.kube.client import Cluster, Forbidden, NotFound
from pilotage.kube.resources import VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICY_BINDINGS
from pilotage.plan.conditions import parse_timestamp

SIGN_OFF_POLICY: Final = "pilotage-signoffs"
ATTESTATION_POLICY: Final = "pilotage-attestations"
# A new policy is enforced about a third of a second after it is stored, and times have whole seconds.
ENFORCED_WITHIN: Final = timedelta(seconds=10)


async def policy_since(cluster: Cluster, name: str) -> datetime | None:
    """From when on the policy of that name proves the recorder; None while it does not.

    Raises ApiError when nobody can say.
    """
    try:
        policy = await cluster.get(VALIDATING_ADMISSION_POLICIES, None, name)
        binding = await cluster.get(VALIDATING_ADMISSION_POLICY_BINDINGS, None, name)
    except (NotFound, Forbidden):
        return None
    strict = policy["spec"].get("failurePolicy") == "Fail" and "Deny" in binding["spec"].get("validationActions", ())
    everywhere = not binding["spec"].get("matchResources")
    if not (strict and everywhere and binding["spec"].get("policyName") == name):
        return None
    return max(_as_it_is_since(policy), _as_it_is_since(binding)) + ENFORCED_WITHIN


def _as_it_is_since(body: Mapping[str, Any]) -> datetime:
    """Since when the object has its present spec: its creation, unless the spec was changed later."""
    metadata = body["metadata"]
    created = parse_timestamp(metadata["creationTimestamp"])
    if metadata.get("generation", 1) == 1:
        return created
    changes = [found["time"] for found in metadata.get("managedFields") or [] if found.get("subresource") != "status"]
    return max([created, *map(parse_timestamp, changes)])
