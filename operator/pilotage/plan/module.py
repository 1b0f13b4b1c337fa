"""Where one module stands, and what it would do next if it were its turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain

from pilotage.api.v1alpha1.acceptancecheck import Gate
from pilotage.api.v1alpha1.common import parse_duration
from pilotage.api.v1alpha1.cutover import CutoverStatus, StepType
from pilotage.api.v1alpha1.implementation import (
    ImplementationSpec,
    LastGood,
    ModuleSpec,
    ModuleState,
    ModuleStatus,
    OnFailure,
    ReleaseStatus,
)
from pilotage.plan.delivery import ReleaseState, Revision, release_state
from pilotage.plan.facts import ImplementationFacts, ModuleFacts
from pilotage.plan.health import Health
from pilotage.plan.reasons import Reason
from pilotage.plan.windows import Opening

PATH = (
    ModuleState.PENDING,
    ModuleState.CONFIGURING,
    ModuleState.MIGRATING,
    ModuleState.VERIFYING,
    ModuleState.PREPARED,
    ModuleState.CUTTING_OVER,
    ModuleState.LIVE,
    ModuleState.STABLE,
    ModuleState.ACCEPTED,
)
RANK = {state: rank for rank, state in enumerate(PATH)}
LIVE_STATES = frozenset({ModuleState.LIVE, ModuleState.STABLE, ModuleState.ACCEPTED})
BROKEN_STATES = frozenset({ModuleState.FAILED, ModuleState.ROLLED_BACK})


class ActionKind(StrEnum):
    """What the delivery engine can be asked to do with a release."""

    INSTALL = "Install"
    UPGRADE = "Upgrade"
    ROLLBACK = "Rollback"
    UNLOCK = "Unlock"
    UNINSTALL = "Uninstall"


@dataclass(frozen=True)
class Action:
    """One action on one release. `revision` is the target of a rollback."""

    kind: ActionKind
    release: str
    module: str = ""
    revision: int = 0


@dataclass(frozen=True)
class ModuleView:
    """A module's standing in this pass. `stuck` means that nothing moves until spec, data or cluster change."""

    state: ModuleState
    reason: str = ""
    message: str = ""
    wants: Action | None = None
    stuck: bool = False
    acting: bool = False
    advances: bool = False
    due_in: timedelta | None = None


@dataclass(frozen=True)
class ModuleHistory:
    """What earlier passes reported of the module, as far as it still holds for the present input."""

    reached: ModuleState = ModuleState.PENDING
    expects: tuple[str, ...] = ()
    last_good: LastGood | None = None
    cutover: CutoverStatus | None = None


@dataclass(frozen=True)
class ClosedGate:
    """What holds the module in the state `at`: a gate that waits for a person, its window, its cutover.

    `stuck`: nothing moves until a person has mended something.
    """

    at: ModuleState
    reason: str
    message: str
    stuck: bool = False


def release_name(implementation: str, module: ModuleSpec) -> str:
    """The Helm release's name: IMPLEMENTATION-MODULE unless the module says otherwise."""
    return module.release_name or f"{implementation}-{module.name}"


def module_history(previous: ModuleStatus | None, facts: ModuleFacts, *, same_generation: bool) -> ModuleHistory:
    """What of the previous report still counts. A new input starts the module's path again."""
    if previous is None:
        return ModuleHistory()
    same_input = facts.desired is None or facts.desired.input == previous.desired_input
    return ModuleHistory(
        reached=previous.reached if same_input else ModuleState.PENDING,
        expects=tuple(previous.expects) if same_input and same_generation else (),
        last_good=previous.last_good,
        cutover=previous.cutover,
    )


