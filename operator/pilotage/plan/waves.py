"""Whose turn it is: waves, dependencies, mutexes and the limit on modules that act at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pilotage.api.v1alpha1.implementation import ModuleSpec, ModuleState
from pilotage.plan.module import BROKEN_STATES, LIVE_STATES, Action, ActionKind, ModuleView
from pilotage.plan.reasons import Reason


@dataclass(frozen=True)
class Turn:
    """The modules' views with their waiting reasons filled in, and the actions that may start now."""

    views: dict[str, ModuleView]
    actions: tuple[Action, ...]
    open_wave: int


def open_wave(waves: Mapping[str, int], views: Mapping[str, ModuleView]) -> int:
    """The highest open wave: wave n+1 opens when every module of all waves up to n is live."""
    highest = min(waves.values())
    for wave in sorted(set(waves.values())):
        highest = wave
        if any(number == wave and views[name].state not in LIVE_STATES for name, number in waves.items()):
            break
    return highest


def take_turns(
    modules: Sequence[ModuleSpec],
    waves: Mapping[str, int],
    views: Mapping[str, ModuleView],
    *,
    max_parallel: int,
    hold: tuple[str, str] | None,
    held_back: Mapping[str, tuple[str, str]],
    max_in_hypercare: int | None = None,
) -> Turn:
    """Choose the actions that may start, in the order of wave and list, and say of the others what they wait for.

    `hold` is a reason and message that stops every new action (suspension, preflight); `held_back` has those of
    single modules whose installation or upgrade waits. Unlocking repairs what was
    cut off, so nothing but `hold` stops it; a rollback only waits for its mutex.
    """
    present = open_wave(waves, views)
    acting = {module.name for module in modules if views[module.name].acting}
    held = [(module.mutex, module.name) for module in modules if module.mutex and module.name in acting]
    broken = [module.name for module in modules if views[module.name].state in BROKEN_STATES]
    result = dict(views)
    actions: list[Action] = []
    for module in sorted(modules, key=lambda found: waves[found.name]):
        view = views[module.name]
        if view.wants is None:
            continue
        obstacle = hold or _obstacle(module, view.wants, waves, views, present, broken)
        if obstacle is None and view.wants.kind is ActionKind.INSTALL:
            obstacle = _unsettled(waves[module.name], waves, views, max_in_hypercare)
        if obstacle is None and view.wants.kind in {ActionKind.INSTALL, ActionKind.UPGRADE}:
            obstacle = held_back.get(module.name)
        counts = view.wants.kind is not ActionKind.UNLOCK
        holder = next((name for mutex, name in held if mutex == module.mutex and name != module.name), None)
        if obstacle is None and counts and holder:
            obstacle = (Reason.MUTEX_HELD, f"mutex {module.mutex} is held by module {holder}")
        if obstacle is None and counts and module.name not in acting and len(acting) >= max_parallel:
            obstacle = (Reason.MAX_PARALLEL, f"{len(acting)} modules act, as many as rollout.maxParallel allows")
        if obstacle is None:
            actions.append(view.wants)
            acting.add(module.name)
            if module.mutex:
                held.append((module.mutex, module.name))
            result[module.name] = _started(view)
        else:
            waits = view.state is ModuleState.PENDING
            reason, message = obstacle
            result[module.name] = replace(view, reason=reason, message=message) if waits else view
    return Turn(result, tuple(actions), present)


def _unsettled(
    wave: int, waves: Mapping[str, int], views: Mapping[str, ModuleView], limit: int | None
) -> tuple[str, str] | None:
    """Why a new wave waits for those before it: a live module that misses its targets, or too many not yet stable.

    Fixes are upgrades, and wait for neither. Source: error budgets, where features stop and fixes flow.
    """
    before = {name: view for name, view in views.items() if waves[name] < wave}
    missing = [name for name, view in before.items() if view.stuck and view.reason == Reason.CHECK_NOT_PASSED]
    if missing:
        return Reason.WAVE_STOPPED, f"no new wave starts while checks of live modules fail: {', '.join(missing)}"
    young = [name for name, view in before.items() if view.state is ModuleState.LIVE]
    if limit is not None and len(young) >= limit:
        text = f"not yet stable are {', '.join(young)}, as many as rollout.maxModulesInHypercare allows ({limit})"
        return Reason.HYPERCARE_FULL, text
    return None


def _started(view: ModuleView) -> ModuleView:
    if view.state is not ModuleState.PENDING or view.wants is None:
        return replace(view, acting=True)
    text = f"{view.wants.kind.lower()} of release {view.wants.release} starts"
    return replace(view, state=ModuleState.CONFIGURING, reason=Reason.ACTING, message=text, acting=True)


def _obstacle(
    module: ModuleSpec,
    action: Action,
    waves: Mapping[str, int],
    views: Mapping[str, ModuleView],
    present: int,
    broken: Sequence[str],
) -> tuple[str, str] | None:
    if action.kind in {ActionKind.UNLOCK, ActionKind.ROLLBACK}:
        return None
    if waves[module.name] > present:
        names = [
            name for name, wave in waves.items() if wave < waves[module.name] and views[name].state not in LIVE_STATES
        ]
        return Reason.WAVE_NOT_OPEN, f"wave {waves[module.name]} opens when these are live: {', '.join(names)}"
    waiting = [needed for needed in module.depends_on if needed in views and views[needed].state not in LIVE_STATES]
    if waiting:
        return Reason.DEPENDENCY_NOT_LIVE, f"waits for {', '.join(waiting)} to be live"
    others = [name for name in broken if name != module.name and waves[name] <= waves[module.name]]
    if others:
        return Reason.WAVE_STOPPED, f"nothing new starts in this wave while {', '.join(others)} failed"
    return None
