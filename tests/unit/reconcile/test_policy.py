"""Whether, and since when, the recorder of a sign-off is proved."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from pilotage.kube.client import Forbidden
from pilotage.kube.resources import VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICY_BINDINGS, Resource
from pilotage.plan.conditions import parse_timestamp, timestamp
from pilotage.reconcile.policy import ENFORCED_WITHIN, SIGN_OFF_POLICY, policy_since
from tests.support.clock import VirtualClock
from tests.support.world import World

LATER = timedelta(hours=1)
Change = Callable[[dict[str, Any], dict[str, Any]], object]


async def world_with(change: Change = lambda *_: None) -> tuple[World, datetime]:
    """A cluster with policy and binding as the chart has them, after `change` of both; and their creation time."""
    world = World(VirtualClock().now)
    policy = {"metadata": {"name": SIGN_OFF_POLICY, "generation": 1}, "spec": {"failurePolicy": "Fail"}}
    binding = {
        "metadata": {"name": SIGN_OFF_POLICY, "generation": 1},
        "spec": {"policyName": SIGN_OFF_POLICY, "validationActions": ["Deny"]},
    }
    change(policy, binding)
    made = await world.create(VALIDATING_ADMISSION_POLICIES, policy)
    await world.create(VALIDATING_ADMISSION_POLICY_BINDINGS, binding)
    return world, parse_timestamp(made["metadata"]["creationTimestamp"])


async def test_it_counts_from_a_moment_after_the_creation_of_both():
    world, created = await world_with()
    assert await policy_since(world, SIGN_OFF_POLICY) == created + ENFORCED_WITHIN


def changed_later(policy: dict[str, Any], _binding: dict[str, Any]) -> None:
    later = timestamp(VirtualClock().now() + LATER)
    policy["metadata"] |= {"generation": 2, "managedFields": [{"time": later}]}


async def test_it_counts_from_the_last_change_of_either():
    world, created = await world_with(changed_later)
    assert await policy_since(world, SIGN_OFF_POLICY) == created + LATER + ENFORCED_WITHIN


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda policy, _: policy["spec"].update(failurePolicy="Ignore"), id="it may be skipped"),
        pytest.param(lambda _, binding: binding["spec"].update(validationActions=["Warn"]), id="it only warns"),
        pytest.param(
            lambda _, binding: binding["spec"].update(matchResources={"namespaceSelector": {}}), id="in some namespaces"
        ),
        pytest.param(lambda _, binding: binding["spec"].update(policyName="another"), id="of another policy"),
    ],
)
async def test_a_policy_that_lets_anything_pass_proves_nothing(change: Change):
    world, _ = await world_with(change)
    assert await policy_since(world, SIGN_OFF_POLICY) is None


async def test_no_policy_proves_nothing():
    assert await policy_since(World(VirtualClock().now), SIGN_OFF_POLICY) is None


async def test_a_policy_that_cannot_be_seen_proves_nothing():
    world, _ = await world_with()

    def refuse(_verb: str, _resource: Resource, _namespace: str | None, _account: str | None) -> None:
        raise Forbidden(403, "Forbidden", "cannot get resource")

    world.may = refuse
    assert await policy_since(world, SIGN_OFF_POLICY) is None
