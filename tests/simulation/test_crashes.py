"""The operator dies at any of its writes, and the next one, which knows nothing, brings the rollout to the same end."""

from __future__ import annotations

import pytest

from tests.simulation.test_rollout import a_project, assert_complete
from tests.support.simulation import Simulation

SHARDS = 10
LONGEST = 400


@pytest.mark.timeout(120)
@pytest.mark.parametrize("written", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("shard", range(SHARDS))
async def test_a_crash_at_any_write_of_an_install_leads_to_the_same_end(shard: int, *, written: bool) -> None:
    # What a crash after write n leaves, one before write n+1 leaves too: a third of them is looked at again.
    first, stride = (shard + 1, SHARDS) if not written else (3 * shard + 1, 3 * SHARDS)
    for number in range(first, LONGEST, stride):
        simulation = await a_project(Simulation(number, crash_at=number, crash_after=written))
        await simulation.settle(horizon=60.0)
        assert_complete(simulation)
        if not simulation.crashes:
            assert number > simulation.operator_writes
            return
    pytest.fail(f"an install of six modules took more than {LONGEST} writes")


async def test_an_operator_that_dies_again_and_again_still_gets_there() -> None:
    simulation = await a_project(Simulation(7, crash_at=1))
    for number in range(5, 100, 5):
        await simulation.settle(until=lambda: simulation.crashes > 0, horizon=60.0)
        simulation.crashes = 0
        simulation.crash_at = number
    await simulation.settle()
    assert_complete(simulation)
