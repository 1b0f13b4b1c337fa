"""A whole project in virtual time: the operator's own decisions, with assumed durations and failures.

What decides is what the operator runs: `decide` of Implementations and of AcceptanceChecks, the clock included. Assumed
is only what surrounds them: how long Helm, migrations and people take, what samples say, and what goes wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final

from pilotage.api.v1alpha1.acceptancecheck import AcceptanceCheckSpec, Metric, OnBreach
from pilotage.api.v1alpha1.common import parse_duration
from pilotage.api.v1alpha1.cutover import StepType
from pilotage.api.v1alpha1.implementation import ModuleState, Phase
from pilotage.api.v1alpha1.project import Contact, ContactRole, GateState, GateStatus
from pilotage.plan import acceptance
from pilotage.plan.acceptance_clock import format_duration, interval_of
from pilotage.plan.acceptance_sample import Sample
from pilotage.plan.acceptance_schedule import CheckObservation, begin_round, measurements_due
from pilotage.plan.assumptions import Assumptions, FailedInstall, Outage, Silence, parse_failure
from pilotage.plan.conditions import parse_timestamp
from pilotage.plan.gates import ASKING, describe
from pilotage.plan.implementation import decide
from pilotage.plan.module import LIVE_STATES, ActionKind
from pilotage.plan.reasons import Reason
from pilotage.plan.world import World, begin, desired
from pilotage.plan.world_cutover import end_step, open_steps

LONGEST: Final = timedelta(days=5 * 365)
LOOKS: Final = 50
SELDOM: Final = timedelta(minutes=1)
PASSES: Final = 10_000
DEPLOYING: Final = frozenset({ActionKind.INSTALL, ActionKind.UPGRADE})
LEARNING: Final = frozenset({ModuleState.MIGRATING, ModuleState.VERIFYING, ModuleState.PREPARED})


@dataclass(frozen=True)
class Span:
    """One state of a lane, from a moment to another."""

    state: str
    begins: datetime
    ends: datetime


@dataclass
class Lane:
    """What a module, a gate, a migration or a check's clock went through."""

    kind: str
    name: str
    spans: list[Span] = field(default_factory=list)


@dataclass(frozen=True)
class Wait:
    """Somebody was asked; `answered` None: never."""

    who: str
    what: str
    asked: datetime
    answered: datetime | None


@dataclass(frozen=True)
class Event:
    """Something that happened."""

    at: datetime
    what: str


@dataclass
class Simulation:
    """What came of it. Without `accepted`, `held` tells what the project waits for in the end."""

    begins: datetime
    ends: datetime
    accepted: datetime | None = None
    lanes: dict[tuple[str, str], Lane] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    held: list[str] = field(default_factory=list)

    def tell(self, at: datetime, what: str) -> None:
        """Add what happens at that moment."""
        self.events.append(Event(at, what))

    def enter(self, kind: str, name: str, state: str, at: datetime) -> bool:
        """The lane is in that state from now on; says whether it was in another one before."""
        lane = self.lanes.setdefault((kind, name), Lane(kind, name))
        if lane.spans and lane.spans[-1].state == state:
            lane.spans[-1] = replace(lane.spans[-1], ends=at)
            return False
        if lane.spans:
            lane.spans[-1] = replace(lane.spans[-1], ends=at)
        lane.spans.append(Span(state, at, at))
        return True


@dataclass(frozen=True)
class _Pending:
    """Something under way: when it ends, and who is waited for, if anybody."""

    key: tuple[str, ...]
    asked: datetime
    ends: datetime | None
    who: str = ""
    what: str = ""


def simulate(
    body: Mapping[str, Any],
    migrations: Sequence[Mapping[str, Any]],
    checks: Sequence[Mapping[str, Any]],
    assumptions: Assumptions,
    start: datetime,
) -> Simulation:
    """Play the Implementation with these MigrationJobs and AcceptanceChecks from `start` on.

    Raises ValueError for a failure of a module or person that the project does not have.
    """
    return _Play(begin(body, migrations, checks, start), checks, assumptions).run()


