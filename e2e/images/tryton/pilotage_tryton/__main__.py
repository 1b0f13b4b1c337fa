"""Command line of the module charts' containers: `activate` and `wait`, both told what to do by one JSON file.

{"database": "erp", "modules": ["company", ...], "organisation": {...}, "accounting": {...}}
"""

import argparse
import json
import logging
import sys
from pathlib import Path

from .activation import activate, wait_until_activated


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m pilotage_tryton")
    parser.add_argument("command", choices=("activate", "wait"))
    parser.add_argument("--settings", type=Path, default=Path("/etc/pilotage/settings.json"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(levelname)s %(name)s %(message)s")
    settings = json.loads(options.settings.read_text(encoding="utf-8"))
    if options.command == "wait":
        wait_until_activated(settings["database"], settings["modules"])
    else:
        activate(settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
