"""A check looked at again and again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pilotage.plan.acceptance import decide, gate_verdict
from pilotage.plan.acceptance_sample import Sample
from pilotage.plan.acceptance_schedule import CheckObservation, measurements_due
from tests.unit.acceptance.builders import DIGEST, implementation

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
GOOD, BAD = Sample.of("1"), Sample.of("0")


class Story:
    """A check looked at again and again; its status carries over, nothing else does."""

    def __init__(self, body, project=None):
        self.body, self.project, self.now = body, project or implementation(), START
        self.session = "one"

    def seen(self):
        return CheckObservation(self.body, self.project, self.now, self.session)

    def due(self):
        return [(wanted.module, wanted.metric.name) for wanted in measurements_due(self.seen())]

    def hear(self, *samples, after=10, metric="up", module="core"):
        for sample in samples:
            self.decision = decide(self.seen(), {(module, metric): sample})
            self.body = {**self.body, "status": self.decision.status}
            self.now += timedelta(seconds=after)
        return self

    def look(self):
        self.decision = decide(self.seen(), {})
        self.body = {**self.body, "status": self.decision.status}
        return self

    @property
    def track(self):
        return self.body["status"]["modules"][0]

    def condition(self, kind):
        return next((c["status"] for c in self.body["status"]["conditions"] if c["type"] == kind), None)

    def verdict(self, digest=DIGEST):
        return gate_verdict(self.body, "core", digest)
