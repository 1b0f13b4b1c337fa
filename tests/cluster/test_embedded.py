"""One story, told in order: up, real pods, failures, everything killed, another checkout, down."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from e2e.cluster import leftovers
from e2e.cluster.images import BUSYBOX_IMAGE
from e2e.cluster.places import BINARIES, REPOSITORY
from e2e.cluster.probe import wait_until
from e2e.cluster.processes import end

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(900)]
NAMESPACE = "ground-test"


def cluster_command(*arguments: str, checkout: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "e2e.cluster", *arguments]
    environment = {"PATH": "/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "CLUSTER": "embedded"}
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, env=environment, check=False)


def succeeds(*arguments: str, checkout: Path = REPOSITORY) -> str:
    finished = cluster_command(*arguments, checkout=checkout)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def kubectl(*arguments: str, text: str | None = None, check: bool = True) -> str:
    kubeconfig = succeeds("kubeconfig").strip()
    command = [str(BINARIES / "kubectl"), f"--kubeconfig={kubeconfig}", *arguments]
    finished = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert not check or finished.returncode == 0, finished.stderr
    return finished.stdout


def pod(name: str, script: str, *, claim: str | None = None, port: int | None = None) -> dict[str, object]:
    """A pod that Pod Security `restricted` admits: user 65532, read-only root."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": BUSYBOX_IMAGE,
                    "imagePullPolicy": "Never",
                    "command": ["sh", "-c", script],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "ports": [{"containerPort": port}] if port else [],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}] if claim else [],
                },
            ],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}] if claim else [],
        },
    }


def apply(*documents: dict[str, object]) -> None:
    kubectl("apply", "--filename=-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)}))


def restricted_namespace() -> dict[str, object]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def claim(name: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}},
    }


def service(name: str, port: int) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"app": name}, "ports": [{"port": port}]},
    }


def wait_for_phase(name: str, phase: str) -> None:
    kubectl(
        "wait", f"pod/{name}", f"--namespace={NAMESPACE}", f"--for=jsonpath={{.status.phase}}={phase}", "--timeout=120s"
    )


def kill_everything() -> None:
    """What a power cut of the test runner does: no process of the cluster lives, everything else stays."""
    for find in (leftovers.our_processes, leftovers.shim_processes, leftovers.pod_processes):
        end(find(), signal.SIGKILL)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    succeeds("up", "--replace")
    yield
    cluster_command("down", "--replace")


def test_up_again_says_so_at_once():
    begun = time.monotonic()
    assert "up already" in succeeds("up")
    assert time.monotonic() - begun < 5


def test_status_and_audit_log_tell_what_is_there():
    assert "Ready" in succeeds("status")
    assert Path(succeeds("audit-log").strip()).stat().st_size > 0


def test_a_pod_that_is_not_root_writes_to_its_volume_and_another_reads_it():
    apply(restricted_namespace(), claim("data"), pod("writer", "echo kept > /data/file", claim="data"))
    wait_for_phase("writer", "Succeeded")
    apply(pod("reader", "cat /data/file; id -u", claim="data"))
    wait_for_phase("reader", "Succeeded")
    assert kubectl("logs", "reader", f"--namespace={NAMESPACE}").split() == ["kept", "65532"]


def test_a_deleted_claim_deletes_its_data():
    volume = kubectl("get", "pvc", "data", f"--namespace={NAMESPACE}", "-o", "jsonpath={.spec.volumeName}")
    kubectl("delete", "pod/writer", "pod/reader", "pvc/data", f"--namespace={NAMESPACE}")
    assert wait_until(lambda: volume not in kubectl("get", "pv", "-o", "name"), 60)
    assert not list(leftovers.ROOT.glob(f"volumes/{volume}*"))


