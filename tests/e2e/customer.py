"""A customer's namespace on the real cluster, and what a test does and asks there."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from e2e.charts import package_folder
from e2e.cluster.containers import kill_container
from e2e.demo.kubectl import Kubectl

CHART = Path(__file__).parent / "chart"
DEADLINE = 180.0


class NotInTime(AssertionError):
    """The condition was not met in time; the message carries what was there instead."""


class Customer:
    """One customer: namespace, account and bindings, and the chart of its modules."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self.namespace = namespace
        self.kubectl = Kubectl(kubeconfig, namespace)

    def set_up(self) -> None:
        kubectl, name = self.kubectl, self.namespace
        kubectl.run("create", "namespace", name)
        kubectl.run("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
        kubectl.run("create", "serviceaccount", "pilotage-deployer")
        for binding, account in (
            ("pilotage-deployer", f"{name}:pilotage-deployer"),
            ("pilotage-impersonator", "pilotage-system:pilotage"),
        ):
            kubectl.run(
                "create", "rolebinding", binding, f"--clusterrole={binding}", f"--serviceaccount={account}"
            )  # fmt: skip
        self.put_chart()

    def put_chart(self, name: str = "workload", **files: bytes) -> None:
        archive = base64.b64encode(package_folder(CHART, "workload", files)).decode()
        self.kubectl.apply(
            [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": name, "namespace": self.namespace},
                    "binaryData": {"chart.tgz": archive},
                }
            ]
        )

    def tear_down(self) -> None:
        self.kubectl.run("delete", "namespace", self.namespace, "--wait=false", "--ignore-not-found")

    def implementation(self, *modules: dict[str, Any], **spec: Any) -> dict[str, Any]:
        body = {
            "apiVersion": "pilotage.dev/v1alpha1",
            "kind": "Implementation",
            "metadata": {"name": "erp", "namespace": self.namespace},
            "spec": {"customer": {"code": self.namespace, "name": "试点客户"}, "modules": list(modules), **spec},
        }
        self.kubectl.apply([body])
        return body

    def check(self, name: str, gate: str, **changes: Any) -> dict[str, Any]:
        availability = {
            "name": "available",
            "source": {"kubernetes": {"measure": "Availability"}},
            "target": {"atLeast": "100"},
            "interval": "1s",
        }
        spec: dict[str, Any] = {"implementationRef": {"name": "erp"}, "gate": gate, "metrics": [availability]}
        if gate == "StableRunComplete":
            spec["stableRun"] = {"required": "3s"}
        return {
            "apiVersion": "pilotage.dev/v1alpha1",
            "kind": "AcceptanceCheck",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec | changes,
        }

    def status(self, kind: str = "implementation", name: str = "erp") -> dict[str, Any]:
        found = self.kubectl.find(kind, name)
        return (found or {}).get("status") or {}

    def states(self) -> dict[str, str]:
        return {module["name"]: module["state"] for module in self.status().get("modules") or []}

    @contextmanager
    def watched_states(self, module: str) -> Iterator[Iterator[str]]:
        """Every state that is reported of the module, as the API server tells them: none is missed."""
        path = f'jsonpath={{.status.modules[?(@.name=="{module}")].state}}{{"\\n"}}'
        process = subprocess.Popen(
            self.kubectl.command("get", "implementations", "--watch", f"--output={path}"),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            yield (line.strip() for line in process.stdout)
        finally:
            process.terminate()
            process.wait()

    def condition(self, kind: str) -> dict[str, Any]:
        conditions = self.status().get("conditions") or []
        return next((found for found in conditions if found["type"] == kind), {})

    def module(self, name: str) -> dict[str, Any]:
        return next(module for module in self.status()["modules"] if module["name"] == name)

    def annotate(self, key: str, value: str) -> None:
        self.kubectl.run("annotate", "--overwrite", "implementation", "erp", f"pilotage.dev/{key}={value}")

    def releases(self) -> dict[str, list[tuple[int, str]]]:
        """Revisions and their status by release, as Helm recorded them."""
        text = self.kubectl.run("get", "secrets", "--selector=owner=helm", "--output=json")
        found: dict[str, list[tuple[int, str]]] = {}
        for item in json.loads(text)["items"]:
            labels = item["metadata"]["labels"]
            found.setdefault(labels["name"], []).append((int(labels["version"]), labels["status"]))
        return {name: sorted(revisions) for name, revisions in found.items()}

    def kill_operator(self) -> None:
        """SIGKILL to the operator's process, as the kernel's memory killer would send it.

        Its pod is replaced then: after several kills the kubelet would pause for minutes before it restarts a
        container.
        """
        system = Kubectl(self.kubectl.kubeconfig, "pilotage-system")
        kill_container("pilotage-system", "operator")
        system.run("delete", "pods", "--selector=app.kubernetes.io/name=pilotage", "--grace-period=1")
        system.run("rollout", "status", "deployment/pilotage", "--timeout=120s")

    def wait(self, what: str, condition: Callable[[], object], seconds: float = DEADLINE) -> None:
        """Wait until the condition holds; it is asked often, and its last word is in the message."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                report = json.dumps(self.status(), ensure_ascii=False, indent=1)
                raise NotInTime(f"not in {seconds:g} s: {what}\n{report[:6000]}")
            time.sleep(0.2)

    def wait_states(self, **wanted: str) -> None:
        self.wait(f"states {wanted}", lambda: wanted.items() <= self.states().items())


def a_module(name: str, *depends_on: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "dependsOn": list(depends_on),
        "chart": {"configMapRef": {"name": "workload"}},
        "timeout": "90s",
        **fields,
    }
