"""What the operator counts, under controller-runtime's names, so that existing dashboards and alerts fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from pilotage.observability.queue_metrics import QueueMetrics, QueueObserver
from pilotage.observability.rollouts import RolloutCollector
from pilotage.observability.serving import serve

PASS_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
RESULTS: Final = {
    "success": "success",
    "requeue_after": "requeue_after",
    "conflict": "requeue",
    "unavailable": "error",
    "error": "error",
}
"""How a pass ended, in our words and in controller-runtime's."""


class Metrics:
    """The operator's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._queues = QueueMetrics(self.registry)
        self._rollouts = RolloutCollector()
        self.registry.register(self._rollouts)
        ProcessCollector(registry=self.registry)
        self._passes = Counter(
            "controller_runtime_reconcile_total",
            "Passes, by controller and result",
            ["controller", "result"],
            registry=self.registry,
        )
        self._failures = Counter(
            "controller_runtime_reconcile_errors_total",
            "Passes that ended with an error",
            ["controller"],
            registry=self.registry,
        )
        self._duration = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "Length of a pass",
            ["controller"],
            buckets=PASS_BUCKETS,
            registry=self.registry,
        )
        self._requests = Counter(
            "rest_client_requests_total",
            "Requests to the API server, by method and status code",
            ["method", "code"],
            registry=self.registry,
        )
        self._leader = Gauge(
            "leader_election_master_status",
            "1 while this process holds the Lease",
            ["name"],
            registry=self.registry,
        )
        self._leader.labels("pilotage").set(0)

    def queue_observer(self, name: str) -> QueueObserver:
        """What the work queue `name` tells about itself."""
        return self._queues.observer(name)

    def observe_reconcile(self, controller: str, result: str, seconds: float) -> None:
        """Count a pass that ended with `result`, one of RESULTS, after `seconds`."""
        counted = RESULTS[result]
        self._passes.labels(controller, counted).inc()
        self._duration.labels(controller).observe(seconds)
        if counted == "error":
            self._failures.labels(controller).inc()

    def observe_request(self, verb: str, code: int) -> None:
        """Count a request to the API server; code 0 means that there was no answer."""
        # client-go's word for a request that broke before a status code came.
        self._requests.labels(verb.upper(), str(code) if code else "<error>").inc()

    def set_leader(self, *, leading: bool) -> None:
        """Whether this process holds the Lease."""
        self._leader.labels("pilotage").set(int(leading))

    def observe_implementation(self, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        """Show the phase and the module states of this status from now on."""
        self._rollouts.show(namespace, name, status)

    def forget_implementation(self, namespace: str, name: str) -> None:
        """Show nothing more of an Implementation that is gone."""
        self._rollouts.forget(namespace, name)


async def serve_metrics(metrics: Metrics, port: int) -> web.AppRunner:
    """Serve `/metrics` until the returned runner is cleaned up. Raises OSError when the port is taken."""

    async def answer(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(metrics.registry), headers={"Content-Type": content_type})

    return await serve("/metrics", answer, port)
