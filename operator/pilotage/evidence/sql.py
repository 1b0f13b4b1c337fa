"""Values from a customer's database, asked by probe Jobs: the operator itself opens no tenant database.

All metrics that are due and share a connection go into one Job. Its name is derived from the check, its spec's
generation, the connection and the number of Jobs answered so far, so that a repeated pass finds the same Job.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from pilotage.api.v1alpha1.acceptancecheck import SqlSource
from pilotage.api.v1alpha1.common import CHECK_LABEL
from pilotage.evidence.probe_job import (
    CONTAINER,
    JOB_NAME_LABEL,
    SUBJECTS_ANNOTATION,
    ProbeAnswer,
    UnreadableAnswer,
    belongs_to,
    build_probe_job,
    probe_finished,
    read_answers,
)
from pilotage.kube.client import ApiError, Cluster, Conflict
from pilotage.kube.resources import JOBS, PODS
from pilotage.kube.store import Store
from pilotage.plan.acceptance_sample import Sample
from pilotage.plan.acceptance_schedule import Measurement
from pilotage.plan.conditions import parse_timestamp
from pilotage.plan.health import pod_problem

QUERY_SECONDS: Final = 30
PATIENCE: Final = timedelta(seconds=20)
GIVEN_UP_AFTER: Final = timedelta(seconds=180)
MAX_LABEL: Final = 63


@dataclass(frozen=True)
class ProbeSetting:
    """Where the probes of one check run, and as whom."""

    cluster: Cluster
    store: Store
    check: Mapping[str, Any]
    account: str
    image: str
    pull_policy: str
    now: datetime

    @property
    def namespace(self) -> str:
        """The customer's namespace."""
        return str(self.check["metadata"]["namespace"])


@dataclass
class ProbeRound:
    """What came of the probes: samples by module and metric, connections answered, Jobs that have served."""

    samples: dict[tuple[str, str], Sample] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    served: list[Mapping[str, Any]] = field(default_factory=list)


def probe_name(check: Mapping[str, Any], connection: str, number: int) -> str:
    """The name of a connection's Job number `number` of this check."""
    metadata = check["metadata"]
    parts = (metadata["uid"], str(metadata.get("generation", 0)), connection, str(number))
    return f"{metadata['name'][:40].rstrip('-.')}-probe-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:10]}"


async def measure_sql(
    setting: ProbeSetting,
    connection: str,
    secret: str | None,
    number: int,
    due: Sequence[Measurement],
) -> ProbeRound:
    """Start or read the Job of one connection. A round without samples means: it is under way."""
    result = ProbeRound()
    if secret is None:
        _fail(result, due, f"connection {connection} is not among the Implementation's connections of type postgresql")
        return result
    try:
        job = await _find_or_start(setting, connection, secret, number, due)
        if not belongs_to(job, setting.check):
            _fail(result, due, f"Job {job['metadata']['name']} is somebody else's; remove it")
            return result
        if job["metadata"].get("deletionTimestamp"):
            return result
        await _read(setting, job, connection, due, result)
    except ApiError as error:
        _fail(result, due, f"the probe Job cannot be run: {error.message}")
    return result


async def retire(setting: ProbeSetting, job: Mapping[str, Any]) -> None:
    """Delete a Job that has been read; what already went is fine, and its own time limit takes what stays."""
    metadata = job["metadata"]
    try:
        await setting.cluster.delete(
            JOBS, setting.namespace, metadata["name"], uid=metadata["uid"], acting_as=setting.account
        )
    except ApiError:
        return


def _fail(result: ProbeRound, due: Sequence[Measurement], message: str) -> None:
    for wanted in due:
        result.samples[wanted.module, wanted.metric.name] = Sample.error(message)


