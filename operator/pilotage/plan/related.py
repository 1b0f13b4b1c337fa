"""What an Implementation rests on besides itself, read from the objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pilotage.api.v1alpha1.acceptancecheck import Gate
from pilotage.api.v1alpha1.migrationjob import RunKind
from pilotage.plan.acceptance import Verdict
from pilotage.plan.facts import CheckFacts, MigrationFacts


def migration_facts(body: Mapping[str, Any]) -> MigrationFacts:
    """The MigrationJob as it stands. A status of an older generation is no success."""
    spec, status = body.get("spec") or {}, body.get("status") or {}
    current = status.get("observedGeneration") == body["metadata"].get("generation")
    phase = status.get("phase", "") if current else ""
    conditions = status.get("conditions") or []
    stalled = any(c["type"] == "Stalled" and c["status"] == "True" for c in conditions) and current
    loaded = [
        str(run.get("id", ""))
        for run in status.get("runs") or []
        if _loads(run.get("run")) and run.get("phase") == "Succeeded"
    ]
    return MigrationFacts(
        name=body["metadata"]["name"],
        module=spec.get("module", ""),
        implementation=(spec.get("implementationRef") or {}).get("name", ""),
        phase=phase,
        succeeded=phase == "Succeeded" and _loads(spec.get("run", RunKind.FINAL)),
        ended_badly=phase in {"Rejected", "Failed", "Paused"} or stalled,
        message=next((c.get("message", "") for c in conditions if c["type"] == "Ready"), ""),
        depends_on=tuple(needed["name"] for needed in spec.get("dependsOn") or []),
        certificate=status.get("certificateDigest") or "",
        loaded=bool(loaded),
        loaded_run=loaded[-1] if loaded else "",
        keeps_images=bool((spec.get("rollback") or {}).get("beforeImages")),
        run=RunKind(spec.get("run", RunKind.FINAL)),
        rehearsal=(status.get("rehearsal") or {}).get("certificateDigest", ""),
    )


def _loads(kind: str | None) -> bool:
    return kind in set(RunKind) and RunKind(kind).loads


def check_facts(body: Mapping[str, Any], verdicts: Mapping[str, Verdict]) -> CheckFacts:
    """The AcceptanceCheck with its verdicts by module."""
    spec = body.get("spec") or {}
    return CheckFacts(
        name=body["metadata"]["name"],
        gate=Gate(spec["gate"]).value,
        implementation=(spec.get("implementationRef") or {}).get("name", ""),
        modules=tuple(spec.get("modules") or ()),
        verdicts=verdicts,
        terms={field: spec[field] for field in ("gate", "modules", "metrics", "stableRun") if field in spec},
    )
