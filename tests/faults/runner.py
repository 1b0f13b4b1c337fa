"""Runs one workload in a fresh namespace, with or without a plan, and gathers what the oracles judge by."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.canaries import seen_in
from tests.faults.ground import Ground
from tests.faults.history import Change, Place
from tests.faults.plan import ENDS_A_STREAM, Fault, Plan
from tests.faults.proxy import FaultProxy, Traced, Upstream
from tests.faults.supervisor import Supervisor
from tests.faults.workloads import Customer, Workload

QUIET = 3.0
PREPARE_PATIENCE = 120.0
# Beyond the reference's own time: T_ref + T_fault + 30 s, and as much again for a busy machine.
LIVENESS = 60.0
# What the watch loses, only the sweep finds; in five minutes by default, which no plan waits for.
REOPENED_WITHIN = 30.0
FAST_SWEEP = {"PILOTAGE_SWEEP": "4"}
NEEDS_THE_SWEEP = frozenset({Fault.EVENT_DROPPED, Fault.STALE_LIST})

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Run:
    """What one run left to be judged. `seconds` is the time from the act to convergence.

    `watching`: a stream that the plan ended was opened anew. `outside`: what it left outside of the cluster.
    `leaks`: where a canary was seen in what was sent, logged or written to a file.
    """

    workload: Workload
    plan: Plan | None
    namespace: str
    converged: bool
    quiet: bool
    fired: bool
    watching: bool
    seconds: float
    trace: list[Traced]
    events: list[Any]
    changes: list[Change]
    objects: dict[Place, dict[str, Any]]
    kills: int
    surprises: list[int]
    bugs: list[str]
    states: dict[str, str]
    log: str
    outside: Any = None
    leaks: tuple[str, ...] = ()


class NotPrepared(AssertionError):
    """The workload's start was not reached, before any fault."""


async def run(ground: Ground, workload: Workload, plan: Plan | None = None, patience: float = 120.0) -> Run:
    """One run. `patience` is how many seconds it may take to converge. Raises NotPrepared."""
    namespace = f"p{os.getpid() % 10000}-{next(_numbers):04d}"
    directory = ground.directory / "runs" / namespace
    directory.mkdir(parents=True)
    customer = Customer(ground, namespace)
    await ground.make_namespace(namespace)
    strikes = plan.strikes if plan else ()
    settings = FAST_SWEEP if any(strike.fault in NEEDS_THE_SWEEP for strike in strikes) else None
    supervisor = Supervisor(ground.nursery, namespace, directory, settings)
    upstream = Upstream(ground.upstream.url, ground.upstream.session)
    proxy = FaultProxy(
        upstream,
        namespace,
        kill=supervisor.kill,
        kill_helm=supervisor.kill_helm,
        terminate=supervisor.terminate,
    )
    url = await proxy.start()
    try:
        await workload.prepare(customer)
        await supervisor.start(url)
        if not await customer.until(lambda: workload.ready(customer), PREPARE_PATIENCE):
            raise NotPrepared(
                f"{workload.name} in {namespace}: {customer.states()}; its log ends:\n{supervisor.words()[-2000:]}"
            )
        if customer.implementation() is not None:
            await _quiet(proxy, 20.0)
        begun = time.monotonic()
        proxy.arm(plan)
        await workload.act(customer)
        converged = await customer.until(lambda: workload.converged(customer), patience)
        seconds = time.monotonic() - begun
        ended = {strike for strike in proxy.fired if strike.fault in ENDS_A_STREAM}
        # What works without the stream's news would not miss it.
        watching = await customer.until(lambda: ended <= proxy.reopened, REOPENED_WITHIN)
        quiet = await _quiet(proxy, 20.0)
    finally:
        await supervisor.stop()
        await proxy.stop()
    return Run(
        workload=workload,
        plan=plan,
        namespace=namespace,
        # What converged once must still be so when all is quiet.
        converged=converged and workload.converged(customer),
        quiet=quiet,
        fired=plan is not None and proxy.fired.keys() == set(strikes),
        watching=watching,
        seconds=seconds,
        trace=proxy.requests(),
        events=proxy.events,
        changes=ground.history.of(namespace),
        objects=ground.history.now(namespace),
        kills=supervisor.kills,
        surprises=supervisor.surprises,
        bugs=supervisor.bugs(),
        states=customer.states(),
        log=supervisor.words(),
        outside=await workload.outside(customer),
        leaks=(*proxy.leaks, *leaks_in_files([directory, ground.pods / namespace])),
    )


def leaks_in_files(folders: Iterable[Path]) -> Iterator[str]:
    """Logs, temporary files and last words that hold a canary."""
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                yield from (f"file {file.relative_to(folder)}: {form}" for form in seen_in(file.read_bytes()))


async def _quiet(proxy: FaultProxy, patience: float) -> bool:
    """Wait for QUIET seconds without any write; False when there were none within `patience`."""
    deadline = time.monotonic() + patience
    begun = time.monotonic()
    while time.monotonic() < deadline:
        last = max((traced.moment for traced in proxy.trace if traced.request.is_write), default=begun)
        if time.monotonic() - max(last, begun) >= QUIET:
            return True
        await asyncio.sleep(0.1)
    return False