def assess_module(
    spec: ModuleSpec,
    facts: ImplementationFacts,
    history: ModuleHistory,
    on_failure: OnFailure,
    ordered_by: str | None = None,
    closed: Sequence[ClosedGate] = (),
) -> ModuleView:
    """The module's standing by its release, its health, its migrations, its checks and the `closed` gates.

    `ordered_by`: the person who ordered that it goes back from the wanted input, if one did.
    """
    failed = _Failure(spec, facts, history, on_failure, ordered_by)
    module = facts.modules[spec.name]
    if module.problem:
        return _without_input(module, history)
    if module.desired is None or module.release is None:
        return ModuleView(ModuleState.PENDING, Reason.OBSERVING, "its chart, values and release are being read")
    if module.release.acting:
        return ModuleView(ModuleState.CONFIGURING, Reason.ACTING, "Helm is at work", acting=True)
    name = module.release.name
    newest = module.release.revisions[-1] if module.release.revisions else None
    match release_state(module.release, module.desired.input, facts.attempt):
        case ReleaseState.LOCKED:
            return ModuleView(
                ModuleState.CONFIGURING,
                Reason.RELEASE_LOCKED,
                f"release {name}: an action was cut off; its record is unlocked",
                wants=Action(ActionKind.UNLOCK, name, spec.name),
                acting=True,
            )
        case ReleaseState.ABSENT | ReleaseState.OUT_OF_DATE as state:
            if module.action_error:
                return ModuleView(
                    ModuleState.FAILED, module.action_error.reason, module.action_error.message, stuck=True
                )
            if module.interruption:
                return ModuleView(
                    ModuleState.CONFIGURING, module.interruption.reason, module.interruption.message, acting=True
                )
            kind = ActionKind.INSTALL if state is ReleaseState.ABSENT else ActionKind.UPGRADE
            return ModuleView(ModuleState.PENDING, wants=Action(kind, name, spec.name))
        case ReleaseState.FAILED:
            message = f"release {name}: {newest.description if newest else 'failed'}"
            return failed.view(Reason.RELEASE_FAILED, message)
        case ReleaseState.ROLLED_BACK:
            message = (
                f"the wanted input failed and release {name} went back: {newest.description if newest else ''}. "
                f"Change the module, or set the annotation pilotage.dev/retry-at to a new value"
            )
            return ModuleView(ModuleState.ROLLED_BACK, Reason.ROLLED_BACK, message, stuck=True)
        case _:
            return _in_sync(spec, facts, history, failed, closed)


def _without_input(module: ModuleFacts, history: ModuleHistory) -> ModuleView:
    problem = module.problem
    if problem is None:
        msg = "a module without a problem has an input"
        raise AssertionError(msg)
    state = history.reached if history.reached in LIVE_STATES else ModuleState.PENDING
    return ModuleView(state, problem.reason, problem.message, stuck=True)


def _in_sync(
    spec: ModuleSpec,
    facts: ImplementationFacts,
    history: ModuleHistory,
    failed: _Failure,
    closed: Sequence[ClosedGate],
) -> ModuleView:
    module = facts.modules[spec.name]
    release = module.release
    if release is None:
        msg = "a release in sync is there"
        raise AssertionError(msg)
    newest = release.revisions[-1]
    if module.health is not Health.CURRENT:
        return _unhealthy(spec, facts, history, failed, newest)
    target, reason, message, stuck = automatic_target(spec, facts, history)
    for gate in closed:
        if RANK[gate.at] < RANK[target]:
            target, reason, message, stuck = gate.at, gate.reason, gate.message, gate.stuck
    if RANK[target] > RANK[history.reached]:
        following = PATH[RANK[history.reached] + 1]
        migrates = target is ModuleState.MIGRATING or _migrations(spec, facts, history)
        if following is ModuleState.MIGRATING and not migrates:
            following = ModuleState.VERIFYING
        stays = following is target
        return ModuleView(
            following, reason if stays else "", message if stays else "", stuck=stuck and stays, advances=not stays
        )
    keeps = history.reached in LIVE_STATES
    return ModuleView(history.reached if keeps else target, reason, message, stuck=stuck)


