"""Start-up and shutdown. The only module that imports kopf, which is event source and lifecycle, nothing more."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import sys
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import kopf

from pilotage.delivery.factory import build_delivery
from pilotage.kube.client import ApiError
from pilotage.kube.lease import LeaseElector, LeaseLost
from pilotage.kube.official import connect
from pilotage.kube.queue import WorkQueue
from pilotage.kube.resources import (
    ACCEPTANCE_CHECKS,
    ATTESTATIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    IMPLEMENTATIONS,
    JOBS,
    MIGRATION_JOBS,
    PODS,
    SIGN_OFFS,
    STATEFUL_SETS,
    Resource,
)
from pilotage.kube.store import Key, Store
from pilotage.kube.sweep import sweep
from pilotage.observability.health import Liveness, serve_health
from pilotage.observability.logging import configure_logging
from pilotage.observability.metrics import Metrics, serve_metrics
from pilotage.reconcile import acceptancecheck, implementation, migrationjob
from pilotage.reconcile.context import Context, Delivery
from pilotage.reconcile.dependents import dependents
from pilotage.reconcile.inputs import InputPreparer
from pilotage.reconcile.installation import installation_key
from pilotage.reconcile.ledger import Ledger
from pilotage.reconcile.releases import ReleaseReader
from pilotage.reconcile.settings import Settings
from pilotage.reconcile.worker import Reconcile, work
from pilotage.reconcile.workloads import PodReader, WorkloadReader
from pilotage.render.renderer import Renderer

logger = logging.getLogger("pilotage")

OWN_KINDS = (IMPLEMENTATIONS, MIGRATION_JOBS, ACCEPTANCE_CHECKS)
HELM_KINDS = (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS)
WATCHED = (*OWN_KINDS, SIGN_OFFS, ATTESTATIONS, *HELM_KINDS, JOBS, PODS)
SELECTORS = {
    **{f"{kind.plural}.{kind.group}": "app.kubernetes.io/managed-by=Helm" for kind in HELM_KINDS},
    "jobs.batch": "app.kubernetes.io/managed-by in (Helm,pilotage)",
    "pods": "app.kubernetes.io/managed-by=pilotage",
}
RECONCILERS: dict[str, Reconcile] = {
    IMPLEMENTATIONS.plural: implementation.reconcile,
    MIGRATION_JOBS.plural: migrationjob.reconcile,
    ACCEPTANCE_CHECKS.plural: acceptancecheck.reconcile,
}
Found = TypeVar("Found")
FIRST_SYNC_DEADLINE = 120.0
# An API server that comes up or is overloaded tells every stream of an error, for a minute or two.
DEATHS_WITHIN = 300.0
MOST_DEATHS = 10
REOPEN_PAUSE = 0.5
REOPENED_WITHIN = 5.0
UNBOUNDED_BACKOFFS = (1, 1, 2, 3, 5, 8, 13, 20) + (30,) * 2880


class NullStorage(kopf.DiffBaseStorage, kopf.ProgressStorage):
    """Keeps nothing: without change handlers kopf needs neither a diff base nor progress.

    Safe only while the registry holds no create, update, delete, resume or field handler; a test sees to that.
    """

    def fetch(self, **_: Any) -> None:
        """Nothing was kept."""
        return

    def store(self, **_: Any) -> None:
        """Keep nothing."""

    def purge(self, **_: Any) -> None:
        """Nothing to purge."""

    def touch(self, **_: Any) -> None:
        """Leave the object alone."""

    def clear(self, *, essence: Any) -> Any:
        """The essence as it is."""
        return essence

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        """An empty essence: nothing is ever compared."""
        del body, extra_fields
        return {}


class Operator:
    """One running operator: the store and queue between kopf's events and the reconcilers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.queue: WorkQueue[Key] = WorkQueue(
            observer=self.metrics.queue_observer("pilotage"), tenant=lambda key: key.namespace
        )
        self.store = Store(dependents)
        self.stopping = asyncio.Event()
        self.failed = False
        self.tasks: list[asyncio.Task[None]] = []
        self.delivery: Delivery | None = None

    async def run(self) -> int:
        """Run until a signal, the loss of the Lease, or the end of kopf. The exit code is 0 only after a signal."""
        self.cluster = await connect(observe_request=self.metrics.observe_request)
        liveness = Liveness(self.queue)
        health = await serve_health(self.settings.health_port, liveness)
        metrics = await serve_metrics(self.metrics, self.settings.metrics_port)
        self._listen_for_signals()
        elector = LeaseElector(
            self.cluster, namespace=self.settings.namespace, name="pilotage", identity=self.settings.identity
        )
        self.cluster.fence(elector.lapsed)
        logger.info("pilotage starts as %s", self.settings.identity)
        try:
            if self.settings.leader_election:
                await self._until_stopping(elector.acquire())
            if not self.stopping.is_set():
                await self._serve(elector, liveness)
        finally:
            await self._shut_down(elector)
            await health.cleanup()
            await metrics.cleanup()
            await self.cluster.close()
        return 1 if self.failed else 0

    async def _serve(self, elector: LeaseElector, liveness: Liveness) -> None:
        """Watch and work. Whoever does not lead never comes here and writes nothing, not even the key."""
        if self.settings.leader_election:
            self.metrics.set_leader(leading=True)
            self.tasks.append(asyncio.create_task(self._lead(elector), name="lease"))
        self.delivery = await self._until_stopping(self._delivery())
        if self.delivery is None:
            return
        logger.info("the watches are opened")
        liveness.watching()
        self.tasks.append(asyncio.create_task(self._work_when_synced(self.delivery), name="workers"))
        await self._watch()
        if not self.stopping.is_set():
            logger.error("kopf ended on its own; exiting, so that the pod starts afresh")
            self.failed = True

    async def _delivery(self) -> Delivery:
        settings = self.settings
        engine, charts = build_delivery(
            self.cluster, helm=settings.helm, scratch=settings.scratch, processes=settings.helm_processes
        )
        key = await installation_key(self.cluster, settings.namespace)
        return Delivery(
            engine=engine,
            charts=charts,
            renderer=Renderer(),
            inputs=InputPreparer(settings.input_ttl, key),
            releases=ReleaseReader(settings.release_ttl),
            pods=PodReader(settings.pod_ttl),
            workloads=WorkloadReader(),
            ledger=Ledger(settings.namespace),
            metrics=self.metrics,
        )

    async def _watch(self) -> None:
        """Let kopf watch until it is asked to stop. Any error that a stream tells of, but 410, ends it: begin anew.

        Raises its error when that happened too often: what every new start brings back is no passing trouble.
        """
        loop = asyncio.get_running_loop()
        deaths: list[float] = []
        while not self.stopping.is_set():
            try:
                await self._watch_once(loop)
            except Exception as error:
                deaths = [death for death in deaths if loop.time() - death < DEATHS_WITHIN] + [loop.time()]
                if len(deaths) > MOST_DEATHS:
                    raise
                logger.warning("the watches ended and are opened anew: %s", error)
                await asyncio.sleep(REOPEN_PAUSE * len(deaths))
                self.tasks.append(asyncio.create_task(self._sweep_when_reopened(), name="sweep after a reopening"))
            else:
                return

    async def _watch_once(self, loop: asyncio.AbstractEventLoop) -> None:
        """One life of kopf, in a thread and loop of its own: when it ends it cancels every task of its loop.

        The flag that stops it lives in that loop. For one of `threading` kopf has a thread wait, and a life that ends
        by itself would wait for that thread, and so for the flag, for ever.
        """
        inner, stop = asyncio.new_event_loop(), asyncio.Event()
        operator = kopf.operator(
            registry=self._registry(loop), settings=kopf_settings(), standalone=True, clusterwide=True, stop_flag=stop
        )

        def live() -> None:
            with asyncio.Runner(loop_factory=lambda: inner) as runner:
                runner.run(operator)

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="kopf") as thread:
            life = loop.run_in_executor(thread, live)
            stopping = asyncio.create_task(self.stopping.wait())
            try:
                either: set[asyncio.Future[Any]] = {life, stopping}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                with contextlib.suppress(RuntimeError):  # its loop may have ended at this very moment
                    inner.call_soon_threadsafe(stop.set)
                stopping.cancel()
            await life

    async def _until_stopping(self, waiting: Coroutine[Any, Any, Found]) -> Found | None:
        """What it waits for, or None when the operator is asked to stop first."""
        task, stop = asyncio.ensure_future(waiting), asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            stop.cancel()

    async def _lead(self, elector: LeaseElector) -> None:
        try:
            await elector.hold()
        except LeaseLost:
            logger.exception("the Lease is lost; exiting before anybody else writes")
            os._exit(3)
        except Exception:
            logger.exception("a bug: the Lease is no longer renewed; exiting before anybody else writes")
            os._exit(3)

    def _registry(self, loop: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(login)

        async def pass_on(type: str | None, body: Any, param: Resource, **_: Any) -> None:  # noqa: A002 (kopf's name)
            loop.call_soon_threadsafe(self._observe, param, type, dict(body))

        for kind in WATCHED:
            watch = kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, param=kind)
            watch(pass_on)  # type: ignore[arg-type]  # kopf passes what a handler names
        return registry

    def _observe(self, kind: Resource, event: str | None, body: dict[str, Any]) -> None:
        for key in self.store.observe(kind, event, body):
            self.queue.add(key)

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)

    async def _work_when_synced(self, delivery: Delivery) -> None:
        try:
            await self._first_sync()
        except (ApiError, TimeoutError):
            logger.exception("the cluster was not seen whole in time; exiting, so that the pod starts afresh")
            self.failed = True
            self.stopping.set()
            return
        logger.info("the cluster was seen whole; %d workers start", self.settings.workers)
        context = Context(self.cluster, self.store, self.settings, wake=self.queue.add, delivery=delivery)
        workers = [
            asyncio.create_task(work(self.queue, context, RECONCILERS, self.metrics.observe_reconcile))
            for _ in range(self.settings.workers)
        ]
        self.tasks += [
            *workers,
            asyncio.create_task(self._sweep_for_ever(), name="sweep"),
            asyncio.create_task(self._resync_for_ever(), name="resync"),
        ]

    async def _first_sync(self) -> None:
        """Wait until the store holds what the server lists now: a decision on half a picture could let a gate open."""
        async with asyncio.timeout(FIRST_SYNC_DEADLINE):
            for kind in WATCHED:
                listed = await self.cluster.list_metadata(kind, labels=SELECTORS.get(selector_name(kind)))
                while self.store.missing(kind, listed):
                    await asyncio.sleep(0.05)
                    listed = [item for item in listed if self.store.missing(kind, [item])]
                    if listed:
                        current = await self.cluster.list_metadata(kind, labels=SELECTORS.get(selector_name(kind)))
                        there = {item["metadata"]["uid"] for item in current}
                        listed = [item for item in listed if item["metadata"]["uid"] in there]

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.settings.sweep * random.uniform(0.8, 1.2))  # noqa: S311 (jitter)
            await self._sweep()

    async def _sweep_when_reopened(self) -> None:
        """What was deleted while nothing was watched is in no new list, so only a sweep finds it."""
        await asyncio.sleep(REOPENED_WITHIN)
        await self._sweep()

    async def _sweep(self) -> None:
        for kind in WATCHED:
            try:
                found = await sweep(self.cluster, self.store, kind, labels=SELECTORS.get(selector_name(kind)))
            except ApiError as error:
                logger.warning("the sweep of %s failed and is tried again later: %s", kind.plural, error)
                continue
            for key in found:
                self.queue.add(key)

    async def _resync_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.settings.resync)
            for kind in OWN_KINDS:
                for body in self.store.list(kind):
                    key = Key(kind.plural, body["metadata"]["namespace"], body["metadata"]["name"])
                    self.queue.add_after(key, random.uniform(0, self.settings.resync / 2))  # noqa: S311 (jitter)

    async def _shut_down(self, elector: LeaseElector) -> None:
        self.queue.shut_down()
        for task in self.tasks:
            if task.get_name() != "lease":
                task.cancel()
        if self.delivery:
            await self.delivery.engine.close()
            self.delivery.renderer.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.settings.leader_election:
            await elector.release()


def selector_name(kind: Resource) -> str:
    """The resource's name as kopf's selectors spell it: plural.group, or the plural alone in the core group."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def login(**arguments: Any) -> Any:
    """Credentials for kopf's watches: the pod's service account, else the user's kubeconfig."""
    return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)


def kopf_settings() -> kopf.OperatorSettings:
    """Kopf without memory of its own: it watches, and ends when asked."""
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = NullStorage()
    settings.persistence.progress_storage = NullStorage()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.queueing.idle_timeout = 0.05
    settings.networking.error_backoffs = UNBOUNDED_BACKOFFS
    settings.watching.inactivity_timeout = 35.0
    settings.watching.server_timeout = 30
    # With a number kopf kills its thread's process so long after it ended, also when it is started anew.
    settings.process.ultimate_exiting_timeout = None
    for name, selector in SELECTORS.items():
        settings.watching.label_selectors[name] = selector
    return settings


def main() -> int:
    """Entry point of `python -m pilotage.operator`."""
    configure_logging()
    return asyncio.run(Operator(Settings.from_environment(os.environ)).run())


if __name__ == "__main__":
    sys.exit(main())
