"""Children: bounded, without the operator's environment, and never alive after it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pilotage.delivery.access import ApiAccess, kubeconfig
from pilotage.delivery.process import MAX_OUTPUT, MEMORY, child_environment, run

PARENT = """
import asyncio
from pilotage.delivery.process import run
script = "echo $$ > {place}; exec sleep 600"
asyncio.run(run(["sh", "-c", script], environment={{"PATH": "/usr/bin:/bin"}}, timeout=600))
"""


def environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin"}


async def test_a_process_gets_its_input_and_gives_its_output():
    ended = await run(["sh", "-c", "cat; echo no >&2; exit 3"], environment=environment(), stdin=b"in", timeout=30)
    assert (ended.code, ended.output, ended.errors, ended.late) == (3, b"in", "no\n", False)


async def test_a_process_that_takes_too_long_is_killed():
    ended = await run(["sleep", "600"], environment=environment(), timeout=0.2)
    assert (ended.code, ended.late) == (-signal.SIGKILL, True)


async def test_a_process_that_computes_too_long_is_killed():
    ended = await run(["sh", "-c", "while :; do :; done"], environment=environment(), timeout=60, cpu_seconds=1)
    assert ended.code in {-signal.SIGXCPU, -signal.SIGKILL}
    assert not ended.late


async def test_a_process_that_says_too_much_is_killed_before_it_fills_our_memory():
    ended = await run(["sh", "-c", "yes; echo unreached >&2"], environment=environment(), timeout=60)
    assert (ended.exceeded, ended.code, ended.errors) == ("output", -signal.SIGKILL, "")
    assert len(ended.output) < 2 * MAX_OUTPUT


async def test_a_process_that_takes_too_much_memory_gets_none():
    script = f"print(len(bytes({MEMORY} // 4))); bytes({MEMORY})"
    ended = await run([sys.executable, "-c", script], environment=environment(), timeout=60)
    assert (ended.code, ended.output) == (1, f"{MEMORY // 4}\n".encode())
    assert "MemoryError" in ended.errors


async def test_a_process_that_reads_nothing_of_a_long_input_is_no_error():
    ended = await run(["true"], environment=environment(), stdin=bytes(10**6), timeout=60)
    assert (ended.code, ended.exceeded) == (0, "")


def test_a_killed_operator_takes_its_processes_along(tmp_path):
    place = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", PARENT.format(place=place)])
    child = int(wait_for(lambda: place.exists() and place.read_text().strip()))
    assert Path(f"/proc/{child}").exists()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not is_alive(child))


def wait_for(condition, seconds: float = 30):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_child_sees_the_users_proxies_and_no_secret(monkeypatch, tmp_path):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "10.0.0.0/8")
    monkeypatch.setenv("API_TOKEN", "hunter2")
    seen = child_environment(tmp_path)
    assert (seen["HTTPS_PROXY"], seen["no_proxy"]) == ("http://proxy:3128", "10.0.0.0/8")
    assert "hunter2" not in str(seen)
    assert seen["HOME"] == str(tmp_path) != os.environ.get("HOME")


@pytest.mark.parametrize("account", ["", "system:serviceaccount:huasheng:", "system:serviceaccount:other:a", "admin"])
def test_a_kubeconfig_without_the_tenants_account_is_never_written(account):
    with pytest.raises(ValueError, match="is not a service account of namespace huasheng"):
        kubeconfig(ApiAccess("https://api", "/ca"), "huasheng", account)


def test_a_kubeconfig_acts_as_the_account_with_the_token_file():
    access = ApiAccess("https://api", "/ca", token_file="/token")
    text = kubeconfig(access, "huasheng", "system:serviceaccount:huasheng:pilotage-deployer")
    assert '"as": "system:serviceaccount:huasheng:pilotage-deployer", "tokenFile": "/token"' in text
