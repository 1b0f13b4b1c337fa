"""`python -m tests.faults run PLAN`, or `sweep`: kill and trouble the operator in the middle of its work."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from e2e.cluster.places import BUILD
from tests.faults.ground import Ground
from tests.faults.plan import Fault, read_plan
from tests.faults.sweep import LANES, learn, report, run_plan, say, sweep
from tests.faults.table import write_table
from tests.faults.workloads import WORKLOADS

FAILURES = BUILD / "faults"


async def run_files(files: list[Path]) -> int:
    plans = [read_plan(file) for file in files]
    async with Ground() as ground:
        references = await learn(ground, sorted({plan.workload for plan in plans}))
        results = [await run_plan(ground, plan, references[plan.workload]) for plan in plans]
    for number, result in enumerate(results, 1):
        report(number, result)
    return 0 if all(result.outcome == "held" for result in results) else 1


async def sweep_all(arguments: argparse.Namespace) -> int:
    async with Ground() as ground:
        found = await sweep(
            ground, arguments.workloads, seed=arguments.seed, minutes=arguments.minutes, failures=FAILURES,
            lanes=arguments.lanes, in_pairs=arguments.pairs, faults=arguments.faults,
        )  # fmt: skip
    for fault, counts in found.table():
        say(f"{fault:22s} " + ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())))
    say(f"{len(found.results)} of {found.planned} plans ran, {len(found.violations)} violations, seed {arguments.seed}")
    for result in found.violations:
        say(f"reproduce: python -m tests.faults run {FAILURES / result.plan.slug}.yaml\n  " + "\n  ".join(result.said))
    if arguments.document:
        write_table(arguments.document, found, seed=arguments.seed, minutes=arguments.minutes)
    return 1 if found.violations or not found.results else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.faults", description=__doc__)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("run", help="run the plans in these files")
    one.add_argument("files", type=Path, nargs="+")
    one.set_defaults(go=lambda arguments: run_files(arguments.files))
    many = commands.add_parser("sweep", help="run single-fault plans that are derived from runs without faults")
    many.add_argument("--minutes", type=float, help="stop after so many minutes; default: run all plans")
    many.add_argument("--seed", type=int, default=1, help="chooses the order")
    many.add_argument("--lanes", type=int, default=LANES, help="plans at once")
    many.add_argument("--workloads", nargs="+", choices=sorted(WORKLOADS), default=list(WORKLOADS))
    many.add_argument("--faults", nargs="+", type=Fault, choices=list(Fault), default=list(Fault))
    many.add_argument("--pairs", type=int, default=0, help="run so many pairs of faults instead of single ones")
    many.add_argument("--document", type=Path, help="write the result into this page's table")
    many.set_defaults(go=sweep_all)
    arguments = parser.parse_args()
    return asyncio.run(arguments.go(arguments))


if __name__ == "__main__":
    sys.exit(main())
