"""What is known of a migration run's Jobs: how they stand, their pods' last words, and why no pod runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from pilotage.evidence.probe_job import belongs_to
from pilotage.kube.client import ApiError, Forbidden
from pilotage.kube.resources import EVENTS, JOBS, PODS
from pilotage.plan.conditions import parse_timestamp
from pilotage.plan.health import pod_problem
from pilotage.plan.migration import SILENCE
from pilotage.plan.migration_facts import RUN_STAGES, RunIdentity, Stage, StageFacts
from pilotage.reconcile.context import Context
from pilotage.reconcile.migration_manifests import CONTAINER

JOB_NAME: Final = "batch.kubernetes.io/job-name"
TAIL_LINES: Final = 3
# Among several workers, the one that ended the run knows why.
WEIGHT: Final = {"Paused": 4, "Rejected": 4, "Failed": 3, "Unreachable": 2, "Terminated": 1}


async def observe_stages(
    context: Context, body: Mapping[str, Any], identity: RunIdentity, user: str
) -> dict[Stage, StageFacts]:
    """The stages of the run whose Jobs exist."""
    found: dict[Stage, StageFacts] = {}
    for stage in RUN_STAGES:
        facts = await observe_stage(context, body, identity, stage, user)
        if facts is None:
            break
        found[stage] = facts
    return found


async def observe_stage(
    context: Context, body: Mapping[str, Any], identity: RunIdentity, stage: Stage, user: str
) -> StageFacts | None:
    """One stage, if its Job exists."""
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    job = context.store.get(JOBS, namespace, identity.job_name(name, stage))
    if job is None:
        return None
    pods = context.store.by_label(PODS, namespace, JOB_NAME, job["metadata"]["name"])
    return await _stage(context, body, job, pods, user)


async def _stage(
    context: Context, body: Mapping[str, Any], job: Mapping[str, Any], pods: list[dict[str, Any]], user: str
) -> StageFacts:
    if not belongs_to(job, body):
        return StageFacts(foreign=True)
    conditions = {
        found["type"]: found
        for found in (job.get("status") or {}).get("conditions") or []
        if found.get("status") == "True"
    }
    failed = conditions.get("Failed")
    complete = "Complete" in conditions
    if complete or failed:
        pods = await _pods_now(context, job, pods, user)
    pods = [pod for pod in pods if belongs_to(pod, job)]
    running = any((pod.get("status") or {}).get("phase") == "Running" for pod in pods)
    quiet_since = _quiet_since(job, pods)
    silent = not running and context.clock() - quiet_since >= SILENCE
    problem = next((text for pod in _newest_first(pods) if (text := pod_problem(pod))), "")
    if not problem and silent and not (complete or failed):
        problem = await _last_event(context, job, pods, user)
    return StageFacts(
        complete=complete,
        failed=failed is not None,
        failure=f"{failed.get('reason', '')}: {failed.get('message', '')}" if failed else "",
        created=parse_timestamp(job["metadata"]["creationTimestamp"]),
        running=running,
        quiet_since=quiet_since,
        answer=_answer(pods, complete=complete),
        pod_problem=problem,
    )


def _newest_first(pods: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)


def _terminated(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        if container.get("name") == CONTAINER:
            ended: Mapping[str, Any] = (container.get("state") or {}).get("terminated") or {}
            return ended
    return {}


def _quiet_since(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> datetime:
    moments = [job["metadata"]["creationTimestamp"]]
    moments += [ended["finishedAt"] for pod in pods if (ended := _terminated(pod)).get("finishedAt")]
    return max(parse_timestamp(moment) for moment in moments)


async def _pods_now(
    context: Context, job: Mapping[str, Any], known: list[dict[str, Any]], user: str
) -> list[dict[str, Any]]:
    """The pods as the API server has them: a Job's end may be known before its pods' last words."""
    try:
        return await context.cluster.list(
            PODS, job["metadata"]["namespace"], labels=f"{JOB_NAME}={job['metadata']['name']}", acting_as=user
        )
    except Forbidden:
        return known


def _answer(pods: Iterable[dict[str, Any]], *, complete: bool) -> Mapping[str, Any] | None:
    """The last word that counts: of a pod that succeeded if the Job did, else of the one that knows most."""
    answers: list[tuple[tuple[bool, int], Mapping[str, Any]]] = []
    for pod in _newest_first(pods):
        ended = _terminated(pod)
        try:
            answer = json.loads(ended.get("message") or "")
        except (ValueError, RecursionError):
            continue
        if isinstance(answer, dict):
            rank = (complete and ended.get("exitCode") == 0, WEIGHT.get(str(answer.get("outcome")), 0))
            answers.append((rank, answer))
    return max(answers, key=lambda found: found[0])[1] if answers else None


async def _last_event(context: Context, job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], user: str) -> str:
    """The newest warning about the Job or one of its pods; a Job without any pod says why only there."""
    names = {job["metadata"]["name"], *(pod["metadata"]["name"] for pod in pods)}
    try:
        events = await context.cluster.list(EVENTS, job["metadata"]["namespace"], fields="type=Warning", acting_as=user)
    except ApiError:
        return ""
    about = [event for event in events if (event.get("involvedObject") or {}).get("name") in names]
    newest = max(about, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""), default=None)
    return f"{newest.get('reason', '')}: {newest.get('message', '')}" if newest else ""


async def observe_progress(
    context: Context, body: Mapping[str, Any], stages: Mapping[Stage, StageFacts], identity: RunIdentity, user: str
) -> Mapping[str, int] | None:
    """How far the workers are, from the last line that one of them printed. Best effort: it decides nothing."""
    plan = (stages[Stage.PLAN].answer or {}).get("progress") if Stage.PLAN in stages else None
    load = stages.get(Stage.LOAD)
    if load is None or load.ended or not load.running:
        return plan if isinstance(plan, dict) else None
    namespace = body["metadata"]["namespace"]
    job = identity.job_name(body["metadata"]["name"], Stage.LOAD)
    for pod in context.store.by_label(PODS, namespace, JOB_NAME, job):
        if (pod.get("status") or {}).get("phase") != "Running":
            continue
        try:
            log = await context.cluster.read_log(
                namespace, pod["metadata"]["name"], container=CONTAINER, tail_lines=TAIL_LINES, acting_as=user
            )
        except ApiError:
            continue
        if found := _last_progress(log):
            return found
    return plan if isinstance(plan, dict) else None


def _last_progress(log: str) -> Mapping[str, int] | None:
    for line in reversed(log.splitlines()):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and "chunksDone" in found:
            return found
    return None
