from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kopf._cogs.aiokits.aioadapters import wait_flag

from pilotage.kube.resources import IMPLEMENTATIONS
from pilotage.kube.store import Key
from pilotage.operator import MOST_DEATHS, WATCHED, NullStorage, Operator, kopf_settings
from pilotage.reconcile.settings import Settings
from tests.support.builders import an_implementation
from tests.support.world import World


async def test_kopf_keeps_no_memory_of_its_own_and_has_no_change_handler() -> None:
    """The null storages are safe only while nothing but events is handled."""
    operator = Operator(Settings(leader_election=False))
    registry = operator._registry(asyncio.get_running_loop())
    assert len(list(registry._watching.get_all_handlers())) == len(WATCHED)
    for kind in (registry._changing, registry._spawning, registry._indexing):
        assert list(kind.get_all_handlers()) == []
    settings = kopf_settings()
    assert isinstance(settings.persistence.diffbase_storage, NullStorage)
    assert isinstance(settings.persistence.progress_storage, NullStorage)
    assert settings.posting.enabled is False
    assert settings.process.ultimate_exiting_timeout is None


class DyingKopf:
    """Dies of a stream's error so many times, then ends as it does when asked to. Waits for its flag as kopf does."""

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths
        self.lives = 0

    async def operator(self, stop_flag: Any, **_: object) -> None:
        self.lives += 1
        waiter = asyncio.create_task(wait_flag(stop_flag))
        await asyncio.sleep(0)
        waiter.cancel()
        if self.lives <= self.deaths:
            raise RuntimeError("Error in the watch-stream: code 500")


async def test_watches_that_an_error_in_a_stream_ended_are_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    kopf = DyingKopf(deaths=2)
    monkeypatch.setattr("pilotage.operator.kopf.operator", kopf.operator)
    monkeypatch.setattr("pilotage.operator.REOPEN_PAUSE", 0.0)
    await Operator(Settings(leader_election=False))._watch()
    assert kopf.lives == 3


async def test_an_error_that_every_new_start_brings_back_ends_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    kopf = DyingKopf(deaths=1000)
    monkeypatch.setattr("pilotage.operator.kopf.operator", kopf.operator)
    monkeypatch.setattr("pilotage.operator.REOPEN_PAUSE", 0.0)
    with pytest.raises(RuntimeError, match="watch-stream"):
        await Operator(Settings(leader_election=False))._watch()
    assert kopf.lives == MOST_DEATHS + 1


async def test_what_was_deleted_while_the_watches_were_closed_is_found_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotage.operator.REOPENED_WITHIN", 0.0)
    operator = Operator(Settings(leader_election=False))
    operator.cluster = World(lambda: datetime(2026, 11, 23, tzinfo=UTC))  # type: ignore[assignment]
    operator.store.observe(IMPLEMENTATIONS, "ADDED", an_implementation(metadata={"resourceVersion": "7"}))
    await operator._sweep_when_reopened()
    assert operator.store.list(IMPLEMENTATIONS) == []
    assert await operator.queue.get() == Key(IMPLEMENTATIONS.plural, "huasheng", "erp")


@pytest.mark.light
async def test_a_clean_stop_is_no_failure(tmp_path: Path) -> None:
    from e2e.cluster.light import LightCluster
    from e2e.cluster.places import BINARIES, REPOSITORY

    with LightCluster(tmp_path / "cluster") as cluster:
        kubectl = (str(BINARIES / "kubectl"), f"--kubeconfig={cluster.kubeconfig}")
        crds = ("apply", "--server-side", f"--filename={REPOSITORY / 'crds'}")
        for arguments in (crds, ("create", "namespace", "pilotage-system")):
            done = await asyncio.create_subprocess_exec(*kubectl, *arguments)
            assert await done.wait() == 0
        environment = os.environ | {
            "KUBECONFIG": str(cluster.kubeconfig),
            "PILOTAGE_SCRATCH": str(tmp_path / "scratch"),
            "PILOTAGE_HELM": str(BINARIES / "helm"),
            "PILOTAGE_HEALTH_PORT": "0",
            "PILOTAGE_METRICS_PORT": "0",
        }
        operator = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pilotage.operator", env=environment, stdout=asyncio.subprocess.PIPE
        )
        assert operator.stdout is not None
        try:
            async with asyncio.timeout(60):
                seen = b""
                while b"workers start" not in seen:
                    seen += await operator.stdout.readline()
        finally:
            operator.send_signal(signal.SIGTERM)
            rest = await operator.stdout.read()
        assert await operator.wait() == 0, (seen + rest).decode()
