"""The work queue's metrics, under client-go's names."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

WAIT_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class QueueMetrics:
    """Families of all queues; each queue tells about itself through an observer with its name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.depth = Gauge("workqueue_depth", "Keys that wait to be worked on", ["name"], registry=registry)
        self.adds = Counter("workqueue_adds_total", "Keys put on the queue", ["name"], registry=registry)
        self.waited = Histogram(
            "workqueue_queue_duration_seconds",
            "How long a key waited on the queue",
            ["name"],
            buckets=WAIT_BUCKETS,
            registry=registry,
        )
        self.worked = Histogram(
            "workqueue_work_duration_seconds",
            "How long a key was worked on",
            ["name"],
            buckets=WAIT_BUCKETS,
            registry=registry,
        )
        self.retries = Counter(
            "workqueue_retries_total", "Keys put back to be tried again", ["name"], registry=registry
        )
        self.unfinished = Gauge(
            "workqueue_unfinished_work_seconds",
            "Length of all passes that still run, together",
            ["name"],
            registry=registry,
        )
        self.longest = Gauge(
            "workqueue_longest_running_processor_seconds",
            "Length of the longest pass that still runs",
            ["name"],
            registry=registry,
        )

    def observer(self, name: str) -> QueueObserver:
        """What the queue `name` calls."""
        return QueueObserver(self, name)


class QueueObserver:
    """Hears what happens on one queue."""

    def __init__(self, metrics: QueueMetrics, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running: list[float] = []
        self._depth = metrics.depth.labels(name)
        self._adds = metrics.adds.labels(name)
        self._waited = metrics.waited.labels(name)
        self._worked = metrics.worked.labels(name)
        self._retries = metrics.retries.labels(name)
        metrics.unfinished.labels(name).set_function(self.unfinished_seconds)
        metrics.longest.labels(name).set_function(self.longest_seconds)

    def on_add(self) -> None:
        """A key began to wait."""
        self._adds.inc()
        self._depth.inc()

    def on_get(self, waited: float) -> None:
        """A worker took a key after it had waited this many seconds."""
        self._depth.dec()
        self._waited.observe(waited)
        self._running.append(self._clock())

    def on_done(self, worked: float) -> None:
        """A worker is done with a key after this many seconds."""
        self._worked.observe(worked)
        begun = self._clock() - worked
        # The queue names no key here; the pass that began nearest to this moment is the one that ended.
        self._running.remove(min(self._running, key=lambda other: abs(other - begun)))

    def on_retry(self) -> None:
        """A key was put back, to be tried again later."""
        self._retries.inc()

    def unfinished_seconds(self) -> float:
        """Length of all passes that still run, together."""
        now = self._clock()
        return sum(now - begun for begun in self._running)

    def longest_seconds(self) -> float:
        """Length of the longest pass that still runs; 0 when none runs."""
        return self._clock() - min(self._running) if self._running else 0.0
