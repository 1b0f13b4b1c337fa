"""Observe, act and report for Implementations. The decision itself is `pilotage.plan.implementation`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pilotage.api.v1alpha1.common import FINALIZER
from pilotage.api.v1alpha1.implementation import ImplementationSpec, ModuleState
from pilotage.api.v1alpha1.project import GateState
from pilotage.kube.client import NotFound
from pilotage.kube.resources import IMPLEMENTATIONS
from pilotage.kube.store import Key
from pilotage.plan.cutover_steps import StepJobWanted
from pilotage.plan.facts import ImplementationFacts, StepJob
from pilotage.plan.implementation import decide
from pilotage.plan.ledger import new_entries
from pilotage.plan.module import BROKEN_STATES
from pilotage.reconcile.actions import carry_out
from pilotage.reconcile.context import Context, deployer, read_anew, write_status
from pilotage.reconcile.cutover import make_job
from pilotage.reconcile.events import emit
from pilotage.reconcile.observe import observe

logger = logging.getLogger(__name__)

MAKE_JOB_AGAIN = 15.0
TROUBLED = frozenset({GateState.REJECTED, GateState.STALE, GateState.EXPIRED})


async def reconcile(context: Context, key: Key) -> float | None:
    """One pass over one Implementation. Returns in how many seconds to look again; None: wait for events."""
    body: Mapping[str, Any] | None = context.store.get(IMPLEMENTATIONS, key.namespace, key.name)
    if body is None:
        context.rollout.metrics.forget_implementation(key.namespace, key.name)
        context.rollout.inputs.forget(key)
        context.rollout.workloads.forget(key)
        context.rollout.ledger.forget(key.namespace, key.name)
        return None
    facts = await observe(context, body, fresh=False)
    # Before anything rests on it: a signature must not be lost with the report that it led to.
    if entries := new_entries(facts):
        await context.rollout.ledger.append(context.cluster, body, entries)
    decision = decide(facts)
    if decision.actions or decision.jobs or decision.finalizer is not None or decision.claimed:
        body = await read_anew(context, IMPLEMENTATIONS, body)
        if body is None:
            return None
        facts = await observe(context, body, fresh=True)
        decision = decide(facts)
    if decision.finalizer is not None:
        body = await _set_finalizer(context, body, wanted=decision.finalizer)
        if body is None:
            return None
    await carry_out(context, facts, decision.actions)
    problems = await _make_jobs(context, facts, decision.jobs)
    if problems:
        decision = decide(replace(facts, step_jobs={**facts.step_jobs, **problems}))
    if decision.status is not None:
        written = await write_status(context, IMPLEMENTATIONS, body, decision.status)
        context.rollout.metrics.observe_implementation(key.namespace, key.name, decision.status)
        if written:
            await _tell_transitions(context, body, facts, decision.status)
    waits = [] if decision.again is None else [decision.again.total_seconds()]
    return min([*waits, *([MAKE_JOB_AGAIN] if problems else [])], default=None)


async def _make_jobs(
    context: Context, facts: ImplementationFacts, wanted: Iterable[StepJobWanted]
) -> dict[str, StepJob]:
    """Make the Jobs; those that could not be made, by name, with what is in the way."""
    spec = ImplementationSpec.model_validate(facts.body["spec"])
    account = deployer(facts.body["metadata"]["namespace"], spec.service_account_name)
    made = {one.name: await make_job(context, facts.body, one, account) for one in wanted}
    return {name: problem for name, problem in made.items() if problem is not None}


async def _set_finalizer(context: Context, body: Mapping[str, Any], *, wanted: bool) -> Mapping[str, Any] | None:
    """The object with the finalizer set or gone; None when the object is gone with it.

    Read before it is changed: the update carries the resourceVersion, so a stale view is refused.
    """
    metadata = body["metadata"]
    present = metadata.get("finalizers") or []
    finalizers = [*present, FINALIZER] if wanted else [name for name in present if name != FINALIZER]
    try:
        written = await context.cluster.replace(
            IMPLEMENTATIONS, {**body, "metadata": {**metadata, "finalizers": finalizers}}
        )
    except NotFound:
        return None
    if metadata.get("deletionTimestamp") and not finalizers:
        return None
    for key in context.store.observe(IMPLEMENTATIONS, "MODIFIED", written):
        context.wake(key)
    return written


async def _tell_transitions(
    context: Context, body: Mapping[str, Any], facts: ImplementationFacts, status: Mapping[str, Any]
) -> None:
    before = body.get("status") or {}
    states = {module["name"]: module["state"] for module in before.get("modules") or []}
    for module in status.get("modules") or []:
        state = module["state"]
        if states.get(module["name"]) == state or (state == ModuleState.PENDING and module["name"] not in states):
            continue
        troubled = state in {*BROKEN_STATES, ModuleState.UNHEALTHY}
        text = f"module {module['name']}: {states.get(module['name'], 'new')} → {state}"
        if module.get("message"):
            text += f": {module['message']}"
        await emit(context, body, f"Module{state}", text, warning=troubled)
    gates = {_gate_name(gate): gate["state"] for gate in before.get("gates") or []}
    for gate in status.get("gates") or []:
        name, state = _gate_name(gate), gate["state"]
        if gates.get(name, GateState.NOT_READY) != state:
            await emit(context, body, f"Gate{state}", f"gate {name}: {gate['message']}", warning=state in TROUBLED)
    if before.get("phase") != status.get("phase") and status.get("phase"):
        await emit(context, body, f"Phase{status['phase']}", f"phase {before.get('phase', 'new')} → {status['phase']}")
    stalled = _stalled_reason(status)
    if stalled and stalled != _stalled_reason(before):
        message = next(found["message"] for found in status["conditions"] if found["type"] == "Stalled")
        await emit(context, body, stalled, message, warning=True)
    logger.info(
        "status written", extra={"phase": status.get("phase"), "live": status.get("live"), "at": str(facts.now)}
    )


def _gate_name(gate: Mapping[str, Any]) -> str:
    place = f"wave {gate['wave']}" if "wave" in gate else f"module {gate['module']}" if "module" in gate else ""
    return f"{gate['name']} of {place}" if place else str(gate["name"])


def _stalled_reason(status: Mapping[str, Any]) -> str | None:
    return next((found["reason"] for found in status.get("conditions") or [] if found["type"] == "Stalled"), None)
