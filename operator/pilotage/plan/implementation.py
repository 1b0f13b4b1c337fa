"""The decision about one Implementation: (spec, observed facts, now) -> status, actions, when to look again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from pilotage.api.v1alpha1.common import FINALIZER, RECONCILE_AT, RETRY_AT, ConditionType
from pilotage.api.v1alpha1.cutover import CutoverStatus
from pilotage.api.v1alpha1.implementation import (
    Assessment,
    AssessmentCheck,
    AssessmentResult,
    DeletionPolicy,
    ImplementationSpec,
    ImplementationStatus,
    ModuleSpec,
    ModuleState,
    ModuleStatus,
    NextAction,
    Phase,
)
from pilotage.api.v1alpha1.project import MAX_GATES, ContactRole, GateName, GateState
from pilotage.plan.attested import (
    OpenItem,
    assess_attestations,
    attest_actions,
    issues_column,
    tests_status,
    training_condition,
)
from pilotage.plan.blocked import count_blocked
from pilotage.plan.conditions import (
    Progress,
    Standing,
    condition,
    merge_conditions,
    shorten,
    standing_conditions,
    timestamp,
)
from pilotage.plan.cutover_module import CUTOVER_REASONS, ModuleCutover, cut_over, cutover_actions, settled_history
from pilotage.plan.cutover_steps import StepJobWanted
from pilotage.plan.dag import assign_waves, find_cycle, spell_cycle
from pilotage.plan.facts import CheckFacts, ImplementationFacts, Problem
from pilotage.plan.gate_report import gate_actions, gate_conditions
from pilotage.plan.gates import (
    Gate,
    Project,
    closed_gates,
    decide_gates,
    environment_gate,
    gate_reason,
    gate_text,
    items_before_use,
    judged_assessment,
    rollback_order,
    shown,
)
from pilotage.plan.graph import build_graph
from pilotage.plan.module import (
    BROKEN_STATES,
    LIVE_STATES,
    Action,
    ActionKind,
    ModuleHistory,
    ModuleView,
    assess_module,
    changes_held,
    expectations,
    furthest,
    last_good,
    module_history,
    release_status,
    shut_window,
    since,
)
from pilotage.plan.reasons import Reason
from pilotage.plan.scope import Scope, assess_scope, declares_scope, scope_status
from pilotage.plan.slots import Slot, take_slot, waiting_text
from pilotage.plan.waves import Turn, take_turns
from pilotage.plan.windows import Opening, WindowError, opening

PREFLIGHT_AGAIN = timedelta(seconds=30)
# What is mended outside of our kinds (an account, its rights, a chart, a Secret) tells nobody.
PROBLEM_AGAIN = timedelta(seconds=30)
IN_PROGRESS_AGAIN = timedelta(seconds=5)
AT_ONCE = timedelta()

# Waits that end only when somebody applies or mends an object.
NEEDS_A_PERSON = frozenset(
    {
        Reason.MIGRATION_JOB_MISSING,
        Reason.MIGRATION_JOB_MISMATCH,
        Reason.CHECK_MISSING,
        Reason.CHECK_MISMATCH,
    }
)


@dataclass(frozen=True)
class Decision:
    """What one pass over an Implementation leads to. `finalizer` None leaves it as it is.

    `claimed`: a cutover would begin, if the API server's own list of the other projects bears it out. `jobs` are those
    that steps of cutovers are to be done by.
    """

    status: dict[str, Any] | None
    actions: tuple[Action, ...] = ()
    again: timedelta | None = None
    finalizer: bool | None = None
    claimed: bool = False
    jobs: tuple[StepJobWanted, ...] = ()


def decide(facts: ImplementationFacts) -> Decision:
    """Decide on one Implementation. Pure: the same facts always give the same decision."""
    spec = ImplementationSpec.model_validate(facts.body["spec"])
    if facts.body["metadata"].get("deletionTimestamp"):
        return _decide_deletion(spec, facts)
    previous = ImplementationStatus.model_validate(facts.body.get("status") or {})
    generation = facts.body["metadata"].get("generation")
    same_generation = any(found.observed_generation == generation for found in previous.conditions)
    before = {module.name: module for module in previous.modules}
    waves = assign_waves(spec.modules)
    checks = _own_checks(facts)
    openings, unclear = _openings(spec, waves, facts)
    problem = facts.problem or _cycle(spec, facts, waves, checks) or unclear
    histories = {
        module.name: module_history(
            before.get(module.name), facts.modules[module.name], same_generation=same_generation
        )
        for module in spec.modules
    }
    scope = assess_scope(spec, facts.body["metadata"].get("uid", ""), checks)
    attested = assess_attestations(spec, facts)
    project = Project(spec, facts, waves, histories, scope, attested, openings, checks, previous.gates)
    may_act = not spec.suspend and problem is None
    cutovers = {module.name: cut_over(project, module, may_act=may_act) for module in spec.modules}
    histories = {name: settled_history(history, cutovers[name]) for name, history in histories.items()}
    project = replace(project, histories=histories)
    gates = decide_gates(project)
    environment = environment_gate(project)
    facts = replace(facts, assessment=judged_assessment(project, environment))
    to_attest = items_before_use(project)
    scope_hold = _scope_hold(scope, gates)
    views = {
        module.name: assess_module(
            module,
            facts,
            histories[module.name],
            spec.rollout.on_failure,
            rollback_order(project, module.name),
            [
                *closed_gates(gates, module.name, to_attest.get(module.name, ())),
                *shut_window(openings[waves[module.name]], module, facts, histories[module.name]),
                *cutovers[module.name].holds,
            ],
        )
        for module in spec.modules
    }
    slot = _slot(facts, histories, views, cutovers, [openings[wave] for wave in set(waves.values())])
    views = _queued(views, histories, slot, facts)
    turn = take_turns(
        spec.modules,
        waves,
        views,
        max_parallel=spec.rollout.max_parallel,
        max_in_hypercare=spec.rollout.max_modules_in_hypercare,
        hold=_hold(spec, facts, problem),
        held_back={
            **changes_held(openings, waves, facts, histories),
            **_held_back(scope_hold, histories),
            **{name: hold for name, found in cutovers.items() if (hold := found.change_hold)},
        },
    )
    removed = _removed(spec, facts, problem)
    standing = _standing(spec, facts, problem, turn)
    modules = [
        _module_status(
            module,
            waves[module.name],
            before.get(module.name),
            facts,
            histories[module.name],
            turn,
            cutovers[module.name].record,
        )
        for module in spec.modules
    ]
    project = replace(project, facts=facts)
    status = _status(
        project, problem, turn, standing, modules, scope_hold, gates, environment, to_attest, slot, cutovers, previous
    )
    return Decision(
        status=status,
        actions=(*turn.actions, *removed),
        again=_again(
            facts, turn, [*gates, *filter(None, [environment])], list(openings.values()), slot, cutovers.values()
        ),
        claimed=slot.claimed,
        jobs=tuple(job for found in cutovers.values() for job in found.jobs),
        finalizer=_finalizer(spec, facts),
    )


def _finalizer(spec: ImplementationSpec, facts: ImplementationFacts) -> bool | None:
    """Whether the finalizer is to be set or taken away; None: it is as it should be.

    A pass that changes it reads everything anew first, so it is asked for only when it is wrong.
    """
    present = FINALIZER in (facts.body["metadata"].get("finalizers") or [])
    wanted = spec.deletion_policy is DeletionPolicy.UNINSTALL
    return None if present == wanted else wanted


def _openings(
    spec: ImplementationSpec, waves: Mapping[str, int], facts: ImplementationFacts
) -> tuple[dict[int, Opening], Problem | None]:
    """How the windows of each wave stand. One that cannot be understood opens nothing."""
    zone, found = spec.customer.timezone, {}
    try:
        found = {wave: opening(spec.schedule.windows, wave, facts.now, zone) for wave in set(waves.values())}
    except WindowError as error:
        shut = Opening(is_open=False, message=str(error))
        return dict.fromkeys(waves.values(), shut), Problem(Reason.WINDOW_INVALID, str(error))
    return found, None


def _begins(history: ModuleHistory, view: ModuleView) -> bool:
    """Whether the module, never live so far, would begin to be cut over in this pass."""
    return history.last_good is None and view.state is ModuleState.CUTTING_OVER is not history.reached


def _slot(
    facts: ImplementationFacts,
    histories: Mapping[str, ModuleHistory],
    views: Mapping[str, ModuleView],
    cutovers: Mapping[str, ModuleCutover],
    openings: Sequence[Opening],
) -> Slot:
    """The project's turn among all customers. All modules of a project share it, and nothing that began is stopped."""
    begun = [
        name
        for name, history in histories.items()
        if history.last_good is None and (history.reached is ModuleState.CUTTING_OVER or cutovers[name].active)
    ]
    shut = [found.changes_at for found in openings if found.is_open and found.changes_at]
    return take_slot(
        facts.body,
        facts.competition,
        facts.now,
        wants=any(_begins(histories[name], view) for name, view in views.items()),
        holds=any(views[name].state not in LIVE_STATES for name in begun),
        until=min(shut, default=None),
    )


