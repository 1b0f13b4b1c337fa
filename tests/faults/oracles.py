"""Judges a run by what truly happened, against two runs without faults. Each sentence begins with its oracle's id."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pilotage.api.v1alpha1.implementation import ModuleState
from pilotage.delivery.records import revision_of
from pilotage.plan.module import RANK
from tests.faults.canaries import seen_in
from tests.faults.ground import DEPLOYER
from tests.faults.history import Change, Place
from tests.faults.kubelet import image_tag, is_ready
from tests.faults.masking import RECORD, Flat, abandoned_inputs, differing, failed_attempts, flatten, lasting
from tests.faults.runner import Run
from tests.faults.workloads import MAX_PARALLEL, NAME

# What the operator writes as itself. All else is the tenant's and is written as the tenant's account.
OWN_WRITES = frozenset({
    "implementations", "implementations/status", "acceptancechecks/status", "acceptancechecks", "migrationjobs/status",
    "events", "leases",
})  # fmt: skip
OWN_SECRET = "pilotage-digest-key"
Oracle = Callable[["Run", "Reference"], Iterator[str]]


@dataclass(frozen=True)
class Reference:
    """What two runs without faults have in common. `masked` are the paths at which they differ."""

    state: Flat
    masked: frozenset[str]
    counts: Counter[tuple[str, str, str]]
    seconds: float
    runs: tuple[Run, Run]

    @staticmethod
    def of(one: Run, other: Run) -> Reference:
        """Raises AssertionError when the runs themselves broke a rule: nothing could be judged by them."""
        states = [flatten(run.objects, run.namespace, run.workload.abandons) for run in (one, other)]
        reference = Reference(
            state=states[0],
            masked=frozenset(differing(*states)),
            counts=counted(one),
            seconds=max(one.seconds, other.seconds),
            runs=(one, other),
        )
        for run in (one, other):
            if found := judge(run, reference):
                msg = f"{run.workload.name} without faults: {'; '.join(found)}"
                raise AssertionError(msg)
        return reference


def judge(run: Run, reference: Reference) -> list[str]:
    """Every rule that the run broke, in sentences; none when all hold."""
    return list(dict.fromkeys(said for oracle in ORACLES for said in oracle(run, reference)))


def counted(run: Run) -> Counter[tuple[str, str, str]]:
    """How often each object was created and deleted since the namespace was made."""
    return Counter(
        (change.kind, change.resource, lasting(change.name)) for change in run.changes if change.kind != "MODIFIED"
    )


def end_state(run: Run, reference: Reference) -> Iterator[str]:
    state = flatten(run.objects, run.namespace, run.workload.abandons)
    for path in sorted(differing(state, reference.state) - reference.masked)[:8]:
        yield f"O1 {path} is {state.get(path, 'absent')!r} and not {reference.state.get(path, 'absent')!r}"


def write_summary(run: Run, reference: Reference) -> Iterator[str]:
    """A release's records are counted together: an action that was cut off or failed leaves one, and runs again."""
    made = _without_revisions(counted(run) - _abandoned(run))
    wanted = _without_revisions(reference.counts - _abandoned(reference.runs[0]))
    failed = set(failed_attempts(run.objects)) - set(abandoned_inputs(run.objects, run.workload.abandons))
    repeated = Counter(_without_revision(place) for place in failed)
    for kind, resource, name in sorted(made.keys() | wanted.keys()):
        surplus = made[kind, resource, name] - wanted[kind, resource, name]
        allowed = repeated[resource, name] if kind == "ADDED" else 0
        if surplus != allowed:
            times = f"{made[kind, resource, name]} times instead of {wanted[kind, resource, name] + allowed}"
            yield f"O2 {resource} {name} was {kind.lower()} {times}"
    # Whoever kills the operator kills all that act at the moment.
    strikes = run.plan.strikes if run.plan else ()
    if repeated.total() > sum(strike.times for strike in strikes) * MAX_PARALLEL:
        yield f"O2 {repeated.total()} attempts failed, more than were struck"


def _abandoned(run: Run) -> Counter[tuple[str, str, str]]:
    return Counter(("ADDED", *place) for place in abandoned_inputs(run.objects, run.workload.abandons))


def stability(run: Run, _reference: Reference) -> Iterator[str]:
    if not run.quiet:
        yield "O3 it never stopped writing"


def liveness(run: Run, _reference: Reference) -> Iterator[str]:
    if not run.converged:
        yield f"O4 not converged after {run.seconds:.0f} s; modules: {run.states}"
    if not run.watching:
        yield "O4 the stream that ended was not opened anew"