async def _find_or_start(
    setting: ProbeSetting, connection: str, secret: str, number: int, due: Sequence[Measurement]
) -> Mapping[str, Any]:
    name = probe_name(setting.check, connection, number)
    if known := setting.store.get(JOBS, setting.namespace, name):
        return known
    try:
        job = await setting.cluster.create(JOBS, _job(setting, name, secret, due), acting_as=setting.account)
    except Conflict:
        job = await setting.cluster.get(JOBS, setting.namespace, name, acting_as=setting.account)
    setting.store.observe(JOBS, "MODIFIED", job)
    return job


def _job(setting: ProbeSetting, name: str, secret: str, due: Sequence[Measurement]) -> dict[str, Any]:
    queries = {wanted.metric.name: source.query for wanted in due if (source := wanted.metric.source.sql)}
    check_name = setting.check["metadata"]["name"]
    return build_probe_job(
        name=name,
        namespace=setting.namespace,
        owner=setting.check,
        secret=secret,
        image=setting.image,
        probe={
            "queries": [
                {"name": metric, "query": query, "timeoutSeconds": QUERY_SECONDS} for metric, query in queries.items()
            ]
        },
        labels={CHECK_LABEL: check_name} if len(check_name) <= MAX_LABEL else {},
        annotations={SUBJECTS_ANNOTATION: json.dumps({wanted.module: wanted.subject for wanted in due})},
        pull_policy=setting.pull_policy,
    )


async def _read(
    setting: ProbeSetting, job: Mapping[str, Any], connection: str, due: Sequence[Measurement], result: ProbeRound
) -> None:
    age = setting.now - parse_timestamp(job["metadata"]["creationTimestamp"])
    finished = probe_finished(job)
    if not finished and age < PATIENCE:
        return
    selector = f"{JOB_NAME_LABEL}={job['metadata']['name']}"
    pods = await setting.cluster.list(PODS, setting.namespace, labels=selector, acting_as=setting.account)
    asked = _asked(job, due)
    if finished:
        _use_answers(job, pods, asked, result)
    elif problem := next(filter(None, map(pod_problem, pods)), None):
        _fail(result, asked, problem)
    elif age > GIVEN_UP_AFTER:
        _fail(result, asked, f"Job {job['metadata']['name']} has not ended within {GIVEN_UP_AFTER.seconds} s")
    else:
        return
    result.answered.add(connection)
    result.served.append(job)


def _asked(job: Mapping[str, Any], due: Sequence[Measurement]) -> list[Measurement]:
    """The due measurements that this Job was started for: an answer counts for the input it was asked about only."""
    subjects = _subjects(job)
    containers = job["spec"]["template"]["spec"]["containers"]
    probe = next(c["env"][0]["value"] for c in containers if c["name"] == CONTAINER)
    queries = {query["name"] for query in json.loads(probe)["queries"]}
    return [wanted for wanted in due if subjects.get(wanted.module) == wanted.subject and wanted.metric.name in queries]


def _subjects(job: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the Job's annotation says each module was asked about; nothing when somebody has written over it."""
    try:
        found = json.loads((job["metadata"].get("annotations") or {}).get(SUBJECTS_ANNOTATION, "{}"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _use_answers(
    job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], asked: Sequence[Measurement], result: ProbeRound
) -> None:
    try:
        answers = read_answers(job, pods)
    except UnreadableAnswer as error:
        problem = next(filter(None, map(pod_problem, pods)), str(error))
        _fail(result, asked, problem)
        return
    for wanted in asked:
        answer = answers.get(wanted.metric.name, ProbeAnswer(error="the probe gave no answer to this query"))
        result.samples[wanted.module, wanted.metric.name] = _sample(answer)


def _sample(answer: ProbeAnswer) -> Sample:
    if answer.error:
        return Sample.error(answer.error)
    if answer.value is None:
        return Sample.no_data("the query returned no value")
    return Sample.of(answer.value)


def connection_of(measurement: Measurement) -> str:
    """The connection that a measurement by sql asks."""
    source: SqlSource | None = measurement.metric.source.sql
    if source is None:
        msg = f"metric {measurement.metric.name} is not measured by sql"
        raise ValueError(msg)
    return source.connection
