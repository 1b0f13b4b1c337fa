"""What the benchmark reckons with: quantiles, writes in an audit log, copies of a customer, processes."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.__main__ import Bench, Report, is_past_configuring, quantile
from bench.processes import Measured
from bench.seed import Original, chart_archive, namespace_of
from pilotage.delivery.archive import inspect_archive
from pilotage.delivery.records import decode_record, encode_record
from pilotage.kube.resources import CONFIG_MAPS, IMPLEMENTATIONS, SECRETS, STATEFUL_SETS
from tests.support.clock import VirtualClock
from tests.support.world import World


def an_entry(verb: str, resource: str, user: str = "admin", stage: str = "ResponseComplete") -> dict[str, Any]:
    return {"verb": verb, "objectRef": {"resource": resource}, "user": {"username": user}, "stage": stage}


def a_bench(audit_log: Path) -> Bench:
    arguments = argparse.Namespace(implementations=1, modules=1, quiet_seconds=1.0)
    return Bench(arguments, SimpleNamespace(audit_log=audit_log), SimpleNamespace())  # type: ignore[arg-type]


def append(log: Path, *entries: dict[str, Any]) -> None:
    with log.open("a") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in entries)


def test_quantiles_lie_between_the_values() -> None:
    values = [float(value) for value in range(1, 101)]
    assert quantile(values, 0.5) == pytest.approx(50.5)
    assert 99.0 <= quantile(values, 0.99) <= 100.0
    assert quantile([7.0], 0.99) == 7.0
    assert quantile([], 0.5) != quantile([], 0.5), "no values: not a number"


def test_the_report_gives_the_ratio_to_the_peer_of_the_same_run(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    report.add("latency", 30.0, "ms", "bare watch", 10.0, "< 250")
    report.add("writes", 0.0, "", "none allowed", None, "0")
    report.show()
    table = capsys.readouterr().out.splitlines()[-2:]
    assert "bare watch 10 ms" in table[0]
    assert "3.0" in table[0]
    assert "none allowed" in table[1]


def test_only_writes_behind_the_offset_are_counted(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    append(log, an_entry("update", "implementations"))
    bench = a_bench(log)
    before = bench.audit_size()
    assert bench.writes_since(before) == 0

    append(log, an_entry("update", "implementations"), an_entry("create", "secrets"), an_entry("delete", "secrets"))

    assert bench.writes_since(before) == 3


def test_reading_asking_and_the_api_server_itself_are_no_writes(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    append(
        log,
        an_entry("list", "secrets"),
        an_entry("watch", "implementations"),
        an_entry("create", "selfsubjectrulesreviews"),
        an_entry("update", "leases", user="system:apiserver"),
        an_entry("patch", "implementations", stage="ResponseStarted"),
    )
    assert a_bench(log).writes_since(0) == 0


def test_a_line_that_is_still_being_written_is_left_for_the_next_count(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    append(log, an_entry("create", "events"))
    with log.open("a") as file:
        file.write('{"verb": "upd')
    assert a_bench(log).writes_since(0) == 1


@pytest.mark.parametrize(("state", "past"), [("Pending", False), ("Configuring", False), ("Live", True)])
def test_a_module_is_past_configuring_once_its_workload_was_ready(state: str, past: bool) -> None:
    assert is_past_configuring({"status": {"modules": [{"state": state}]}}) is past
    assert is_past_configuring({}) is False


def test_the_chart_passes_the_operators_own_inspection() -> None:
    assert inspect_archive(chart_archive()).name == "bench"


async def test_a_copied_customer_names_its_own_namespace_everywhere() -> None:
    origin, target = namespace_of(0), namespace_of(7)
    workload = {
        "metadata": {
            "name": "erp-module-0",
            "namespace": origin,
            "uid": "old",
            "annotations": {"meta.helm.sh/release-name": "erp-module-0", "meta.helm.sh/release-namespace": origin},
        },
        "spec": {"replicas": 1},
        "status": {"readyReplicas": 1},
    }
    record = {
        "metadata": {"name": "sh.helm.release.v1.erp-module-0.v1", "namespace": origin, "labels": {"owner": "helm"}},
        "type": "helm.sh/release.v1",
        "data": {"release": encode_record({"name": "erp-module-0", "namespace": origin})},
    }
    body = {
        "metadata": {"name": "erp", "finalizers": ["pilotage.dev/releases"]},
        "spec": {"modules": [{}, {}]},
        "status": {"phase": "InProgress"},
    }
    world = World(VirtualClock().now)

    await Original(body, [record], [workload]).copy_to(world, 7)  # type: ignore[arg-type]

    made = await world.get(STATEFUL_SETS, target, "erp-module-0")
    assert made["metadata"]["annotations"]["meta.helm.sh/release-namespace"] == target
    assert not made.get("status")
    secret = await world.get(SECRETS, target, "sh.helm.release.v1.erp-module-0.v1")
    assert decode_record(secret)["namespace"] == target
    copied = await world.get(IMPLEMENTATIONS, target, "erp")
    assert copied["status"] == body["status"]
    assert len(copied["spec"]["modules"]) == 2
    assert await world.list(CONFIG_MAPS, origin) == []


def test_a_measured_process_has_memory_and_processor_time_and_its_last_words_are_told(tmp_path: Path) -> None:
    running = Measured([sys.executable, "-c", "input()"], {}, tmp_path / "running.log")
    try:
        running.require_alive()
        assert running.resident > 0
        assert all(seconds >= 0 for seconds in running.processor)
    finally:
        running.stop()
    with pytest.raises(SystemExit, match="ended with"):
        running.require_alive()
