from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace

import pytest

from e2e.cluster.processes import Daemons, end, identify

FOREVER = ["sleep", "600"]


@pytest.fixture
def daemons(tmp_path):
    record = Daemons(tmp_path / "processes")
    yield record
    end([daemon.identity for daemon in record.all()], signal.SIGKILL)


def test_a_daemon_is_found_again_by_another_command(daemons, tmp_path):
    started = daemons.start("one", FOREVER, tmp_path / "one.log")
    assert Daemons(tmp_path / "processes").all() == [started]
    assert daemons.is_alive("one")


def test_a_daemon_lives_in_a_session_of_its_own(daemons, tmp_path):
    daemon = daemons.start("one", FOREVER, tmp_path / "one.log")
    assert os.getsid(daemon.identity.pid) == daemon.identity.pid


def test_a_killed_daemon_is_dead_and_starts_again_as_before(daemons, tmp_path):
    first = daemons.start("one", FOREVER, tmp_path / "one.log", {"COLOUR": "blue"})
    daemons.kill("one")
    assert not daemons.is_alive("one")
    second = daemons.start_again("one")
    assert daemons.is_alive("one")
    assert (second.command, second.environment, second.log) == (first.command, first.environment, first.log)


def test_a_later_process_with_the_same_pid_is_left_alone():
    stranger = subprocess.Popen(FOREVER)
    try:
        identity = identify(stranger.pid)
        ours = replace(identity, started=identity.started - 1)
        assert not ours.is_alive()
        end([ours], signal.SIGKILL)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_daemon_that_ignores_the_request_is_killed(daemons, tmp_path, monkeypatch):
    monkeypatch.setattr("e2e.cluster.processes.PATIENCE", 0.5)
    log = tmp_path / "deaf.log"
    daemons.start("deaf", ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"], log)
    daemons.stop("deaf")
    assert not daemons.is_alive("deaf")


def test_a_record_cut_off_by_a_crash_counts_as_none(daemons, tmp_path):
    daemons.start("one", FOREVER, tmp_path / "one.log")
    (tmp_path / "processes" / "two.json").write_text('{"name": "two", "comm')
    assert [daemon.name for daemon in daemons.all()] == ["one"]
