"""Small builders of the facts that the plan decides on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pilotage.api.v1alpha1.implementation import AssessmentCheck, AssessmentResult
from pilotage.plan.acceptance import Verdict
from pilotage.plan.delivery import ReleaseFacts, Revision
from pilotage.plan.facts import (
    CheckFacts,
    DesiredRelease,
    ImplementationFacts,
    MigrationFacts,
    ModuleFacts,
    Problem,
)
from pilotage.plan.health import Health

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
PASSED_PREFLIGHT = (AssessmentCheck(name="kubernetes-version", result=AssessmentResult.PASS, message="fine"),)
FAILED_PREFLIGHT = (
    AssessmentCheck(name="memory", result=AssessmentResult.FAIL, message="too little", remedy="add nodes"),
)


def a_module(name: str, *depends_on: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "dependsOn": list(depends_on), "chart": {"configMapRef": {"name": name}}, **fields}


def an_implementation(
    *modules: dict[str, Any],
    status: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    return {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "Implementation",
        "metadata": {"name": "erp", "namespace": "huasheng", "uid": "u1", "generation": 1, **(metadata or {})},
        "spec": {"customer": {"code": "huasheng", "name": "华升商贸"}, "modules": list(modules), **spec},
        "status": dict(status or {"observedGeneration": -1}),
    }


def desired(name: str = "i1") -> DesiredRelease:
    return DesiredRelease(input=name, values_digest=f"values-{name}", chart="chart", version="1.0.0")


def a_revision(number: int = 1, status: str = "deployed", wanted: str = "i1", **fields: Any) -> Revision:
    values: dict[str, Any] = {
        "chart": "chart",
        "version": "1.0.0",
        "attempt": "0",
        "last_deployed": NOW - timedelta(seconds=30),
        "manifests": ({"kind": "Deployment", "metadata": {"name": "web"}},),
    }
    return Revision(number, status, input=wanted, **(values | fields))


def a_release(*revisions: Revision, acting: bool = False, name: str = "erp-core") -> ReleaseFacts:
    return ReleaseFacts(name, revisions, acting)


def module_facts(
    release: ReleaseFacts | None = None, *, wanted: str = "i1", health: Health = Health.CURRENT, **fields: Any
) -> ModuleFacts:
    return ModuleFacts(desired=desired(wanted), release=release or a_release(), health=health, **fields)


def running(name: str = "erp-core", wanted: str = "i1") -> ModuleFacts:
    return module_facts(a_release(a_revision(wanted=wanted), name=name), wanted=wanted)


def absent(name: str = "erp-core") -> ModuleFacts:
    return module_facts(a_release(name=name), health=Health.MISSING)


def a_migration(name: str, module: str, phase: str = "Loading", **fields: Any) -> MigrationFacts:
    values: dict[str, Any] = {"implementation": "erp", "succeeded": phase == "Succeeded"}
    return MigrationFacts(name=name, module=module, phase=phase, **(values | fields))


def a_check(
    name: str, gate: str = "ConfigurationReady", passed: Sequence[str] = (), modules: Sequence[str] = (), **fields: Any
) -> CheckFacts:
    verdicts = {module: Verdict(passed=True, phase="Passed", message="") for module in passed}
    return CheckFacts(
        name=name,
        gate=gate,
        implementation=fields.pop("implementation", "erp"),
        modules=tuple(modules),
        verdicts=verdicts,
        terms=fields.pop("terms", {}),
    )


def facts(body: dict[str, Any], modules: Mapping[str, ModuleFacts], **fields: Any) -> ImplementationFacts:
    values: dict[str, Any] = {"assessment": PASSED_PREFLIGHT, "attempt": "0"}
    migrations = {found.name: found for found in fields.pop("migrations", ())}
    checks = {found.name: found for found in fields.pop("checks", ())}
    problem: Problem | None = fields.pop("problem", None)
    return ImplementationFacts(
        body=body,
        now=fields.pop("now", NOW),
        modules=modules,
        migrations=migrations,
        checks=checks,
        problem=problem,
        **(values | fields),
    )
