"""A simulated customer: world, kubelet, tenant's actors, and an operator that can crash and be built from nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Any

from pilotage.delivery.records import revision_of
from pilotage.kube.client import Conflict
from pilotage.kube.resources import (
    ACCEPTANCE_CHECKS,
    ATTESTATIONS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    IMPLEMENTATIONS,
    JOBS,
    MIGRATION_JOBS,
    NAMESPACES,
    NODES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SIGN_OFFS,
    Resource,
)
from pilotage.kube.store import Key, Store
from pilotage.plan.delivery import Revision
from pilotage.plan.module import BROKEN_STATES
from pilotage.reconcile import implementation
from pilotage.reconcile.context import Context, Delivery
from pilotage.reconcile.dependents import dependents
from pilotage.reconcile.inputs import InputPreparer
from pilotage.reconcile.ledger import Ledger
from pilotage.reconcile.releases import ReleaseReader
from pilotage.reconcile.settings import Settings
from pilotage.reconcile.workloads import PodReader, WorkloadReader
from tests.support.clock import VirtualClock
from tests.support.helm import FakeCharts, FakeHelm, PlainRenderer
from tests.support.world import World, Write

NAMESPACE = "huasheng"
KEY = Key(IMPLEMENTATIONS.plural, NAMESPACE, "erp")
WATCHED = (IMPLEMENTATIONS, MIGRATION_JOBS, ACCEPTANCE_CHECKS, SIGN_OFFS, ATTESTATIONS, DEPLOYMENTS, JOBS, PODS)
BACKOFF = 0.1
RESYNC = 600.0

Event = tuple[Resource, str, dict[str, Any]]


class Crash(BaseException):
    """The operator's process ends here and now. No handler may catch it."""


class NoMetrics:
    """Counts nothing."""

    def observe_implementation(self, namespace: str, name: str, status: Any) -> None:
        pass

    def forget_implementation(self, namespace: str, name: str) -> None:
        pass


class SimulatedOperator:
    """One life of the operator: store, queue and engine, made from nothing. `events` are on their way to it.

    listed: what its first lists show, everything that is there by default. missed: what its watches will tell of.
    """

    def __init__(
        self, world: World, clock: VirtualClock, listed: Iterable[Event] | None = None, missed: Iterable[Event] = ()
    ) -> None:
        self._world = world
        self._clock = clock
        self.due: dict[Key, float] = {}
        self.engine = FakeHelm(world, clock)
        self.store = Store(dependents)
        self.events: list[Event] = []
        delivery = Delivery(
            engine=self.engine,
            charts=FakeCharts(world),  # type: ignore[arg-type]
            renderer=PlainRenderer(),  # type: ignore[arg-type]
            inputs=InputPreparer(60.0, b"key", lambda: clock.elapsed),
            releases=ReleaseReader(30.0, lambda: clock.elapsed),
            pods=PodReader(3.0, lambda: clock.elapsed),
            workloads=WorkloadReader(),
            ledger=Ledger(Settings().namespace),
            metrics=NoMetrics(),
        )
        self.context = Context(world, self.store, Settings(), clock.now, self.wake, delivery)
        if listed is None:
            listed = [(resource, "ADDED", body) for resource in WATCHED for body in world.all(resource)]
        self.events += listed
        # The operator decides nothing before its store holds what the server lists.
        while self.events:
            self.deliver(0)
        self.events += missed
        world.subscribe(self._hear)

    def _hear(self, resource: Resource, kind: str, body: dict[str, Any]) -> None:
        if resource in WATCHED:
            self.events.append((resource, kind, body))

    def wake(self, key: Key, after: float = 0.0) -> None:
        if key.plural == IMPLEMENTATIONS.plural:
            moment = self._clock.elapsed + after
            self.due[key] = min(moment, self.due.get(key, moment))

    def deliverable(self) -> list[int]:
        """The first event of each watch: one watch keeps its order, several do not."""
        first: dict[str, int] = {}
        for index, (resource, _, _) in enumerate(self.events):
            first.setdefault(resource.plural, index)
        return list(first.values())

    def deliver(self, index: int) -> None:
        for key in self.store.observe(*self.events.pop(index)):
            self.wake(key)

    def ready(self) -> list[Key]:
        return [key for key, moment in self.due.items() if moment <= self._clock.elapsed]

    async def reconcile(self, key: Key) -> None:
        del self.due[key]
        try:
            again = await implementation.reconcile(self.context, key)
            # What is read beside a pass is read now: nothing in this world makes anybody wait.
            await asyncio.sleep(0)
        except Conflict:
            again = BACKOFF
        if again is not None:
            self.wake(key, again)

    def die(self) -> None:
        self._world.unsubscribe(self._hear)