class _Play:
    """One simulation under way."""

    def __init__(self, world: World, checks: Sequence[Mapping[str, Any]], assumptions: Assumptions) -> None:
        self._world = world
        self._assumed = assumptions
        mine = [
            check for check in checks if check["spec"]["implementationRef"]["name"] == world.body["metadata"]["name"]
        ]
        failures = [parse_failure(text) for text in assumptions.failures]
        self._outages = [failure for failure in failures if isinstance(failure, Outage)]
        shortest = min((outage.length for outage in self._outages), default=LONGEST)
        self._checks = {check["metadata"]["name"]: _coarse(check, shortest) for check in mine}
        runs = [check["spec"].get("stableRun") or {} for check in mine]
        self._events = sorted({event for run in runs for event in run.get("requiredEvents") or []})
        self._looks: dict[str, datetime] = {}
        self._pending: dict[tuple[str, ...], _Pending] = {}
        self._live: dict[str, datetime] = {}
        self._failing = [failure.module for failure in failures if isinstance(failure, FailedInstall)]
        self._silent = {failure.contact: failure.wait for failure in failures if isinstance(failure, Silence)}
        self._again: timedelta | None = None
        self._overdue: set[tuple[str, str]] = set()
        self._resets: dict[str, int] = {}
        self._found = Simulation(world.now, world.now)
        self._refuse_strangers()

    def _refuse_strangers(self) -> None:
        modules = {module.name for module in self._world.spec.modules}
        people = {contact.id for contact in self._world.spec.contacts}
        for name in chain(self._failing, (outage.module for outage in self._outages), self._assumed.installs):
            if name not in modules:
                msg = f"the project has no module {name}; it has {', '.join(sorted(modules))}"
                raise ValueError(msg)
        for name in self._assumed.migrations:
            if name not in self._world.migrations:
                msg = (
                    f"there is no MigrationJob {name}; there are {', '.join(sorted(self._world.migrations)) or 'none'}"
                )
                raise ValueError(msg)
        for name in self._silent:
            if name not in people:
                msg = f"nobody of spec.contacts has the id {name}; there are {', '.join(sorted(people)) or 'none'}"
                raise ValueError(msg)

    def run(self) -> Simulation:
        world, found = self._world, self._found
        while True:
            self._settle()
            self._record()
            if world.body["status"]["phase"] == Phase.CLOSED:
                found.accepted = world.now
                break
            self._ask()
            following = min(self._moments(), default=None)
            if following is None or following - world.begun > LONGEST:
                found.held = list(world.held())
                break
            world.now = following
            for pending in [one for one in self._pending.values() if one.ends is not None and one.ends <= world.now]:
                self._finish(pending)
        found.ends = world.now
        found.waits += [
            Wait(one.who, one.what, one.asked, None) for one in self._pending.values() if one.who and one.ends is None
        ]
        for lane in found.lanes.values():
            lane.spans[-1] = replace(lane.spans[-1], ends=world.now)
        return found

    def _settle(self) -> None:
        """The operator's passes until nothing more comes of what is known at this moment."""
        world = self._world
        for _ in range(PASSES):
            decision = decide(world.facts())
            before, world.body["status"] = world.body["status"], decision.status or {}
            # What is looked at again every few seconds is a Job or Pod; these end when they are assumed to.
            self._again = decision.again if decision.again and decision.again >= SELDOM else None
            begun = [action.module for action in decision.actions if action.kind in DEPLOYING]
            for module in begun:
                self._deploy(module)
            measured = self._measure()
            if not begun and not measured and world.body["status"] == before:
                return
        raise AssertionError("the project goes round in circles")

    def _deploy(self, module: str) -> None:
        world = self._world
        world.releases[module] = replace(world.releases[module], acting=True)
        self._begin(("install", module), world.now + self._assumed.install_time(module))

    def _ask(self) -> None:
        """What begins without the operator's doing: migrations load, people are asked, trained, test and mend."""
        world = self._world
        for migration in world.migrations.values():
            if world.may_load(migration):
                takes = self._assumed.migration_time(migration.name)
                self._begin(("load", migration.name), world.now + takes)
        for gate in world.gates:
            for role in gate.missing if gate.state in ASKING else ():
                self._ask_for(gate, role)
        # A step of type Check is measured as all checks are.
        for step in open_steps(world):
            if step.type is not StepType.CHECK:
                self._begin(("step", step.module, step.step.name, str(step.record.attempt)), step.ends)
        if world.witness:
            self._ask_users(world.witness)
        if any(module.get("reason") == Reason.RELEASE_FAILED for module in world.states.values()):
            engineer = world.contact(ContactRole.ENGINEER)
            self._work(("mend",), self._assumed.mending, engineer.name if engineer else "Engineer", "a failed module")

    def _ask_users(self, witness: Contact) -> None:
        """They learn and test what is there, and do business with what is live."""
        world, status = self._world, self._world.body["status"]
        if any(module["state"] in LEARNING for module in world.states.values()):
            if any(not role["complete"] for role in status.get("training") or []):
                self._work(("train",), self._assumed.training, witness.name, "training of all roles")
            if (tests := status.get("tests") or {}) and (tests.get("open") or tests.get("failed")):
                self._work(("test",), self._assumed.tests, witness.name, "the users' tests")
        for event in self._events if self._live else ():
            if event not in (status.get("businessEvents") or []):
                happens = min(self._live.values()) + parse_duration(self._assumed.events)
                self._begin(("event", event), max(world.now, happens))

    def _begin(self, key: tuple[str, ...], ends: datetime | None, who: str = "", what: str = "") -> None:
        if key not in self._pending:
            self._pending[key] = _Pending(key, self._world.now, ends, who, what)

    def _work(self, key: tuple[str, ...], length: str, who: str, what: str) -> None:
        self._begin(key, self._assumed.working_time.after(self._world.now, parse_duration(length)), who, what)

    def _ask_for(self, gate: GateStatus, role: ContactRole) -> None:
        """The first of the role who answers decides; without anybody the operator itself tells what is missing."""
        asked = [
            contact
            for contact in self._world.spec.contacts
            if contact.role is role and self._world.may_sign(gate, contact)
        ]
        answers = sorted(
            ((at, contact.name) for contact in asked if (at := self._answer(contact))), key=lambda answer: answer[0]
        )
        key = ("sign", describe(gate), role.value)
        if answers:
            self._begin(key, answers[0][0], answers[0][1], f"gate {describe(gate)}")
        elif asked:
            self._begin(key, None, asked[0].name, f"gate {describe(gate)}")

    def _answer(self, contact: Contact) -> datetime | None:
        """When the person has decided who is asked now; None: never."""
        wait = self._silent.get(contact.id, timedelta())
        if wait is None:
            return None
        return self._assumed.working_time.after(self._world.now + wait, self._assumed.answer_time(contact.role))

    def _finish(self, pending: _Pending) -> None:
        world, found = self._world, self._found
        del self._pending[pending.key]
        if pending.who:
            found.waits.append(Wait(pending.who, pending.what, pending.asked, world.now))
        match pending.key:
            case ("install", module):
                self._end_installation(module)
            case ("load", name):
                world.load(world.migrations[name])
                found.tell(world.now, f"migration {name} is loaded into module {world.migrations[name].module}")
            case ("sign", place, role):
                self._sign(place, role, pending.who)
            case ("mend",):
                world.attempt = f"attempt-{world.now.isoformat()}"
                found.tell(world.now, f"{pending.who} mends what failed and asks to try again")
            case ("step", module, name, _):
                for step in [one for one in open_steps(world) if (one.module, one.step.name) == (module, name)]:
                    end_step(world, step)
                    found.tell(world.now, step.what)
            case ("event", name):
                world.happen(name)
                found.tell(world.now, f"business event {name} happens")
            case _:
                for text in world.train() if pending.key == ("train",) else world.test():
                    found.tell(world.now, text)

    def _end_installation(self, module: str) -> None:
        failing = module in self._failing
        if failing:
            self._failing.remove(module)
        self._world.deploy(module, failure="assumed to fail" if failing else "")
        ended = "fails" if failing else "is done"
        self._found.tell(self._world.now, f"installation of module {module} {ended}")

    def _sign(self, place: str, role: str, who: str) -> None:
        world = self._world
        contact = next(one for one in world.spec.contacts if one.role == role and one.name == who)
        for gate in world.gates:
            if describe(gate) == place and gate.state in ASKING and role in gate.missing:
                world.sign(gate, contact)
                self._found.tell(world.now, f"{who} ({role}) signs gate {place}")

    def _measure(self) -> bool:
        """A round of every check at this moment; says whether a check's status changed."""
        world, changed = self._world, False
        for name, body in self._checks.items():
            seen = CheckObservation(body, world.body, world.now, session="simulation")
            decision = acceptance.decide(seen, dict(self._samples(seen)))
            changed |= decision.status != body["status"]
            body["status"] = decision.status
            if decision.again is None:
                self._looks.pop(name, None)
            else:
                self._looks[name] = world.now + decision.again
            verdicts = {
                module.name: acceptance.gate_verdict(body, module.name, desired(module.name).input)
                for module in world.spec.modules
            }
            world.checks[name] = replace(world.checks[name], verdicts=verdicts)
        return changed

    def _samples(self, seen: CheckObservation) -> Iterator[tuple[tuple[str, str], Sample]]:
        """What is due, and where an outage begins or ends or a clock has run out, everything: no gap hides it."""
        now = self._world.now
        for measurement in measurements_due(seen):
            yield (measurement.module, measurement.metric.name), self._sample(measurement.module, measurement.metric)
        for track in begin_round(seen):
            module, clock = track.status.name, track.status.clock
            ends = parse_timestamp(clock.projected_end) if clock and clock.projected_end else None
            if track.active and clock and (ends == now or now in self._boundaries(module)):
                for metric, known in zip(seen.spec.metrics, track.status.metrics, strict=True):
                    if known.last_sample_at is None or parse_timestamp(known.last_sample_at) < now:
                        yield (module, metric.name), self._sample(module, metric)

    def _sample(self, module: str, metric: Metric) -> Sample:
        now = self._world.now
        if any(begins <= now < ends for begins, ends in self._outages_of(module)):
            return Sample.missed("assumed outage")
        target = metric.target
        return Sample.of(str(target.equals or target.at_least or target.at_most))

    def _outages_of(self, module: str) -> Iterator[tuple[datetime, datetime]]:
        for outage in self._outages:
            if outage.module == module and (live := self._live.get(module)):
                begins = live + timedelta(days=outage.day)
                yield begins, begins + outage.length

    def _boundaries(self, module: str) -> frozenset[datetime]:
        return frozenset(chain.from_iterable(self._outages_of(module)))

    def _moments(self) -> Iterator[datetime]:
        """The moments at which something can change."""
        world = self._world
        moving = [one.ends for one in self._pending.values() if one.ends is not None]
        moving += [*world.next_openings.values(), *([world.now + self._again] if self._again else [])]
        for name, look in self._looks.items():
            moving.append(look)
            clocks = (track.get("clock") or {} for track in self._checks[name]["status"].get("modules") or [])
            moving += [parse_timestamp(clock["projectedEnd"]) for clock in clocks if clock.get("projectedEnd")]
        if self._looks:
            moving += [moment for module in self._live for moment in self._boundaries(module)]
        return (moment for moment in moving if moment > world.now)

    def _record(self) -> None:
        """What changed by now, in lanes and events."""
        world, found = self._world, self._found
        for name, module in world.states.items():
            if found.enter("module", name, module["state"], world.now) and module["state"] != ModuleState.PENDING:
                found.tell(world.now, f"module {name} is {module['state']}")
            if module["state"] in LIVE_STATES:
                self._live.setdefault(name, world.now)
        for gate in world.gates:
            place = describe(gate)
            if found.enter("gate", place, gate.state, world.now) and gate.state is GateState.OPEN:
                found.tell(world.now, f"gate {place} waits for {', '.join(gate.missing)}")
            if gate.overdue and (place, gate.since) not in self._overdue:
                self._overdue.add((place, gate.since))
                found.tell(world.now, f"gate {place} is overdue; the sponsor is told")
        for name, body in self._checks.items():
            for track in body["status"].get("modules") or []:
                if clock := track.get("clock"):
                    self._record_clock(name, track["name"], track["phase"], clock.get("resets", 0))

    def _record_clock(self, check: str, module: str, phase: str, resets: int) -> None:
        found, now, name = self._found, self._world.now, f"{check} of {module}"
        found.enter("clock", name, phase, now)
        if resets > self._resets.get(name, 0):
            found.tell(now, f"check {check} misses for module {module}: its stable run begins anew")
        self._resets[name] = resets


def _coarse(check: Mapping[str, Any], shortest: timedelta) -> dict[str, Any]:
    """The check with fewer samples, where its stable run takes longer than its samples: months in seconds.

    A miss that extends or pauses the run counts by samples, so these are no further apart than the `shortest` outage.
    """
    body = deepcopy(dict(check))
    body["metadata"] = {"generation": 1, **body["metadata"]}
    body["status"] = {}
    spec = AcceptanceCheckSpec.model_validate(body["spec"])
    if spec.stable_run is None:
        return body
    required = parse_duration(spec.stable_run.required)
    exact = any(metric.consequence not in {OnBreach.RESTART, OnBreach.FAIL} for metric in spec.metrics)
    apart = min(required / LOOKS, shortest) if exact else required / LOOKS
    for metric, fields in zip(spec.metrics, body["spec"]["metrics"], strict=True):
        seldom = timedelta(seconds=apart // timedelta(seconds=1))
        if interval_of(metric) < seldom and metric.min_samples * interval_of(metric) <= required:
            fields |= {"interval": format_duration(seldom), "minSamples": 1}
    return body
