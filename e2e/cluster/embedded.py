"""The embedded cluster: all of Kubernetes as processes of this machine, one cluster a machine."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster.build import build
from e2e.cluster.errors import Refusal
from e2e.cluster.images import base_images, load
from e2e.cluster.leftovers import clear_leftovers, our_processes, remaining
from e2e.cluster.network import make_bridge, require_free_network
from e2e.cluster.packages import NODE_PROGRAMS, install_packages
from e2e.cluster.parts import LISTENERS, NAMES, Parts, make_parts
from e2e.cluster.places import (
    ADMIN_KUBECONFIG,
    AUDIT_LOG,
    BINARIES,
    CONTAINERD_SOCKET,
    LOCK,
    LOGS,
    NODE_NAME,
    OWNER,
    PROCESSES,
    REPOSITORY,
    STATE,
)
from e2e.cluster.ports import is_free
from e2e.cluster.probe import ApiClient, kubelet_is_healthy, wait_until
from e2e.cluster.processes import Daemons

READY_TIMEOUT = 180.0
# An API server asked to stop waits for its watchers, who never leave; nobody waits for that in a test.
RESTART_PATIENCE = 3.0
# Written last: a cluster without it was never finished.
COMPLETE = PROCESSES.parent / "complete"

daemons = Daemons(PROCESSES)


def up(*, replace: bool = False) -> None:
    """Bring the cluster up, or what is missing of it; returns when the node is ready.

    replace: end a living cluster of another checkout first, instead of refusing.
    """
    _require_machine()
    with _exclusive():
        if _is_ours() and COMPLETE.exists() and any(daemons.is_alive(name) for name in NAMES):
            _revive()
            return
        _require_nobody_elses(replace=replace)
        install_packages(NODE_PROGRAMS)
        build()
        archives = base_images()
        begun = time.monotonic()
        if remaining():
            print("Clearing what an earlier cluster left behind", flush=True)
            clear_leftovers()
        _start(archives)
        print(f"The cluster is ready after {time.monotonic() - begun:.0f} s. Kubeconfig: {ADMIN_KUBECONFIG}")


def down(*, replace: bool = False) -> None:
    """End the cluster and remove everything of it; quiet when there is none."""
    _require_machine()
    with _exclusive():
        if not _is_ours():
            _require_nobody_elses(replace=replace)
        clear_leftovers()
        shutil.rmtree(STATE, ignore_errors=True)
        left = remaining()
    if left:
        raise Refusal("Some things did not go away:\n  " + "\n  ".join(left))
    print("The cluster is down; nothing of it is left.")


def status() -> int:
    """Print every part and whether it runs; 0 when all do and the node is ready, else 1."""
    if not _is_ours():
        print("No embedded cluster of this checkout is here; start one with `python -m e2e.cluster up`.")
        return 1
    for name in NAMES:
        daemon = daemons.find(name)
        state = "not started" if daemon is None else f"pid {daemon.identity.pid}" if daemon.is_alive() else "dead"
        print(f"{name:<24} {state}")
    ready = _node_is_ready()
    print(f"{'node ' + NODE_NAME:<24} {'Ready' if ready else 'not ready'}")
    return 0 if ready and all(daemons.is_alive(name) for name in NAMES) else 1


def kubeconfig() -> Path:
    if not _is_ours() or not ADMIN_KUBECONFIG.is_file() or not our_processes():
        raise Refusal("There is no cluster of this checkout; start one with `python -m e2e.cluster up`.")
    return ADMIN_KUBECONFIG


def audit_log() -> Path:
    kubeconfig()
    return AUDIT_LOG


def kill_part(name: str) -> None:
    """SIGKILL one part of the cluster, for tests; `up` or `restart` brings it back."""
    _require_part(name)
    daemons.kill(name)


def restart_part(name: str) -> None:
    """Stop one part, start it as before and wait until the cluster is ready again."""
    _require_part(name)
    daemons.stop(name, RESTART_PATIENCE)
    daemons.start_again(name)
    _wait_ready()


def _start(archives: Sequence[Path]) -> None:
    OWNER.parent.mkdir(parents=True, exist_ok=True)
    OWNER.write_text(str(REPOSITORY))
    require_free_network()
    make_bridge()
    try:
        _require_free_ports()
    except Refusal:
        clear_leftovers()
        raise
    parts = make_parts()
    for name in ("etcd", "containerd", "kube-apiserver"):
        _start_part(parts, name)
    with ThreadPoolExecutor() as pool:
        loading = pool.submit(_load_when_possible, archives)
        _wait_for("kube-apiserver", ApiClient(ADMIN_KUBECONFIG).is_ready)
        for name in NAMES[3:-1]:
            _start_part(parts, name)
        _apply(parts.manifests)
        _start_part(parts, NAMES[-1])
        loading.result()
    _wait_ready()
    COMPLETE.touch()


def _revive() -> None:
    dead = [name for name in NAMES if not daemons.is_alive(name)]
    for name in dead:
        print(f"{name} was dead: starting it again", flush=True)
        daemons.start_again(name)
    if not dead and _node_is_ready():
        print(f"The cluster is up already. Kubeconfig: {ADMIN_KUBECONFIG}")
        return
    make_bridge()
    _wait_ready()
    print(f"The cluster is ready again. Kubeconfig: {ADMIN_KUBECONFIG}")


def _start_part(parts: Parts, name: str) -> None:
    daemons.start(name, parts.commands[name], LOGS / f"{name}.log", parts.environment)


def _load_when_possible(archives: Sequence[Path]) -> None:
    _wait_for("containerd", CONTAINERD_SOCKET.exists)
    load(archives)


def _wait_ready() -> None:
    _wait_for("kube-apiserver", ApiClient(ADMIN_KUBECONFIG).is_ready)
    _wait_for("kubelet", _node_is_ready)


def _wait_for(name: str, condition: Callable[[], bool]) -> None:
    """Wait for a part; one that ends meanwhile (as controllers do when the API server is slow) is started again."""
    deadline = time.monotonic() + READY_TIMEOUT
    while not wait_until(condition, 2.0):
        for daemon in daemons.all():
            if not daemon.is_alive():
                daemons.start_again(daemon.name)
        if time.monotonic() > deadline:
            raise Refusal(f"{name} is not ready after {READY_TIMEOUT:.0f} s; its log: {LOGS / name}.log")


def _node_is_ready() -> bool:
    if not ADMIN_KUBECONFIG.is_file() or not kubelet_is_healthy():
        return False
    api = ApiClient(ADMIN_KUBECONFIG)
    node = api.read(f"/api/v1/nodes/{NODE_NAME}")
    if node is None or api.read("/api/v1/namespaces/default/serviceaccounts/default") is None:
        return False
    conditions = node["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _apply(manifests: Sequence[Path]) -> None:
    command = [str(BINARIES / "kubectl"), f"--kubeconfig={ADMIN_KUBECONFIG}", "apply", "--server-side"]
    files = [f"--filename={path}" for path in manifests]
    finished = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise Refusal(f"The cluster's own objects could not be applied: {finished.stderr.strip()}")


def _is_ours() -> bool:
    return OWNER.is_file() and OWNER.read_text() == str(REPOSITORY)


def _require_nobody_elses(*, replace: bool) -> None:
    owner = OWNER.read_text() if OWNER.is_file() else str(REPOSITORY)
    if owner == str(REPOSITORY) or replace or not Path(owner).is_dir() or not our_processes():
        return
    raise Refusal(
        f"A cluster of {owner} is running on this machine, and there can be one only. End it there with "
        "`python -m e2e.cluster down`, or take its place with `python -m e2e.cluster up --replace`.",
    )


def _require_machine() -> None:
    if platform.system() != "Linux" or os.geteuid() != 0:
        raise Refusal("The embedded cluster needs Linux and root. Run this as root, or use CLUSTER=kind with Docker.")


def _require_part(name: str) -> None:
    if name not in NAMES:
        raise Refusal(f"There is no part {name}; the parts are {', '.join(NAMES)}.")
    if not _is_ours() or daemons.find(name) is None:
        raise Refusal("There is no cluster of this checkout; start one with `python -m e2e.cluster up`.")


def _require_free_ports() -> None:
    taken = [f"{address}:{port} ({part})" for address, port, part in LISTENERS if not is_free(address, port)]
    if taken:
        raise Refusal(
            f"Another program listens where the cluster must: {', '.join(taken)}. End it (`ss -ltnp` names it), or use "
            "CLUSTER=kind.",
        )


@contextmanager
def _exclusive() -> Iterator[None]:
    """One command at a time changes the cluster of this machine."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