def _unhealthy(
    spec: ModuleSpec, facts: ImplementationFacts, history: ModuleHistory, failed: _Failure, newest: Revision
) -> ModuleView:
    module = facts.modules[spec.name]
    message = module.health_message or "its workloads are not healthy yet"
    if RANK[history.reached] >= RANK[ModuleState.MIGRATING]:
        return ModuleView(ModuleState.UNHEALTHY, Reason.UNHEALTHY, message)
    timeout = parse_duration(spec.timeout)
    remaining = _remaining(newest.last_deployed, timeout, facts.now)
    if remaining > timedelta():
        return ModuleView(ModuleState.CONFIGURING, Reason.PROGRESSING, message, acting=True, due_in=remaining)
    if newest.attempt != facts.attempt:
        return ModuleView(ModuleState.PENDING, wants=Action(ActionKind.UPGRADE, _release_of(module), spec.name))
    late = f"not healthy after {spec.timeout}: {message}"
    return failed.view(Reason.HEALTH_TIMEOUT, late)


def _remaining(deployed: datetime | None, timeout: timedelta, now: datetime) -> timedelta:
    return timeout if deployed is None else deployed + timeout - now


def _release_of(module: ModuleFacts) -> str:
    return module.release.name if module.release else ""


@dataclass(frozen=True)
class _Failure:
    """What follows when the wanted input fails: by the policy, or because a person ordered it, the way back."""

    spec: ModuleSpec
    facts: ImplementationFacts
    history: ModuleHistory
    on_failure: OnFailure
    ordered_by: str | None

    def view(self, reason: str, message: str) -> ModuleView:
        """The standing of the module that failed for that reason."""
        module, good = self.facts.modules[self.spec.name], self._way_back()
        if module.interruption:
            return ModuleView(ModuleState.FAILED, module.interruption.reason, module.interruption.message, acting=True)
        if good is None or not (self.ordered_by or self.on_failure is OnFailure.ROLLBACK):
            return ModuleView(ModuleState.FAILED, reason, message, stuck=True, acting=module.job_active)
        if (after := self._irreversible_after()) and not self.ordered_by:
            text = (
                f"{message}; {after}, so no machine goes back to revision {good.revision} ({good.version}): "
                "the customer's lead orders it, or change the module"
            )
            return ModuleView(ModuleState.FAILED, Reason.ROLLBACK_NEEDS_PERSON, text, stuck=True)
        wants = Action(ActionKind.ROLLBACK, _release_of(module), self.spec.name, revision=good.revision)
        by = f", as {self.ordered_by} ordered" if self.ordered_by else ""
        text = f"{message}; going back to revision {good.revision} ({good.version}){by}"
        return ModuleView(ModuleState.FAILED, reason, text, wants=wants)

    def _irreversible_after(self) -> str:
        """What keeps a machine from going back, if anything does. A MigrationJob that is gone may have loaded."""
        name = self.spec.irreversible_after
        found = self.facts.migrations.get(name or "")
        if name is None or (found is not None and not found.loaded):
            return ""
        return f"data of MigrationJob {name} is in use" if found else f"MigrationJob {name} is not there to tell"

    def _way_back(self) -> LastGood | None:
        """The last good revision, if Helm still has it and it is another than the wanted one."""
        module, good = self.facts.modules[self.spec.name], self.history.last_good
        if good is None or module.release is None:
            return None
        kept = any(revision.revision == good.revision for revision in module.release.revisions)
        desired = module.desired.input if module.desired else ""
        return good if kept and good.input_digest != desired else None


def automatic_target(
    spec: ModuleSpec, facts: ImplementationFacts, history: ModuleHistory
) -> tuple[ModuleState, str, str, bool]:
    """The furthest state that migrations and checks allow, and what holds it there."""
    held_back = taken_by_cutover(spec, history)
    for name in _migrations(spec, facts, history):
        if f"migration/{name}" in held_back and _runs_in_cutover(spec, facts, name):
            continue
        if found := _migration_hold(spec, facts, name):
            return ModuleState.MIGRATING, *found
    missing = _check_missing(spec, facts, history)
    if missing:
        return _held(history), *missing
    for gate, before in (
        (Gate.CONFIGURATION_READY, ModuleState.VERIFYING),
        (Gate.STABLE_RUN_COMPLETE, ModuleState.LIVE),
        (Gate.FINAL_ACCEPTED, ModuleState.STABLE),
    ):
        for check in facts.checks.values():
            if (
                check.gate != gate
                or check.implementation != facts.body["metadata"]["name"]
                or not check.covers(spec.name)
                or (gate is Gate.CONFIGURATION_READY and f"check/{check.name}" in held_back)
            ):
                continue
            verdict = check.verdicts.get(spec.name)
            if verdict is None or not verdict.passed:
                said = f"{verdict.phase}: {verdict.message}" if verdict and verdict.message else "not measured yet"
                text = f"AcceptanceCheck {check.name} ({gate}): {said}"
                return before, Reason.CHECK_NOT_PASSED, text, bool(verdict and verdict.ended_badly)
    return ModuleState.ACCEPTED, "", "", False


