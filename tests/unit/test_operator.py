from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from pilotage.operator import WATCHED, NullStorage, Operator, kopf_settings
from pilotage.reconcile.settings import Settings


def test_kopf_keeps_no_memory_of_its_own_and_has_no_change_handler() -> None:
    """The null storages are safe only while nothing but events is handled."""
    operator = Operator(Settings(leader_election=False))
    registry = operator._registry()
    assert len(list(registry._watching.get_all_handlers())) == len(WATCHED)
    for kind in (registry._changing, registry._spawning, registry._indexing):
        assert list(kind.get_all_handlers()) == []
    settings = kopf_settings()
    assert isinstance(settings.persistence.diffbase_storage, NullStorage)
    assert isinstance(settings.persistence.progress_storage, NullStorage)
    assert settings.posting.enabled is False


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