def _queued(
    views: dict[str, ModuleView], histories: Mapping[str, ModuleHistory], slot: Slot, facts: ImplementationFacts
) -> dict[str, ModuleView]:
    """The views, with the modules that have to wait for their project's turn where they stand."""
    if slot.granted or facts.competition is None:
        return views
    waits = ModuleView(ModuleState.PREPARED, Reason.CUTOVER_QUEUED, waiting_text(slot, facts.competition))
    return {name: waits if _begins(histories[name], view) else view for name, view in views.items()}


def _cycle(
    spec: ImplementationSpec,
    facts: ImplementationFacts,
    waves: Mapping[str, int],
    checks: Mapping[str, CheckFacts],
) -> Problem | None:
    mine = facts.body["metadata"]["name"]
    migrations = {name: found for name, found in facts.migrations.items() if found.implementation == mine}
    cycle = find_cycle(build_graph(spec.modules, waves, migrations, checks))
    if cycle is None:
        return None
    text = f"these wait for each other, so nothing can start: {spell_cycle(cycle)}. Remove one of the dependencies"
    return Problem(Reason.DEPENDENCY_CYCLE, text)


def _own_checks(facts: ImplementationFacts) -> dict[str, CheckFacts]:
    mine = facts.body["metadata"]["name"]
    return {name: found for name, found in facts.checks.items() if found.implementation == mine}