def taken_by_cutover(spec: ModuleSpec, history: ModuleHistory) -> frozenset[str]:
    """The migrations and checks, as migration/NAME and check/NAME, that run as steps of the module's own cutover.

    Once the module was live they count as all others do.
    """
    if spec.cutover is None or history.last_good is not None:
        return frozenset()
    kinds = {StepType.MIGRATION: "migration", StepType.CHECK: "check"}
    return frozenset(f"{kinds[step.type]}/{step.ref}" for step in spec.cutover.steps if step.type in kinds)


def _runs_in_cutover(spec: ModuleSpec, facts: ImplementationFacts, name: str) -> bool:
    """Whether the MigrationJob is this module's, and the run that it may go to is a step: rehearsals come before."""
    found = facts.migrations.get(name)
    if found is None or spec.cutover is None:
        return False
    mine = (found.implementation, found.module) == (facts.body["metadata"]["name"], spec.name)
    run = found.run
    return mine and run.loads and any(step.takes(name, run) for step in spec.cutover.steps)


def _held(history: ModuleHistory) -> ModuleState:
    """A missing check holds a module before the gate it stands at: its own gate cannot be known."""
    return ModuleState.LIVE if history.reached in LIVE_STATES else ModuleState.VERIFYING


def _migrations(spec: ModuleSpec, facts: ImplementationFacts, history: ModuleHistory) -> list[str]:
    mine = facts.body["metadata"]["name"]
    pointing = (m.name for m in facts.migrations.values() if m.module == spec.name and m.implementation == mine)
    remembered = (name.removeprefix("migration/") for name in history.expects if name.startswith("migration/"))
    return list(dict.fromkeys(chain(spec.migrations, pointing, remembered)))


def _checks(spec: ModuleSpec, facts: ImplementationFacts, history: ModuleHistory) -> list[str]:
    mine = facts.body["metadata"]["name"]
    pointing = (c.name for c in facts.checks.values() if c.implementation == mine and c.covers(spec.name))
    remembered = (name.removeprefix("check/") for name in history.expects if name.startswith("check/"))
    return list(dict.fromkeys(chain(spec.checks, pointing, remembered)))


def shut_window(
    opening: Opening, spec: ModuleSpec, facts: ImplementationFacts, history: ModuleHistory
) -> Iterator[ClosedGate]:
    """What holds a module that was never live while its window is shut. One whose data is loaded for good has begun
    its cutover in an open window, and ends it; a cutover that has steps begins with the first of them.
    """
    if opening.is_open or history.last_good is not None or RANK[history.reached] > RANK[ModuleState.PREPARED]:
        return
    if history.cutover is not None and history.cutover.active:
        return
    loaded = (facts.migrations.get(name) for name in _migrations(spec, facts, history))
    if spec.cutover is not None or not any(found is not None and found.succeeded for found in loaded):
        yield ClosedGate(ModuleState.PREPARED, Reason.WINDOW_CLOSED, opening.message)


def suspension(implementation: ImplementationSpec, history: ModuleHistory) -> Iterator[ClosedGate]:
    """What holds a module that was never live while its project is suspended: going live takes no action of ours."""
    if implementation.suspend and history.last_good is None and RANK[history.reached] <= RANK[ModuleState.PREPARED]:
        yield ClosedGate(ModuleState.PREPARED, Reason.SUSPENDED, "spec.suspend is true: nothing new goes live")


