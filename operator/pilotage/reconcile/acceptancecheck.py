"""AcceptanceCheck: observe what is due, measure it, decide, report."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from pilotage.api.v1alpha1.acceptancecheck import CheckPhase, KubernetesMeasure, Metric
from pilotage.api.v1alpha1.implementation import ConnectionType
from pilotage.evidence.http import HttpEvidence
from pilotage.evidence.kubernetes import measure_availability, measure_restarts
from pilotage.evidence.prometheus import PrometheusEvidence
from pilotage.evidence.records import measure_attested, measure_migration
from pilotage.evidence.sql import ProbeRound, ProbeSetting, connection_of, measure_sql, retire
from pilotage.kube.resources import ACCEPTANCE_CHECKS, IMPLEMENTATIONS, MIGRATION_JOBS
from pilotage.kube.store import Key
from pilotage.plan.acceptance import CheckDecision, decide, refuse
from pilotage.plan.acceptance_sample import Sample
from pilotage.plan.acceptance_schedule import CheckObservation, Measurement, measurements_due
from pilotage.reconcile.context import Context, deployer, utc_now, write_status
from pilotage.reconcile.events import emit

DEFAULT_ACCOUNT: Final = "pilotage-deployer"
MAX_AT_ONCE: Final = 16
PROBE_AGAIN: Final = 3.0
LARGEST_STEP: Final = timedelta(milliseconds=500)

T = TypeVar("T")
Asked = tuple[list[tuple[str, str]], Coroutine[Any, Any, Sample]]


@dataclass
class Session:
    """Names the span in which the clock went forward steadily. A step of the wall clock begins a new one."""

    offset: timedelta | None = None
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:16])

    def at(self, now: datetime, monotonic: float) -> str:
        """The session at that moment of both clocks."""
        offset = now - datetime.fromtimestamp(monotonic, tz=now.tzinfo)
        if self.offset is not None and abs(offset - self.offset) > LARGEST_STEP:
            self.name = uuid.uuid4().hex[:16]
        self.offset = offset
        return self.name


SESSION: Final = Session()


async def reconcile(context: Context, key: Key) -> float | None:
    """One pass over a check; the answer is the number of seconds until it is to be looked at again."""
    body = context.store.get(ACCEPTANCE_CHECKS, key.namespace, key.name)
    if body is None or body["metadata"].get("deletionTimestamp"):
        return None
    asked = _observe(context, body)
    try:
        due = measurements_due(asked)
    except ValidationError as error:
        await _report(context, body, refuse(asked, f"the spec cannot be read: {error}"))
        return None
    setting = _probe_setting(context, asked)
    samples, probes = await _measure(context, setting, asked, due)
    # Decided at the moment of the answers and for the inputs that were asked about.
    seen = replace(_observe(context, body), implementation=asked.implementation, asked_at=asked.now)
    decision = decide(seen, samples, [name for found in probes for name in found.answered])
    await _report(context, body, decision)
    for job in (job for found in probes for job in found.served):
        await retire(setting, job)
    waits = [decision.again.total_seconds()] if decision.again is not None else []
    if len(samples) < len(due):
        waits.append(PROBE_AGAIN)
    return min(waits, default=None)


def _observe(context: Context, body: Mapping[str, Any]) -> CheckObservation:
    metadata = body["metadata"]
    reference = ((body.get("spec") or {}).get("implementationRef") or {}).get("name", "")
    now, monotonic = context.clock(), time.monotonic()
    # A clock that a test turns is steady by construction; comparing it with the real one would end every session.
    session = SESSION.at(now, monotonic) if context.clock is utc_now else SESSION.name
    spread = int.from_bytes(hashlib.sha256(str(metadata.get("uid", "")).encode()).digest()[:4], "big")
    return CheckObservation(
        body=body,
        implementation=context.store.get(IMPLEMENTATIONS, metadata["namespace"], reference),
        now=now,
        session=session,
        offset=timedelta(milliseconds=spread),
    )


async def _report(context: Context, body: Mapping[str, Any], decision: CheckDecision) -> None:
    before, after = (body.get("status") or {}).get("phase"), decision.status.get("phase")
    written = await write_status(context, ACCEPTANCE_CHECKS, body, decision.status)
    if written and after != before:
        warning = after in {CheckPhase.FAILED, CheckPhase.ERROR}
        await emit(context, body, str(after), decision.status.get("verdict", ""), warning=warning)


def _probe_setting(context: Context, seen: CheckObservation) -> ProbeSetting:
    namespace = seen.body["metadata"]["namespace"]
    spec = (seen.implementation or {}).get("spec") or {}
    return ProbeSetting(
        cluster=context.cluster,
        store=context.store,
        check=seen.body,
        account=deployer(namespace, spec.get("serviceAccountName") or DEFAULT_ACCOUNT),
        image=context.settings.engine_image,
        pull_policy=context.settings.image_pull_policy,
        now=seen.now,
    )


async def _measure(
    context: Context, setting: ProbeSetting, seen: CheckObservation, due: Sequence[Measurement]
) -> tuple[dict[tuple[str, str], Sample], list[ProbeRound]]:
    """Ask all sources side by side, a bounded number at once. No source's failure holds up another."""
    gate = asyncio.Semaphore(MAX_AT_ONCE)

    async def bounded(work: Awaitable[T]) -> T:
        async with gate:
            return await work

    asked = [
        *_kubernetes(context, setting, due),
        *_http(context, setting, due),
        *_prometheus(context, setting, due),
        *_records(setting, seen, due),
    ]
    found, probes = await asyncio.gather(
        asyncio.gather(*(bounded(work) for _, work in asked)),
        asyncio.gather(*(bounded(work) for work in _sql(setting, seen, due))),
    )
    samples: dict[tuple[str, str], Sample] = {}
    for (places, _), sample in zip(asked, found, strict=True):
        samples |= dict.fromkeys(places, sample)
    for probe in probes:
        samples |= probe.samples
    return samples, probes