def wave_order(run: Run, _reference: Reference) -> Iterator[str]:
    """A module gets a newer image only when all of the waves before have it and are ready; removal is the reverse."""
    waves = run.workload.waves
    present: dict[str, dict[str, Any]] = {}
    for change in run.changes:
        if change.resource != "deployments":
            continue
        module = change.name.removeprefix(f"{NAME}-")
        before = present.get(module)
        if change.kind == "DELETED":
            present.pop(module, None)
            late = sorted(other for other in present if waves[other] > waves[module])
            if late:
                yield f"O5 {module} was removed while {', '.join(late)} of a later wave stood"
            continue
        present[module] = change.body
        tag = image_tag(change.body)
        if before is not None and image_tag(before) == tag:
            continue
        if before is not None and tag == "v1":
            continue  # a return to the revision before waits for nobody
        least = tag if tag in {"v1", "v3"} else "v2"
        wanted = {other: least for other in waves if waves[other] < waves[module]}
        behind = sorted(
            other
            for other, least in wanted.items()
            if other not in present or not is_ready(present[other]) or image_tag(present[other]) != least
        )
        if behind:
            yield f"O5 {module} got {tag} while {', '.join(behind)} of an earlier wave was not ready with it"


def parallelism(run: Run, _reference: Reference) -> Iterator[str]:
    """No more actions at once than the rollout allows."""
    acting: set[str] = set()
    for change in _records(run.changes):
        release = change.body["metadata"]["labels"]["name"]
        pending = change.kind != "DELETED" and revision_of(change.body, with_manifest=False).is_pending
        (acting.add if pending else acting.discard)(release)
        if len(acting) > MAX_PARALLEL:
            yield f"O5 {', '.join(sorted(acting))} act at once, and no more than {MAX_PARALLEL} may"


def monotone_status(run: Run, _reference: Reference) -> Iterator[str]:
    last: dict[Place, dict[str, Any]] = {}
    for change in run.changes:
        if change.resource not in {"implementations", "acceptancechecks"}:
            continue
        status = change.body.get("status") or {}
        before = last.get(change.place, {})
        last[change.place] = status
        if status.get("observedGeneration", -1) < before.get("observedGeneration", -1):
            yield f"O6 {change.name}: observedGeneration fell to {status.get('observedGeneration')}"
        yield from _transitions(change.name, before, status)
        yield from _falls(change.name, before, status)


def exactly_once(run: Run, reference: Reference) -> Iterator[str]:
    yield from each_input_once(run.changes)
    usual = reference.runs[0].outside
    if run.outside != usual:
        yield f"O7 outside of the cluster it left {_difference(run.outside, usual)}"


def _difference(found: Any, wanted: Any) -> str:
    """Rows of a thousand say nothing: what is there too often, and what is missing."""
    parts = []
    for name in {**(wanted or {}), **(found or {})}:
        one, other = Counter((found or {}).get(name, [])), Counter((wanted or {}).get(name, []))
        surplus, missing = list((one - other).elements()), list((other - one).elements())
        if surplus or missing:
            parts.append(f"{name}: {surplus[:3]} instead of {missing[:3]}")
    return "; ".join(parts)


def each_input_once(changes: Iterable[Change]) -> Iterator[str]:
    """Each input of a release is deployed by one revision, and that one is made once; returns are not counted."""
    deployed: dict[tuple[str, str], set[str]] = defaultdict(set)
    for change in _records(changes):
        revision = revision_of(change.body, with_manifest=False)
        if change.kind != "DELETED" and revision.status == "deployed" and not revision.is_rollback:
            metadata = change.body["metadata"]
            deployed[metadata["labels"]["name"], revision.input].add(metadata["uid"])
    for (release, wanted), made in sorted(deployed.items()):
        if len(made) > 1:
            yield f"O7 {release}: input {wanted[:8]} was deployed {len(made)} times"


def gate_soundness(run: Run, _reference: Reference) -> Iterator[str]:
    """Nobody is live behind a gate that has not been seen to pass, and it passes only on enough good samples."""
    passed = not any(place == ("acceptancechecks", "gate") for place in run.objects)
    for change in run.changes:
        status = change.body.get("status") or {}
        if change.place == ("acceptancechecks", "gate"):
            module = next(iter(status.get("modules") or []), {})
            if module.get("phase") == "Passed":
                passed = True
                if any(metric["samples"] < 2 for metric in module["metrics"]):
                    yield "O8 the gate passed on fewer good samples than it asks for"
        elif change.resource == "implementations" and not passed:
            live = [module["name"] for module in status.get("modules") or [] if RANK.get(module["state"], 0) >= LIVE]
            if live:
                yield f"O8 {', '.join(live)} went live before the gate passed"


