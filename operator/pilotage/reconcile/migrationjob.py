"""Observe, act and report for MigrationJobs. The decision itself is `pilotage.plan.migration`."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from pilotage.api.v1alpha1.common import RETRY_AT
from pilotage.api.v1alpha1.implementation import Connection, ImplementationSpec
from pilotage.api.v1alpha1.migrationjob import MigrationJobSpec, RunKind
from pilotage.kube.client import ApiError, Conflict, Forbidden, Invalid, NotFound
from pilotage.kube.resources import (
    CONFIG_MAPS,
    IMPLEMENTATIONS,
    JOBS,
    MIGRATION_JOBS,
    PERSISTENT_VOLUME_CLAIMS,
    SECRETS,
)
from pilotage.kube.store import Key
from pilotage.plan.facts import Problem
from pilotage.plan.migration import decide, settled
from pilotage.plan.migration_facts import (
    DependencyFacts,
    MigrationJobFacts,
    RunIdentity,
    Stage,
    identify,
    identify_rollback,
)
from pilotage.reconcile.account import read_rights
from pilotage.reconcile.context import Context, deployer, read_anew, write_status
from pilotage.reconcile.events import emit
from pilotage.reconcile.migration_manifests import spec_config_map, stage_job
from pilotage.reconcile.migration_observe import observe_progress, observe_stage, observe_stages

logger = logging.getLogger(__name__)


async def reconcile(context: Context, key: Key) -> float | None:
    """One pass over one MigrationJob. Returns in how many seconds to look again; None: wait for events."""
    body: Mapping[str, Any] | None = context.store.get(MIGRATION_JOBS, key.namespace, key.name)
    if body is None or body["metadata"].get("deletionTimestamp"):
        return None
    facts = await _observe(context, body)
    decision = decide(facts)
    if decision.start is not None:
        body = await read_anew(context, MIGRATION_JOBS, body)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return None
        facts = await _observe(context, body)
        decision = decide(facts)
    if decision.start is not None:
        problem = await _start(context, body, facts, decision.start)
        if problem:
            decision = decide(_with_problem(facts, problem))
    before = body.get("status") or {}
    if await write_status(context, MIGRATION_JOBS, body, decision.status):
        await _tell(context, body, before, decision.status)
    return None if decision.again is None else decision.again.total_seconds()


def _with_problem(facts: MigrationJobFacts, problem: Problem) -> MigrationJobFacts:
    return MigrationJobFacts(**{**vars(facts), "problem": problem})


async def _observe(context: Context, body: Mapping[str, Any]) -> MigrationJobFacts:
    metadata = body["metadata"]
    namespace = metadata["namespace"]
    retry_at = (metadata.get("annotations") or {}).get(RETRY_AT, "")
    rollback = identify_rollback(body, retry_at)
    if settled(body, retry_at) and rollback is None:
        return MigrationJobFacts(body, context.clock(), retry_at)
    try:
        spec = MigrationJobSpec.model_validate(body["spec"])
    except ValidationError:
        return MigrationJobFacts(body, context.clock(), retry_at)
    implementation = context.store.get(IMPLEMENTATIONS, namespace, spec.implementation_ref.name)
    dependencies = {found.name: _dependency(context, namespace, found.name) for found in spec.depends_on}
    if implementation is None:
        return MigrationJobFacts(body, context.clock(), retry_at, dependencies=dependencies)
    user = deployer(namespace, _account(implementation))
    stages = await observe_stages(context, body, identify(body, retry_at), user)
    progress = await observe_progress(context, body, stages, identify(body, retry_at), user)
    if rollback and (found := await observe_stage(context, body, rollback, Stage.ROLLBACK, user)):
        stages[Stage.ROLLBACK] = found
    ended = not stages or all(found.ended for found in stages.values())
    problem = await _obstacle(context, namespace, spec, implementation, reads=rollback is None) if ended else None
    return MigrationJobFacts(body, context.clock(), retry_at, implementation, problem, dependencies, stages, progress)


def _dependency(context: Context, namespace: str, name: str) -> DependencyFacts | None:
    found = context.store.get(MIGRATION_JOBS, namespace, name)
    if found is None:
        return None
    status = found.get("status") or {}
    current = status.get("observedGeneration") == found["metadata"].get("generation")
    kind = RunKind(found["spec"].get("run", RunKind.FINAL))
    return DependencyFacts(str(status.get("phase", "")) if current else "", kind)


def _account(implementation: Mapping[str, Any]) -> str:
    return ImplementationSpec.model_validate(implementation["spec"]).service_account_name


def _connection(implementation: Mapping[str, Any], name: str | None) -> Connection | None:
    connections = ImplementationSpec.model_validate(implementation["spec"]).connections
    return next((found for found in connections if found.name == name), None)


async def _obstacle(
    context: Context, namespace: str, spec: MigrationJobSpec, implementation: Mapping[str, Any], *, reads: bool
) -> Problem | None:
    """What is missing in the customer's namespace before a Job can run, looked at as the customer's account.

    `reads` is whether the Job reads the source.
    """
    account = _account(implementation)
    for name in filter(None, (spec.target.connection, spec.source.connection_name if reads else None)):
        connection = _connection(implementation, name)
        if connection is None:
            return None
        if problem := await _secret_problem(context, namespace, account, connection):
            return problem
    if spec.source.connection_name or not reads:
        return None
    user = deployer(namespace, account)
    if spec.source.volume:
        resource, name = PERSISTENT_VOLUME_CLAIMS, spec.source.volume.claim_name
    else:
        resource, name = CONFIG_MAPS, spec.source.config_map.name if spec.source.config_map else ""
    try:
        await context.cluster.get(resource, namespace, name, acting_as=user)
    except NotFound:
        return Problem("SourceMissing", f"{resource.kind} {name} (spec.source) is not there")
    except Forbidden as error:
        return await _rights_problem(context, namespace, account, error)
    return None


async def _secret_problem(context: Context, namespace: str, account: str, connection: Connection) -> Problem | None:
    secret, keys = connection.secret_ref.name, connection.type.secret_keys
    try:
        found = await context.cluster.get(SECRETS, namespace, secret, acting_as=deployer(namespace, account))
    except NotFound:
        text = f"Secret {secret} is not there; it needs the keys {', '.join(keys)}"
        return Problem("SecretMissing", text)
    except Forbidden as error:
        return await _rights_problem(context, namespace, account, error)
    missing = [key for key in keys if key not in (found.get("data") or {})]
    return Problem("SecretIncomplete", f"Secret {secret} lacks the keys {', '.join(missing)}") if missing else None


async def _rights_problem(context: Context, namespace: str, account: str, error: ApiError) -> Problem:
    _, problem = await read_rights(context, namespace, account)
    return problem or Problem("RightsMissing", f"ServiceAccount {account}: {error.message}")


async def _start(context: Context, body: Mapping[str, Any], facts: MigrationJobFacts, stage: Stage) -> Problem | None:
    """Create the stage's Job, and before it what it mounts. What is there already was started by an earlier pass."""
    namespace = body["metadata"]["namespace"]
    implementation = facts.implementation or {}
    spec = MigrationJobSpec.model_validate(body["spec"])
    rollback = identify_rollback(body, facts.retry_at) if stage is Stage.ROLLBACK else None
    identity: RunIdentity = rollback or identify(body, facts.retry_at)
    account = _account(implementation)
    user = deployer(namespace, account)
    target = _connection(implementation, spec.target.connection)
    job = stage_job(
        body,
        spec,
        stage,
        identity,
        secret=target.secret_ref.name if target else "",
        live=_connection(implementation, spec.source.connection_name),
        retry_at=facts.retry_at,
        settings=context.settings,
    )
    try:
        await _create(context, CONFIG_MAPS, spec_config_map(body, spec, identity), user)
        created = await _create(context, JOBS, job, user)
    except Forbidden as error:
        return await _rights_problem(context, namespace, account, error)
    except Invalid as error:
        return Problem("JobRefused", f"the API server refuses the Job of stage {stage}: {error.message}")
    if created is None:
        # The watch may not have told yet that it is there.
        created = await context.cluster.get(JOBS, namespace, job["metadata"]["name"], acting_as=user)
    for key in context.store.observe(JOBS, "ADDED", created):
        context.wake(key)
    return None


async def _create(context: Context, resource: Any, manifest: Mapping[str, Any], user: str) -> dict[str, Any] | None:
    try:
        return await context.cluster.create(resource, manifest, acting_as=user)
    except Conflict:
        return None


async def _tell(
    context: Context, body: Mapping[str, Any], before: Mapping[str, Any], status: Mapping[str, Any]
) -> None:
    ready = next(found for found in status["conditions"] if found["type"] == "Ready")
    if before.get("phase") != status["phase"]:
        bad = status["phase"] in {"Rejected", "Failed", "Paused", "RolledBack"}
        reason = ready["reason"] if bad else f"Migration{status['phase']}"
        text = f"phase {before.get('phase', 'new')} → {status['phase']}: {ready['message']}"
        await emit(context, body, reason, text, warning=bad)
    logger.info("status written", extra={"phase": status["phase"], "counts": json.dumps(status.get("counts"))})
