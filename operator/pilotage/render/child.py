"""The child process that touches templates: forked for one request, limits first, then one answer."""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import socket
from typing import Any, NoReturn

from pilotage.render.template import FILTERS, ExpressionEnvironment, LeafError, evaluate

MEMORY = 256 * 1024 * 1024
CPU_SECONDS = 2
WALL_SECONDS = 10
READY = b"r"
# Evaluated once before the first fork: what Python imports when it is first used cannot be imported by a child that
# opens no files. Our own words, nobody else's.
REHEARSAL: tuple[str, ...] = (
    *(f"[[ [2, 1] | {name} ]]" for name in sorted(FILTERS)),
    *(f"[[ 'ä b' | {name} ]]" for name in sorted(FILTERS)),
    "a [[ 1 / 3 ]]", "a [[ nothing ]]", "[[ nothing ]]", "[[ a.b ]]", "[[ ''.a ]]", "[[ ''() ]]", "[[ 1 / 0 ]]", "[[",
    "[[ 1 + ]]", "a [[ [] ]]", "[[ {'a': ['ä', 1.5, none, true]} | tojson ]]", "[[ '%s %d' % ('ä', 1) ]]",
    "[[ 'a' ~ 1 ]]", "[[ '\\ud800' ]]", "[[ 1e999 ]]", "[[ 'a' if 1 in [1] else 'b' ]]", "[[ 'abc'[1:] ]]",
)  # fmt: skip
END = b"\n"


def limit_self() -> None:
    """Bound this process before it reads anything: time, memory, no files, no network, no processes, no core.

    Without room for another descriptor the kernel opens no file and makes no socket, whoever asks. Only a process with
    CAP_SYS_RESOURCE could raise the limit again; the operator's pod drops all capabilities.
    """
    signal.alarm(WALL_SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Outputs of all modules in the request's order, then each module's trees. An error concerns its module alone."""
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


def rehearse() -> None:
    """Evaluate one of everything, so that all that it takes is imported."""
    modules = [
        {"name": str(number), "context": {"a": {}}, "outputs": {}, "trees": {"leaf": leaf}}
        for number, leaf in enumerate(REHEARSAL)
    ]
    json.dumps(answer({"modules": modules}))


def main() -> None:
    """Entry point of `python -m pilotage.render.child`: stdin is a socket over which the operator sends sockets.

    Each gets a child of its own, forked from this process, which has read nothing but our own code. It ends when
    the operator does.
    """
    control = socket.socket(fileno=0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    rehearse()
    gc.freeze()
    control.sendall(READY)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            _serve_one(descriptors[0])
        os.close(descriptors[0])


def _serve_one(descriptor: int) -> NoReturn:
    try:
        limit_self()
        with socket.socket(fileno=descriptor) as place, place.makefile("rb") as request:
            place.sendall(json.dumps(answer(json.load(request))).encode() + END)
    except BaseException:  # noqa: BLE001 (whatever it was: without an answer the operator knows enough)
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
