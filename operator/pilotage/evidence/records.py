"""Values that other objects of the project report: what migrations came to, and what people attested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pilotage.api.v1alpha1.acceptancecheck import (
    AttestationMeasure,
    AttestationSource,
    MigrationMeasure,
    MigrationResultSource,
)
from pilotage.api.v1alpha1.attestation import DefectSeverity
from pilotage.api.v1alpha1.migrationjob import MigrationJobStatus, MigrationPhase
from pilotage.api.v1alpha1.project import DefectsStatus, TrainingStatus, UserTestsStatus
from pilotage.plan.acceptance_sample import Sample

SETTLED = frozenset({MigrationPhase.SUCCEEDED, MigrationPhase.REJECTED})


def measure_migration(body: Mapping[str, Any] | None, source: MigrationResultSource, implementation: str) -> Sample:
    """What the Final run or Delta of a MigrationJob of this Implementation came to; before that there is no data."""
    spec = (body or {}).get("spec") or {}
    if body is None or (spec.get("implementationRef") or {}).get("name") != implementation:
        return Sample.error(f"MigrationJob {source.name} of Implementation {implementation} is not there")
    status = MigrationJobStatus.model_validate(body.get("status") or {})
    if status.observed_generation != body["metadata"].get("generation"):
        return Sample.no_data(f"MigrationJob {source.name}: its spec has not been taken up yet")
    if status.run is None or not status.run.loads or status.phase not in SETTLED or status.counts is None:
        standing = f"{status.run or 'run'} is {status.phase or 'Pending'}"
        return Sample.no_data(
            f"MigrationJob {source.name}: its Final run or Delta has not ended with counts; {standing}"
        )
    if source.measure is MigrationMeasure.BALANCED:
        return Sample.of(str(int(status.counts.balanced)))
    if source.measure is MigrationMeasure.QUARANTINED:
        return Sample.of(str(status.counts.quarantined))
    failed = [check.name for check in status.checks if not check.passed]
    return Sample.of(str(len(failed)), ", ".join(failed))


def measure_attested(implementation: Mapping[str, Any], source: AttestationSource) -> Sample:
    """What the attestations of the Implementation come to. Where nobody has stated anything there is no data."""
    status = implementation.get("status") or {}
    if status.get("observedGeneration") != implementation["metadata"].get("generation"):
        return Sample.no_data("the Implementation's spec has not been taken up yet")
    if source.measure is AttestationMeasure.OPEN_DEFECTS:
        return _open_defects(status.get("defects"), source.severity or DefectSeverity.S4)
    if source.measure is AttestationMeasure.UNTRAINED:
        roles = [TrainingStatus.model_validate(found) for found in status.get("training") or []]
        unready = [f"{role.role}: {role.passed} of {role.needed}" for role in roles if not role.complete]
        missing = sum(max(0, role.needed - role.passed) for role in roles)
        return Sample.of(str(missing), "; ".join(unready)) if roles else Sample.no_data("spec.training has no roles")
    if not status.get("tests"):
        return Sample.no_data("no requirement names a test case of the users (acceptedBy: uat/CASE)")
    tests = UserTestsStatus.model_validate(status["tests"])
    lacking = [*tests.failed, *tests.open]
    return Sample.of(str(len(lacking)), ", ".join(lacking))


def _open_defects(stated: Mapping[str, Any] | None, severity: DefectSeverity) -> Sample:
    if stated is None:
        return Sample.no_data("no defect was ever attested, open or closed: whoever keeps the list states them")
    counts = DefectsStatus.model_validate(stated)
    by_severity = dict(zip(DefectSeverity, (counts.s1, counts.s2, counts.s3, counts.s4), strict=True))
    asked = [found for found in DefectSeverity if found <= severity]
    named = ", ".join(f"{found}: {by_severity[found]}" for found in asked if by_severity[found])
    return Sample.of(str(sum(by_severity[found] for found in asked)), named)
