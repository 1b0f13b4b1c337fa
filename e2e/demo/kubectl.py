"""The demo's hands in the cluster: kubectl with one kubeconfig and nothing of the user's environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from e2e.cluster.errors import Refusal
from e2e.cluster.places import BINARIES

FIELD_MANAGER = "pilotage-demo"


class Kubectl:
    """kubectl on one cluster."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self.kubeconfig = kubeconfig
        self.namespace = namespace

    def command(self, *arguments: str) -> list[str]:
        return [
            str(BINARIES / "kubectl"), f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *arguments,
        ]  # fmt: skip

    def run(self, *arguments: str, given: str | None = None) -> str:
        """Standard output of kubectl; Refusal carries what it said on failure."""
        done = subprocess.run(
            self.command(*arguments), input=given, capture_output=True, text=True, encoding="utf-8", check=False
        )
        if done.returncode:
            message = f"kubectl {' '.join(arguments)}: {done.stderr.strip()}"
            raise Refusal(message)
        return done.stdout

    def apply(self, manifests: Iterable[Mapping[str, Any]]) -> None:
        """Server-side apply with strict validation: an unknown field is an error, not a silence."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.run(
            "apply", "--server-side", f"--field-manager={FIELD_MANAGER}", "--force-conflicts", "--validate=strict",
            "--filename=-", given=json.dumps(listed),
        )  # fmt: skip

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        """The object, or None when there is none."""
        text = self.run("get", kind, name, "--ignore-not-found", "--output=json")
        found: dict[str, Any] | None = json.loads(text) if text.strip() else None
        return found

    def complete_job(self, manifest: Mapping[str, Any], seconds: float) -> None:
        """Run a Job to its end; one that is complete already is left alone, one that failed is begun anew.

        Refusal carries the log of a Job that fails, or says that the time is over.
        """
        name = manifest["metadata"]["name"]
        if "Failed" in self.job_conditions(name):
            self.run("delete", "job", name, "--wait")
        if self.find("job", name) is None:
            self.apply([manifest])
        deadline = time.monotonic() + seconds
        while "Complete" not in (conditions := self.job_conditions(name)):
            if (failed := "Failed" in conditions) or time.monotonic() > deadline:
                reason = "failed" if failed else f"is not complete after {seconds:.0f} s"
                pods = self.run("get", "pods", f"--selector=job-name={name}", "--output=wide")
                log = self.run("logs", f"--selector=job-name={name}", "--tail=20")
                message = f"Job {name} {reason}.\n{pods}{log}"
                raise Refusal(message)
            time.sleep(1)

    def job_conditions(self, name: str) -> set[str]:
        """Types of the Job's conditions that are true; none while there is no such Job."""
        found = self.find("job", name) or {}
        conditions = found.get("status", {}).get("conditions", ())
        return {condition["type"] for condition in conditions if condition["status"] == "True"}

    @contextmanager
    def forwarded(self, target: str, port: int) -> Iterator[str]:
        """A URL on loopback that leads to `port` of `target` (such as service/NAME) while the block runs."""
        process = subprocess.Popen(
            self.command("port-forward", "--address=127.0.0.1", target, f":{port}"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
        )  # fmt: skip
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            opened = re.search(r"127\.0\.0\.1:(\d+)", first)
            if opened is None:
                process.terminate()
                message = f"kubectl port-forward {target}: {process.communicate()[1].strip()}"
                raise Refusal(message)
            yield f"http://127.0.0.1:{opened[1]}"
        finally:
            process.terminate()
            process.wait()
