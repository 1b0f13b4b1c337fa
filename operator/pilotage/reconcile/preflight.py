"""Measures the customer's cluster for the preflight; databases are asked by a probe Job of the tenant."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pilotage.api.v1alpha1.common import IMPLEMENTATION_LABEL, RETRY_AT
from pilotage.api.v1alpha1.implementation import AssessmentCheck, Connection, ImplementationSpec
from pilotage.evidence.probe_job import (
    JOB_NAME_LABEL,
    UnreadableAnswer,
    belongs_to,
    build_probe_job,
    probe_finished,
    read_answers,
    source_environment,
)
from pilotage.kube.client import Conflict, NotFound
from pilotage.kube.resources import JOBS, PODS, SECRETS
from pilotage.plan.conditions import parse_timestamp
from pilotage.plan.preflight import DATABASE_QUERIES, ConnectionProbe, EnvironmentFacts, assess
from pilotage.reconcile.context import Context
from pilotage.reconcile.inputs import Inputs

RETRY_FAILED_PROBE_AFTER = 20.0


async def assess_environment(
    context: Context, body: Mapping[str, Any], spec: ImplementationSpec, inputs: Inputs, account: str
) -> tuple[list[AssessmentCheck], str]:
    """The preflight's checks, and a text while an answer is still awaited."""
    if inputs.problem or inputs.cluster is None:
        return [], "" if inputs.problem else "the cluster is being measured"
    probes = [await _probe(context, body, connection, account) for connection in spec.connections]
    facts = EnvironmentFacts(
        version=inputs.cluster.version,
        nodes=inputs.cluster.nodes,
        storage_classes=inputs.cluster.storage_classes,
        rules=inputs.rules,
        manifests=inputs.manifests,
        ingress_classes=inputs.cluster.ingress_classes,
        default_storage_class=inputs.cluster.default_storage_class,
        quotas=inputs.place.quotas if inputs.place else None,
        pod_security=inputs.place.pod_security if inputs.place else "",
        probes=probes,
    )
    waiting = [probe.name for probe in probes if probe.reachable is None]
    pending = f"waits for the probe of connection {', '.join(waiting)}" if waiting else ""
    return assess(spec.environment.expects, facts, account), pending


async def _probe(context: Context, body: Mapping[str, Any], connection: Connection, account: str) -> ConnectionProbe:
    metadata = body["metadata"]
    namespace = metadata["namespace"]
    try:
        secret = await context.cluster.get(SECRETS, namespace, connection.secret_ref.name, acting_as=account)
    except NotFound:
        text = (
            f"Secret {connection.secret_ref.name} (spec.connections[{connection.name}].secretRef) is not there; "
            f"it needs the keys {', '.join(connection.type.secret_keys)}"
        )
        return ConnectionProbe(connection.name, reachable=False, message=text)
    needed = [key for key in connection.type.secret_keys if key != "port"]
    missing = [key for key in needed if key not in (secret.get("data") or {})]
    if missing:
        text = f"Secret {connection.secret_ref.name} lacks the keys {', '.join(missing)}"
        return ConnectionProbe(connection.name, reachable=False, message=text)
    name = _job_name(body, connection, secret["metadata"].get("resourceVersion", ""))
    job = context.store.get(JOBS, namespace, name)
    if job is None:
        await _start_probe(context, body, connection, name, account)
        return ConnectionProbe(connection.name, reachable=None)
    if not belongs_to(job, body):
        text = f"Job {name} is there and belongs to somebody else: delete it"
        return ConnectionProbe(connection.name, reachable=False, message=text)
    if not probe_finished(job):
        return ConnectionProbe(connection.name, reachable=None)
    probe = _read(context, job, connection)
    if not probe.reachable:
        await _forget_late(context, job, account)
    return probe


def _read(context: Context, job: Mapping[str, Any], connection: Connection) -> ConnectionProbe:
    metadata = job["metadata"]
    pods = context.store.by_label(PODS, metadata["namespace"], JOB_NAME_LABEL, metadata["name"])
    try:
        answers = read_answers(job, pods)
    except UnreadableAnswer as error:
        return ConnectionProbe(connection.name, reachable=False, message=str(error))
    if error_text := next((answer.error for answer in answers.values() if answer.error), None):
        return ConnectionProbe(connection.name, reachable=False, message=error_text)
    settings = {name: answer.value for name, answer in answers.items() if answer.value is not None}
    return ConnectionProbe(connection.name, reachable=True, expects=connection.expects, settings=settings)


def _job_name(body: Mapping[str, Any], connection: Connection, version: str) -> str:
    token = (body["metadata"].get("annotations") or {}).get(RETRY_AT, "")
    content = json.dumps([body["metadata"]["uid"], connection.to_manifest(), version, token], sort_keys=True)
    return f"preflight-{connection.name[:40]}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"


def _question(connection: Connection) -> dict[str, Any]:
    if connection.expects is None:
        return {"connect": True, "type": connection.type.value}
    return {"queries": [{"name": name, "query": query} for name, query in DATABASE_QUERIES.items()]}


async def _start_probe(
    context: Context, body: Mapping[str, Any], connection: Connection, name: str, account: str
) -> None:
    job = build_probe_job(
        name=name,
        namespace=body["metadata"]["namespace"],
        owner=body,
        secret=connection.secret_ref.name,
        image=context.settings.engine_image,
        pull_policy=context.settings.image_pull_policy,
        probe=_question(connection),
        labels={IMPLEMENTATION_LABEL: body["metadata"]["name"]},
        environment=(
            source_environment(connection, context.settings.source_addresses) if connection.type.serves_files else None
        ),
    )
    # The Job is the record of the answer: it stays as long as its Implementation.
    del job["spec"]["ttlSecondsAfterFinished"]
    try:
        created = await context.cluster.create(JOBS, job, acting_as=account)
    except Conflict:
        return
    context.store.observe(JOBS, "ADDED", created)


async def _forget_late(context: Context, job: Mapping[str, Any], account: str) -> None:
    """Delete a failed probe after a while, so that the next pass asks the database again."""
    metadata = job["metadata"]
    age = (context.clock() - parse_timestamp(metadata["creationTimestamp"])).total_seconds()
    if age < RETRY_FAILED_PROBE_AFTER:
        return
    try:
        await context.cluster.delete(
            JOBS, metadata["namespace"], metadata["name"], uid=metadata["uid"], acting_as=account
        )
    except (NotFound, Conflict):
        return