def _held_back(hold: tuple[str, str] | None, histories: Mapping[str, ModuleHistory]) -> dict[str, tuple[str, str]]:
    """Modules that wait for the scope: those that were never live. Fixes of live ones still flow."""
    return {name: hold for name, history in histories.items() if history.last_good is None} if hold else {}


def _scope_hold(scope: Scope, gates: Sequence[Gate]) -> tuple[str, str] | None:
    """Why the scope is not agreed on: by the persons who decide it, else by its own completeness."""
    gate = next((found for found in gates if found.rule.name is GateName.SCOPE_BASELINED), None)
    if gate is None:
        return (Reason.SCOPE_INCOMPLETE, _scope_text(scope)) if scope.problems else None
    if gate.passed:
        return None
    if scope.problems and gate.status.state is GateState.NOT_READY:
        return Reason.SCOPE_INCOMPLETE, _scope_text(scope)
    return gate_reason(gate), gate_text(gate)


def _scope_text(scope: Scope) -> str:
    first, others = scope.problems[0], len(scope.problems) - 1
    more = f" (and {others} more: status.scope.problems)" if others else ""
    return f"{first.field}: {first.message}{more}"


def _hold(spec: ImplementationSpec, facts: ImplementationFacts, problem: Problem | None) -> tuple[str, str] | None:
    if spec.suspend:
        return Reason.SUSPENDED, "spec.suspend is true: nothing new starts"
    if problem:
        return problem.reason, problem.message
    troubled = [name for name, module in facts.modules.items() if module.problem]
    never = all(not (module.release and module.release.revisions) for module in facts.modules.values())
    if troubled and never:
        found = facts.modules[troubled[0]].problem
        return (found.reason, f"module {troubled[0]}: {found.message}") if found else None
    failed = [check for check in facts.assessment if check.holds]
    if failed:
        return Reason.PREFLIGHT_FAILED, _preflight_text(failed[0])
    if facts.assessment_pending:
        return Reason.PREFLIGHT_PENDING, facts.assessment_pending
    return None


