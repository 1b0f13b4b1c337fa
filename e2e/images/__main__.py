"""Command line: `python -m e2e.images build [NAME...]` and `python -m e2e.images list`."""

from __future__ import annotations

import argparse
import sys

from e2e.cluster.errors import Refusal
from e2e.images.build import archive, build_images
from e2e.images.recipes import RECIPES, recipes_named


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build images into build/images (all, or those named)")
    build.add_argument("names", nargs="*", metavar="NAME", help=", ".join(recipe.name for recipe in RECIPES))
    commands.add_parser("list", help="print the images and where their archives lie")
    options = parser.parse_args(arguments)
    try:
        if options.command == "list":
            for recipe in RECIPES:
                print(f"{recipe.image}\t{archive(recipe)}")
        else:
            build_images(recipes_named(options.names))
    except KeyError as unknown:
        print(f"There is no image {unknown}.", file=sys.stderr)
        return 2
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
