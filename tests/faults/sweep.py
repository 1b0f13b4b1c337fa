"""Learn each workload twice, plan single faults from what was learned, run a sample or all of them, several at once."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.faults.ground import Ground
from tests.faults.masking import lasting
from tests.faults.oracles import OWN_SECRET, OWN_WRITES, Reference, judge
from tests.faults.plan import OF_EVENTS, Fault, Plan, Trigger
from tests.faults.runner import NotPrepared, Run, run
from tests.faults.wire import WRITES
from tests.faults.workloads import WORKLOADS

LANES = 6
LIVENESS = 45.0
SLOW = {Fault.BLACK_HOLE: 45.0, Fault.HANG: 40.0, Fault.TERMINATE: 30.0, Fault.EVENT_DROPPED: 15.0}
OUTAGE = 20.0
HELM_PAUSE = 20.0  # an action of helm that is struck once more has waited for 15 s before
# Of these many alike, a few stand for the rest.
MOST_OF_A_KIND = 30
ON_WRITES = (
    Fault.KILL_BEFORE,
    Fault.KILL_AFTER,
    Fault.LOST_RESPONSE,
    Fault.CONFLICT,
    Fault.TOO_MANY,
    Fault.SERVER_ERROR,
    Fault.TIMEOUT_AFTER_COMMIT,
    Fault.STALE_LIST,
    Fault.TERMINATE,
)
ON_OWN_WRITES = (Fault.HANG, Fault.GARBAGE, Fault.UNAUTHORIZED, Fault.FORBIDDEN)
ON_READS = (Fault.LOST_RESPONSE, Fault.TOO_MANY, Fault.SERVER_ERROR)


@dataclass
class Result:
    """What became of one plan. Nothing in `said`: every oracle held, provided that the fault was `fired`."""

    plan: Plan
    fired: bool
    said: list[str]
    seconds: float
    log: str = ""

    @property
    def outcome(self) -> str:
        return "violated" if self.said else "held" if self.fired else "not reached"


@dataclass
class Sweep:
    """All that one invocation learned and found."""

    planned: int = 0
    results: list[Result] = field(default_factory=list)

    @property
    def violations(self) -> list[Result]:
        return [result for result in self.results if result.said]

    def table(self) -> Iterator[tuple[str, Counter[str]]]:
        """Outcomes by fault."""
        for fault in Fault:
            counts = Counter(
                result.outcome
                for result in self.results
                if any(strike.fault is fault for strike in result.plan.strikes)
            )
            if counts:
                yield str(fault), counts


async def learn(ground: Ground, names: Iterable[str]) -> dict[str, Reference]:
    """Run each workload twice without faults. Raises AssertionError when it breaks a rule even so."""
    slots = asyncio.Semaphore(LANES)

    async def one(name: str) -> Run:
        async with slots:
            return await run(ground, WORKLOADS[name])

    names = list(names)
    runs = await asyncio.gather(*(one(name) for name in names for _ in range(2)))
    return {name: Reference.of(runs[2 * place], runs[2 * place + 1]) for place, name in enumerate(names)}


def plans_for(name: str, reference: Reference) -> list[Plan]:
    """Every single fault on what both runs without faults did."""
    plans: list[Plan] = []
    for (trigger, is_write), count in sorted(_common(reference).items(), key=repr):
        for nth in range(1, min(count, MOST_OF_A_KIND) + 1):
            here = Trigger(trigger.verb, trigger.resource, pattern(trigger.name), nth)
            for fault in ON_WRITES if is_write else ON_READS:
                plans.append(Plan(name, fault, here))
            own = trigger.resource in OWN_WRITES or trigger.name == OWN_SECRET
            if is_write and own:
                plans += [Plan(name, fault, here) for fault in ON_OWN_WRITES]
            if is_write:
                times = 5 if own else 2
                plans.append(Plan(name, Fault.CONFLICT, here, times=times))
                plans.append(Plan(name, Fault.SERVER_ERROR, here, times=times))
                plans.append(Plan(name, Fault.OUTAGE, here, seconds=OUTAGE))
                if trigger.name.startswith("sh.helm.release") or trigger.verb == "patch":
                    plans.append(Plan(name, Fault.KILL_HELM, here))
    first, second = (
        Counter(Trigger(event.verb, event.resource, lasting(event.name)) for event in run.events)
        for run in reference.runs
    )
    for trigger in sorted(first.keys() & second.keys(), key=repr):
        for nth in range(1, min(first[trigger], second[trigger]) + 1):
            here = Trigger(trigger.verb, trigger.resource, pattern(trigger.name), nth)
            plans += [Plan(name, fault, here, seconds=7.0) for fault in sorted(OF_EVENTS)]
    return plans


def pattern(name: str) -> str:
    """What matches that name in every run."""
    return name.replace(".", r"\.").replace("DIGEST", "[0-9a-f]{10}")


def _common(reference: Reference) -> Counter[tuple[Trigger, bool]]:
    """Requests that both runs made, as often as the one that made fewer."""
    counts = [
        Counter(
            (Trigger(request.verb, request.resource, lasting(request.name)), request.is_write)
            for request in (traced.request for traced in run.trace if traced.code < 400)
            if request.resource not in {"", "events", "leases"} and request.verb != "watch"
        )
        for run in reference.runs
    ]
    return counts[0] & counts[1]


def in_turn(plans: Iterable[Plan], seed: int) -> deque[Plan]:
    """The plans in an order that the seed chooses. Faults and written resources take turns: a sample holds them all."""
    chosen = random.Random(seed)
    strata: dict[tuple[Fault, str], list[Plan]] = defaultdict(list)
    for plan in plans:
        verb = plan.trigger.verb
        strata[plan.fault, plan.trigger.resource if verb in WRITES else verb].append(plan)
    for stratum in strata.values():
        chosen.shuffle(stratum)
    rounds = list(strata.values())
    ordered: deque[Plan] = deque()
    while rounds := [stratum for stratum in rounds if stratum]:
        chosen.shuffle(rounds)
        ordered.extend(stratum.pop() for stratum in rounds)
    return ordered


def pairs(plans: Sequence[Plan], seed: int, number: int) -> Iterator[Plan]:
    """So many runs with two faults each, of one workload, that the seed chooses."""
    chosen = random.Random(seed)
    by_workload: dict[str, list[Plan]] = defaultdict(list)
    for plan in plans:
        by_workload[plan.workload].append(plan)
    for _ in range(number):
        first, second = chosen.sample(by_workload[chosen.choice(sorted(by_workload))], 2)
        yield replace(first, second=second)


async def run_plan(ground: Ground, plan: Plan, reference: Reference) -> Result:
    """Run one plan and judge it."""
    begun = time.monotonic()
    struck = sum(
        strike.seconds * strike.times + HELM_PAUSE * strike.times + SLOW.get(strike.fault, 0.0)
        for strike in plan.strikes
    )
    patience = 2 * reference.seconds + struck + LIVENESS
    try:
        found = await run(ground, WORKLOADS[plan.workload], plan, patience)
    except NotPrepared as error:
        return Result(plan, fired=False, said=[f"not prepared: {error}"], seconds=time.monotonic() - begun)
    return Result(plan, found.fired, judge(found, reference), time.monotonic() - begun, found.log)


async def sweep(
    ground: Ground,
    names: Sequence[str],
    *,
    seed: int,
    minutes: float | None,
    failures: Path,
    lanes: int = LANES,
    in_pairs: int = 0,
    faults: Sequence[Fault] = tuple(Fault),
) -> Sweep:
    """Run the plans in an order that the seed chooses until the minutes are over; None: until all have run.

    in_pairs: not each by itself, but so many pairs of them. The plan of every violation is written to `failures`,
    with what the oracles said.
    """
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    references = await learn(ground, names)
    plans = [plan for name in names for plan in plans_for(name, references[name]) if plan.fault in faults]
    waiting = deque(pairs(plans, seed, in_pairs)) if in_pairs else in_turn(plans, seed)
    found = Sweep(planned=len(waiting))

    async def lane() -> None:
        while waiting and (deadline is None or time.monotonic() < deadline):
            plan = waiting.popleft()
            result = await run_plan(ground, plan, references[plan.workload])
            found.results.append(result)
            if result.said:
                keep(failures, result)
            report(len(found.results), result)

    await asyncio.gather(*(lane() for _ in range(lanes)))
    return found


def keep(failures: Path, result: Result) -> None:
    """Write the plan's file, with what the oracles said above it, and the operator's log beside it."""
    failures.mkdir(parents=True, exist_ok=True)
    (failures / f"{result.plan.slug}.log").write_text(result.log)
    (failures / f"{result.plan.slug}.yaml").write_text(result.plan.to_yaml("\n".join(result.said)))


def report(number: int, result: Result) -> None:
    """One line for each plan, and a line for each sentence of an oracle."""
    lines = [f"{number:4d} {result.outcome:11s} {result.seconds:5.1f} s  {result.plan.slug}", *result.said]
    say("\n     ".join(lines))


def say(text: str) -> None:
    """Speak to whoever started the command line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
