"""A cluster in a Docker container, by kind. Not run on the machine it was written on, which has no Docker."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from e2e.cluster.errors import Refusal
from e2e.cluster.places import BUILD, REPOSITORY

NAME = "pilotage"
CONFIGURATION = REPOSITORY / "e2e" / "kind" / "config.yaml"
KUBECONFIG = BUILD / "kind" / "kubeconfig"


def up() -> None:
    KUBECONFIG.parent.mkdir(parents=True, exist_ok=True)
    if NAME in _kind("get", "clusters").split():
        _kind("export", "kubeconfig", f"--name={NAME}", f"--kubeconfig={KUBECONFIG}")
        print(f"The kind cluster {NAME} is up already. Kubeconfig: {KUBECONFIG}")
        return
    print(f"Creating the kind cluster {NAME} (a minute or two)", flush=True)
    _kind("create", "cluster", f"--name={NAME}", f"--config={CONFIGURATION}", f"--kubeconfig={KUBECONFIG}")
    print(f"The cluster is ready. Kubeconfig: {KUBECONFIG}")


def down() -> None:
    _kind("delete", "cluster", f"--name={NAME}", f"--kubeconfig={KUBECONFIG}")
    KUBECONFIG.unlink(missing_ok=True)


def status() -> int:
    found = NAME in _kind("get", "clusters").split()
    print(f"The kind cluster {NAME} {'exists' if found else 'does not exist'}.")
    return 0 if found else 1


def kubeconfig() -> Path:
    if not KUBECONFIG.is_file():
        raise Refusal("There is no kind cluster of this checkout: CLUSTER=kind python -m e2e.cluster up")
    return KUBECONFIG


def load(archives: Sequence[Path]) -> None:
    for archive in archives:
        _kind("load", "image-archive", str(archive), f"--name={NAME}")


def _kind(*arguments: str) -> str:
    try:
        finished = subprocess.run(["kind", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Refusal(
            "CLUSTER=kind needs the program kind on PATH: `go install sigs.k8s.io/kind@latest`, for one.",
        ) from None
    if finished.returncode != 0:
        raise Refusal(f"`kind {' '.join(arguments)}` failed: {finished.stderr.strip()}")
    return finished.stdout
