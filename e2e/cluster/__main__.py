"""`python -m e2e.cluster COMMAND`: clusters for the demo and the tests."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from e2e.cluster import current, embedded, images, kind
from e2e.cluster.build import build
from e2e.cluster.choose import choose, forget, remember
from e2e.cluster.errors import Refusal
from e2e.cluster.light import LightCluster
from e2e.cluster.packages import IMAGE_PROGRAMS, NODE_PROGRAMS, install_packages


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return int(_run(options))
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on from here.", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    match options.command:
        case "build":
            built = build(only_light=options.only == "light")
            print(f"{built} programs built." if built else "Everything is built already.")
        case "packages":
            install_packages(NODE_PROGRAMS | IMAGE_PROGRAMS)
        case "light":
            _run_light()
        case "kill" | "restart" | "audit-log":
            return _run_embedded_only(options)
        case _:
            return _run_chosen(options, choose())
    return 0


def _run_chosen(options: argparse.Namespace, choice: str) -> int:
    match options.command, choice:
        case "up", "embedded":
            embedded.up(replace=options.replace)
            remember(choice)
        case "up", _:
            (kind.up if choice == "kind" else current.up)()
            remember(choice)
        case "down", "embedded":
            embedded.down(replace=options.replace)
            forget()
        case "down", _:
            (kind.down if choice == "kind" else current.down)()
            forget()
        case "status", "current":
            print(current.kubeconfig())
        case "status", _:
            return kind.status() if choice == "kind" else embedded.status()
        case "kubeconfig", _:
            print({"embedded": embedded.kubeconfig, "kind": kind.kubeconfig, "current": current.kubeconfig}[choice]())
        case "load", "current":
            raise Refusal("Images reach your own cluster by its registry: push them there and set the charts' values.")
        case "load", _:
            (kind.load if choice == "kind" else images.load)(options.archives)
    return 0


def _run_embedded_only(options: argparse.Namespace) -> int:
    if choose() != "embedded":
        raise Refusal(f"`{options.command}` works with the embedded cluster only.")
    match options.command:
        case "kill":
            embedded.kill_part(options.name)
        case "restart":
            embedded.restart_part(options.name)
        case "audit-log":
            print(embedded.audit_log())
    return 0


def _run_light() -> None:
    # Ctrl-C and a plain kill alike end the cluster in good order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        suppress(KeyboardInterrupt),
        tempfile.TemporaryDirectory(prefix="pilotage-light-") as directory,
        LightCluster(Path(directory)) as cluster,
    ):
        print(f"A light cluster (no nodes) runs until you press Ctrl-C.\nexport KUBECONFIG={cluster.kubeconfig}")
        print(f"Audit log: {cluster.audit_log}", flush=True)
        signal.pause()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command = commands.add_parser("build", help="build the Go programs into build/bin")
    command.add_argument("--only", choices=["light"], help="only what the light cluster and helm need")
    commands.add_parser("packages", help="install the Debian packages that are missing")
    for name, text in (("up", "bring the cluster up, or back"), ("down", "end it and remove everything of it")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--replace", action="store_true", help="also end one that another checkout started")
    commands.add_parser("status", help="show every part; exit 1 when one is dead")
    commands.add_parser("kubeconfig", help="print the kubeconfig's path")
    command = commands.add_parser("load", help="import image archives (docker save format)")
    command.add_argument("archives", nargs="+", type=Path, metavar="IMAGE.tar")
    commands.add_parser("audit-log", help="print the audit log's path")
    for name, text in (("kill", "SIGKILL one part"), ("restart", "stop one part and start it again")):
        command = commands.add_parser(name, help=text)
        command.add_argument("name", metavar="PART")
    commands.add_parser("light", help="run a light cluster until Ctrl-C")
    return parser


if __name__ == "__main__":
    sys.exit(main())
