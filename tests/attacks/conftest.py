"""One real API server for all attacks that need one, with the operator's chart installed and two tenants."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.light import LightCluster
from e2e.cluster.places import BINARIES, REPOSITORY
from e2e.cluster.probe import wait_until

OPERATOR = "system:serviceaccount:pilotage-system:pilotage"
TENANT, NEIGHBOUR = "huasheng", "stranger"
DEPLOYER = f"system:serviceaccount:{TENANT}:pilotage-deployer"


class Ground:
    """The cluster by way of kubectl and helm, as its administrator or as whoever is named."""

    def __init__(self, light: LightCluster, folder: Path) -> None:
        self.light, self.folder = light, folder

    def kubectl(self, *arguments: str, body: Any = None) -> subprocess.CompletedProcess[str]:
        command = [str(BINARIES / "kubectl"), f"--kubeconfig={self.light.kubeconfig}", *arguments]
        text = json.dumps(body) if body is not None else None
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)

    def done(self, *arguments: str, body: Any = None) -> str:
        finished = self.kubectl(*arguments, body=body)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    def apply(self, body: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Strictly, on the server, and for trial only."""
        return self.kubectl(
            "apply", "--server-side", "--validate=strict", "--dry-run=server", "-f", "-", *arguments, body=body
        )

    def helm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        home = str(self.folder)
        folders = dict.fromkeys(("HELM_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_DATA_HOME"), home)
        command = [str(BINARIES / "helm"), f"--kubeconfig={self.light.kubeconfig}", *arguments]
        return subprocess.run(
            command, env={**os.environ, **folders}, capture_output=True, text=True, check=False, timeout=120
        )

    def may(self, user: str, verb: str, resource: str, *where: str) -> bool:
        return self.kubectl("auth", "can-i", verb, resource, f"--as={user}", *where).stdout.strip() == "yes"


@pytest.fixture(scope="session")
def ground(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacks")
    with LightCluster(folder / "cluster") as light:
        made = Ground(light, folder)
        for namespace in ("pilotage-system", TENANT, NEIGHBOUR):
            made.done("create", "namespace", namespace)
        made.done("label", "namespace", "pilotage-system", TENANT, "pod-security.kubernetes.io/enforce=restricted")
        chart = str(REPOSITORY / "charts/pilotage")
        tenants = f"customerNamespaces={{{TENANT},{NEIGHBOUR}}}"
        installed = made.helm("install", "pilotage", chart, "--namespace", "pilotage-system", "--set", tenants)
        assert installed.returncode == 0, installed.stderr
        # The authorizer learns of new bindings, and the server of new kinds, a moment after they are written.
        assert wait_until(lambda: made.may(OPERATOR, "list", "implementations.pilotage.dev", "-A"), 30)
        assert wait_until(lambda: made.may(DEPLOYER, "create", "secrets", "-n", TENANT), 30)
        assert wait_until(
            lambda: made.kubectl("get", "implementations,migrationjobs,acceptancechecks").returncode == 0, 30
        )
        yield made
