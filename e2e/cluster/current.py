"""The user's own cluster: only by name, only after a yes, and only the context that was shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from e2e.cluster.errors import Refusal
from e2e.cluster.places import BUILD

DIRECTORY = BUILD / "current"
KUBECONFIG = DIRECTORY / "kubeconfig"
CONSENT = "PILOTAGE_CURRENT_CONTEXT"


def up() -> None:
    """Show the current context, wait for a typed yes, and pin that context in a kubeconfig of our own.

    Without a terminal the environment must name the context. Raises Refusal without consent.
    """
    document = _current_context()
    name = str(document["current-context"])
    server = str(document["clusters"][0]["cluster"]["server"])
    print(f"Context {name}\nAPI server {server}\nPilotage will install its operator and a demo customer there.")
    require_consent(name)
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    KUBECONFIG.touch(mode=0o600)
    KUBECONFIG.write_text(json.dumps(document))
    print(f"Using it. Kubeconfig: {KUBECONFIG}")


def require_consent(name: str) -> None:
    """Raise Refusal unless the user says yes to this context, on the terminal or by its name in the environment."""
    given = os.environ.get(CONSENT)
    if given is not None or not sys.stdin.isatty():
        if given != name:
            raise Refusal(f"Without a terminal, say yes to this cluster with {CONSENT}={name}.")
        return
    if input("Type yes to use this cluster: ").strip() != "yes":
        raise Refusal("Nothing was done.")


def down() -> None:
    """Forget the cluster; nothing in it is touched."""
    KUBECONFIG.unlink(missing_ok=True)
    print("Your cluster was left as it is.")


def kubeconfig() -> Path:
    if not KUBECONFIG.is_file():
        raise Refusal("Your own cluster was not chosen yet: CLUSTER=current python -m e2e.cluster up")
    return KUBECONFIG


def _current_context() -> dict[str, Any]:
    command = ["kubectl", "config", "view", "--minify", "--flatten", "--raw", "--output=json"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Refusal("CLUSTER=current needs kubectl on PATH.") from None
    if answer.returncode != 0:
        raise Refusal(f"Your kubeconfig names no current context: {answer.stderr.strip()}")
    document: dict[str, Any] = json.loads(answer.stdout)
    return document