def _preflight_text(check: AssessmentCheck) -> str:
    return f"preflight {check.name}: {check.message}{'. ' + check.remedy if check.remedy else ''}"


def _standing(spec: ImplementationSpec, facts: ImplementationFacts, problem: Problem | None, turn: Turn) -> Standing:
    if spec.suspend:
        return Standing(Progress.SUSPENDED, Reason.SUSPENDED, "spec.suspend is true: nothing new starts")
    if problem:
        return Standing(Progress.STALLED, problem.reason, problem.message)
    failed = [check for check in facts.assessment if check.holds]
    if failed:
        return Standing(
            Progress.STALLED, Reason.PREFLIGHT_FAILED, "; ".join(_preflight_text(check) for check in failed)
        )
    stuck = [(name, view) for name, view in turn.views.items() if view.stuck]
    moving = turn.actions or any(view.acting or view.advances for view in turn.views.values())
    if stuck and not moving:
        name, view = stuck[0]
        return Standing(Progress.STALLED, view.reason or Reason.MODULE_FAILED, f"module {name}: {view.message}")
    opened = [module.name for module in spec.modules]
    if all(turn.views[name].state in LIVE_STATES and not turn.views[name].stuck for name in opened):
        return Standing(Progress.READY, Reason.ALL_LIVE, f"all {len(opened)} modules are live")
    if facts.assessment_pending:
        return Standing(Progress.WAITING, Reason.PREFLIGHT_PENDING, facts.assessment_pending)
    name, view = _foremost(turn)
    text = f"module {name} ({view.state}): {view.message}" if view.message else f"module {name} is {view.state}"
    return Standing(Progress.WAITING, view.reason or Reason.ROLLING_OUT, text)


def _foremost(turn: Turn) -> tuple[str, ModuleView]:
    """The module that holds the rollout up: one that failed, else one under way, else the first that waits."""
    order = (
        lambda view: view.state in BROKEN_STATES or view.stuck,
        lambda view: view.state is ModuleState.UNHEALTHY,
        lambda view: view.state not in LIVE_STATES and view.state is not ModuleState.PENDING,
        lambda view: view.state not in LIVE_STATES,
    )
    for test in order:
        for name, view in turn.views.items():
            if test(view):
                return name, view
    return next(iter(turn.views.items()))


def _phase(
    spec: ImplementationSpec,
    facts: ImplementationFacts,
    problem: Problem | None,
    turn: Turn,
    asked: Sequence[OpenItem],
) -> Phase:
    states = [view.state for view in turn.views.values()]
    if spec.suspend:
        return Phase.SUSPENDED
    if all(state is ModuleState.ACCEPTED for state in states):
        return Phase.CLOSED
    if all(state in {ModuleState.STABLE, ModuleState.ACCEPTED} for state in states):
        return Phase.ACCEPTANCE
    if all(state in LIVE_STATES for state in states):
        return Phase.HYPERCARE
    started = any(state is not ModuleState.PENDING for state in states)
    before = {Reason.SCOPE_INCOMPLETE, Reason.AWAITING_APPROVAL, Reason.GATE_REJECTED}
    if not started and any(view.reason in before for view in turn.views.values()):
        return Phase.REQUIREMENTS
    if problem or (not started and (facts.assessment_pending or not turn.actions)):
        return Phase.CONFIGURING if started else Phase.PLANNING
    if ModuleState.CONFIGURING in states or not started:
        return Phase.CONFIGURING
    if ModuleState.MIGRATING in states:
        return Phase.MIGRATING
    if any(state in {ModuleState.PREPARED, ModuleState.CUTTING_OVER} for state in states):
        return Phase.TRAINING if any(item.reason == Reason.TRAINING_INCOMPLETE for item in asked) else Phase.CUTOVER
    return Phase.CONFIGURING


