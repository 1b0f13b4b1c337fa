"""Command line: `python -m e2e.demo run [--picture FILE] [--profile P]` and `python -m e2e.demo charts`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from e2e import charts
from e2e.cluster.choose import choose
from e2e.cluster.errors import Refusal
from e2e.demo.run import run

CLUSTER = (sys.executable, "-m", "e2e.cluster")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="from an empty machine to phase Closed; what is there is used")
    running.add_argument("--picture", type=Path, metavar="FILE", help="keep the view of this run as an SVG")
    running.add_argument(
        "--profile", choices=("Light", "Standard"), help="persons decide: stop at each gate until it is signed"
    )
    commands.add_parser("charts", help="package the module charts into build/charts")
    options = parser.parse_args(arguments)
    if options.command == "charts":
        return charts.main([])
    try:
        return run(bring_cluster(), options.picture, options.profile)
    except subprocess.CalledProcessError as error:
        return error.returncode
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on from here.", file=sys.stderr)
        return 130


def bring_cluster() -> Path:
    """Kubeconfig of the chosen cluster, brought up where it is not; with it kubectl and helm in build/bin."""
    if choose() != "embedded":
        subprocess.run([*CLUSTER, "build", "--only", "light"], check=True)
    subprocess.run([*CLUSTER, "up"], check=True)
    asked = subprocess.run([*CLUSTER, "kubeconfig"], check=True, stdout=subprocess.PIPE, text=True)
    return Path(asked.stdout.strip())


if __name__ == "__main__":
    sys.exit(main())
