"""Workers and the database die at random moments: the end is always that of an undisturbed run."""

from __future__ import annotations

import random
import signal
import time

import psycopg
import pytest

from pilotage.api.v1alpha1.migrationjob import MigrationJobSpec
from pilotage.migration import ledger, worker
from pilotage.migration.chunk import read_chunk, read_range
from pilotage.migration.errors import Terminated
from pilotage.migration.plan import ObjectPlan
from pilotage.migration.worker import WorkerSettings, _write_chunk, work
from tests.migration.conftest import kill, wait_for
from tests.migration.world import World, contacts_object, customers_object, row

pytestmark = [pytest.mark.postgresql, pytest.mark.timeout(300)]
SMALL = ("--chunk-rows", "40")
SEEDS = range(24)


def legacy(world: World) -> None:
    """Contacts before the customers that they refer to, who are changed by SQL and refer to themselves."""
    itself = {
        "to": "main",
        "from": "KHBM",
        "transform": ["trim", "halfwidth"],
        "reference": {"object": "customers", "match": "code", "use": "id"},
    }
    customers = customers_object(
        sourceDuplicates={"policy": "Last", "orderBy": "KHRQ"},
        onConflict={"policy": "FillNulls"},
        sql=["update staged set _outcome = 'filtered' where code = 'K00500'"],
    )
    customers["fields"].append(itself)
    world.spec["objects"] = [contacts_object(), customers]
    world.query("alter table party add main bigint references party")
    world.query("insert into party (code, name, active) values ('K00007', '旧名', true)")
    rows = [row(number) for number in range(1, 600)]
    rows += [row(number, KHMC=f"重复{number}", KHRQ=f"2024-06-{number % 28 + 1:02}") for number in range(1, 40)]
    rows += [row(number, KHDJ="Z", YE="x") for number in range(700, 720)]
    random.Random(1).shuffle(rows)
    world.write(rows)
    world.write([[f"13{n:05}", f"K{n % 620 + 1:05}"] for n in range(400)], "联系人.csv", header=["HM", "KHBM"])


def held_chunks(world: World) -> list[tuple]:
    return world.query("select object, chunk_id from mig.chunk where state = 'pending' and lease_until > now()")


@pytest.fixture
def world(server, tmp_path) -> World:
    found = World(server, tmp_path)
    legacy(found)
    return found


@pytest.fixture(scope="module")
def undisturbed(server, tmp_path_factory):
    found = World(server, tmp_path_factory.mktemp("undisturbed"))
    legacy(found)
    assert found.call("run", *SMALL)[0] == 0
    return found.target()


def test_a_connection_that_is_lost_between_rows_and_ledger_leaves_neither(world, server, undisturbed, monkeypatch):
    lost: list[str] = []
    finish_chunk = ledger.finish_chunk

    def lose_once(connection, *arguments):
        if not lost:
            lost.append("once")
            # As when the network goes away: what is not committed is undone by the server.
            connection.close()
            raise psycopg.OperationalError
        finish_chunk(connection, *arguments)

    assert world.call("plan", *SMALL)[0] == 0
    monkeypatch.setattr(ledger, "finish_chunk", lose_once)
    for name, value in server.environment(world.database).items():
        monkeypatch.setenv(name, value)
    assert work(WorkerSettings(world.run, "one", world.folder, lease=5.0)) == "succeeded"
    assert lost == ["once"]
    assert world.target() == undisturbed


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_workers_and_a_crashing_database_change_nothing(world, server, undisturbed, seed):
    chance = random.Random(seed)
    assert world.call("plan", *SMALL)[0] == 0
    workers = [world.start("work", "--lease", "1.5") for _ in range(2)]
    for _ in range(chance.randint(1, 3)):
        time.sleep(chance.uniform(0.1, 0.6))
        if seed % 3 == 0:
            server.stop("immediate")
            server.start()
        else:
            victim = chance.randrange(len(workers))
            kill(workers[victim])
            workers[victim] = world.start("work", "--lease", "1.5")
    for process in workers:
        output, _ = process.communicate(timeout=90)
        assert process.returncode == 0, output
    code, answer = world.call("report")
    assert (code, answer["outcome"], answer["counts"]["balanced"]) == (0, "Succeeded", True)
    assert world.target() == undisturbed
    assert world.query("select count(*) from party where main is distinct from id") == [(0,)]


def test_a_worker_killed_within_the_settlement_leaves_the_target_untouched(world, server, undisturbed):
    assert world.call("plan", *SMALL)[0] == 0
    with psycopg.connect(
        host="127.0.0.1", port=server.port, dbname=world.database, user="postgres", autocommit=False
    ) as blocker:
        blocker.execute("lock table party in share mode")
        process = world.start("work")
        wait_for(
            lambda: world.query(
                f"select 1 from pg_stat_activity where datname = '{world.database}' and wait_event_type = 'Lock'"
            ),
            "the worker never came to the merge",
        )
        kill(process)
    assert world.query("select count(*) from party") == [(1,)]
    assert world.call("work")[0] == 0
    assert world.target() == undisturbed


