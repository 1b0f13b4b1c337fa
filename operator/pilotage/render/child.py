"""The child process that touches templates: limits first, then one request from stdin, one answer to stdout."""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

MEMORY = 256 * 1024 * 1024
CPU_SECONDS = 2


def limit_self() -> None:
    """Bound this process before it reads anything: memory, processor time, no files, no core."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Outputs of all modules in the request's order, then each module's trees. An error concerns its module alone."""
    # After the limits, so that they hold for the template library as well.
    from pilotage.render.template import ExpressionEnvironment, LeafError, evaluate

    environment = ExpressionEnvironment()
    modules: dict[str, Any] = {}
    rendered: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    for module in request["modules"]:
        context = {**module["context"], "modules": modules}
        try:
            path = f"modules[{module['name']}].outputs"
            modules[module["name"]] = {"outputs": evaluate(environment, module["outputs"], context, path)}
        except LeafError as error:
            errors[module["name"]] = [error.reason, error.path, error.message]
    for module in request["modules"]:
        if module["name"] in errors:
            continue
        context = {**module["context"], "modules": modules}
        try:
            rendered[module["name"]] = {
                place: evaluate(environment, tree, context, place) for place, tree in module["trees"].items()
            }
        except LeafError as error:
            errors[module["name"]] = [error.reason, error.path, error.message]
    return {"rendered": rendered, "errors": errors}


def main() -> None:
    """Entry point of `python -m pilotage.render.child`."""
    limit_self()
    json.dump(answer(json.load(sys.stdin)), sys.stdout, ensure_ascii=True)


if __name__ == "__main__":
    main()
