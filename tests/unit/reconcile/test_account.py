"""Three ways in which an account is no use, told apart, each with the lines that mend it."""

from __future__ import annotations

from typing import Any

import pytest

from pilotage.kube.client import Forbidden
from pilotage.kube.resources import SERVICE_ACCOUNTS, Resource
from pilotage.kube.store import Store
from pilotage.reconcile.account import read_rights
from pilotage.reconcile.context import Context, deployer
from pilotage.reconcile.dependents import dependents
from tests.support.clock import VirtualClock
from tests.support.world import World

ACCOUNT = "pilotage-deployer"
NOBODY_MAY_ACT = Forbidden(403, "Forbidden", 'cannot impersonate resource "serviceaccounts"')
NO_RIGHTS = Forbidden(403, "Forbidden", 'cannot get resource "serviceaccounts"')


class GuardedWorld(World):
    """Answers the account itself with `refusal`; the operator may ask."""

    refusal: Forbidden | None = None

    async def get(
        self, resource: Resource, namespace: str | None, name: str, *, acting_as: str | None = None
    ) -> dict[str, Any]:
        if acting_as and self.refusal:
            raise self.refusal
        return await super().get(resource, namespace, name, acting_as=acting_as)


@pytest.mark.parametrize(
    ("there", "refusal", "reason"),
    [
        (True, None, None),
        (False, None, "ServiceAccountMissing"),
        (False, NOBODY_MAY_ACT, "ServiceAccountMissing"),
        (False, NO_RIGHTS, "ServiceAccountMissing"),
        (True, NOBODY_MAY_ACT, "ImpersonationForbidden"),
        (True, NO_RIGHTS, "RightsMissing"),
    ],
)
async def test_an_account_of_no_use_gets_its_reason_and_three_lines(
    there: bool, refusal: Forbidden | None, reason: str | None
) -> None:
    world = GuardedWorld(VirtualClock().now)
    world.refusal = refusal
    if there:
        await world.create(SERVICE_ACCOUNTS, {"metadata": {"name": ACCOUNT, "namespace": "huasheng"}})

    _, problem = await read_rights(Context(world, Store(dependents)), "huasheng", ACCOUNT)

    assert (problem and problem.reason) == reason
    if problem:
        assert problem.message.count("kubectl -n huasheng create ") == 3


def test_nobody_acts_as_an_account_without_a_name():
    with pytest.raises(ValueError, match="serviceAccountName is empty"):
        deployer("huasheng", "")
    assert deployer("huasheng", "pilotage-deployer") == "system:serviceaccount:huasheng:pilotage-deployer"
