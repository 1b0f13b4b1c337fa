"""What helm is told for each action, and what its answer means."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pilotage.api.v1alpha1.common import IMPLEMENTATION_LABEL
from pilotage.delivery.chart import Chart
from pilotage.delivery.process import Ended
from pilotage.kube.client import ApiError, Forbidden, Unavailable
from pilotage.plan.delivery import ATTEMPT_LABEL, INPUT_LABEL, tells_of_outage

HISTORY: Final = 10
AGAIN_AFTER: Final = 15.0

SCHEMA_REFUSAL: Final = "meet the specifications of the schema"


@dataclass(frozen=True)
class HelmAction:
    """One action on one release. `kind` is Install, Upgrade, Rollback or Uninstall."""

    kind: str
    namespace: str
    release: str
    account: str
    chart: Chart | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    input: str = ""
    attempt: str = "0"
    implementation: str = ""
    module: str = ""
    revision: int = 0
    timeout: float | None = None
    redact: Callable[[str], str] = str


@dataclass(frozen=True)
class HelmError:
    """Why an action failed. `until` is monotonic, when to try again; 0 holds until the input changes."""

    reason: str
    message: str
    until: float = 0.0


def arguments_of(action: HelmAction) -> list[str]:
    """The words after `helm`, without namespace and connection. Raises ValueError for an action that is none."""
    labels = [
        f"{INPUT_LABEL}={action.input}",
        f"{ATTEMPT_LABEL}={action.attempt}",
        f"{IMPLEMENTATION_LABEL}={action.implementation}",
    ]
    match action.kind:
        case "Install" | "Upgrade":
            if action.chart is None:
                msg = f"{action.kind} of {action.release} without a chart"
                raise ValueError(msg)
            return [
                "upgrade", action.release, str(action.chart.path), "--install", "--values", "-", "--reset-values",
                "--wait=hookOnly", "--disable-openapi-validation", "--server-side=true", "--force-conflicts",
                "--history-max", str(HISTORY), "--labels", ",".join(labels), "--output", "json", "--hide-notes",
            ]  # fmt: skip
        case "Rollback":
            return [
                "rollback", action.release, str(action.revision), "--wait=hookOnly", "--server-side=true",
                "--force-conflicts", "--history-max", str(HISTORY),
            ]  # fmt: skip
        case "Uninstall":
            # Helm goes, its records stay: what it left behind is known by them alone.
            return ["uninstall", action.release, "--wait=hookOnly", "--keep-history"]
        case _:
            msg = f"helm knows no action {action.kind}"
            raise ValueError(msg)


def error_of(action: HelmAction, ended: Ended) -> HelmError | None:
    """What the end of the process means, None for success. The release's record may say more."""
    if ended.code == 0:
        return None
    if ended.exceeded in {"memory", "output"}:
        return HelmError("ChartLimit", f"helm was stopped: it exceeded its limit of {ended.exceeded}")
    text = "helm did not end in time" if ended.late else last_words(action.redact(ended.errors))
    if ended.code < 0 and not ended.late:
        return HelmError("HelmKilled", f"helm was killed by signal {-ended.code}", time.monotonic() + AGAIN_AFTER)
    if tells_of_outage(ended.errors):
        return HelmError("ClusterUnreachable", text, time.monotonic() + AGAIN_AFTER)
    # A removal has no input that could change, and Helm keeps its reason to itself: what is left goes the next time.
    until = time.monotonic() + AGAIN_AFTER if action.kind == "Uninstall" else 0.0
    if SCHEMA_REFUSAL in ended.errors:
        return HelmError("ValuesInvalid", text)
    if "forbidden" in ended.errors:
        return HelmError("Forbidden", f"{text}. Give {action.account} the right, or change the chart", until)
    return HelmError("HelmFailed", text, until)


def error_of_refusal(action: HelmAction, refusal: ApiError) -> HelmError:
    """What it means that the API server refused us ourselves, in what surrounds Helm's own work. Tried again."""
    until = time.monotonic() + AGAIN_AFTER
    text = action.redact(refusal.message)
    if isinstance(refusal, Forbidden):
        return HelmError("Forbidden", f"{text}. Give {action.account} the right", until)
    reason = "ClusterUnreachable" if isinstance(refusal, Unavailable) else "HelmFailed"
    return HelmError(reason, text, until)


def last_words(errors: str) -> str:
    """The end of what helm said, short enough for a condition's message."""
    noise = ("level=", "time=", "WARNING")
    lines = [line for line in errors.strip().splitlines() if line and not line.startswith(noise)]
    return " ".join(lines[-12:]).removeprefix("Error: ")[-1000:]
