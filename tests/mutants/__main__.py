"""`python -m tests.mutants`: put each known bug into a copy of the code and see whether the tests notice."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

from e2e.cluster.places import BUILD, REPOSITORY
from tests.mutants.mutants import MUTANTS, Mutant
from tests.support.pages import write_between

LONGEST = 600


def copy_tree(place: Path) -> None:
    """What git knows of, and what is new, without caches; the built programs are linked."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        source, target = REPOSITORY / name, place / name
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    (place / "build").symlink_to(BUILD)


def make_python(place: Path) -> Path:
    """A Python with this one's packages that takes our own from the copy, also in a child that reads no environment."""
    folder = place / ".venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    here = sysconfig.get_path("purelib")
    (site / "mutants.pth").write_text(f"{place / 'operator'}\nimport site; site.addsitedir({here!r})\n")
    return python


def outcome(mutant: Mutant, place: Path, python: Path) -> str:
    """`killed` by a test that fails, or `survived`. Raises RuntimeError when the tests did not run at all."""
    file = place / "operator" / "pilotage" / mutant.file
    content = file.read_text()
    file.write_text(content.replace(mutant.old, mutant.new))
    command = [str(python), "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant.killers]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(
            command, cwd=place, env=environment, capture_output=True, text=True, timeout=LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        return "killed"
    finally:
        file.write_text(content)
    if ended.returncode not in {0, 1}:
        raise RuntimeError(f"{mutant.name}: the tests did not run:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")
    return "survived" if ended.returncode == 0 else "killed"


def write_table(document: Path, outcomes: dict[str, str]) -> None:
    killed = sum(found == "killed" for found in outcomes.values())
    rows = [
        f"{killed} of {len(outcomes)} were noticed.",
        "",
        "| Put in on purpose | Where | Noticed |",
        "|---|---|---|",
    ]
    rows += [
        f"| {mutant.name} | `{mutant.file}` | {'yes' if outcomes[mutant.name] == 'killed' else '**no**'} |"
        for mutant in MUTANTS
        if mutant.name in outcomes
    ]
    write_between(document, "mutants", "\n".join(rows))


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.mutants", description=__doc__)
    parser.add_argument("--only", help="mutants whose name holds this text")
    parser.add_argument("--document", type=Path, help="write the result into this page's table")
    arguments = parser.parse_args()
    outcomes: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="pilotage-mutants-") as folder:
        place = Path(folder)
        copy_tree(place)
        python = make_python(place)
        for mutant in MUTANTS:
            if arguments.only and arguments.only not in mutant.name:
                continue
            begun = time.monotonic()
            outcomes[mutant.name] = outcome(mutant, place, python)
            sys.stdout.write(f"{outcomes[mutant.name]:9s} {time.monotonic() - begun:6.1f} s  {mutant.name}\n")
            sys.stdout.flush()
    if arguments.document:
        write_table(arguments.document, outcomes)
    return 0 if set(outcomes.values()) == {"killed"} else 1


if __name__ == "__main__":
    sys.exit(main())
