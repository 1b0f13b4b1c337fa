"""S17, S21: releases that are somebody else's, and records that name what they should not."""

from __future__ import annotations

import pytest

from pilotage.delivery.access import ApiAccess
from pilotage.delivery.helm import HelmEngine
from pilotage.kube.resources import SECRETS
from pilotage.plan.delivery import ReleaseFacts, Revision
from pilotage.reconcile.observe import _taken
from tests.support.clock import VirtualClock
from tests.support.world import World
from tests.unit.delivery.builders import record

ACCOUNT = "system:serviceaccount:huasheng:pilotage-deployer"


@pytest.mark.parametrize("owner", ["", "crm", "erp2", "ERP", "erp-core"])
@pytest.mark.parametrize("status", ["deployed", "failed", "pending-install", "superseded", "uninstalling"])
def test_s17_a_release_of_somebody_else_is_left_alone(owner, status):
    found = _taken(ReleaseFacts("erp-core", (Revision(3, status, owner=owner),)), "erp")
    assert found is not None
    assert found.reason == "ReleaseTaken"
    assert "sh.helm.release.v1.erp-core.v3" in found.message


@pytest.mark.parametrize(
    "revisions",
    [
        (),
        (Revision(1, "deployed", owner="erp"),),
        (Revision(1, "uninstalled"),),
        (Revision(1, "a"), Revision(2, "a", owner="erp")),
    ],
    ids=["none", "ours", "removed", "handed over"],
)
def test_s17_its_own_is_not(revisions):
    assert _taken(ReleaseFacts("erp-core", revisions), "erp") is None


@pytest.mark.parametrize(
    "labels", [{"version": "many"}, {"version": ""}, {"version": "1.5"}, {"version": "²"}, {"version": "-"}], ids=str
)
async def test_s21_a_record_with_forged_labels_is_told_as_unreadable(tmp_path, labels):
    with pytest.raises(ValueError, match="erp-core"):
        await (await engine_over(tmp_path, {"name": "erp-core", **labels})).facts("huasheng", "erp-core", ACCOUNT)


async def test_s21_a_record_that_names_no_release_is_nobody_s(tmp_path):
    engine = await engine_over(tmp_path, {"pilotage.dev/implementation": "erp", "name": None})
    assert await engine.releases_of("huasheng", "erp", ACCOUNT) == []


async def engine_over(folder, labels) -> HelmEngine:
    world = World(VirtualClock().now)
    secret = record(labels=labels)
    secret["metadata"]["labels"] = {
        key: value for key, value in secret["metadata"]["labels"].items() if value is not None
    }
    await world.create(SECRETS, secret)
    return HelmEngine(world, "helm", folder, ApiAccess("https://api", "/ca"), 1)