def data_first(run: Run, _reference: Reference) -> Iterator[str]:
    """Nobody is live before the migration of its data has succeeded."""
    migrated = not any(resource == "migrationjobs" for resource, _ in run.objects)
    for change in run.changes:
        status = change.body.get("status") or {}
        if change.resource == "migrationjobs":
            migrated = migrated or status.get("phase") == "Succeeded"
        elif change.resource == "implementations" and not migrated:
            live = [module["name"] for module in status.get("modules") or [] if RANK.get(module["state"], 0) >= LIVE]
            if live:
                yield f"O8 {', '.join(live)} went live before the migration had succeeded"


def orphans(run: Run, _reference: Reference) -> Iterator[str]:
    if run.workload.name == "deletion":
        for resource, name in sorted(run.objects):
            if (resource, name) not in {("configmaps", "chart"), ("secrets", OWN_SECRET)}:
                yield f"O9 {resource} {name} was left behind"


def no_leak(run: Run, _reference: Reference) -> Iterator[str]:
    """No canary stands in what was sent, logged or written, nor in any object but those that were made to hold it."""
    yield from (f"O10 {leak}" for leak in dict.fromkeys(run.leaks))
    for change in run.changes:
        if change.resource != "secrets" and (found := seen_in(json.dumps(change.body, ensure_ascii=False).encode())):
            yield f"O10 {change.resource} {change.name}: {', '.join(found)}"


def least_privilege(run: Run, _reference: Reference) -> Iterator[str]:
    tenant = f"system:serviceaccount:{run.namespace}:{DEPLOYER}"
    for traced in run.trace:
        request = traced.request
        if request.namespace not in {"", run.namespace}:
            yield f"O11 {request.verb} {request.resource} in namespace {request.namespace}"
        own = request.resource in OWN_WRITES or request.name == OWN_SECRET
        if request.is_write and not own and request.actor != tenant:
            yield f"O11 {request.verb} {request.resource} {request.name} as {request.actor or 'the operator'}"
        if request.unsure_list:
            yield f"O11 list of {request.resource} with resourceVersion=0, which may be stale"


def no_surprise(run: Run, _reference: Reference) -> Iterator[str]:
    for code in run.surprises:
        yield f"O12 the operator ended by itself with {code}"
    for bug in run.bugs:
        yield f"O12 {bug}"


LIVE = RANK[ModuleState.LIVE]
ORACLES: tuple[Oracle, ...] = (
    end_state, write_summary, stability, liveness, wave_order, parallelism, monotone_status, exactly_once,
    gate_soundness, data_first, orphans, no_leak, least_privilege, no_surprise,
)  # fmt: skip


def _records(changes: Iterable[Change]) -> Iterator[Change]:
    return (change for change in changes if change.body.get("type") == RECORD)


def _without_revision(place: Place) -> Place:
    """The place, with all records of a release at one."""
    resource, name = place
    return resource, re.sub(r"^(sh\.helm\.release\.v1\..+)\.v\d+$", r"\1", name)


def _without_revisions(counts: Counter[tuple[str, str, str]]) -> Counter[tuple[str, str, str]]:
    together: Counter[tuple[str, str, str]] = Counter()
    for (kind, *place), count in counts.items():
        together[kind, *_without_revision((place[0], place[1]))] += count
    return together


def _transitions(name: str, before: dict[str, Any], status: dict[str, Any]) -> Iterator[str]:
    known = {condition["type"]: condition for condition in before.get("conditions") or []}
    for condition in status.get("conditions") or []:
        old = known.get(condition["type"])
        if old is None:
            continue
        flipped = old["status"] != condition["status"]
        moved = old["lastTransitionTime"] != condition["lastTransitionTime"]
        if moved and not flipped:
            yield f"O6 {name}: lastTransitionTime of {condition['type']} moved without a transition"
        if condition["lastTransitionTime"] < old["lastTransitionTime"]:
            yield f"O6 {name}: lastTransitionTime of {condition['type']} went back"


def _falls(name: str, before: dict[str, Any], status: dict[str, Any]) -> Iterator[str]:
    known = {module["name"]: module for module in before.get("modules") or []}
    for module in status.get("modules") or []:
        old = known.get(module["name"])
        if old is None or "reached" not in module:
            continue
        same = old["desiredInput"] == module["desiredInput"]
        if same and RANK[module["reached"]] < RANK[old["reached"]]:
            yield f"O6 {name}: module {module['name']} fell from {old['reached']} to {module['reached']}"