def _kubernetes(context: Context, setting: ProbeSetting, due: Iterable[Measurement]) -> Iterator[Asked]:
    for wanted in due:
        source = wanted.metric.source.kubernetes
        if source is None:
            continue
        place = (wanted.module, wanted.metric.name)
        if source.measure is KubernetesMeasure.RESTARTS:
            restarts = measure_restarts(
                context.cluster, context.store, setting.namespace, wanted.release, setting.account
            )
            yield [place], restarts
        else:
            yield [place], _at_once(measure_availability(context.store, setting.namespace, wanted.release))


async def _at_once(sample: Sample) -> Sample:
    return sample


def _http(context: Context, setting: ProbeSetting, due: Iterable[Measurement]) -> Iterator[Asked]:
    """One request for each metric: the answer is the same for every module."""
    evidence = HttpEvidence(endpoints=context.settings.endpoints)
    for places, metric in _by_metric(due):
        if source := metric.source.http:
            yield places, evidence.measure(setting.cluster, setting.namespace, source, setting.account)


def _prometheus(context: Context, setting: ProbeSetting, due: Iterable[Measurement]) -> Iterator[Asked]:
    """One question for each metric, likewise."""
    evidence = PrometheusEvidence(context.settings.endpoints)
    for places, metric in _by_metric(due):
        if source := metric.source.prometheus:
            yield places, evidence.measure(setting.namespace, source, metric.target, setting.now)


def _records(setting: ProbeSetting, seen: CheckObservation, due: Iterable[Measurement]) -> Iterator[Asked]:
    """What other objects report, as the store has them."""
    for places, metric in _by_metric(due):
        if source := metric.source.migration:
            body = setting.store.get(MIGRATION_JOBS, setting.namespace, source.name)
            yield places, _at_once(measure_migration(body, source, seen.spec.implementation_ref.name))
        elif (stated := metric.source.attestation) and seen.implementation:
            yield places, _at_once(measure_attested(seen.implementation, stated))


def _by_metric(due: Iterable[Measurement]) -> Iterator[tuple[list[tuple[str, str]], Metric]]:
    places: dict[str, list[tuple[str, str]]] = defaultdict(list)
    metrics = {}
    for wanted in due:
        places[wanted.metric.name].append((wanted.module, wanted.metric.name))
        metrics[wanted.metric.name] = wanted.metric
    return ((places[name], metric) for name, metric in metrics.items())


def _sql(
    setting: ProbeSetting, seen: CheckObservation, due: Iterable[Measurement]
) -> Iterator[Coroutine[Any, Any, ProbeRound]]:
    """One probe Job for each connection."""
    by_connection: dict[str, list[Measurement]] = defaultdict(list)
    for wanted in due:
        if wanted.metric.source.sql:
            by_connection[connection_of(wanted)].append(wanted)
    known = ((seen.implementation or {}).get("spec") or {}).get("connections") or []
    secrets = {
        found["name"]: found["secretRef"]["name"] for found in known if found["type"] == ConnectionType.POSTGRESQL
    }
    numbers = {probe.connection: probe.number for probe in seen.previous.probes}
    for connection, wanted_here in by_connection.items():
        yield measure_sql(setting, connection, secrets.get(connection), numbers.get(connection, 0), wanted_here)
