"""The schema, the status and the probe Job as a real API server takes them."""

from __future__ import annotations

import copy
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from e2e.cluster.light import LightCluster
from e2e.cluster.places import BINARIES
from pilotage.evidence.probe_job import build_probe_job
from pilotage.plan.acceptance import decide
from pilotage.plan.acceptance_sample import Sample
from pilotage.plan.acceptance_schedule import CheckObservation
from tests.unit.acceptance.builders import implementation

pytestmark = pytest.mark.light
ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = list(yaml.safe_load_all((ROOT / "manifests/examples/acceptancecheck.yaml").read_text()))


class Server:
    def __init__(self, cluster):
        self.cluster = cluster

    def kubectl(self, *arguments, body=None):
        command = [str(BINARIES / "kubectl"), f"--kubeconfig={self.cluster.kubeconfig}", *arguments]
        text = json.dumps(body) if body is not None else None
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)

    def apply(self, body):
        return self.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", body=body)

    def smoke(self):
        return json.loads(self.kubectl("-n", "huasheng", "get", "acceptancecheck", "smoke", "-o", "json").stdout)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with LightCluster(tmp_path_factory.mktemp("light")) as running:
        server = Server(running)
        server.kubectl("apply", "--server-side", "-f", str(ROOT / "crds/pilotage.dev_acceptancechecks.yaml"))
        crd = "crd/acceptancechecks.pilotage.dev"
        assert server.kubectl("wait", "--for=condition=Established", crd, "--timeout=30s").returncode == 0
        server.kubectl("create", "namespace", "huasheng")
        server.kubectl("label", "namespace", "huasheng", "pod-security.kubernetes.io/enforce=restricted")
        for example in EXAMPLES:
            finished = server.apply(example)
            assert finished.returncode == 0, finished.stderr
        yield server


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec: spec.update(gate="StableRunComplete"), "that gate needs it"),
        (lambda spec: spec.update(stableRun={"required": "1m"}), "that gate needs it"),
        (lambda spec: spec["metrics"][0]["source"].update(http={"service": "a", "port": 1}), "exactly one source"),
        (lambda spec: spec["metrics"][0]["target"].update(atMost="2"), "exactly one target"),
        (lambda spec: spec["metrics"][0].update(target={"atLeast": "much"}), "should match"),
        (lambda spec: spec.update(metrics=[]), "at least 1 items"),
        (lambda spec: spec["metrics"].append(spec["metrics"][0]), "uplicate"),
        (lambda spec: spec.update(surprise=1), "field not declared"),
    ],
)
def test_a_wrong_check_is_refused_at_apply(server, change, message):
    body = copy.deepcopy(EXAMPLES[0])
    body["metadata"]["name"] = "wrong"
    change(body["spec"])
    finished = server.apply(body)
    assert finished.returncode != 0
    assert message in finished.stderr


def test_the_status_is_stored_exactly_as_decided(server):
    body = server.smoke()
    assert body["status"] == {"observedGeneration": -1}
    samples = {
        ("core", "available"): Sample.of("100"),
        ("core", "login-page"): Sample.error("Service erp-core is not there"),
        ("core", "customers"): Sample.no_data("the query returned no value"),
    }
    seen = CheckObservation(body, implementation(), datetime.now(UTC), "session")
    body["status"] = decide(seen, samples, ["erp-db"]).status
    finished = server.kubectl("replace", "--subresource=status", "--validate=strict", "-f", "-", body=body)
    assert finished.returncode == 0, finished.stderr
    assert server.smoke()["status"] == body["status"]


def test_a_probe_job_satisfies_the_restricted_pod_security(server):
    job = build_probe_job(
        name="probe",
        namespace="huasheng",
        owner=server.smoke(),
        secret="erp-database",
        image="localhost/pilotage/engine:dev",
        probe={"connect": True},
        labels={"pilotage.dev/check": "smoke"},
    )
    finished = server.kubectl("create", "--validate=strict", "-f", "-", body=job)
    assert finished.returncode == 0, finished.stderr
    pod = {**job["spec"]["template"], "apiVersion": "v1", "kind": "Pod"}
    pod["metadata"] = {**pod["metadata"], "name": "probe", "namespace": "huasheng"}
    finished = server.kubectl("create", "--dry-run=server", "-f", "-", body=pod)
    assert finished.returncode == 0, finished.stderr
