"""`python -m bench`: measures the operator on a light cluster and prints each figure beside its peer."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.planning import measure_planning
from bench.processes import BareKopf, Operator
from bench.seed import (
    Original,
    chart_archive,
    implementation,
    install_kinds,
    make_ready,
    namespace_of,
    prepare_namespace,
    together,
)
from bench.watching import BareWatcher
from e2e.cluster.light import LightCluster
from e2e.cluster.places import BINARIES
from pilotage.kube.official import OfficialCluster, connect
from pilotage.kube.resources import IMPLEMENTATIONS, STATEFUL_SETS

HELM = BINARIES / "helm"
TOUCHED = 50
WATCHED_PLURALS = ("implementations", "statefulsets")
WRITES = {"create", "update", "patch", "delete"}
PATIENCE = 60.0


def shown(value: float) -> str:
    """A figure with as many digits as are worth reading."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


@dataclass
class Report:
    """The rows that are printed at the end."""

    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)

    def add(self, what: str, value: float, unit: str, peer: str, peer_value: float | None, aim: str) -> None:
        ratio = f"{value / peer_value:.2f}" if peer_value else "-"
        beside = peer if peer_value is None else f"{peer} {shown(peer_value)} {unit}"
        self.rows.append((what, f"{shown(value)} {unit}", beside, ratio, aim))
        print(f"· {what}: {shown(value)} {unit}; {beside}; ratio {ratio}; aim {aim}", flush=True)

    def show(self) -> None:
        table = [("figure", "measured", "peer of the same run", "ratio", "aim"), *self.rows]
        widths = [max(len(row[place]) for row in table) for place in range(5)]
        for row in table:
            print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


