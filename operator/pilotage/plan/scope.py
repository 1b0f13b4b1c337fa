"""The agreed scope: whether it is complete, what proves each requirement, and the digest that a baseline binds to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pilotage.api.v1alpha1.implementation import ImplementationSpec
from pilotage.api.v1alpha1.project import (
    Baseline,
    DeferredRequirement,
    Fit,
    Priority,
    Requirement,
    ScopeChange,
    ScopeProblem,
    ScopeStatus,
)
from pilotage.plan.conditions import shorten, timestamp
from pilotage.plan.digest import canonical_digest
from pilotage.plan.facts import CheckFacts

MAX_PROBLEMS = 20
MAX_CHANGES = 20


@dataclass(frozen=True)
class Scope:
    """The scope as it stands now. It is complete when nothing is in `problems`."""

    digest: str
    traced: int
    problems: tuple[ScopeProblem, ...]


def declares_scope(spec: ImplementationSpec) -> bool:
    """Whether the project writes its scope down; without, the scope is the modules and needs no word."""
    return bool(spec.requirements or spec.goals)


def assess_scope(spec: ImplementationSpec, uid: str, checks: Mapping[str, CheckFacts]) -> Scope:
    """The scope of the Implementation with that uid. `checks` are those that point to it, by name."""
    problems = [found for requirement in spec.requirements for found in _problems(requirement, spec, checks)]
    problems += _strays(spec)
    musts = [found for found in spec.requirements if found.priority is Priority.MUST]
    untraced = {found.field for found in problems if found.field.endswith(".acceptedBy")}
    return Scope(
        digest=canonical_digest(_agreed(spec, uid, checks, musts)),
        traced=sum(f"{_path(found)}.acceptedBy" not in untraced for found in musts),
        problems=tuple(problems),
    )


def _agreed(
    spec: ImplementationSpec, uid: str, checks: Mapping[str, CheckFacts], musts: list[Requirement]
) -> dict[str, Any]:
    """What a change of makes the baseline stale: goals, musts, modules, thresholds. Order and the rest are free."""
    return {
        "uid": uid,
        "goals": [goal.to_manifest() for goal in spec.goals],
        "requirements": {found.id: found.to_manifest() for found in musts},
        "modules": sorted(module.name for module in spec.modules),
        "thresholds": {name: found.terms for name, found in sorted(checks.items())},
    }


def _path(requirement: Requirement) -> str:
    return f"spec.requirements[{requirement.id}]"


def _problems(
    requirement: Requirement, spec: ImplementationSpec, checks: Mapping[str, CheckFacts]
) -> Iterator[ScopeProblem]:
    match requirement.priority:
        case Priority.DEFERRED if not requirement.defer_to:
            yield _problem(requirement, "deferTo", "say where a Deferred requirement goes")
        case Priority.WONT_DO if not requirement.rationale:
            yield _problem(requirement, "rationale", "say why a WontDo requirement is not done")
        case Priority.DEFERRED | Priority.WONT_DO:
            return
        case Priority.MUST:
            yield from _gaps(requirement)
            yield from _wrong(requirement, spec, checks)
        case _:
            yield from _wrong(requirement, spec, checks)


def _strays(spec: ImplementationSpec) -> Iterator[ScopeProblem]:
    """Settings that go back to a requirement that nobody wrote down."""
    known = {requirement.id for requirement in spec.requirements}
    for module in spec.modules:
        for item in module.config:
            if item.requirement and item.requirement not in known:
                path = f"spec.modules[{module.name}].config[{item.key}].requirement"
                yield ScopeProblem(
                    field=shorten(path, 120), message=f"{item.requirement} is no id of spec.requirements"
                )


def _problem(requirement: Requirement, field: str, message: str) -> ScopeProblem:
    return ScopeProblem(field=f"{_path(requirement)}.{field}", message=shorten(message, 300))


def _gaps(requirement: Requirement) -> Iterator[ScopeProblem]:
    if requirement.module is None:
        yield _problem(requirement, "module", "name the module that meets this Must")
    if requirement.owner is None:
        yield _problem(requirement, "owner", "name the contact who accepts this Must")
    if not requirement.accepted_by:
        text = "name what proves this Must: check/NAME, check/NAME/METRIC or uat/CASE"
        yield _problem(requirement, "acceptedBy", text)


def _wrong(
    requirement: Requirement, spec: ImplementationSpec, checks: Mapping[str, CheckFacts]
) -> Iterator[ScopeProblem]:
    if requirement.module and requirement.module not in {module.name for module in spec.modules}:
        yield _problem(requirement, "module", f"module {requirement.module} is not in spec.modules")
    if requirement.owner and requirement.owner not in {contact.id for contact in spec.contacts}:
        yield _problem(requirement, "owner", f"{requirement.owner} is no id of spec.contacts")
    if requirement.fit is Fit.GAP and not requirement.rationale:
        yield _problem(requirement, "rationale", "say why the product does not meet this, and what will")
    if missing := [text for entry in requirement.accepted_by if (text := _unproven(entry, checks))]:
        yield _problem(requirement, "acceptedBy", "; ".join(missing))


def _unproven(entry: str, checks: Mapping[str, CheckFacts]) -> str | None:
    kind, _, rest = entry.partition("/")
    if kind == "uat":
        return None
    name, _, metric = rest.partition("/")
    if name not in checks:
        return f"AcceptanceCheck {name} is not there, or points to another Implementation"
    if metric and metric not in {found["name"] for found in checks[name].terms.get("metrics", ())}:
        return f"AcceptanceCheck {name} has no metric {metric}"
    return None


def scope_status(
    spec: ImplementationSpec, scope: Scope, previous: ScopeStatus | None, *, agreed: bool, now: datetime
) -> ScopeStatus:
    """The report about the scope. `agreed`: the gate ScopeBaselined is passed with this very digest."""
    baseline = previous.baseline if previous else None
    changes = list(previous.changes) if previous else []
    known = changes[-1].after if changes else baseline.digest if baseline else scope.digest
    if scope.digest != known:
        changes.append(ScopeChange(before=known, after=scope.digest, at=timestamp(now)))
    if agreed and (baseline is None or baseline.digest != scope.digest):
        baseline = Baseline(digest=scope.digest, at=timestamp(now))
    counts = Counter(found.priority for found in spec.requirements)
    return ScopeStatus(
        digest=scope.digest,
        must=counts[Priority.MUST],
        should=counts[Priority.SHOULD],
        could=counts[Priority.COULD],
        wont_do=counts[Priority.WONT_DO],
        traced=scope.traced,
        deferred=[
            DeferredRequirement(id=found.id, to=found.defer_to or "")
            for found in spec.requirements
            if found.priority is Priority.DEFERRED
        ],
        problems=list(scope.problems[:MAX_PROBLEMS]),
        baseline=baseline,
        changes=changes[-MAX_CHANGES:],
    )
