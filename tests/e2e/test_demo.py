from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from e2e.cluster.places import REPOSITORY

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(1800)]


def demo() -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "e2e.demo", "run"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


def test_the_demo_ends_closed_twice_in_a_row(kubeconfig: Path) -> None:
    for _ in range(2):
        done = demo()
        assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        assert "Phase Closed: 6 modules accepted" in done.stdout
        assert "✗" not in done.stdout
