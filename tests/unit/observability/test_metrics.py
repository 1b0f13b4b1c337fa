from __future__ import annotations

import json
import re
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from e2e.cluster.ports import ReservedPort
from pilotage.observability.metrics import RESULTS, Metrics, serve_metrics
from pilotage.observability.queue_metrics import QueueMetrics, QueueObserver


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def port():
    reserved = ReservedPort()
    yield reserved.number
    reserved.release()


def value(metrics: Metrics, series_name: str, /, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(series_name, labels)


def series(metrics: Metrics, name: str) -> list[dict[str, str]]:
    return [sample.labels for family in metrics.registry.collect() for sample in family.samples if sample.name == name]


def test_a_key_on_the_queue_is_counted_until_a_worker_takes_it(metrics):
    queue = metrics.queue_observer("pilotage")
    queue.on_add()
    queue.on_add()
    assert value(metrics, "workqueue_depth", name="pilotage") == 2
    queue.on_get(0.3)
    assert value(metrics, "workqueue_depth", name="pilotage") == 1
    assert value(metrics, "workqueue_adds_total", name="pilotage") == 2
    assert value(metrics, "workqueue_queue_duration_seconds_sum", name="pilotage") == 0.3


def test_work_and_retries_are_counted(metrics):
    queue = metrics.queue_observer("pilotage")
    queue.on_add()
    queue.on_get(0)
    queue.on_done(0.2)
    queue.on_retry()
    assert value(metrics, "workqueue_work_duration_seconds_count", name="pilotage") == 1
    assert value(metrics, "workqueue_retries_total", name="pilotage") == 1


def test_passes_that_still_run_show_how_long():
    now = 100.0
    families = QueueMetrics(CollectorRegistry())
    queue = QueueObserver(families, "pilotage", clock=lambda: now)
    assert queue.longest_seconds() == 0
    queue.on_get(0)
    now = 110.0
    queue.on_get(0)
    now = 115.0
    assert (queue.longest_seconds(), queue.unfinished_seconds()) == (15, 20)
    queue.on_done(15.0)
    assert (queue.longest_seconds(), queue.unfinished_seconds()) == (5, 5)


@pytest.mark.parametrize("result", RESULTS)
def test_every_result_of_a_pass_is_counted_under_controller_runtime_s_name(metrics, result):
    metrics.observe_reconcile("implementations", result, 0.01)
    (labels,) = series(metrics, "controller_runtime_reconcile_total")
    assert labels["controller"] == "implementations"
    assert labels["result"] in {"success", "error", "requeue", "requeue_after"}
    failed = value(metrics, "controller_runtime_reconcile_errors_total", controller="implementations")
    assert failed == (1 if labels["result"] == "error" else None)
    assert value(metrics, "controller_runtime_reconcile_time_seconds_count", controller="implementations") == 1


def test_requests_are_counted_by_method_and_code(metrics):
    metrics.observe_request("get", 200)
    metrics.observe_request("GET", 200)
    metrics.observe_request("patch", 0)
    assert value(metrics, "rest_client_requests_total", method="GET", code="200") == 2
    assert value(metrics, "rest_client_requests_total", method="PATCH", code="<error>") == 1


def test_the_leader_shows_itself(metrics):
    assert value(metrics, "leader_election_master_status", name="pilotage") == 0
    metrics.set_leader(leading=True)
    assert value(metrics, "leader_election_master_status", name="pilotage") == 1


STATUS = {
    "phase": "Migrating",
    "modules": [{"name": "core", "state": "Live"}, {"name": "finance", "state": "Migrating"}],
}


class TestRollouts:
    def test_phase_and_states_are_shown(self, metrics):
        metrics.observe_implementation("huasheng", "erp", STATUS)
        assert series(metrics, "pilotage_implementation_phase") == [
            {"namespace": "huasheng", "name": "erp", "phase": "Migrating"}
        ]
        assert [(labels["module"], labels["state"]) for labels in series(metrics, "pilotage_module_state")] == [
            ("core", "Live"),
            ("finance", "Migrating"),
        ]

    def test_a_former_phase_leaves_no_series(self, metrics):
        metrics.observe_implementation("huasheng", "erp", STATUS)
        metrics.observe_implementation("huasheng", "erp", {"phase": "Closed", "modules": []})
        assert [labels["phase"] for labels in series(metrics, "pilotage_implementation_phase")] == ["Closed"]
        assert series(metrics, "pilotage_module_state") == []

    def test_an_implementation_that_is_gone_leaves_no_series(self, metrics):
        metrics.observe_implementation("huasheng", "erp", STATUS)
        metrics.observe_implementation("other", "erp", STATUS)
        metrics.forget_implementation("huasheng", "erp")
        metrics.forget_implementation("huasheng", "erp")
        shown = series(metrics, "pilotage_implementation_phase") + series(metrics, "pilotage_module_state")
        assert {labels["namespace"] for labels in shown} == {"other"}

    def test_a_status_without_a_phase_is_shown_as_unknown(self, metrics):
        metrics.observe_implementation("huasheng", "erp", {"observedGeneration": -1})
        assert series(metrics, "pilotage_implementation_phase")[0]["phase"] == "Unknown"


def test_the_dashboard_asks_for_series_that_exist(metrics):
    metrics.observe_implementation("huasheng", "erp", STATUS)
    metrics.observe_reconcile("implementations", "success", 0.1)
    metrics.observe_request("get", 200)
    metrics.queue_observer("pilotage")
    there = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    dashboard = json.loads((Path(__file__).parents[3] / "manifests/dashboards/pilotage.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    wanted = set(re.findall(r"[a-z]+(?:_[a-z]+){2,}", re.sub(r"histogram_quantile", "", " ".join(asked))))
    assert len(wanted) >= 8
    assert wanted <= there


async def test_prometheus_can_read_what_is_served(metrics, port):
    metrics.observe_implementation("huasheng", "erp", STATUS)
    runner = await serve_metrics(metrics, port)
    try:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                assert answer.status == 200
                names = {family.name for family in text_string_to_metric_families(await answer.text())}
            async with session.get(f"http://127.0.0.1:{port}/elsewhere") as answer:
                assert answer.status == 404
    finally:
        await runner.cleanup()
    assert {"workqueue_depth", "pilotage_module_state", "process_resident_memory_bytes"} <= names


async def test_a_port_in_use_is_an_error_at_once(metrics, port):
    runner = await serve_metrics(metrics, port)
    try:
        with pytest.raises(OSError, match="in use"):
            await serve_metrics(metrics, port)
    finally:
        await runner.cleanup()
