from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pilotage.kube.client import ApiError, Forbidden, Unavailable
from pilotage.kube.resources import SECRETS
from pilotage.reconcile import installation
from pilotage.reconcile.installation import KEY_SECRET, installation_key
from tests.support.world import World


@pytest.fixture
def world(monkeypatch) -> World:
    monkeypatch.setattr(installation, "AGAIN_AFTER", 0.0)
    return World(lambda: datetime(2026, 11, 23, tzinfo=UTC))


async def test_the_key_is_made_once_and_found_ever_after(world):
    first = await installation_key(world, "pilotage-system")
    assert len(first) == 32
    assert await installation_key(world, "pilotage-system") == first


REFUSALS = [
    Unavailable(500, "InternalError", "not now"),
    Forbidden(403, "Forbidden", "no roles known yet"),
    ApiError(401, "Unauthorized", "the token is being replaced"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.reason)
async def test_a_refusal_at_the_start_is_waited_for(world, refusal):
    refusals = iter([True, True])

    def refuse(_write) -> None:
        if next(refusals, False):
            raise refusal

    world.before = refuse
    assert len(await installation_key(world, "pilotage-system")) == 32


async def test_a_key_whose_answer_was_lost_is_the_key(world):
    lost = iter([True])

    def lose(_write) -> None:
        if next(lost, False):
            raise Unavailable(0, "TimeoutError", "no answer in time")

    world.after = lose
    key = await installation_key(world, "pilotage-system")
    world.after = lambda _write: None
    assert await installation_key(world, "pilotage-system") == key
    assert [write[:3] for write in world.writes] == [("create", SECRETS.plural, KEY_SECRET)]


async def test_an_outage_that_does_not_end_is_told(world, monkeypatch):
    monkeypatch.setattr(installation, "PATIENCE", 0.0)

    def refuse(_write) -> None:
        raise Unavailable(500, "InternalError", "never")

    world.before = refuse
    with pytest.raises(Unavailable):
        await installation_key(world, "pilotage-system")
