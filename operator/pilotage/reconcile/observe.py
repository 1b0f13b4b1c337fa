"""Gathers the facts of one pass over an Implementation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pilotage.api.v1alpha1.attestation import AttestationSpec
from pilotage.api.v1alpha1.common import IMPLEMENTATION_LABEL, RETRY_AT
from pilotage.api.v1alpha1.implementation import AssessmentCheck, ImplementationSpec, ModuleSpec
from pilotage.api.v1alpha1.schedule import SlotState
from pilotage.api.v1alpha1.signoff import SignOffSpec
from pilotage.kube.resources import (
    ACCEPTANCE_CHECKS,
    ATTESTATIONS,
    IMPLEMENTATIONS,
    MIGRATION_JOBS,
    NAMESPACES,
    SIGN_OFFS,
    Resource,
)
from pilotage.kube.store import Key
from pilotage.plan.acceptance import gate_verdict
from pilotage.plan.conditions import parse_timestamp
from pilotage.plan.delivery import ReleaseFacts
from pilotage.plan.facts import (
    AttestationFacts,
    CheckFacts,
    ImplementationFacts,
    MigrationFacts,
    ModuleFacts,
    Problem,
    Recorded,
    SignOffFacts,
    Spec,
)
from pilotage.plan.ledger import remembered_trust
from pilotage.plan.module import LIVE_STATES, release_name
from pilotage.plan.related import check_facts, migration_facts
from pilotage.plan.slots import Competition, contenders, schedule_of
from pilotage.reconcile.actions import attempt_of
from pilotage.reconcile.context import Context, deployer
from pilotage.reconcile.cutover import observe_step_jobs, observe_templates
from pilotage.reconcile.inputs import Inputs
from pilotage.reconcile.policy import ATTESTATION_POLICY, SIGN_OFF_POLICY, policy_since
from pilotage.reconcile.preflight import assess_environment
from pilotage.reconcile.workloads import observe_health


async def observe(context: Context, body: Mapping[str, Any], *, fresh: bool) -> ImplementationFacts:
    """Everything that the decision about this Implementation rests on, read from the store, the tenant's
    records and the inputs that were last prepared; `fresh` waits for those whose time to live is up.
    """
    metadata = body["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    spec = ImplementationSpec.model_validate(body["spec"])
    attempt = attempt_of((metadata.get("annotations") or {}).get(RETRY_AT))
    deleting = bool(metadata.get("deletionTimestamp"))
    if deleting and await _terminating(context, namespace):
        empty = {module.name: ModuleFacts() for module in spec.modules}
        return ImplementationFacts(body, context.clock(), attempt, modules=empty, namespace_terminating=True)
    key = Key(IMPLEMENTATIONS.plural, namespace, name)
    inputs = await context.rollout.inputs.prepare(context, body, spec, fresh=fresh)
    account = deployer(namespace, spec.service_account_name)
    modules = await asyncio.gather(
        *(_observe_module(context, body, module, inputs, account, attempt, fresh=fresh) for module in spec.modules)
    )
    migrations = observe_migrations(context, namespace)
    checks = observe_checks(context, namespace, dict(zip([m.name for m in spec.modules], modules, strict=True)))
    if deleting:
        assessment: Sequence[AssessmentCheck] = ()
        pending = ""
    else:
        assessment, pending = await assess_environment(context, body, spec, inputs, account)
    wanted = {release_name(name, module) for module in spec.modules}
    removed: Sequence[ReleaseFacts] = ()
    sign_offs = observe_sign_offs(context, namespace, name)
    attestations = observe_attestations(context, namespace, name)
    if not inputs.problem:
        removed = await context.rollout.releases.of_implementation(context, key, account, fresh=fresh)
    return ImplementationFacts(
        body=body,
        now=context.clock(),
        attempt=attempt,
        problem=inputs.problem,
        assessment=tuple(assessment),
        assessment_pending=pending,
        modules=dict(zip([m.name for m in spec.modules], modules, strict=True)),
        migrations=migrations,
        checks=checks,
        sign_offs=sign_offs,
        policy_since=await policy_since(context.cluster, SIGN_OFF_POLICY) if sign_offs else None,
        attestations=attestations,
        remembered=remembered_trust(await context.rollout.ledger.read(context.cluster, body))
        if sign_offs or attestations
        else {},
        attested_since=await policy_since(context.cluster, ATTESTATION_POLICY) if attestations else None,
        competition=await observe_competition(context, body, fresh=fresh),
        step_jobs=await observe_step_jobs(context, body, spec, account),
        job_templates=await observe_templates(context, body, spec, account) if not inputs.problem else {},
        removed_releases=tuple(release for release in removed if release.name not in wanted),
    )


async def _terminating(context: Context, namespace: str) -> bool:
    found = await context.cluster.get(NAMESPACES, None, namespace)
    return bool(found["metadata"].get("deletionTimestamp"))


async def _observe_module(
    context: Context,
    body: Mapping[str, Any],
    module: ModuleSpec,
    inputs: Inputs,
    account: str,
    attempt: str,
    *,
    fresh: bool,
) -> ModuleFacts:
    namespace = body["metadata"]["namespace"]
    key = Key(IMPLEMENTATIONS.plural, namespace, body["metadata"]["name"])
    problem, desired = inputs.problems.get(module.name), inputs.desired.get(module.name)
    if inputs.problem:
        return ModuleFacts(desired=desired, problem=problem)
    name = release_name(key.name, module)
    try:
        release = await context.rollout.releases.read(context, key, name, account, fresh=fresh)
    except ValueError as error:
        text = f"{error}. Restore the Secret, or delete it if a newer record is there"
        return ModuleFacts(desired=desired, problem=Problem("ReleaseUnreadable", text))
    if problem_of_owner := _taken(release, key.name):
        return ModuleFacts(desired=desired, problem=problem_of_owner)
    failure = context.rollout.engine.last_error(namespace, name, desired.input, attempt) if desired else None
    trouble = Problem(failure.reason, failure.message) if failure else None
    again = failure is not None and failure.until > 0
    if not _in_use(body, module.name, release):
        await context.rollout.workloads.catch_up(context, key, release)
    health, message, active = await observe_health(context, key, release, account)
    return ModuleFacts(
        desired=desired,
        problem=problem,
        release=release,
        action_error=None if again else trouble,
        interruption=trouble if again else None,
        health=health,
        health_message=message,
        job_active=active,
    )


def _in_use(body: Mapping[str, Any], module: str, release: ReleaseFacts) -> bool:
    """Whether the newest revision was judged before, and found good: what happens to it since, the watch tells."""
    reported = (body.get("status") or {}).get("modules") or []
    found: Mapping[str, Any] = next((one for one in reported if one["name"] == module), {})
    newest = release.revisions[-1].input if release.revisions else ""
    return found.get("reached") in LIVE_STATES and found.get("desiredInput") == newest


def _taken(release: ReleaseFacts, implementation: str) -> Problem | None:
    """Whether the release is somebody else's: made by hand, or by another Implementation of the namespace."""
    newest = release.revisions[-1] if release.revisions else None
    if newest is None or newest.owner == implementation or newest.status == "uninstalled":
        return None
    whose = f"belongs to Implementation {newest.owner}" if newest.owner else "was not made by an Implementation"
    text = (
        f"release {release.name} is there already and {whose}. Give the module another releaseName, or hand it over: "
        f"kubectl label --overwrite secret sh.helm.release.v1.{release.name}.v{newest.revision} "
        f"{IMPLEMENTATION_LABEL}={implementation}"
    )
    return Problem("ReleaseTaken", text)


