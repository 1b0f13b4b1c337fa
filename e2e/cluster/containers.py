"""Ends single containers of the embedded cluster, as the kernel would, for tests."""

from __future__ import annotations

import subprocess

from e2e.cluster.errors import Refusal
from e2e.cluster.images import ctr_command


def kill_container(namespace: str, container: str) -> None:
    """SIGKILL to every running container of that name in the namespace. Refusal when there is none."""
    wanted = f'labels."io.kubernetes.pod.namespace"=={namespace},labels."io.kubernetes.container.name"=={container}'
    listed = subprocess.run(
        ctr_command("containers", "list", "--quiet", wanted), capture_output=True, text=True, check=True
    ).stdout.split()
    killed = [
        identity
        for identity in listed
        if subprocess.run(
            ctr_command("tasks", "kill", "--signal", "SIGKILL", identity), capture_output=True, check=False
        ).returncode
        == 0
    ]
    if not killed:
        message = f"no container {container} runs in namespace {namespace}"
        raise Refusal(message)
