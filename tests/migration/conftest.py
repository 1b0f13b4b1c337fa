"""A real PostgreSQL of our own on a free port, and a small legacy world to migrate."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.mariadb import MariaDB
from e2e.postgresql import PostgreSQL


@pytest.fixture(scope="session")
def server() -> Iterator[PostgreSQL]:
    with tempfile.TemporaryDirectory(prefix="pilotage-postgresql-", dir="/tmp") as folder:
        running = PostgreSQL(Path(folder), "shared_buffers=32MB")
        try:
            yield running
        finally:
            running.stop("immediate")


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    with tempfile.TemporaryDirectory(prefix="pilotage-mariadb-", dir="/tmp") as folder:
        running = MariaDB(Path(folder))
        try:
            yield running
        finally:
            running.stop()


def wait_for(condition, message: str, deadline: float = 60.0) -> None:
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, message
        time.sleep(0.01)


def kill(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
