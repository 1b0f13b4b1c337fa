"""What an Implementation would do, step by step, if everything went well: the decisions themselves, played to the end.

Every action succeeds, every migration loads, every check passes when its stable run is over, and every person signs at
once. What remains after that holds the project for another reason, and is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from pilotage.api.v1alpha1.common import parse_duration
from pilotage.api.v1alpha1.implementation import ModuleState
from pilotage.api.v1alpha1.project import GateStatus
from pilotage.plan.acceptance import Verdict
from pilotage.plan.conditions import parse_timestamp
from pilotage.plan.facts import CheckFacts
from pilotage.plan.gates import ASKING, describe
from pilotage.plan.implementation import decide
from pilotage.plan.module import Action, ActionKind
from pilotage.plan.world import World, begin
from pilotage.plan.world_cutover import end_step, open_steps

LONGEST: Final = 20_000
PASSED: Final = Verdict(passed=True, phase="Passed", message="")


@dataclass(frozen=True)
class Step:
    """One thing that happens. Steps of one `turn` happen side by side; `after` is the stable run before it."""

    turn: int
    what: str
    after: timedelta


@dataclass
class Preview:
    """The steps, and what still holds the project when nothing more would happen; empty when it is accepted."""

    steps: list[Step] = field(default_factory=list)
    held: list[str] = field(default_factory=list)


def preview(
    body: Mapping[str, Any],
    migrations: Sequence[Mapping[str, Any]],
    checks: Sequence[Mapping[str, Any]],
    now: datetime,
) -> Preview:
    """Play the Implementation with these MigrationJobs and AcceptanceChecks. Raises ValidationError for a bad spec."""
    world = begin(body, migrations, checks, now)
    found = Preview()
    turn = 0
    for _ in range(LONGEST):
        decision = decide(world.facts())
        status = decision.status or {}
        before, world.body["status"] = world.body["status"], status
        events = [_act(world, action) for action in decision.actions]
        if not events and status != before:
            continue
        events = events or list(_pass_time(world)) or list(_wait_for_window(world))
        if not events:
            found.held = list(world.held())
            return found
        turn += 1
        found.steps += [Step(turn, what, world.now - world.begun) for what in events]
    raise AssertionError("the project goes round in circles")


def _act(world: World, action: Action) -> str:
    if action.kind in {ActionKind.INSTALL, ActionKind.UPGRADE}:
        world.deploy(action.module)
    return f"{action.kind.lower()} module {action.module} as release {action.release}"


def _pass_time(world: World) -> Iterator[str]:
    """What happens next without the operator's doing: a migration, else signatures, else a step, else a check."""
    states = world.states
    if loads := [found for found in world.migrations.values() if world.may_load(found)]:
        for migration in loads:
            world.load(migration)
            yield f"migration {migration.name} loads into module {migration.module}"
        return
    learning = any(module["state"] == ModuleState.PREPARED for module in states.values())
    if learning and (told := [*world.train(), *world.test()]):
        yield from told
        return
    signed = [words for gate in world.gates if gate.state in ASKING for words in _sign(world, gate)]
    yield from signed
    if signed:
        return
    if steps := list(open_steps(world)):
        world.now = max(world.now, min(step.ends for step in steps))
        for step in [one for one in steps if one.ends <= world.now]:
            end_step(world, step)
            yield step.what
        return
    waiting = [found for check in world.checks.values() for found in _waiting(world, check, states)]
    if not waiting:
        return
    world.now = max(world.now, min(moment for moment, _, _ in waiting))
    for moment, check, module in waiting:
        if moment <= world.now:
            verdicts = {**world.checks[check].verdicts, module: PASSED}
            world.checks[check] = replace(world.checks[check], verdicts=verdicts)
            yield f"check {check} passes for module {module}"


def _wait_for_window(world: World) -> Iterator[str]:
    """When nothing else happens: the next opening for a module that waits for one."""
    if moments := world.next_openings:
        world.now = min(moments.values())
        names = ", ".join(name for name, moment in moments.items() if moment == world.now)
        yield f"the window opens for {names}"


def _sign(world: World, gate: GateStatus) -> Iterator[str]:
    for role in gate.missing:
        contact = world.contact(role)
        if contact and world.may_sign(gate, contact):
            world.sign(gate, contact)
            yield f"{contact.name} ({role}) signs gate {describe(gate)}"


def _waiting(world: World, check: CheckFacts, states: Mapping[str, Any]) -> Iterator[tuple[datetime, str, str]]:
    """When the check would pass for the modules that wait for it."""
    for module, status in states.items():
        held = f"AcceptanceCheck {check.name} " in status.get("message", "")
        if check.implementation == world.body["metadata"]["name"] and check.covers(module) and held:
            stable = (check.terms.get("stableRun") or {}).get("required", "0s")
            yield parse_timestamp(status["since"]) + parse_duration(stable), check.name, module
