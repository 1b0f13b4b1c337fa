"""Which cluster is meant: `CLUSTER=embedded|kind|current`, or what fits this machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable

from e2e.cluster.errors import Refusal
from e2e.cluster.places import BUILD

KINDS = ("embedded", "kind", "current")
CHOICE = BUILD / "cluster.choice"


def choose(asked: str | None = None) -> str:
    """The kind of cluster asked for, by CLUSTER or by the last `up`; else embedded, else kind.

    `current` is never the answer to silence. Raises Refusal when nothing can run here.
    """
    wanted = asked or os.environ.get("CLUSTER") or _last_choice()
    if wanted:
        if wanted not in KINDS:
            raise Refusal(f"CLUSTER is {wanted}; it may be {', '.join(KINDS)}.")
        return wanted
    return default_choice(embedded_can_run(), docker_answers)


def default_choice(embedded: bool, docker: Callable[[], bool]) -> str:
    """What silence means, given what this machine can do."""
    if embedded:
        return "embedded"
    if docker():
        return "kind"
    raise Refusal(
        "No cluster can run here: the embedded one needs Linux and root, kind needs a Docker engine that answers. "
        "Run this as root on Linux, start Docker, or name your own cluster with CLUSTER=current.",
    )


def remember(choice: str) -> None:
    """Make later commands mean the cluster that `up` brought."""
    CHOICE.parent.mkdir(parents=True, exist_ok=True)
    CHOICE.write_text(choice)


def forget() -> None:
    CHOICE.unlink(missing_ok=True)


def embedded_can_run() -> bool:
    return platform.system() == "Linux" and os.geteuid() == 0


def docker_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _last_choice() -> str:
    return CHOICE.read_text().strip() if CHOICE.is_file() else ""
