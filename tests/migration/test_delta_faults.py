"""A Delta that is killed before or after any of its commits comes to what an undisturbed one comes to."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.migration.test_delta import load, loaded, went_on
from tests.migration.world import World, row

pytestmark = [pytest.mark.postgresql, pytest.mark.timeout(600)]

# Counts the outermost transactions of the process, and kills it before or after the one that is asked for commits.
KILLED = """
import os, signal, sys
from contextlib import contextmanager
import psycopg
from pilotage.migration.__main__ import main

number, after = int(os.environ["KILL_AT"]), os.environ["KILL_AFTER"] == "after"
original, count = psycopg.Connection.transaction, 0

@contextmanager
def transaction(self, *arguments, **options):
    global count
    outermost = self.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    with original(self, *arguments, **options) as found:
        yield found
        count += outermost
        if outermost and count == number and not after:
            os.kill(os.getpid(), signal.SIGKILL)
    if outermost and count == number and after:
        os.kill(os.getpid(), signal.SIGKILL)

psycopg.Connection.transaction = transaction
sys.exit(main())
"""
POLICY = {"deletes": "Apply"}
COMMAND = ("run", "--chunk-rows", "100", "--lease", "0.5")


def left_behind(world: World) -> dict[str, Any]:
    """Everything that the run leaves, apart from times and from the numbers that sequences give."""
    return {
        **world.target(),
        "crosswalk": world.query(
            "select run_id like 'delta%', object, target_key, outcome from mig.crosswalk order by 1, 2, 3"
        ),
        "known": world.query(
            "select object, target_key, source_digest, inserted from mig.crosswalk"
            " where replaced_by is null and source_digest is not null order by 1, 2"
        ),
        "undo": world.query(f"select object, target_key from mig.undo where run_id = '{world.run}' order by 1, 2"),
        "gone": world.query("select object, target_key, outcome from mig.gone order by 1, 2"),
        "counts": world.query(f"select result -> 'counts' from mig.run where run_id = '{world.run}'"),
        "staged": world.query("select count(*) from pg_tables where schemaname = 'mig_stg'"),
    }


def asked_for(world: World, number: int) -> None:
    world.run = f"delta-{number}"
    world.spec = {**world.spec, "run": "Delta", "delta": {**POLICY, "round": number}}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_delta_that_is_killed_at_any_commit_is_taken_up_and_nothing_is_lost_or_doubled(server, tmp_path, moment):
    world = loaded(World(server, tmp_path), [row(number) for number in range(1, 11)])
    went_on(world)
    asked_for(world, 1)
    assert world.call(*COMMAND)[0] == 0
    undisturbed = left_behind(world)
    untouched = None
    for number in itertools.count(1):
        assert world.call("rollback")[0] == 0
        world.query(f"delete from mig.run where run_id = '{world.run}'")
        untouched = untouched or world.target()
        assert world.target() == untouched
        asked_for(world, number + 1)
        environment = {"KILL_AT": str(number), "KILL_AFTER": moment}
        process = world.start(*COMMAND, environment=environment, program=("-c", KILLED))
        output, _ = process.communicate(timeout=90)
        if process.returncode == 0:
            break
        assert process.returncode == -9, output
        assert world.call(*COMMAND)[1]["outcome"] == "Succeeded"
        assert left_behind(world) == undisturbed
    # The ledger, the plan, two chunks and the settlement, at least.
    assert number > 5
    assert left_behind(world) == undisturbed
    assert load(world, "Delta", round=99)["unchanged"] == 13