def test_sigterm_ends_a_worker_with_143_and_another_takes_its_chunk_at_once(world, undisturbed):
    assert world.call("plan", *SMALL)[0] == 0
    process = world.start("work", "--lease", "600")
    wait_for(lambda: world.query("select 1 from mig.chunk where state = 'done'"), "no chunk was done")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("the worker was done before the signal came")
    assert process.returncode == 143
    assert held_chunks(world) == []
    assert world.call("work", "--lease", "600")[0] == 0
    assert world.target() == undisturbed


def test_chunks_whose_staged_rows_a_crash_of_the_database_took_are_done_again(world, server, undisturbed, monkeypatch):
    assert world.call("plan", *SMALL)[0] == 0

    def stop(*_arguments):
        raise Terminated

    monkeypatch.setattr(worker, "settle", stop)
    for name, value in world.server.environment(world.database).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Terminated):
        work(WorkerSettings(world.run, "before the crash", world.folder))
    assert world.query("select count(*) from mig.chunk where state <> 'done'") == [(0,)]
    rejected = world.query("select count(*) from mig.quarantine")
    server.stop("immediate")
    server.start()
    [(staging,)] = world.query("select format('mig_stg.%I', plan -> 'objects' -> 0 ->> 'staging') from mig.run")
    assert world.query(f"select count(*) from {staging}") == [(0,)]
    assert rejected > [(0,)]
    assert world.call("work")[0] == 0
    assert world.target() == undisturbed


def test_a_claim_whose_answer_was_never_heard_is_given_back(world, undisturbed, monkeypatch):
    assert world.call("plan", *SMALL)[0] == 0
    claim = ledger.claim

    def claim_unheard(*arguments):
        claim(*arguments)
        raise Terminated

    monkeypatch.setattr(ledger, "claim", claim_unheard)
    for name, value in world.server.environment(world.database).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Terminated):
        work(WorkerSettings(world.run, "told to stop", world.folder, lease=600))
    assert world.query("select attempt from mig.chunk where owner = 'told to stop'") == [(1,)]
    assert held_chunks(world) == []


def test_the_lease_of_a_long_chunk_is_renewed(world, undisturbed, monkeypatch):
    assert world.call("plan", *SMALL)[0] == 0
    leases = []

    def read_at_leisure(*arguments):
        held = "select lease_until from mig.chunk where state = 'pending' and lease_until is not null"
        leases.append(world.query(held))
        wait_for(lambda: world.query(held) > leases[-1], "the lease was never renewed")
        monkeypatch.setattr(worker, "read_chunk", read_chunk)
        return read_chunk(*arguments)

    monkeypatch.setattr(worker, "read_chunk", read_at_leisure)
    for name, value in world.server.environment(world.database).items():
        monkeypatch.setenv(name, value)
    assert work(WorkerSettings(world.run, "slow", world.folder, lease=0.3)) == "succeeded"
    assert leases
    assert world.target() == undisturbed


def test_a_worker_that_overslept_its_lease_is_fenced_off(world, server):
    assert world.call("plan", *SMALL)[0] == 0
    with psycopg.connect(
        host="127.0.0.1", port=server.port, dbname=world.database, user="postgres", autocommit=True
    ) as zombie:
        late = ledger.claim(zombie, world.run, "zombie", lease=-1)
        with psycopg.connect(
            host="127.0.0.1", port=server.port, dbname=world.database, user="postgres", autocommit=True
        ) as other:
            taken = ledger.claim(other, world.run, "other", lease=60)
            assert (taken.object, taken.chunk, taken.attempt) == (late.object, late.chunk, late.attempt + 1)
            with zombie.transaction():
                assert not ledger.still_held(zombie, world.run, late)
            with other.transaction():
                assert ledger.still_held(other, world.run, taken)
                found = ledger.read_run(other, world.run)
                MigrationJobSpec.model_validate(found.plan["spec"])
                [plan] = [
                    ObjectPlan.from_json(one)
                    for one in found.plan["objects"]
                    if one["definition"]["name"] == taken.object
                ]
                _write_chunk(
                    other, world.run, plan, taken, read_chunk(plan, taken, read_range(plan, taken, world.folder), [])
                )
            with zombie.transaction():
                assert not ledger.still_held(zombie, world.run, late)
    assert world.call("work")[0] == 0
    assert world.query("select count(*) from (select code from party group by 1 having count(*) > 1) d") == [(0,)]


def test_a_run_that_succeeded_never_runs_again(world, undisturbed):
    assert world.call("run", *SMALL)[0] == 0
    assert world.call("run", *SMALL)[1]["outcome"] == "Succeeded"
    assert world.call("run", *SMALL, "--attempt", "again")[1]["outcome"] == "Succeeded"
    assert world.target() == undisturbed
