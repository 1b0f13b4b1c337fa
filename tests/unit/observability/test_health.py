from __future__ import annotations

from dataclasses import dataclass

import aiohttp
import pytest

from e2e.cluster.ports import ReservedPort
from pilotage.kube.queue import WorkQueue
from pilotage.observability.health import LONGEST_PASS, LONGEST_UNATTENDED, Liveness, serve_health
from pilotage.observability.serving import listen_address


@dataclass
class Work:
    waiting: float = 0.0
    active: float = 0.0

    def unattended_seconds(self) -> float:
        return self.waiting

    def longest_active_seconds(self) -> float:
        return self.active


@pytest.fixture
def port():
    reserved = ReservedPort()
    yield reserved.number
    reserved.release()


def test_a_queue_that_is_worked_on_is_healthy():
    liveness = Liveness(Work(LONGEST_UNATTENDED, LONGEST_PASS))
    liveness.watching()
    assert liveness.trouble() is None


def test_a_key_that_nobody_takes_is_trouble():
    liveness = Liveness(Work(LONGEST_UNATTENDED + 1))
    liveness.watching()
    assert liveness.trouble() == "keys have been waiting for 301 s and no worker takes any"


def test_a_pass_that_never_ends_is_trouble():
    liveness = Liveness(Work(active=LONGEST_PASS + 1))
    liveness.watching()
    assert liveness.trouble() == "one pass has been running for 901 s"


async def test_the_work_queue_answers_what_liveness_asks():
    liveness = Liveness(WorkQueue())
    liveness.watching()
    assert liveness.trouble() is None


def test_a_process_that_stands_by_for_the_lease_misses_nothing():
    assert Liveness(Work(LONGEST_UNATTENDED + 1)).trouble() is None


async def test_the_endpoint_says_ok_or_what_is_wrong(port):
    work = Work()
    liveness = Liveness(work)
    liveness.watching()
    runner = await serve_health(port, liveness)
    try:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
                assert (answer.status, await answer.text()) == (200, "ok\n")
            work.waiting = 1000
            async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
                assert answer.status == 503
                assert "1000 s" in await answer.text()
    finally:
        await runner.cleanup()


def test_only_a_pod_listens_beyond_loopback(monkeypatch):
    monkeypatch.delenv("PILOTAGE_POD_IP", raising=False)
    assert listen_address() == "127.0.0.1"
    monkeypatch.setenv("PILOTAGE_POD_IP", "10.244.0.7")
    assert listen_address() == "10.244.0.7"