async def observe_competition(context: Context, body: Mapping[str, Any], *, fresh: bool) -> Competition | None:
    """What other projects do, where the installation limits how many are cut over at once.

    fresh: a project that has claimed a slot asks the API server, for what watches tell may be older than the claim.
    """
    settings = context.settings
    if settings.max_concurrent_cutovers == 0:
        return None
    claim = schedule_of(body)
    asked = fresh and claim is not None and claim.state is SlotState.CLAIMED
    bodies = await context.cluster.list(IMPLEMENTATIONS) if asked else context.store.list(IMPLEMENTATIONS)
    others = contenders(bodies, settings.max_priority)
    return Competition(settings.max_concurrent_cutovers, settings.max_priority, others, asked)


def observe_migrations(context: Context, namespace: str) -> dict[str, MigrationFacts]:
    """The MigrationJobs of the namespace."""
    found = map(migration_facts, context.store.list(MIGRATION_JOBS, namespace))
    return {migration.name: migration for migration in found}


def observe_checks(context: Context, namespace: str, modules: Mapping[str, ModuleFacts]) -> dict[str, CheckFacts]:
    """The AcceptanceChecks of the namespace with their verdicts on the present inputs."""
    found = {}
    for body in context.store.list(ACCEPTANCE_CHECKS, namespace):
        check = check_facts(body, {})
        verdicts = {
            module: gate_verdict(body, module, facts.desired.input)
            for module, facts in modules.items()
            if facts.desired and check.covers(module)
        }
        found[check.name] = replace(check, verdicts=verdicts)
    return found


def observe_sign_offs(context: Context, namespace: str, implementation: str) -> tuple[SignOffFacts, ...]:
    """The sign-offs that name this Implementation, oldest first."""
    found = [_recorded(body, SignOffSpec) for body in _about(context, SIGN_OFFS, namespace, implementation)]
    return tuple(sorted(found, key=lambda sign_off: (sign_off.at, sign_off.name)))


def observe_attestations(context: Context, namespace: str, implementation: str) -> tuple[AttestationFacts, ...]:
    """The attestations that name this Implementation, oldest first."""
    found = [_recorded(body, AttestationSpec) for body in _about(context, ATTESTATIONS, namespace, implementation)]
    return tuple(sorted(found, key=lambda attestation: (attestation.at, attestation.name)))


def _about(context: Context, kind: Resource, namespace: str, implementation: str) -> Iterator[Mapping[str, Any]]:
    for body in context.store.list(kind, namespace):
        if body["spec"]["implementationRef"]["name"] == implementation:
            yield body


def _recorded(body: Mapping[str, Any], model: type[Spec]) -> Recorded[Spec]:
    metadata = body["metadata"]
    return Recorded(
        name=metadata["name"],
        uid=metadata["uid"],
        at=parse_timestamp(metadata["creationTimestamp"]),
        spec=model.model_validate(body["spec"]),
    )
