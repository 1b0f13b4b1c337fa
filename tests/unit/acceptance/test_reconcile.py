"""Whole passes over a check: observed from the store, measured, decided, reported once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from pilotage.kube.resources import ACCEPTANCE_CHECKS, DEPLOYMENTS, IMPLEMENTATIONS, JOBS
from pilotage.kube.store import Key, Store
from pilotage.plan.acceptance import gate_verdict
from pilotage.reconcile.acceptancecheck import LARGEST_STEP, Session, reconcile
from pilotage.reconcile.context import Context
from tests.unit.acceptance.builders import DIGEST, check, implementation, metric
from tests.unit.evidence.jobs import START, JobCluster
from tests.unit.evidence.test_kubernetes import workload

KEY = Key("acceptancechecks", "huasheng", "smoke")
AVAILABLE = {"kubernetes": {"measure": "Availability"}}


class Room:
    def __init__(self, body):
        self.cluster, self.now = JobCluster(), START
        self.store = Store(lambda *_: ())
        self.context = Context(self.cluster, self.store, clock=lambda: self.now)  # type: ignore[arg-type]
        self.store.observe(ACCEPTANCE_CHECKS, None, body)
        self.store.observe(IMPLEMENTATIONS, None, implementation())
        self.store.observe(DEPLOYMENTS, None, workload("web"))

    async def look(self, after=0):
        self.now += timedelta(seconds=after)
        return await reconcile(self.context, KEY)

    @property
    def verdict(self):
        return gate_verdict(self.store.get(ACCEPTANCE_CHECKS, "huasheng", "smoke"), "core", DIGEST)


async def test_a_check_passes_with_one_write_and_then_rests():
    room = Room(check(metrics=[metric(source=AVAILABLE, target={"atLeast": "100"})]))
    assert await room.look() is None
    assert room.verdict.passed
    assert await room.look(after=600) is None
    assert len(room.cluster.statuses) == 1
    assert [event["reason"] for event in room.cluster.events] == ["Passed"]


async def test_nothing_is_written_between_two_samples():
    room = Room(check(metrics=[metric(source=AVAILABLE, target={"atLeast": "100"}, minSamples=3)]))
    wait = await room.look()
    assert 0 < wait <= 10
    await room.look()
    assert len(room.cluster.statuses) == 1
    await room.look(after=wait)
    assert len(room.cluster.statuses) == 2


async def test_what_becomes_due_in_the_middle_of_a_pass_is_looked_at_again():
    """Once a check never moved again: too late to be asked for in this pass, too early for a next one."""
    room = Room(check(metrics=[metric(source=AVAILABLE, target={"atLeast": "100"}, minSamples=3)]))
    wait = await room.look()
    just_before = room.now + timedelta(seconds=wait, milliseconds=-1)
    moments = iter([just_before, just_before + timedelta(milliseconds=2)])
    room.context = replace(room.context, clock=lambda: next(moments))
    assert await reconcile(room.context, KEY) == 0.2


async def test_a_value_from_the_database_passes_after_its_job():
    source = {"sql": {"connection": "erp-db", "query": "select count(*) from party_party"}}
    room = Room(check(metrics=[metric("customers", source=source, target={"atLeast": "20000"})]))
    assert await room.look() == 3.0
    assert not room.verdict.passed
    (name,) = room.cluster.jobs
    account = "system:serviceaccount:huasheng:pilotage-deployer"
    room.store.observe(JOBS, "MODIFIED", room.cluster.end(name, [{"name": "customers", "value": "20123"}]))
    assert await room.look(after=5) is None
    assert room.verdict.passed
    assert room.cluster.writes == [("create", name, account), ("delete", name, account)]


async def test_one_unusable_source_does_not_hold_up_another():
    metrics = [
        metric("available", source=AVAILABLE, target={"atLeast": "100"}),
        metric("customers", source={"sql": {"connection": "none", "query": "select 1"}}),
    ]
    room = Room(check(metrics=metrics))
    await room.look()
    states = {m["name"]: m["state"] for m in room.cluster.statuses[-1]["modules"][0]["metrics"]}
    assert states == {"available": "Good", "customers": "Error"}
    assert room.verdict.phase == "Error"


async def test_a_spec_that_cannot_be_read_is_reported_once():
    room = Room(check(metrics=[]))
    assert await room.look() is None
    await room.look(after=10)
    assert len(room.cluster.statuses) == 1
    assert room.cluster.statuses[0]["phase"] == "Error"


async def test_a_check_that_is_gone_is_left_alone():
    room = Room(check())
    assert await reconcile(room.context, Key("acceptancechecks", "huasheng", "another")) is None
    assert not room.cluster.statuses


def test_a_step_of_the_clock_begins_another_session():
    session, now = Session(), START
    first = session.at(now, 100.0)
    assert session.at(now + timedelta(seconds=10), 110.0) == first
    second = session.at(now + timedelta(seconds=20) + 2 * LARGEST_STEP, 120.0)
    assert second != first
    assert session.at(now + timedelta(seconds=30), 130.0) != second
