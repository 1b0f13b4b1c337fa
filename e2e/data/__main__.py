"""Command line: `python -m e2e.data DIRECTORY [--customers N]` writes the legacy export."""

from __future__ import annotations

import argparse
from pathlib import Path

from e2e.data.export import MINIMUM_CUSTOMERS, generator_digest, make_export, write_export


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.data", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--customers", type=int, default=20_000, help=f"at least {MINIMUM_CUSTOMERS}")
    parser.add_argument("--generator", metavar="DIGEST", help="refuse to write unless this is the generator meant")
    options = parser.parse_args(arguments)
    if options.generator and not generator_digest().startswith(options.generator):
        parser.error(f"this is generator {generator_digest()[:8]}, wanted is {options.generator}: build the image anew")
    if options.customers < MINIMUM_CUSTOMERS:
        parser.error(f"--customers must be at least {MINIMUM_CUSTOMERS}")
    for path in write_export(make_export(options.customers), options.directory):
        print(f"{path.name}\t{path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
