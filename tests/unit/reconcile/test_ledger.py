"""The pages of the ledger: they grow, and no lost answer or crash takes or doubles an entry."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pilotage.kube.client import Conflict, Unavailable
from pilotage.kube.resources import CONFIG_MAPS
from pilotage.reconcile import ledger as module
from pilotage.reconcile.ledger import Ledger
from tests.support.world import World

PROJECT = {"metadata": {"name": "erp", "namespace": "huasheng", "uid": "u1"}}
PLACE = "pilotage-system"


@pytest.fixture
def world() -> World:
    return World(lambda: datetime(2026, 11, 23, tzinfo=UTC))


async def test_entries_outlive_the_operator(world):
    await Ledger(PLACE).append(world, PROJECT, {"a": "1"})
    await Ledger(PLACE).append(world, PROJECT, {"b": "2"})
    assert await Ledger(PLACE).read(world, PROJECT) == {"a": "1", "b": "2"}
    page = await world.get(CONFIG_MAPS, PLACE, "pilotage-ledger-u1-1")
    assert page["metadata"]["annotations"]["pilotage.dev/project"] == "huasheng/erp"


async def test_a_project_of_the_same_name_has_pages_of_its_own(world):
    ledger = Ledger(PLACE)
    await ledger.append(world, PROJECT, {"a": "1"})
    again = {"metadata": PROJECT["metadata"] | {"uid": "u2"}}
    assert await ledger.read(world, again) == {}
    await ledger.append(world, again, {"b": "2"})
    assert await ledger.read(world, PROJECT) == {"a": "1"}


async def test_a_full_page_is_followed_by_the_next(world, monkeypatch):
    monkeypatch.setattr(module, "FULL", 10)
    entries = {f"k{number}": "x" * 6 for number in range(4)}
    await Ledger(PLACE).append(world, PROJECT, entries)
    assert await Ledger(PLACE).read(world, PROJECT) == entries
    assert await world.get(CONFIG_MAPS, PLACE, "pilotage-ledger-u1-4")


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_write_that_was_not_answered_is_made_good(world, at, moment):
    writes = iter(range(1, 99))

    def fail(_write) -> None:
        if next(writes) == at:
            raise Unavailable(504, "Timeout", "no answer")

    setattr(world, moment, fail)
    ledger, entries = Ledger(PLACE), {"a": "1", "b": "2"}
    with pytest.raises(Unavailable):
        await ledger.append(world, PROJECT, entries)
    known = await ledger.read(world, PROJECT)
    await ledger.append(world, PROJECT, {key: text for key, text in entries.items() if key not in known})
    assert await Ledger(PLACE).read(world, PROJECT) == entries


async def test_what_somebody_else_wrote_meanwhile_is_not_written_over(world):
    mine, other = Ledger(PLACE), Ledger(PLACE)
    await mine.append(world, PROJECT, {"a": "1"})
    await other.append(world, PROJECT, {"b": "2"})
    with pytest.raises(Conflict):
        await mine.append(world, PROJECT, {"c": "3"})
    await mine.append(world, PROJECT, {"c": "3"})
    assert await Ledger(PLACE).read(world, PROJECT) == {"a": "1", "b": "2", "c": "3"}