def changes_held(
    openings: Mapping[int, Opening],
    waves: Mapping[str, int],
    facts: ImplementationFacts,
    histories: Mapping[str, ModuleHistory],
) -> dict[str, tuple[str, str]]:
    """Modules in use whose change waits for a window. A repair of one that does not work waits for none."""
    held = {}
    for name, history in histories.items():
        found, module = openings[waves[name]], facts.modules[name]
        newest = module.release.revisions[-1] if module.release and module.release.revisions else None
        works = newest is not None and newest.status == "deployed" and module.health is Health.CURRENT
        if not found.is_open and history.last_good is not None and works:
            text = f"the change of a module that is in use waits: {found.message}"
            held[name] = (Reason.WINDOW_CLOSED, text)
    return held


def expectations(spec: ModuleSpec, facts: ImplementationFacts, history: ModuleHistory) -> list[str]:
    """The migrations and checks that hold this module, deleted ones included."""
    names: Iterator[str] = chain(
        (f"migration/{name}" for name in _migrations(spec, facts, history)),
        (f"check/{name}" for name in _checks(spec, facts, history)),
    )
    return sorted(names)


def _migration_hold(spec: ModuleSpec, facts: ImplementationFacts, name: str) -> tuple[str, str, bool] | None:
    found = facts.migrations.get(name)
    if found is None:
        return Reason.MIGRATION_JOB_MISSING, f"MigrationJob {name} is expected and has not been applied yet", False
    if found.implementation != facts.body["metadata"]["name"] or found.module != spec.name:
        pointed = f"{found.implementation}, module {found.module}"
        return Reason.MIGRATION_JOB_MISMATCH, f"MigrationJob {name} points to Implementation {pointed}", False
    if found.succeeded:
        return None
    text = f"MigrationJob {name}: {found.phase or 'not started'}{': ' + found.message if found.message else ''}"
    reason = Reason.MIGRATION_NOT_SUCCEEDED if found.ended_badly else Reason.MIGRATING
    return reason, text, found.ended_badly


def _check_missing(
    spec: ModuleSpec, facts: ImplementationFacts, history: ModuleHistory
) -> tuple[str, str, bool] | None:
    for name in _checks(spec, facts, history):
        found = facts.checks.get(name)
        if found is None:
            return Reason.CHECK_MISSING, f"AcceptanceCheck {name} is expected and is not there", False
        if found.implementation != facts.body["metadata"]["name"] or not found.covers(spec.name):
            text = f"AcceptanceCheck {name} does not cover module {spec.name} of this Implementation"
            return Reason.CHECK_MISMATCH, text, False
    return None


def furthest(view: ModuleView, history: ModuleHistory) -> ModuleState:
    """The furthest of the ordered states with the present input: a gate once passed stays passed."""
    if view.state in RANK and RANK[view.state] > RANK[history.reached]:
        return view.state
    return history.reached


def release_status(module: ModuleFacts) -> ReleaseStatus | None:
    """The release as Helm recorded it, for the report."""
    if not module.release or not module.release.revisions:
        return None
    newest = module.release.revisions[-1]
    values_digest = module.desired.values_digest if module.desired and module.desired.input == newest.input else ""
    return ReleaseStatus(
        name=module.release.name,
        chart=newest.chart,
        version=newest.version,
        revision=newest.revision,
        values_digest=values_digest,
        input_digest=newest.input,
    )


def last_good(view: ModuleView, module: ModuleFacts, history: ModuleHistory) -> LastGood | None:
    """The newest revision that was live and healthy: the present one, if it is."""
    if view.state not in LIVE_STATES or not module.release or not module.release.revisions or not module.desired:
        return history.last_good
    newest = module.release.revisions[-1]
    if newest.input != module.desired.input:
        return history.last_good
    return LastGood(revision=newest.revision, version=newest.version, input_digest=newest.input)


def since(previous: ModuleStatus | None, state: ModuleState, now: str) -> str:
    """Since when the module is in its state."""
    if previous is not None and previous.state == state:
        return previous.since
    return now