def _module_status(
    spec: ModuleSpec,
    wave: int,
    previous: ModuleStatus | None,
    facts: ImplementationFacts,
    history: ModuleHistory,
    turn: Turn,
    cutover: CutoverStatus | None,
) -> ModuleStatus:
    view, module = turn.views[spec.name], facts.modules[spec.name]
    return ModuleStatus(
        name=spec.name,
        wave=wave,
        state=view.state,
        reached=furthest(view, history),
        reason=view.reason,
        message=shorten(view.message),
        since=since(previous, view.state, timestamp(facts.now)),
        desired_input=module.desired.input if module.desired else (previous.desired_input if previous else ""),
        values_digest=module.desired.values_digest if module.desired else "",
        expects=expectations(spec, facts, history)[:128],
        release=release_status(module),
        last_good=last_good(view, module, history),
        cutover=cutover,
    )


def _status(
    project: Project,
    problem: Problem | None,
    turn: Turn,
    standing: Standing,
    modules: list[ModuleStatus],
    scope_hold: tuple[str, str] | None,
    gates: Sequence[Gate],
    environment: Gate | None,
    to_attest: Mapping[str, Sequence[OpenItem]],
    slot: Slot,
    cutovers: Mapping[str, ModuleCutover],
    previous: ImplementationStatus,
) -> dict[str, Any]:
    spec, facts, scope, attested = project.spec, project.facts, project.scope, project.attested
    body = facts.body
    generation = body["metadata"].get("generation", 0)
    annotations = body["metadata"].get("annotations") or {}
    live = sum(view.state in LIVE_STATES for view in turn.views.values())
    asked = _asked_for(turn, to_attest)
    actions = [
        *cutover_actions(spec, facts, cutovers),
        *_scope_actions(spec, scope),
        *gate_actions(gates, spec, facts),
        *attest_actions(spec, facts, asked),
        *_next_actions(facts, standing, turn),
    ][:20]
    wanted = [*standing_conditions(standing), _environment_condition(facts)]
    by_person = {gate.rule.name for gate in gates}
    declared = declares_scope(spec) or GateName.SCOPE_BASELINED in by_person
    if declared and GateName.SCOPE_BASELINED not in by_person:
        wanted.append(_scope_condition(scope))
    wanted += gate_conditions(gates)
    if attested.training:
        wanted.append(training_condition(attested))
    if live == len(spec.modules):
        wanted.append(
            condition(ConditionType.LIVE, status=True, reason=Reason.ALL_LIVE, message="every module is live")
        )
    # As Flux does: an object that is still under way has not been observed to its end.
    settled = standing.progress is not Progress.WAITING
    return ImplementationStatus(
        observed_generation=generation if settled else (body.get("status") or {}).get("observedGeneration", -1),
        phase=_phase(spec, facts, problem, turn, asked),
        wave=turn.open_wave,
        live=f"{live}/{len(spec.modules)}",
        waiting_on="" if standing.progress is Progress.READY else shorten(standing.message, 120),
        modules=modules,
        next_actions=actions,
        blocked=count_blocked(previous.blocked, standing, facts.now),
        assessment=Assessment(generation=generation, checks=list(facts.assessment)) if facts.assessment else None,
        scope=scope_status(spec, scope, previous.scope, agreed=scope_hold is None, now=facts.now) if declared else None,
        schedule=slot.status,
        gates=shown([*([environment] if environment else []), *gates], MAX_GATES),
        training=list(attested.training),
        tests=tests_status(attested),
        defects=attested.defects,
        business_events=list(attested.events[:100]),
        issues=issues_column(attested),
        unheeded=list(attested.unheeded),
        last_handled_retry_at=annotations.get(RETRY_AT),
        last_handled_reconcile_at=annotations.get(RECONCILE_AT),
    ).to_manifest() | {
        "conditions": merge_conditions(
            (body.get("status") or {}).get("conditions") or [], wanted, generation, facts.now
        )
    }


def _asked_for(turn: Turn, to_attest: Mapping[str, Sequence[OpenItem]]) -> list[OpenItem]:
    """What must be attested of modules that are there to be learnt and tested."""
    there = {ModuleState.MIGRATING, ModuleState.VERIFYING, ModuleState.PREPARED}
    return [item for name, items in to_attest.items() if turn.views[name].state in there for item in items]


