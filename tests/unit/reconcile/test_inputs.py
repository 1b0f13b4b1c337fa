"""What an Implementation's modules are to be is prepared again and again; a helm process is started only for news."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pilotage.api.v1alpha1.implementation import ImplementationSpec
from pilotage.delivery.chart import Chart, ChartError
from pilotage.kube.resources import IMPLEMENTATIONS
from pilotage.reconcile.context import Context, Delivery
from pilotage.reconcile.inputs import InputPreparer, Inputs
from tests.support.builders import a_module
from tests.support.helm import FakeHelm
from tests.support.simulation import KEY, NAMESPACE, SimulatedOperator, Simulation

EXPIRED_AT_ONCE = 0.0


class CountingHelm(FakeHelm):
    """Remembers which releases were rendered; refuses those in `refused`."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.rendered: list[str] = []
        self.refused: set[str] = set()

    async def template(
        self, chart: Chart, values: Mapping[str, Any], release: str, namespace: str, redact: Callable[[str], str] = str
    ) -> list[dict[str, Any]]:
        self.rendered.append(release)
        if release in self.refused:
            raise ChartError("ValuesInvalid", "the chart's schema says no")
        return await super().template(chart, values, release, namespace, redact)


class Project:
    """A customer with two modules, and a preparer whose inputs have always expired already."""

    def __init__(self) -> None:
        self.simulation = Simulation()

    async def begin(self) -> None:
        await self.simulation.prepare()
        for name in ("core", "stock"):
            await self.simulation.chart(name)
        spec = {
            "customer": {"code": "huasheng", "name": "华升商贸"},
            "modules": [a_module("core"), a_module("stock", "core")],
            "serviceAccountName": "pilotage-deployer",
        }
        await self.simulation.create(IMPLEMENTATIONS, KEY.name, spec)
        self.start()

    def start(self) -> None:
        """A new life of the operator."""
        self.preparer = InputPreparer(EXPIRED_AT_ONCE, b"key")
        operator = SimulatedOperator(self.simulation.world, self.simulation.clock)
        self.helm = CountingHelm(self.simulation.world, self.simulation.clock)
        delivery = Delivery(**{**vars(operator.context.rollout), "engine": self.helm})
        self.context = Context(**{**vars(operator.context), "delivery": delivery})

    async def prepare(self) -> Inputs:
        self.helm.rendered.clear()
        body = await self.simulation.world.get(IMPLEMENTATIONS, NAMESPACE, KEY.name)
        return await self.preparer.prepare(
            self.context, body, ImplementationSpec.model_validate(body["spec"]), fresh=True
        )


@pytest.fixture
async def project() -> Project:
    made = Project()
    await made.begin()
    return made


async def test_an_unchanged_input_is_not_rendered_again_when_its_time_is_up(project: Project) -> None:
    first = await project.prepare()
    assert project.helm.rendered == ["erp-core", "erp-stock"]

    again = await project.prepare()

    assert project.helm.rendered == []
    assert again.manifests == first.manifests
    assert again.desired == first.desired


async def test_a_new_chart_is_rendered_and_the_others_are_not(project: Project) -> None:
    before = await project.prepare()
    await project.simulation.chart("stock", "2.0.0")

    after = await project.prepare()

    assert project.helm.rendered == ["erp-stock"]
    assert after.desired["stock"] != before.desired["stock"]
    assert after.desired["core"] == before.desired["core"]


async def test_new_values_are_rendered(project: Project) -> None:
    await project.prepare()

    def give_values(body: dict[str, Any]) -> None:
        body["spec"]["modules"][0]["values"] = {"replicas": 2}

    await project.simulation.change(IMPLEMENTATIONS, KEY.name, give_values)
    await project.prepare()

    assert project.helm.rendered == ["erp-core"]


async def test_a_new_release_name_is_rendered_though_chart_and_values_are_the_same(project: Project) -> None:
    await project.prepare()

    def rename(body: dict[str, Any]) -> None:
        body["spec"]["modules"][1]["releaseName"] = "warehouse"

    await project.simulation.change(IMPLEMENTATIONS, KEY.name, rename)
    after = await project.prepare()

    assert project.helm.rendered == ["warehouse"]
    assert [manifest["metadata"]["name"] for manifest in after.manifests] == ["erp-core", "warehouse"]


async def test_a_refused_chart_is_tried_again_and_the_good_one_beside_it_is_not(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilotage.reconcile.inputs.RETRY_PROBLEM_AFTER", EXPIRED_AT_ONCE)
    project.helm.refused.add("erp-stock")
    refused = await project.prepare()
    assert list(refused.problems) == ["stock"]
    assert list(refused.desired) == ["core"]

    await project.prepare()
    assert project.helm.rendered == ["erp-stock"]

    project.helm.refused.clear()
    mended = await project.prepare()
    assert project.helm.rendered == ["erp-stock"]
    assert not mended.problems
    assert list(mended.desired) == ["core", "stock"]


async def test_after_a_restart_what_helm_recorded_is_not_rendered_again(project: Project) -> None:
    first = await project.prepare()
    await project.simulation.settle(lambda: set(project.simulation.states().values()) == {"Accepted"})
    project.start()

    after = await project.prepare()

    assert project.helm.rendered == []
    assert after.desired == first.desired
    assert [manifest["kind"] for manifest in after.manifests] == ["Deployment", "Deployment"]
