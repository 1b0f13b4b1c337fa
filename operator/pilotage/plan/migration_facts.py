"""What a decision about a MigrationJob rests on: its Jobs as they stand, and the names that one run goes by."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pilotage.api.v1alpha1.migrationjob import RunKind
from pilotage.plan.facts import Problem

OPERATIONAL_FIELDS: Final = frozenset({"parallelism", "resources", "deadline", "rollback"})


class Stage(StrEnum):
    """The Jobs of a run, in this order, and the one that takes a run back."""

    PLAN = "plan"
    LOAD = "load"
    REPORT = "report"
    ROLLBACK = "rollback"


RUN_STAGES: Final = (Stage.PLAN, Stage.LOAD, Stage.REPORT)


@dataclass(frozen=True)
class StageFacts:
    """One stage's Job as it stands. `answer` is the last word of one of its pods, `pod_problem` why none runs."""

    complete: bool = False
    failed: bool = False
    failure: str = ""
    foreign: bool = False
    created: datetime | None = None
    running: bool = False
    quiet_since: datetime | None = None
    answer: Mapping[str, Any] | None = None
    pod_problem: str = ""

    @property
    def ended(self) -> bool:
        """Whether it is over, well or badly."""
        return self.complete or self.failed


@dataclass(frozen=True)
class DependencyFacts:
    """Another MigrationJob as it stands: the phase of its present spec, and how far that spec may go."""

    phase: str
    run: RunKind


@dataclass(frozen=True)
class MigrationJobFacts:
    """Everything that the decision rests on. `problem` is what stands in the way in the tenant's namespace."""

    body: Mapping[str, Any]
    now: datetime
    retry_at: str = ""
    implementation: Mapping[str, Any] | None = None
    problem: Problem | None = None
    dependencies: Mapping[str, DependencyFacts | None] = field(default_factory=dict)
    stages: Mapping[Stage, StageFacts] = field(default_factory=dict)
    progress: Mapping[str, int] | None = None


@dataclass(frozen=True)
class RunIdentity:
    """What names a run: the same object, spec and attempt lead to the same Jobs, whoever asks and however often."""

    run: str
    spec_digest: str
    token: str

    def job_name(self, name: str, stage: Stage | str) -> str:
        """Name of the Job of one stage."""
        return f"{name.replace('.', '-')[:40].strip('-')}-{stage}-{self.token}"


def identify(body: Mapping[str, Any], retry_at: str) -> RunIdentity:
    """The run that this object asks for now. How it is run (workers, resources, deadline) is not part of it."""
    content = {name: value for name, value in body["spec"].items() if name not in OPERATIONAL_FIELDS}
    if content.get("run") == RunKind.FINAL:
        # Said or not said, it is the same run.
        del content["run"]
    if content.get("run") != RunKind.DELTA:
        # What a later Delta may do does not make the load before it another one.
        content.pop("delta", None)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
    uid = body["metadata"]["uid"]
    run = uuid.UUID(hashlib.sha256(f"{uid}/{digest}".encode()).hexdigest()[:32])
    token = hashlib.sha256(f"{uid}/{digest}/{retry_at}".encode()).hexdigest()[:10]
    return RunIdentity(str(run), f"sha256:{digest}", token)


def identify_rollback(body: Mapping[str, Any], retry_at: str) -> RunIdentity | None:
    """The run that this object wants taken back and that is not yet; None when there is none."""
    wanted = (body["spec"].get("rollback") or {}).get("run")
    phases = [found["phase"] for found in (body.get("status") or {}).get("runs") or [] if found["id"] == wanted]
    if not wanted or phases[-1:] == ["RolledBack"]:
        return None
    token = hashlib.sha256(f"{body['metadata']['uid']}/{wanted}/{retry_at}".encode()).hexdigest()[:10]
    return RunIdentity(wanted, identify(body, retry_at).spec_digest, token)