def _environment_condition(facts: ImplementationFacts) -> dict[str, Any]:
    failed = [check for check in facts.assessment if check.holds]
    if failed:
        text = "; ".join(_preflight_text(check) for check in failed)
        return condition(ConditionType.ENVIRONMENT_READY, status=False, reason=Reason.PREFLIGHT_FAILED, message=text)
    if facts.assessment_pending or not facts.assessment:
        text = facts.assessment_pending or "the preflight has not run yet"
        return condition(ConditionType.ENVIRONMENT_READY, status=False, reason=Reason.PREFLIGHT_PENDING, message=text)
    waived = [check.name for check in facts.assessment if check.waived]
    passed = sum(check.result is AssessmentResult.PASS for check in facts.assessment)
    unknown = [check.name for check in facts.assessment if check.result is AssessmentResult.UNKNOWN]
    text = f"{passed} preflight checks passed"
    text += f"; waived: {', '.join(waived)}" if waived else ""
    text += f"; not known: {', '.join(unknown)}" if unknown else ""
    return condition(ConditionType.ENVIRONMENT_READY, status=True, reason="PreflightPassed", message=text)


def _scope_condition(scope: Scope) -> dict[str, Any]:
    kind = ConditionType.SCOPE_BASELINED
    if scope.problems:
        return condition(kind, status=False, reason=Reason.SCOPE_INCOMPLETE, message=_scope_text(scope))
    return condition(kind, status=True, reason=Reason.SCOPE_BASELINED, message="every requirement is complete")


def _scope_actions(spec: ImplementationSpec, scope: Scope) -> list[NextAction]:
    who = next((found.name for found in spec.contacts if found.role is ContactRole.PROJECT_MANAGER), "ProjectManager")
    return [NextAction(who=who, what=f"complete the scope: {_scope_text(scope)}")] if scope.problems else []


def _next_actions(facts: ImplementationFacts, standing: Standing, turn: Turn) -> list[NextAction]:
    name, namespace = facts.body["metadata"]["name"], facts.body["metadata"]["namespace"]
    retry = f"kubectl -n {namespace} annotate --overwrite implementation {name} {RETRY_AT}=$(date +%s)"
    resume = f'kubectl -n {namespace} patch implementation {name} --type merge -p \'{{"spec":{{"suspend":false}}}}\''
    if standing.progress is Progress.SUSPENDED:
        return [NextAction(who="Engineer", what="resume the rollout", command=resume)]
    found = []
    if standing.progress is Progress.STALLED and standing.reason not in CUTOVER_REASONS:
        failed = any(view.state in BROKEN_STATES for view in turn.views.values())
        found.append(NextAction(who="Engineer", what=standing.message, command=retry if failed else None))
    for module, view in turn.views.items():
        if view.reason == Reason.ROLLBACK_NEEDS_PERSON:
            found.append(_order_rollback(facts, module))
            continue
        if view.reason in CUTOVER_REASONS:
            continue
        text = f"module {module}: {view.message}"
        if (view.stuck or view.reason in NEEDS_A_PERSON) and text != standing.message:
            found.append(NextAction(who="Engineer", what=shorten(text)))
    return found[:20]


def _order_rollback(facts: ImplementationFacts, module: str) -> NextAction:
    metadata = facts.body["metadata"]
    contacts = facts.body["spec"].get("contacts") or []
    leads = ", ".join(found["name"] for found in contacts if found["role"] == ContactRole.CUSTOMER_LEAD)
    command = f"pilotage rollback {metadata['name']} {module} --reason '…' -n {metadata['namespace']}"
    what = f"decide whether module {module} goes back to its last good revision: data of users may be lost"
    return NextAction(who=shorten(leads or str(ContactRole.CUSTOMER_LEAD), 200), what=what, command=command)


