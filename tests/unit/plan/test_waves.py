"""Whose turn it is, for every plan that hypothesis can think of."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import assume, given
from hypothesis import strategies as st

from pilotage.api.v1alpha1.implementation import ModuleSpec, ModuleState
from pilotage.plan.dag import assign_waves, find_cycle
from pilotage.plan.graph import build_graph
from pilotage.plan.module import BROKEN_STATES, LIVE_STATES, Action, ActionKind, ModuleView
from pilotage.plan.reasons import Reason
from pilotage.plan.waves import open_wave, take_turns
from tests.support.builders import a_module

FIRST = (ActionKind.INSTALL, ActionKind.UPGRADE)
# Mostly waiting and live modules: where nearly everything is broken, little may start and little is tried.
ANY_STATE = st.sampled_from([*[ModuleState.PENDING] * 20, *[ModuleState.LIVE] * 8, *ModuleState])


@dataclass(frozen=True)
class Scene:
    modules: list[ModuleSpec]
    views: dict[str, ModuleView]
    limit: int

    @property
    def waves(self) -> dict[str, int]:
        return assign_waves(self.modules)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    names = [f"m{number}" for number in range(draw(st.integers(1, 7)))]
    modules, views = [], {}
    for index, name in enumerate(names):
        needs = draw(st.lists(st.sampled_from(names[:index]), unique=True, max_size=2)) if index else []
        chosen = {"mutex": draw(st.sampled_from([None, None, "db", "print"])), "wave": draw(st.sampled_from([None, 1]))}
        fields = {field: value for field, value in chosen.items() if value}
        modules.append(ModuleSpec.model_validate(a_module(name, *needs, **fields)))
        state = draw(ANY_STATE)
        kinds = {
            ModuleState.PENDING: FIRST,
            ModuleState.CONFIGURING: (ActionKind.UNLOCK,),
            ModuleState.FAILED: (ActionKind.ROLLBACK,),
        }.get(state, ())
        kind = draw(st.sampled_from([None, *kinds]))
        acting = kind is ActionKind.UNLOCK or (state is ModuleState.CONFIGURING and draw(st.booleans()))
        views[name] = ModuleView(state, wants=Action(kind, f"erp-{name}", name) if kind else None, acting=acting)
    scene = Scene(modules, views, draw(st.integers(1, 4)))
    # A cycle stalls the whole plan before anybody's turn is asked for; a wave of its own makes one easily.
    assume(find_cycle(build_graph(modules, scene.waves, {}, {})) is None)
    return scene


def turn(scene: Scene, hold: tuple[str, str] | None = None):
    return take_turns(scene.modules, scene.waves, scene.views, max_parallel=scene.limit, hold=hold, held_back={})


@given(scenes())
def test_never_more_modules_act_than_the_limit_allows(scene: Scene) -> None:
    before = {name for name, view in scene.views.items() if view.acting}
    started = {action.module for action in turn(scene).actions if action.kind is not ActionKind.UNLOCK} - before
    assert not started or len(before | started) <= scene.limit


@given(scenes())
def test_nothing_of_a_wave_starts_before_all_earlier_waves_are_live(scene: Scene) -> None:
    waves = scene.waves
    for action in turn(scene).actions:
        if action.kind in FIRST:
            earlier = [name for name, wave in waves.items() if wave < waves[action.module]]
            assert all(scene.views[name].state in LIVE_STATES for name in earlier)


@given(scenes())
def test_nothing_starts_before_what_it_depends_on_is_live(scene: Scene) -> None:
    needs = {module.name: module.depends_on for module in scene.modules}
    for action in turn(scene).actions:
        if action.kind in FIRST:
            assert all(scene.views[name].state in LIVE_STATES for name in needs[action.module])


@given(scenes())
def test_a_mutex_is_never_given_to_a_second_module(scene: Scene) -> None:
    mutexes = {module.name: module.mutex for module in scene.modules}
    holders = {name for name, view in scene.views.items() if view.acting}
    for action in turn(scene).actions:
        if action.kind is ActionKind.UNLOCK:
            continue
        mine = mutexes[action.module]
        others = holders - {action.module}
        assert mine is None or all(mutexes[name] != mine for name in others)
        holders.add(action.module)


@given(scenes())
def test_nothing_new_starts_beside_a_failed_module(scene: Scene) -> None:
    waves = scene.waves
    broken = {waves[name] for name, view in scene.views.items() if view.state in BROKEN_STATES}
    for action in turn(scene).actions:
        if action.kind in FIRST:
            assert not any(wave <= waves[action.module] for wave in broken)


@given(scenes())
def test_a_hold_stops_everything_and_its_reason_is_told_to_all_that_wait(scene: Scene) -> None:
    found = turn(scene, hold=(Reason.SUSPENDED, "stopped"))
    assert found.actions == ()
    for name, view in scene.views.items():
        if view.state is ModuleState.PENDING and view.wants:
            assert (found.views[name].reason, found.views[name].message) == (Reason.SUSPENDED, "stopped")


@given(scenes())
def test_who_waits_is_told_why(scene: Scene) -> None:
    found = turn(scene)
    started = {action.module for action in found.actions}
    for name, view in found.views.items():
        if scene.views[name].state is ModuleState.PENDING and scene.views[name].wants and name not in started:
            assert view.reason
            assert view.message


@given(scenes())
def test_if_nothing_acts_and_nothing_is_broken_somebody_of_the_open_wave_starts(scene: Scene) -> None:
    fresh = {
        name: ModuleView(ModuleState.PENDING, wants=Action(ActionKind.INSTALL, f"erp-{name}", name))
        if view.state not in LIVE_STATES
        else view
        for name, view in scene.views.items()
    }
    idle = Scene(scene.modules, fresh, scene.limit)
    waits = [name for name, view in fresh.items() if view.wants]
    assert bool(turn(idle).actions) == bool(waits)


def test_the_last_wave_stays_open_when_everything_is_live() -> None:
    live = ModuleView(ModuleState.LIVE)
    assert open_wave({"a": 1, "b": 3}, {"a": live, "b": live}) == 3


def test_an_unhealthy_module_closes_the_waves_after_its_own() -> None:
    views = {"a": ModuleView(ModuleState.UNHEALTHY), "b": ModuleView(ModuleState.PENDING)}
    assert open_wave({"a": 1, "b": 2}, views) == 1


def test_of_two_that_hold_one_mutex_neither_begins_anything_but_both_are_unlocked() -> None:
    modules = [ModuleSpec.model_validate(a_module(name, mutex="db")) for name in "ab"]

    def started(kind: ActionKind) -> list[str]:
        views = {
            name: ModuleView(ModuleState.CONFIGURING, wants=Action(kind, f"erp-{name}", name), acting=True)
            for name in "ab"
        }
        found = take_turns(modules, {"a": 1, "b": 1}, views, max_parallel=2, hold=None, held_back={})
        return [action.module for action in found.actions]

    assert started(ActionKind.UPGRADE) == []
    assert started(ActionKind.UNLOCK) == ["a", "b"]


def test_an_unlock_waits_for_nobody() -> None:
    busy = ModuleView(ModuleState.CONFIGURING, acting=True)
    locked = ModuleView(ModuleState.CONFIGURING, wants=Action(ActionKind.UNLOCK, "erp-b", "b"), acting=True)
    modules = [ModuleSpec.model_validate(a_module(name)) for name in "ab"]
    found = take_turns(modules, {"a": 1, "b": 1}, {"a": busy, "b": locked}, max_parallel=1, hold=None, held_back={})
    assert [action.kind for action in found.actions] == [ActionKind.UNLOCK]
