"""How long one decision on a large project takes, beside reading and writing the same object as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

from bench.seed import implementation
from pilotage.plan.implementation import decide
from pilotage.plan.module import ActionKind
from pilotage.plan.world import World, begin

MODULES = 100
TURNS = 10_000
REPEATED = 200


def measure_planning() -> tuple[float, float]:
    """Milliseconds of one decision on a project of 100 modules that is accepted, and of its object to JSON and back.

    The least of many: what else runs on the machine only ever adds to it.
    """
    world = accepted(MODULES)
    facts = world.facts()
    body = dict(facts.body)
    return least(lambda: decide(facts)), least(lambda: json.loads(json.dumps(body)))


def accepted(modules: int) -> World:
    """A project of so many modules, played until nothing changes any more. Raises AssertionError if it never ends."""
    body = implementation(0, modules)
    body["metadata"] |= {"uid": "0", "generation": 1}
    del body["spec"]["rollout"]
    world = begin(body, [], [], datetime(2026, 1, 1, tzinfo=UTC))
    for _ in range(TURNS):
        decision = decide(world.facts())
        changed = decision.status != world.body.get("status")
        world.body["status"] = decision.status
        for action in decision.actions:
            if action.kind in {ActionKind.INSTALL, ActionKind.UPGRADE}:
                world.deploy(action.module)
        if not changed and not decision.actions:
            return world
    raise AssertionError("the project is never through")


def least(work: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATED):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times) * 1000
