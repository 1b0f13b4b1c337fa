"""Helm without Helm: the real engine over the simulated world, its actions cut into single writes.

What Helm would leave behind stands in the world as release records and workloads, so an operator that crashes
forgets only its memory.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from pilotage.api.v1alpha1.common import IMPLEMENTATION_LABEL
from pilotage.delivery.chart import Chart, ChartError
from pilotage.delivery.command import HelmAction, HelmError
from pilotage.delivery.helm import HelmEngine
from pilotage.delivery.leftovers import MANAGED_BY, RELEASE_NAMESPACE
from pilotage.delivery.records import decode_record, encode_record
from pilotage.kube.client import NotFound
from pilotage.kube.resources import CONFIG_MAPS, DEPLOYMENTS, SECRETS
from pilotage.plan.conditions import timestamp
from pilotage.plan.delivery import ATTEMPT_LABEL, INPUT_LABEL
from pilotage.reconcile.workloads import RELEASE_NAME
from pilotage.render.renderer import ModuleTemplate, Rendered
from tests.support.clock import VirtualClock
from tests.support.world import World

Steps = AsyncIterator[None]


class FakeHelm(HelmEngine):
    """Reads and unlocks as the real engine does; `step` takes one action one write further.

    Charts may carry a fault in their name: `refused` fails while its objects are applied and leaves a failed
    record; `broken` fails before there is any record; `overlooked` removes the release and leaves its objects.
    """

    def __init__(self, world: World, clock: VirtualClock) -> None:
        super().__init__(world, "helm", Path("unused"), None, 1)  # type: ignore[arg-type]  # no process is started
        self._world = world
        self._clock = clock
        self._running: dict[tuple[str, str], tuple[HelmAction, Steps, Callable[[], None]]] = {}

    def start(self, action: HelmAction, on_end: Callable[[], None]) -> None:
        place = (action.namespace, action.release)
        if place not in self._running:
            steps = {"Rollback": self._rollback, "Uninstall": self._uninstall}.get(action.kind, self._upgrade)
            self._running[place] = (action, steps(action), on_end)

    def acting(self, namespace: str, release: str) -> bool:
        return (namespace, release) in self._running

    def running(self) -> list[tuple[str, str]]:
        return sorted(self._running)

    async def step(self, place: tuple[str, str]) -> None:
        action, steps, on_end = self._running[place]
        try:
            await anext(steps)
        except StopAsyncIteration:
            error = None
        except HelmFailed as failure:
            error = HelmError("HelmFailed", str(failure))
        else:
            return
        if error:
            self._errors[action.namespace, action.release, action.input, action.attempt] = error
        del self._running[place]
        on_end()

    async def template(
        self, chart: Chart, values: Mapping[str, Any], release: str, namespace: str, redact: Callable[[str], str] = str
    ) -> list[dict[str, Any]]:
        del chart, values, redact
        return [deployment(release, namespace, "")]

    async def close(self) -> None:
        self._running.clear()

    async def _upgrade(self, action: HelmAction) -> Steps:
        chart = action.chart
        if chart is None or "broken" in chart.name:
            msg = "the chart cannot be installed"
            raise HelmFailed(msg)
        number = await self._next(action)
        manifest = deployment(action.release, action.namespace, f"{chart.name}:{chart.version}")
        labels = {INPUT_LABEL: action.input, ATTEMPT_LABEL: action.attempt, IMPLEMENTATION_LABEL: action.implementation}
        kind = "install" if number == 1 else "upgrade"
        written = await self._write(action, number, f"pending-{kind}", chart, manifest, labels)
        yield
        if "refused" in chart.name:
            await self._settle(action, written, "failed", f"{kind.title()} failed: admission webhook said no")
            msg = "admission webhook said no"
            raise HelmFailed(msg)
        await self._world.apply(DEPLOYMENTS, manifest, acting_as=action.account)
        yield
        await self._supersede(action, number)
        yield
        await self._settle(action, written, "deployed", f"{kind.title()} complete")
        yield

    async def _rollback(self, action: HelmAction) -> Steps:
        number = await self._next(action)
        target = next(found for found in await self._of(action) if _number(found) == action.revision)
        document = decode_record(target)
        manifest = json.loads(document["manifest"])
        metadata = document["chart"]["metadata"]
        chart = Chart(Path("unused"), metadata["name"], metadata["version"], "")
        labels = {key: target["metadata"]["labels"][key] for key in (INPUT_LABEL, ATTEMPT_LABEL, IMPLEMENTATION_LABEL)}
        written = await self._write(action, number, "pending-rollback", chart, manifest, labels)
        yield
        await self._world.apply(DEPLOYMENTS, manifest, acting_as=action.account)
        yield
        await self._supersede(action, number)
        yield
        await self._settle(action, written, "deployed", f"Rollback to {action.revision}")
        yield

    async def _uninstall(self, action: HelmAction) -> Steps:  # type: ignore[override]  # cut into steps
        records = await self._of(action)
        if not records:
            return
        chart = decode_record(records[-1])["chart"]["metadata"]["name"]
        await self._settle(action, records[-1], "uninstalling", "Deletion in progress (or silently failed)")
        yield
        with contextlib.suppress(NotFound):
            found = await self._world.get(DEPLOYMENTS, action.namespace, action.release, acting_as=action.account)
            if "overlooked" not in chart:
                await self._world.delete(
                    DEPLOYMENTS,
                    action.namespace,
                    action.release,
                    uid=found["metadata"]["uid"],
                    acting_as=action.account,
                )
        yield
        for record in (await self._of(action))[-1:]:
            await self._settle(action, record, "uninstalled", "Uninstallation complete")
        yield
        await self.finish_removal(action)

    async def _of(self, action: HelmAction) -> list[dict[str, Any]]:
        return await self._records(action.namespace, action.release, action.account)

    async def _next(self, action: HelmAction) -> int:
        records = await self._of(action)
        if not records:
            return 1
        if decode_record(records[-1])["info"]["status"].startswith("pending-"):
            msg = "another operation (install/upgrade/rollback) is in progress"
            raise HelmFailed(msg)
        return _number(records[-1]) + 1

    async def _write(
        self,
        action: HelmAction,
        number: int,
        status: str,
        chart: Chart,
        manifest: Mapping[str, Any],
        labels: Mapping[str, str],
    ) -> dict[str, Any]:
        document = {
            "name": action.release,
            "version": number,
            "info": {"status": status, "description": "", "last_deployed": timestamp(self._clock.now())},
            "chart": {"metadata": {"name": chart.name, "version": chart.version}},
            "manifest": json.dumps(manifest),
        }
        described = {"owner": "helm", "name": action.release, "version": str(number), "status": status}
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "helm.sh/release.v1",
            "metadata": {
                "name": f"sh.helm.release.v1.{action.release}.v{number}",
                "namespace": action.namespace,
                "labels": {**described, **labels},
            },
            "data": {"release": encode_record(document)},
        }
        return await self._world.create(SECRETS, body, acting_as=action.account)

    async def _settle(
        self, action: HelmAction, record: Mapping[str, Any], status: str, description: str
    ) -> dict[str, Any]:
        document = decode_record(record)
        document["info"] |= {"status": status, "description": description}
        metadata = record["metadata"]
        body = {
            **record,
            "metadata": {**metadata, "labels": {**metadata["labels"], "status": status}},
            "data": {"release": encode_record(document)},
        }
        return await self._world.replace(SECRETS, body, acting_as=action.account)

    async def _supersede(self, action: HelmAction, number: int) -> None:
        for record in await self._of(action):
            if _number(record) < number and record["metadata"]["labels"]["status"] == "deployed":
                await self._settle(action, record, "superseded", decode_record(record)["info"]["description"])


class HelmFailed(Exception):
    """What Helm says before it ends with code 1."""


class FakeCharts:
    """Charts straight from ConfigMaps: name and version are its data, the digest its content."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def fetch(self, source: Any, namespace: str, account: str) -> Chart:
        if source.config_map_ref is None:
            msg = "this world has no registries"
            raise ChartError("ChartMissing", msg)
        try:
            found = await self._world.get(CONFIG_MAPS, namespace, source.config_map_ref.name, acting_as=account)
        except NotFound as error:
            raise ChartError("ChartMissing", str(error)) from error
        name, version = found["data"]["name"], found["data"]["version"]
        digest = f"sha256:{name}-{version}"
        if source.digest and source.digest != digest:
            msg = f"the chart's digest is {digest}"
            raise ChartError("ChartDigestMismatch", msg)
        return Chart(Path("unused"), name, version, digest)


class PlainRenderer:
    """Answers the trees as they are: what is simulated here has no expressions."""

    async def render(self, modules: list[ModuleTemplate]) -> Rendered:
        return Rendered({module.name: dict(module.trees) for module in modules}, {})


def deployment(release: str, namespace: str, image: str) -> dict[str, Any]:
    labels = {"app": release}
    owned = {
        "labels": {MANAGED_BY: "Helm"},
        "annotations": {RELEASE_NAME: release, RELEASE_NAMESPACE: namespace},
    }
    container = {"name": "web", "image": image, "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": release, "namespace": namespace, **owned},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def _number(record: Mapping[str, Any]) -> int:
    return int(record["metadata"]["labels"]["version"])