def _again(
    facts: ImplementationFacts,
    turn: Turn,
    gates: Sequence[Gate],
    openings: Sequence[Opening],
    slot: Slot,
    cutovers: Iterable[ModuleCutover],
) -> timedelta | None:
    if any(view.advances for view in turn.views.values()):
        return AT_ONCE
    soonest = [view.due_in for view in turn.views.values() if view.due_in is not None]
    soonest += [gate.again - facts.now for gate in gates if gate.again is not None]
    soonest += [slot.again] if slot.again is not None else []
    if any(view.reason == Reason.WINDOW_CLOSED for view in turn.views.values()):
        soonest += [found.changes_at - facts.now for found in openings if found.changes_at and not found.is_open]
    if any(view.reason == Reason.CUTOVER_DOES_NOT_FIT for view in turn.views.values()):
        soonest += [found.changes_at - facts.now for found in openings if found.changes_at]
    soonest += [max(found.due - facts.now, AT_ONCE) for found in cutovers if found.due]
    if any(view.state in {ModuleState.CONFIGURING, ModuleState.UNHEALTHY} for view in turn.views.values()):
        soonest.append(IN_PROGRESS_AGAIN)
    if facts.assessment_pending or any(check.holds or check.waived for check in facts.assessment):
        soonest.append(PREFLIGHT_AGAIN)
    if facts.problem or any(module.problem for module in facts.modules.values()):
        soonest.append(PROBLEM_AGAIN)
    return min(soonest, default=None)


def _removed(spec: ImplementationSpec, facts: ImplementationFacts, problem: Problem | None) -> tuple[Action, ...]:
    """Releases of modules that are no longer in the spec: uninstalled only when the policy says so."""
    if spec.deletion_policy is not DeletionPolicy.UNINSTALL or spec.suspend or problem:
        return ()
    return tuple(
        Action(ActionKind.UNINSTALL, release.name)
        for release in facts.removed_releases
        if release.revisions and not release.acting
    )


def _decide_deletion(spec: ImplementationSpec, facts: ImplementationFacts) -> Decision:
    """Uninstall in reverse order where the policy says so; a namespace that goes away is never held up."""
    if FINALIZER not in (facts.body["metadata"].get("finalizers") or []):
        return Decision(status=None)
    if facts.namespace_terminating or spec.deletion_policy is DeletionPolicy.ORPHAN:
        return Decision(status=None, finalizer=False)
    waves = assign_waves(spec.modules)
    present = {
        module.name: facts.modules[module.name].release
        for module in spec.modules
        if (release := facts.modules[module.name].release) and release.revisions
    }
    removed = [release for release in facts.removed_releases if release.revisions]
    if facts.problem:
        return _stalled_deletion(facts, facts.problem)
    if not present and not removed:
        return Decision(status=None, finalizer=False)
    last_wave = max((waves[name] for name in present), default=0)
    needed = {needed for module in spec.modules if module.name in present for needed in module.depends_on}
    ready = [
        Action(ActionKind.UNINSTALL, release.name, name)
        for name, release in present.items()
        if release and waves[name] == last_wave and name not in needed and not release.acting
    ]
    ready += [Action(ActionKind.UNINSTALL, release.name) for release in removed if not release.acting]
    errors = [found for module in facts.modules.values() if (found := module.action_error or module.interruption)]
    if errors:
        return _stalled_deletion(facts, errors[0])
    text = f"releases are uninstalled in reverse order; {len(present) + len(removed)} to go"
    status = _deletion_status(facts, Standing(Progress.WAITING, Reason.UNINSTALLING, text))
    return Decision(status=status, actions=tuple(ready[: spec.rollout.max_parallel]), again=IN_PROGRESS_AGAIN)


def _stalled_deletion(facts: ImplementationFacts, problem: Problem) -> Decision:
    text = (
        f"{problem.message}. To let go without uninstalling: set spec.deletionPolicy to Orphan; "
        f"the releases stay and `helm list` shows them"
    )
    return Decision(_deletion_status(facts, Standing(Progress.STALLED, problem.reason, text)), again=PREFLIGHT_AGAIN)


def _deletion_status(facts: ImplementationFacts, standing: Standing) -> dict[str, Any]:
    status = dict(facts.body.get("status") or {})
    generation = facts.body["metadata"].get("generation", 0)
    status["conditions"] = merge_conditions(
        status.get("conditions") or [], standing_conditions(standing), generation, facts.now
    )
    return status | {"observedGeneration": generation}
