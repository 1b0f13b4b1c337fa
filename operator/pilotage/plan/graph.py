"""Builds the graph in which a cycle means that nothing can ever move."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pilotage.api.v1alpha1.implementation import ModuleSpec
from pilotage.plan.facts import CheckFacts, MigrationFacts


def build_graph(
    modules: Iterable[ModuleSpec],
    waves: Mapping[str, int],
    migrations: Mapping[str, MigrationFacts],
    checks: Mapping[str, CheckFacts],
) -> dict[str, list[str]]:
    """Who waits for whom, as text nodes that a person can read.

    A module is two nodes: it *starts* once its dependencies are live and its wave is open; it is *live* once it
    started, its migrations succeeded and its checks passed. A wave opens when all earlier waves' modules are live.
    """
    listed = list(modules)
    graph: dict[str, list[str]] = {}
    names = {module.name for module in listed}
    for module in listed:
        wave = waves[module.name]
        starts = graph.setdefault(_start(module.name), [])
        starts += [_live(needed) for needed in module.depends_on if needed in names]
        starts.append(_wave(wave))
        live = graph.setdefault(_live(module.name), [_start(module.name)])
        live += [_migration(name) for name in _migrations_of(module, migrations)]
        live += [
            f"check {check.name} of module {module.name}"
            for check in checks.values()
            if check.covers(module.name) and check.gate == "ConfigurationReady"
        ]
    for check in checks.values():
        for module in listed:
            if check.covers(module.name) and check.gate == "ConfigurationReady":
                graph[f"check {check.name} of module {module.name}"] = [_start(module.name)]
    for migration in migrations.values():
        waits = graph.setdefault(_migration(migration.name), [])
        if migration.module in names:
            waits.append(_start(migration.module))
        waits += [_migration(name) for name in migration.depends_on]
    for wave in sorted(set(waves.values())):
        graph[_wave(wave)] = [_live(name) for name, other in waves.items() if other < wave]
    return graph


def _migrations_of(module: ModuleSpec, migrations: Mapping[str, MigrationFacts]) -> list[str]:
    pointing = [found.name for found in migrations.values() if found.module == module.name]
    return [*module.migrations, *(name for name in pointing if name not in module.migrations)]


def _start(name: str) -> str:
    return f"module {name} starts"


def _live(name: str) -> str:
    return f"module {name} is live"


def _wave(number: int) -> str:
    return f"wave {number} opens"


def _migration(name: str) -> str:
    return f"migration {name}"
