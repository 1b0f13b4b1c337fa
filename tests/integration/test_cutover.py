"""A cutover on a real API server: the operator as a process, killed half-way, and Jobs of the real controller."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.light import LightCluster
from e2e.cluster.places import BINARIES, REPOSITORY
from e2e.cluster.probe import wait_until
from tests.support.builders import a_module, an_implementation
from tests.unit.delivery.builders import chart

pytestmark = [pytest.mark.light, pytest.mark.timeout(300)]

TENANT, DEPLOYER = "huasheng", "pilotage-deployer"
SETTINGS = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}'}\n"
CONTACTS = [{"id": "wang", "role": "CustomerLead", "name": "王强"}]
STEPS = [
    {"name": "freeze", "type": "Confirm", "owner": "wang", "plannedMinutes": 30},
    {"name": "backup", "type": "Job", "ref": "backup", "plannedMinutes": 30},
    {"name": "enable", "type": "Rollout", "plannedMinutes": 5},
    {"name": "switch", "type": "Job", "ref": "switch", "plannedMinutes": 5},
]
BACK = [{"name": "restore", "type": "Job", "ref": "restore", "plannedMinutes": 30}]


class Ground:
    """An API server with a customer's namespace, and the operator beside it."""

    def __init__(self, light: LightCluster, directory: Path) -> None:
        self._light, self._directory = light, directory
        self._operator: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str, body: Any = None) -> str:
        command = [str(BINARIES / "kubectl"), f"--kubeconfig={self._light.kubeconfig}", *arguments]
        text = json.dumps(body) if body is not None else None
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def create(self, kind: str, name: str, spec: dict[str, Any], version: str = "pilotage.dev/v1alpha1") -> None:
        metadata = {"name": name, "namespace": TENANT}
        self.run("create", "-f", "-", body={"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})

    def start(self) -> None:
        """The operator as a process, by the administrator's kubeconfig."""
        chosen = {
            "KUBECONFIG": str(self._light.kubeconfig),
            "PILOTAGE_LEADER_ELECTION": "false",
            "PILOTAGE_HELM": str(BINARIES / "helm"),
            "PILOTAGE_SCRATCH": str(self._directory / "scratch"),
            "PILOTAGE_HEALTH_PORT": "0",
            "PILOTAGE_METRICS_PORT": "0",
        }
        with (self._directory / "operator.log").open("ab") as log:
            self._operator = subprocess.Popen(
                [sys.executable, "-m", "pilotage.operator"], env=os.environ | chosen, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """SIGKILL, as a node that fails would."""
        if self._operator:
            self._operator.kill()
            self._operator.wait(timeout=30)
            self._operator = None

    @property
    def module(self) -> dict[str, Any]:
        found = json.loads(self.run("-n", TENANT, "get", "implementation", "erp", "-o", "json"))
        modules = (found.get("status") or {}).get("modules") or [{}]
        return dict(modules[0])

    def jobs(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(self.run("-n", TENANT, "get", "jobs", "-o", "json"))["items"]
        return sorted(items, key=lambda job: job["metadata"]["name"])

    def until(self, what: str, holds: Callable[[dict[str, Any]], bool]) -> None:
        assert wait_until(lambda: holds(self.module), 120, 0.5), f"{what}: {self.module}"

    def confirm(self, step: str) -> None:
        spec = {
            "implementationRef": {"name": "erp"},
            "type": "CutoverStep",
            "module": "core",
            "name": step,
            "result": {"outcome": "Passed"},
            "by": "wang",
            "recordedBy": "wang",
        }
        self.create("Attestation", step, spec)


@pytest.fixture
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    directory = tmp_path_factory.mktemp("cutover")
    (directory / "scratch").mkdir()
    with LightCluster(directory / "cluster", audit=False) as light:
        found = Ground(light, directory)
        found.run("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
        found.run("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
        rules = subprocess.run(
            [str(BINARIES / "helm"), "template", "pilotage", str(REPOSITORY / "charts/pilotage"),
             "--show-only", "templates/customer-roles.yaml"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        (directory / "roles.yaml").write_text(rules)
        found.run("apply", "-f", str(directory / "roles.yaml"))
        for name in ("pilotage-system", TENANT):
            found.run("create", "namespace", name)
        found.run("-n", TENANT, "create", "serviceaccount", DEPLOYER)
        bound = [f"--clusterrole={DEPLOYER}", f"--serviceaccount={TENANT}:{DEPLOYER}"]
        found.run("-n", TENANT, "create", "rolebinding", DEPLOYER, *bound)
        archive = base64.b64encode(chart({"templates/settings.yaml": SETTINGS})).decode()
        packed = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "core", "namespace": TENANT}}
        found.run("create", "-f", "-", body=packed | {"binaryData": {"chart.tgz": archive}})
        yield found
        found.kill()


def a_template(**spec: Any) -> dict[str, Any]:
    """A suspended CronJob. There are no nodes: a Job of no completions ends at once, any other never by itself."""
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "registry.example/none:1"}]}
    job = {"spec": {"template": {"spec": pod}, **spec}}
    return {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": job}


def a_project(ground: Ground) -> None:
    cutover = {"steps": STEPS, "pointOfNoReturn": "switch", "rollback": BACK}
    body = an_implementation(a_module("core", cutover=cutover), contacts=CONTACTS)
    ground.create("Implementation", "erp", body["spec"])


def test_an_operator_that_is_killed_between_the_steps_makes_each_job_once_and_ends_the_cutover(ground: Ground) -> None:
    for name in ("backup", "switch", "restore"):
        ground.create("CronJob", name, a_template(completions=0, ttlSecondsAfterFinished=1), "batch/v1")
    ground.start()
    a_project(ground)
    ground.until("the first step waits for its owner", lambda module: module.get("reason") == "CutoverRunning")
    assert ground.jobs() == []
    ground.kill()
    ground.confirm("freeze")
    ground.start()
    ground.until("the module is accepted", lambda module: module.get("state") == "Accepted")
    jobs = ground.jobs()
    assert [job["metadata"]["labels"]["pilotage.dev/module"] for job in jobs] == ["core", "core"]
    assert "ttlSecondsAfterFinished" not in jobs[0]["spec"]
    assert {step["state"] for step in ground.module["cutover"]["steps"]} == {"Done"}


def test_a_job_that_fails_before_the_point_of_no_return_is_taken_back_and_tried_again_when_somebody_asks(
    ground: Ground,
) -> None:
    # The controller ends it: nothing runs here.
    ground.create("CronJob", "backup", a_template(activeDeadlineSeconds=1, backoffLimit=0), "batch/v1")
    for name in ("switch", "restore"):
        ground.create("CronJob", name, a_template(completions=0), "batch/v1")
    ground.start()
    a_project(ground)
    ground.until("the first step waits for its owner", lambda module: module.get("reason") == "CutoverRunning")
    ground.confirm("freeze")
    ground.until("the cutover is aborted", lambda module: module.get("reason") == "CutoverAborted")
    record = ground.module["cutover"]
    assert record["aborted"]["reason"] == "StepFailed"
    assert [step["state"] for step in record["rollback"]] == ["Done"]
    assert len(ground.jobs()) == 2
    ground.run("-n", TENANT, "annotate", "implementation", "erp", "pilotage.dev/retry-at=second")
    ground.until("the second attempt begins", lambda module: (module.get("cutover") or {}).get("attempt") == 2)
    assert ground.module["state"] == "CuttingOver"
