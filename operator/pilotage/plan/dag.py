"""The one graph over modules, migrations, checks and waves: an edge means "waits for"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pilotage.api.v1alpha1.implementation import ModuleSpec

Graph = Mapping[str, Iterable[str]]


def find_cycle(graph: Graph) -> list[str] | None:
    """A cycle as the list of its nodes, the first one repeated at the end; None when there is none.

    Depth-first with three colours and an explicit stack: 100 modules in a chain must not meet a recursion limit.
    The search follows the graph's own order, so the same graph always names the same cycle.
    """
    finished: set[str] = set()
    for start in graph:
        path: list[str] = []
        on_path: set[str] = set()
        stack: list[tuple[str, bool]] = [(start, False)]
        while stack:
            node, leaving = stack.pop()
            if leaving:
                path.pop()
                on_path.discard(node)
                finished.add(node)
                continue
            if node in on_path:
                return [*path[path.index(node) :], node]
            if node in finished:
                continue
            path.append(node)
            on_path.add(node)
            stack.append((node, True))
            stack.extend((following, False) for following in reversed(list(graph.get(node, ()))))
    return None


def spell_cycle(cycle: Iterable[str]) -> str:
    """The cycle as a sentence part: a waits for b waits for a."""
    return " → ".join(cycle)


def assign_waves(modules: Iterable[ModuleSpec]) -> dict[str, int]:
    """Each module's wave: the one it declares, else one more than the highest of its dependencies, else 1.

    Dependencies that are not in the list are ignored here (CEL refuses them), and so is a module met again
    on its own path: cycles are `find_cycle`'s business.
    """
    by_name = {module.name: module for module in modules}
    waves: dict[str, int] = {}
    for name in by_name:
        stack = [name]
        visiting: set[str] = set()
        while stack:
            current = stack[-1]
            module = by_name[current]
            if module.wave is not None:
                waves[current] = module.wave
            missing = [
                needed
                for needed in module.depends_on
                if needed in by_name and needed not in waves and needed not in visiting and needed != current
            ]
            visiting.add(current)
            if current not in waves and missing:
                stack.extend(missing)
                continue
            stack.pop()
            if current not in waves:
                known = [waves[needed] for needed in module.depends_on if needed in waves]
                waves[current] = max(known, default=0) + 1
    return waves
