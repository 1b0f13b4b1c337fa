from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.cluster.light import LightCluster
from e2e.cluster.places import BINARIES, REPOSITORY
from e2e.cluster.ports import ReservedPort, is_free
from e2e.cluster.probe import wait_until

pytestmark = pytest.mark.light


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with LightCluster(tmp_path_factory.mktemp("light")) as running:
        yield running


def kubectl(cluster: LightCluster, *arguments: str, check: bool = True) -> str:
    command = [str(BINARIES / "kubectl"), f"--kubeconfig={cluster.kubeconfig}", *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert not check or finished.returncode == 0, finished.stderr
    return finished.stdout


def test_a_deployment_gets_its_pods_from_real_controllers(cluster):
    kubectl(cluster, "create", "deployment", "shop", "--image=example.org/shop")
    assert wait_until(lambda: "pod/shop-" in kubectl(cluster, "get", "pods", "-o", "name"), 30)


def test_a_second_cluster_runs_beside_the_first(cluster, tmp_path):
    with LightCluster(tmp_path) as second:
        assert second.url != cluster.url
        kubectl(second, "create", "namespace", "only-here")
        assert "only-here" not in kubectl(cluster, "get", "namespaces", "-o", "name")


def test_objects_survive_a_killed_api_server(cluster):
    kubectl(cluster, "create", "configmap", "kept", "--from-literal=a=b")
    cluster.kill_api_server()
    assert is_free("127.0.0.1", int(cluster.url.rpartition(":")[2]))
    cluster.restart_api_server()
    assert "configmap/kept" in kubectl(cluster, "get", "configmaps", "-o", "name")


def test_the_audit_log_names_the_impersonated_user(cluster):
    kubectl(cluster, "create", "clusterrolebinding", "wang", "--clusterrole=edit", "--user=wang")
    allowed = ("auth", "can-i", "create", "configmaps", "--as=wang")
    # The API server learns of a new binding a moment after it is written.
    assert wait_until(lambda: "yes" in kubectl(cluster, *allowed, check=False), 30)
    kubectl(cluster, "--as=wang", "create", "configmap", "by-wang")
    entries = [json.loads(line) for line in cluster.audit_log.read_text().splitlines()]
    made = [entry for entry in entries if entry.get("objectRef", {}).get("name") == "by-wang"]
    assert [entry["impersonatedUser"]["username"] for entry in made] == ["wang"]
    assert made[0]["user"]["username"] == "kubernetes-admin"


def test_a_long_directory_name_is_no_obstacle(tmp_path):
    directory = tmp_path / ("long-" * 20)
    with LightCluster(directory, audit=False) as cluster:
        assert cluster.audit_log is None
        assert "default" in kubectl(cluster, "get", "namespaces", "-o", "name")


def test_a_killed_test_run_leaves_no_process_behind(tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-m", "e2e.cluster", "light"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    printed = [parent.stdout.readline() for _ in range(2)]
    port = int(kubeconfig_port(printed[1].partition("KUBECONFIG=")[2].strip()))
    assert not is_free("127.0.0.1", port)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert wait_until(lambda: is_free("127.0.0.1", port), 30)


def test_two_reservations_never_share_a_port():
    ports = [ReservedPort() for _ in range(20)]
    try:
        assert len({port.number for port in ports}) == 20
    finally:
        for port in ports:
            port.release()


def kubeconfig_port(path: str) -> str:
    return next(line for line in Path(path).read_text().splitlines() if "server:" in line).rpartition(":")[2]
