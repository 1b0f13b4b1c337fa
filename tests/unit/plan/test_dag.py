from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pilotage.api.v1alpha1.implementation import ModuleSpec
from pilotage.plan.dag import assign_waves, find_cycle, spell_cycle


def module(name: str, *depends_on: str, wave: int | None = None) -> ModuleSpec:
    return ModuleSpec(name=name, depends_on=list(depends_on), wave=wave, chart={"configMapRef": {"name": name}})


def test_a_graph_without_cycle_has_none() -> None:
    assert find_cycle({"a": ["b", "c"], "b": ["c"], "c": []}) is None


def test_a_cycle_is_named_whole_and_ends_where_it_began() -> None:
    assert find_cycle({"a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c", "b"]


def test_a_self_edge_is_a_cycle() -> None:
    assert find_cycle({"a": ["a"]}) == ["a", "a"]


def test_a_long_chain_meets_no_recursion_limit() -> None:
    chain = {str(number): [str(number + 1)] for number in range(5000)}
    assert find_cycle(chain) is None


def test_a_cycle_reads_as_a_path() -> None:
    assert spell_cycle(["a", "b", "a"]) == "a → b → a"


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=40))
def test_a_graph_whose_edges_only_point_down_never_has_a_cycle(pairs: list[tuple[int, int]]) -> None:
    graph: dict[str, list[str]] = {}
    for one, other in pairs:
        if one != other:
            graph.setdefault(str(max(one, other)), []).append(str(min(one, other)))
    assert find_cycle(graph) is None


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=30))
def test_what_is_called_a_cycle_is_one(pairs: list[tuple[int, int]]) -> None:
    graph: dict[str, list[str]] = {}
    for one, other in pairs:
        graph.setdefault(str(one), []).append(str(other))
    cycle = find_cycle(graph)
    if cycle:
        assert cycle[0] == cycle[-1]
        assert all(following in graph[node] for node, following in pairwise(cycle))
    else:
        order: list[str] = []
        left = {node: set(edges) for node, edges in graph.items()}
        nodes = set(graph) | {edge for edges in graph.values() for edge in edges}
        while len(order) < len(nodes):
            free = [node for node in nodes if node not in order and left.get(node, set()) <= set(order)]
            assert free, "no cycle was found, so there is always a node that waits for nothing"
            order += free


def test_a_wave_defaults_to_one_more_than_the_highest_dependency() -> None:
    waves = assign_waves([module("core"), module("finance", "core"), module("sales", "finance", "core")])
    assert waves == {"core": 1, "finance": 2, "sales": 3}


def test_a_declared_wave_wins_and_counts_for_those_behind_it() -> None:
    waves = assign_waves([module("sales", "core"), module("core", wave=4)])
    assert waves == {"core": 4, "sales": 5}


def test_modules_in_a_cycle_still_get_a_wave() -> None:
    waves = assign_waves([module("a", "b"), module("b", "a"), module("c")])
    assert set(waves) == {"a", "b", "c"}


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=10))
def test_without_declared_waves_every_module_is_behind_its_dependencies(edges: list[list[int]]) -> None:
    modules = [
        module(f"m{number}", *sorted({f"m{needed}" for needed in needs if needed < number}))
        for number, needs in enumerate(edges)
    ]
    waves = assign_waves(modules)
    assert all(waves[needed] < waves[m.name] for m in modules for needed in m.depends_on)
