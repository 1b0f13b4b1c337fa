"""Command line: `python -m e2e.demo run [--picture FILE]` and `python -m e2e.demo charts`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from e2e import charts
from e2e.cluster.errors import Refusal
from e2e.demo.run import run


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="from an empty machine to phase Closed; what is there is used")
    running.add_argument("--picture", type=Path, metavar="FILE", help="keep the view of this run as an SVG")
    commands.add_parser("charts", help="package the module charts into build/charts")
    options = parser.parse_args(arguments)
    if options.command == "charts":
        return charts.main([])
    try:
        subprocess.run([sys.executable, "-m", "e2e.cluster", "up"], check=True)
        path = subprocess.run(
            [sys.executable, "-m", "e2e.cluster", "kubeconfig"], check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()
        return run(Path(path), options.picture)
    except subprocess.CalledProcessError as error:
        return error.returncode
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