class Simulation:
    """Runs the world in an order that `seed` chooses until nothing moves any more.

    crash_at: the operator dies at that write of its own (1 is the first); `crash_after` says whether the write
    still happened. unhealthy: images whose pods never become ready.
    """

    def __init__(
        self, seed: int = 0, *, crash_at: int = 0, crash_after: bool = False, unhealthy: Iterable[str] = ()
    ) -> None:
        self.random = random.Random(seed)
        self.clock = VirtualClock()
        self.world = World(self.clock.now)
        self.unhealthy = set(unhealthy)
        self.crashes = 0
        self.operator_writes = 0
        self.started: list[str] = []
        self.violations: list[str] = []
        self.checks_fail: set[str] = set()
        self.crash_at, self._crash_after = crash_at, crash_after
        self._outside = True
        self.world.before = self._before
        self.world.after = self._after
        self.operator: SimulatedOperator | None = None
        # How many of the events so far the first lists of the operator's next life show; None: all of them.
        self.lists_end_at: int | None = None
        self.told: list[Event] = []
        self.world.subscribe(self._tell)

    def _tell(self, resource: Resource, kind: str, body: dict[str, Any]) -> None:
        if resource in WATCHED:
            self.told.append((resource, kind, body))

    # ---- what people do

    async def prepare(self) -> None:
        """The tenant's namespace, account and a node, as they are before any project."""
        for resource, name, namespace in (
            (NAMESPACES, NAMESPACE, None),
            (SERVICE_ACCOUNTS, "pilotage-deployer", NAMESPACE),
            (NODES, "node", None),
        ):
            metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
            body: dict[str, Any] = {"metadata": metadata}
            if resource is NODES:
                body["status"] = {"allocatable": {"cpu": "8", "memory": "16Gi"}}
            await self.world.create(resource, body)

    async def chart(self, name: str, version: str = "1.0.0", chart: str | None = None) -> None:
        """The ConfigMap that stands for the module's chart."""
        metadata = {"name": name, "namespace": NAMESPACE}
        await self.world.apply(CONFIG_MAPS, {"metadata": metadata, "data": {"name": chart or name, "version": version}})

    async def create(self, resource: Resource, name: str, spec: dict[str, Any], **metadata: Any) -> None:
        body = {"metadata": {"name": name, "namespace": NAMESPACE, **metadata}, "spec": spec}
        await self.world.create(resource, body)

    async def change(self, resource: Resource, name: str, edit: Callable[[dict[str, Any]], None]) -> None:
        body = await self.world.get(resource, NAMESPACE, name)
        edit(body)
        await self.world.replace(resource, body)

    async def delete(self, resource: Resource, name: str) -> None:
        found = await self.world.get(resource, NAMESPACE, name)
        await self.world.delete(resource, NAMESPACE, name, uid=found["metadata"]["uid"])

    # ---- how it runs

    async def settle(
        self, until: Callable[[], bool] = lambda: False, *, steps: int = 20_000, horizon: float = 0
    ) -> None:
        """Run until `until` holds, or until nothing has changed for `horizon` virtual seconds (two resyncs)."""
        horizon = horizon or 2 * RESYNC
        quiet_since, seen = self.clock.elapsed, len(self.world.writes)
        for _ in range(steps):
            if until():
                return
            if len(self.world.writes) != seen:
                quiet_since, seen = self.clock.elapsed, len(self.world.writes)
            if self.clock.elapsed - quiet_since > horizon:
                return
            await self.step()
        msg = f"nothing settled in {steps} steps: {self.states()}"
        raise AssertionError(msg)

    async def step(self) -> None:
        """One thing that happens, chosen at random."""
        operator = self._living()
        choices: list[tuple[str, Any]] = [("deliver", index) for index in operator.deliverable()]
        choices += [("reconcile", key) for key in operator.ready()]
        choices += [("helm", place) for place in operator.engine.running()]
        choices += [("actor", act) for act in self._actors()]
        if not choices:
            self._pass_time(operator)
            return
        kind, what = self.random.choice(choices)
        self._outside = kind == "actor"
        try:
            match kind:
                case "deliver":
                    operator.deliver(what)
                case "reconcile":
                    await operator.reconcile(what)
                case "helm":
                    await operator.engine.step(what)
                case _:
                    await what()
        except Crash:
            operator.die()
            self.operator = None
            self.crashes += 1
        finally:
            self._outside = True
        self._watch_limits()

    def _living(self) -> SimulatedOperator:
        if self.operator is None:
            end, self.lists_end_at = self.lists_end_at, None
            told = [] if end is None else self.told
            listed = None if end is None else told[:end]
            self.operator = SimulatedOperator(self.world, self.clock, listed, told[end:])
        return self.operator

    def _pass_time(self, operator: SimulatedOperator) -> None:
        coming = min((moment for moment in operator.due.values()), default=self.clock.elapsed + RESYNC)
        self.clock.advance(max(0.001, min(coming - self.clock.elapsed, RESYNC)))
        if not operator.due and self.world.look(IMPLEMENTATIONS, NAMESPACE, "erp"):
            operator.wake(KEY)

    def _before(self, write: Write) -> None:
        if self._outside:
            return
        self.operator_writes += 1
        if write[:2] == ("create", "secrets"):
            self._began(write[2])
        if self.operator_writes == self.crash_at and not self._crash_after:
            raise Crash

    def _after(self, _write: Write) -> None:
        if not self._outside and self.operator_writes == self.crash_at and self._crash_after:
            raise Crash

    # ---- the rest of the world

    def _actors(self) -> Iterable[Callable[[], Any]]:
        for body in self.world.all(DEPLOYMENTS):
            image = body["spec"]["template"]["spec"]["containers"][0]["image"]
            seen = (body.get("status") or {}).get("observedGeneration") == body["metadata"]["generation"]
            if not seen:
                yield lambda body=body, good=image not in self.unhealthy: self._run_pods(body, good=good)
        for body in self.world.all(MIGRATION_JOBS):
            if (body.get("status") or {}).get("phase") != "Succeeded" and self._runs(body["spec"]["module"]):
                yield lambda body=body: self._report(MIGRATION_JOBS, body, {"phase": "Succeeded"})
        for body in self.world.all(ACCEPTANCE_CHECKS):
            tracks = self._tracks(body)
            status = body.get("status") or {}
            if tracks and (tracks, body["metadata"]["generation"]) != (
                status.get("modules"),
                status.get("observedGeneration"),
            ):
                yield lambda body=body, tracks=tracks: self._report(ACCEPTANCE_CHECKS, body, {"modules": tracks})

    async def _run_pods(self, body: dict[str, Any], *, good: bool) -> None:
        ready = 1 if good else 0
        status = {
            "observedGeneration": body["metadata"]["generation"],
            "replicas": 1,
            "updatedReplicas": 1,
            "readyReplicas": ready,
            "availableReplicas": ready,
        }
        await self.world.replace_status(DEPLOYMENTS, {**body, "status": status})

    async def _report(self, resource: Resource, body: dict[str, Any], status: dict[str, Any]) -> None:
        observed = {"observedGeneration": body["metadata"]["generation"]}
        await self.world.replace_status(resource, {**body, "status": {**status, **observed}})

    def _tracks(self, check: dict[str, Any]) -> list[dict[str, Any]]:
        """A check measures the covered modules that its Implementation has brought far enough."""
        covered = check["spec"].get("modules")
        phase = "Failed" if check["metadata"]["name"] in self.checks_fail else "Passed"
        return [
            {"name": module["name"], "subject": module["desiredInput"], "phase": phase, "concluded": phase == "Failed"}
            for module in self.modules()
            if (not covered or module["name"] in covered)
            and module["state"] not in {"Pending", "Configuring", "Migrating"}
        ]

    # ---- what is asserted

    def modules(self) -> list[dict[str, Any]]:
        body = self.world.look(IMPLEMENTATIONS, NAMESPACE, "erp") or {}
        found: list[dict[str, Any]] = (body.get("status") or {}).get("modules") or []
        return found

    def states(self) -> dict[str, str]:
        return {module["name"]: module["state"] for module in self.modules()}

    def status(self) -> dict[str, Any]:
        body = self.world.look(IMPLEMENTATIONS, NAMESPACE, "erp")
        assert body is not None
        found: dict[str, Any] = body["status"]
        return found

    def condition(self, kind: str) -> tuple[str, str] | None:
        found = next((c for c in self.status()["conditions"] if c["type"] == kind), None)
        return (found["status"], found["reason"]) if found else None

    def revisions(self, release: str) -> list[Revision]:
        records = [body for body in self.world.all(SECRETS) if body["metadata"]["labels"].get("name") == release]
        return sorted((revision_of(body, with_manifest=True) for body in records), key=lambda found: found.revision)

    def _releases(self) -> dict[str, str]:
        """Release and module, as the spec has them."""
        spec = (self.world.look(IMPLEMENTATIONS, NAMESPACE, "erp") or {"spec": {"modules": []}})["spec"]
        return {module.get("releaseName") or f"erp-{module['name']}": module["name"] for module in spec["modules"]}

    def _runs(self, module: str) -> bool:
        """Whether the module's release is deployed with healthy pods, by the world's own truth."""
        release = next((release for release, name in self._releases().items() if name == module), None)
        body = self.world.look(DEPLOYMENTS, NAMESPACE, release) if release else None
        return bool(
            release
            and body
            and self._newest().get(release) == "deployed"
            and (body.get("status") or {}).get("observedGeneration") == body["metadata"]["generation"]
            and (body["status"]).get("availableReplicas")
        )

    def _newest(self) -> dict[str, str]:
        """The status of each release's newest record, by its labels: decoding it in every step would cost most."""
        newest: dict[str, tuple[int, str]] = {}
        for body in self.world.all(SECRETS):
            labels = body["metadata"]["labels"]
            found = (int(labels["version"]), labels["status"])
            newest[labels["name"]] = max(found, newest.get(labels["name"], found))
        return {name: status for name, (_, status) in newest.items()}

    def _began(self, record: str) -> None:
        """A release record is about to appear: no wave may be overtaken by it."""
        release = record.removeprefix("sh.helm.release.v1.").rpartition(".v")[0]
        body = self.world.look(IMPLEMENTATIONS, NAMESPACE, "erp")
        name = self._releases().get(release, release)
        self.started.append(name)
        known = {module["name"]: module for module in self.modules()}
        if body is None or name not in known:
            return
        mine = known[name]["wave"]
        for other in known.values():
            if other["wave"] < mine and not self._through(other["name"]):
                self.violations.append(f"{name} (wave {mine}) started before {other['name']} was live")

    def _through(self, module: str) -> bool:
        migrations = [m for m in self.world.all(MIGRATION_JOBS) if m["spec"]["module"] == module]
        migrated = all((m.get("status") or {}).get("phase") == "Succeeded" for m in migrations)
        checked = all(
            any(track["name"] == module and track["phase"] == "Passed" for track in (c["status"].get("modules") or []))
            for c in self.world.all(ACCEPTANCE_CHECKS)
            if c["spec"]["gate"] == "ConfigurationReady" and module in (c["spec"].get("modules") or [module])
        )
        return self._runs(module) and migrated and checked

    def _watch_limits(self) -> None:
        body = self.world.look(IMPLEMENTATIONS, NAMESPACE, "erp")
        if body is None or body["metadata"].get("deletionTimestamp"):
            return
        limit = int((body["spec"].get("rollout") or {}).get("maxParallel", 3))
        mutexes = {f"erp-{module['name']}": module.get("mutex") for module in body["spec"]["modules"]}
        pending = [name for name, status in self._newest().items() if status.startswith("pending-")]
        if len(pending) > limit:
            self.violations.append(f"{sorted(pending)} acted at once, {limit} may")
        held = [mutexes[name] for name in pending if mutexes.get(name)]
        if len(held) != len(set(held)):
            self.violations.append(f"{sorted(pending)} shared a mutex")

    def broken(self) -> list[str]:
        return [name for name, state in self.states().items() if state in BROKEN_STATES]