class Bench:
    """One run. The cluster's controllers are stopped: they would rewrite the status that the benchmark writes."""

    def __init__(self, arguments: argparse.Namespace, light: LightCluster, cluster: OfficialCluster) -> None:
        self.customers: int = arguments.implementations
        self.modules: int = arguments.modules
        self.quiet: float = arguments.quiet_seconds
        self.light = light
        self.cluster = cluster
        self.report = Report()

    async def run(self) -> None:
        decision, document = await asyncio.to_thread(measure_planning)
        self.report.add("one decision, 100 modules", decision, "ms", "its object to JSON and back", document, "< 2 ms")
        await install_kinds(self.cluster, HELM)
        operator = self.start_operator()
        await operator.settled(0)
        empty = operator.resident
        original = await self.roll_one_out(operator)
        operator.stop()
        begun = time.perf_counter()
        await together(self.copy(original, number) for number in range(1, self.customers))
        print(f"· {self.customers} customers made in {time.perf_counter() - begun:.0f} s", flush=True)
        operator = await self.measure_start()
        kopf = BareKopf(self.light.kubeconfig, self.light.directory)
        try:
            await self.measure_latency(operator)
            await self.finish(operator)
            await self.measure_unchanged(operator, kopf)
            await self.measure_quiet(operator, kopf)
            size = f"{self.customers} Implementations of {self.modules}"
            self.report.add("memory, empty", empty, "MiB", "bare kopf with all objects", kopf.resident, "-")
            self.report.add(
                f"memory, {size}", operator.resident, "MiB", "bare kopf", kopf.resident, "< 140 at 1000 of 5"
            )
        finally:
            operator.stop()
            kopf.stop()
        self.report.show()

    def start_operator(self) -> Operator:
        return Operator(self.light.kubeconfig, HELM, self.light.directory)

    async def roll_one_out(self, operator: Operator) -> Original:
        await prepare_namespace(self.cluster, 0, chart_archive())
        await self.cluster.create(IMPLEMENTATIONS, implementation(0, self.modules))
        await self.until(operator, "the first customer's releases are installed", self.installed)
        await operator.settled(0)
        await operator.at_rest()
        return await Original.read(self.cluster)

    async def installed(self) -> bool:
        body = await self.cluster.get(IMPLEMENTATIONS, namespace_of(0), "erp")
        workloads = await self.cluster.list(STATEFUL_SETS, namespace_of(0))
        messages = [module.get("message", "") for module in states(body)]
        waiting = sum("StatefulSet" in message for message in messages)
        return len(workloads) == waiting == self.modules

    async def copy(self, original: Original, number: int) -> None:
        await prepare_namespace(self.cluster, number, chart_archive())
        await original.copy_to(self.cluster, number)

    async def measure_start(self) -> Operator:
        begun = time.perf_counter()
        for kind in (IMPLEMENTATIONS, STATEFUL_SETS):
            await self.cluster.list(kind)
        listing = time.perf_counter() - begun
        before, begun = self.audit_size(), time.perf_counter()
        operator = self.start_operator()
        if not await operator.settled(self.customers):
            print("· the operator did not settle in time", flush=True)
        taken = time.perf_counter() - begun
        own, children = operator.processor
        print(f"· start-up: processor {own:.1f} s of its own, {children:.1f} s of helm and templates", flush=True)
        self.report.add("start-up until in sync", taken, "s", "listing the same objects", listing, "< 15 at 1000 of 5")
        self.report.add("writes during start-up", self.writes_since(before), "", "none allowed", None, "0")
        return operator

    async def measure_latency(self, operator: Operator) -> None:
        conditions = {STATEFUL_SETS: is_ready, IMPLEMENTATIONS: is_past_configuring}
        reported, watched = [], []
        async with BareWatcher(self.light.kubeconfig, conditions) as watcher:
            for number in range(min(self.customers, 100)):
                namespace = namespace_of(number)
                begun = time.perf_counter()
                await make_ready(self.cluster, namespace, "erp-module-0")
                seen = await watcher.arrival(STATEFUL_SETS.plural, namespace, "erp-module-0", PATIENCE)
                written = await watcher.arrival(IMPLEMENTATIONS.plural, namespace, "erp", PATIENCE)
                operator.require_alive()
                if seen is None or written is None:
                    print(f"· {namespace}: no state written within {PATIENCE:g} s", flush=True)
                    continue
                watched.append((seen - begun) * 1000)
                reported.append((written - begun) * 1000)
        for share, name, aim in ((0.5, "p50", "-"), (0.99, "p99", "< 250 at 100 Implementations")):
            value, peer = quantile(reported, share), quantile(watched, share)
            self.report.add(f"workload ready to state written, {name}", value, "ms", "bare watch", peer, aim)

    async def finish(self, operator: Operator) -> None:
        places = [(number, place) for number in range(self.customers) for place in range(self.modules)]
        await together(make_ready(self.cluster, namespace_of(n), f"erp-module-{place}") for n, place in places)
        await self.until(operator, "every customer is live", self.all_live)
        await operator.settled(0)

    async def all_live(self) -> bool:
        bodies = await self.cluster.list(IMPLEMENTATIONS)
        return all(module["state"] in {"Live", "Stable", "Accepted"} for body in bodies for module in states(body))

    async def measure_unchanged(self, operator: Operator, kopf: BareKopf) -> None:
        await self.touch("0")
        await operator.at_rest()
        passes = self.passes(operator)
        await operator.at_rest()
        own, peer = sum(operator.processor), sum(kopf.processor)
        for turn in ("1", "2", "3"):
            await self.touch(turn)
            await operator.at_rest()
        await kopf.at_rest()
        used, beside = sum(operator.processor) - own, sum(kopf.processor) - peer
        done = self.passes(operator) - passes
        what = "processor of a pass when nothing changed"
        self.report.add(what, used / done * 1000, "ms", "bare kopf, same events", beside / done * 1000, "< 5")

    async def touch(self, turn: str) -> None:
        """Change something of each workload that nobody decides on."""
        for number in range(min(self.customers, TOUCHED)):
            body = await self.cluster.get(STATEFUL_SETS, namespace_of(number), "erp-module-0")
            annotations = (body["metadata"].get("annotations") or {}) | {"bench/turn": turn}
            metadata = body["metadata"] | {"annotations": annotations}
            await self.cluster.replace(STATEFUL_SETS, body | {"metadata": metadata})

    def passes(self, operator: Operator) -> float:
        return operator.metric("controller_runtime_reconcile_total", controller="implementations")

    async def measure_quiet(self, operator: Operator, kopf: BareKopf) -> None:
        before, own, peer = self.audit_size(), sum(operator.processor), sum(kopf.processor)
        await asyncio.sleep(self.quiet)
        name = f"{self.quiet:.0f} quiet seconds"
        self.report.add(f"writes in {name}", self.writes_since(before), "", "none allowed", None, "0 in 600 s")
        used, beside = sum(operator.processor) - own, sum(kopf.processor) - peer
        self.report.add(f"processor in {name}", used, "s", "bare kopf", beside, "-")

    def audit_size(self) -> int:
        return self.light.audit_log.stat().st_size if self.light.audit_log else 0

    def writes_since(self, offset: int) -> int:
        """Writes in the audit log behind the offset, those of the API server for itself and mere questions left out."""
        if self.light.audit_log is None:
            return 0
        with self.light.audit_log.open() as log:
            log.seek(offset)
            entries = [json.loads(line) for line in log if line.endswith("\n")]
        made = Counter(
            f"{entry['verb']} {entry['objectRef']['resource']}/{entry['objectRef'].get('subresource', '')}".rstrip("/")
            for entry in entries
            if entry["verb"] in WRITES
            and entry.get("stage") == "ResponseComplete"
            and not entry["user"]["username"].startswith("system:apiserver")
            and not entry["objectRef"]["resource"].endswith("reviews")
        )
        if made:
            print("· written: " + ", ".join(f"{count} {what}" for what, count in made.items()), flush=True)
        return made.total()

    async def until(self, operator: Operator, what: str, condition: Any) -> None:
        deadline = time.monotonic() + 1800
        while not await condition():
            operator.require_alive()
            if time.monotonic() > deadline:
                raise SystemExit(f"gave up waiting until {what}")
            await asyncio.sleep(0.3)


def states(body: dict[str, Any]) -> list[dict[str, Any]]:
    return (body.get("status") or {}).get("modules") or [{"state": ""}]


def is_ready(body: dict[str, Any]) -> bool:
    return bool((body.get("status") or {}).get("readyReplicas"))


def is_past_configuring(body: dict[str, Any]) -> bool:
    return states(body)[0]["state"] not in {"", "Pending", "Configuring"}


def quantile(values: list[float], share: float) -> float:
    """The value below which the share lies; with few values the largest stands for the high shares."""
    if len(values) < 2:
        return values[0] if values else float("nan")
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


async def measure(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="pilotage-bench-") as place:
        light = LightCluster(Path(place) / "cluster", audit=True)
        with light:
            light._controllers.stop()  # noqa: SLF001 (the light cluster offers no way to do without them)
            cluster = await connect(str(light.kubeconfig))
            try:
                await Bench(arguments, light, cluster).run()
            finally:
                await cluster.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--implementations", type=int, default=50)
    parser.add_argument("--modules", type=int, default=2)
    parser.add_argument("--quiet-seconds", type=float, default=30.0)
    asyncio.run(measure(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