def test_a_service_is_found_by_name_and_the_api_server_by_its_address():
    apply(restricted_namespace(), service("shop", 8080), pod("shop", "httpd -f -p 8080 -h /bin", port=8080))
    wait_for_phase("shop", "Running")
    # A static busybox resolves names in nslookup only, and its wget crashes.
    # The rules of a Service come a moment after the Service.
    script = (
        f"address() {{ nslookup shop.{NAMESPACE}.svc.cluster.local | awk '/^Address: 10.96/ {{print $2}}'; }};"
        " for attempt in $(seq 60); do"
        " printf 'GET /sleep HTTP/1.0\\r\\n\\r\\n' | nc -w 2 $(address) 8080"
        " | grep -q '200 OK' && echo shop reached && break; sleep 1; done;"
        " nc -w 2 10.96.0.1 443 </dev/null && echo api reached"
    )
    apply(pod("client", script))
    wait_for_phase("client", "Succeeded")
    assert kubectl("logs", "client", f"--namespace={NAMESPACE}") == "shop reached\napi reached\n"


def test_exec_reaches_a_container():
    assert kubectl("exec", "shop", f"--namespace={NAMESPACE}", "--", "id", "-u").strip() == "65532"


def test_pods_survive_a_restart_of_the_api_server():
    succeeds("restart", "kube-apiserver")
    assert "Running" in kubectl("get", "pod/shop", f"--namespace={NAMESPACE}")


@pytest.mark.parametrize("part", ["etcd", "kube-apiserver", "containerd", "kubelet", "coredns"])
def test_a_dead_part_is_brought_back_and_pods_live_on(part):
    succeeds("kill", part)
    assert cluster_command("status").returncode == 1
    assert f"{part} was dead" in succeeds("up")
    user = ("exec", "shop", f"--namespace={NAMESPACE}", "--", "id", "-u")
    assert wait_until(lambda: kubectl(*user, check=False) == "65532\n", 60)


def test_another_checkout_refuses_to_take_a_living_cluster(tmp_path):
    refused = cluster_command("up", checkout=copy_of_checkout(tmp_path))
    assert refused.returncode == 1
    assert str(REPOSITORY) in refused.stderr
    assert "--replace" in refused.stderr


def test_leftovers_of_a_killed_cluster_do_not_break_the_next_one_of_another_checkout(tmp_path):
    kill_everything()
    assert leftovers.our_mounts()
    assert leftovers.our_interfaces()
    other = copy_of_checkout(tmp_path)
    succeeds("up", checkout=other)
    assert cluster_command("kubeconfig").returncode == 1
    succeeds("down", checkout=other)
    assert leftovers.remaining() == []


def test_an_unfinished_cluster_is_made_anew():
    succeeds("up")
    (leftovers.ROOT / "complete").unlink()
    assert "earlier cluster" in succeeds("up")
    succeeds("status")


def test_a_port_in_use_is_named_and_nothing_stays_behind():
    succeeds("down")
    listener = subprocess.Popen(
        [sys.executable, "-m", "http.server", "10248", "--bind", "127.0.0.1"], stderr=subprocess.DEVNULL
    )
    try:
        assert wait_until(lambda: ":10248" in cluster_command("up").stderr, 30)
    finally:
        listener.kill()
        listener.wait()
    assert leftovers.remaining() == []


def test_down_leaves_nothing_behind():
    succeeds("up")
    apply(restricted_namespace(), claim("data"), pod("busy", "sleep 1000", claim="data"))
    wait_for_phase("busy", "Running")
    succeeds("down")
    assert leftovers.remaining() == []
    assert cluster_command("kubeconfig").returncode == 1
    assert "nothing of it is left" in succeeds("down")


def copy_of_checkout(directory: Path) -> Path:
    """A second checkout with the same binaries: only what the cluster tool reads."""
    copy = directory / "checkout"
    for name in ("e2e/cluster", "e2e/go"):
        shutil.copytree(REPOSITORY / name, copy / name)
    shutil.copy(REPOSITORY / "e2e" / "__init__.py", copy / "e2e")
    (copy / "build").mkdir()
    for name in ("bin", "stamps", "images"):
        shutil.copytree(REPOSITORY / "build" / name, copy / "build" / name, copy_function=os.link)
    return copy
