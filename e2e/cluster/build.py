"""Build the Go programs into `build/bin`: once, with progress, and only what changed."""

from __future__ import annotations

import fcntl
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster.errors import Refusal
from e2e.cluster.places import BUILD, STAMPS
from e2e.cluster.programs import LIGHT, Program, all_programs
from e2e.cluster.toolchain import find_go, go_environment

BUILD_LOG = BUILD / "build.log"


def stale_programs(programs: Sequence[Program]) -> list[Program]:
    """Those that are missing or were built from another version, in the order given."""
    return [program for program in programs if not _is_built(program)]


def build(*, only_light: bool = False) -> int:
    """Build what is missing or out of date.

    Returns the number of programs built. Raises Refusal with the compiler's last words when one does not compile.
    """
    wanted = [program for program in all_programs() if not only_light or program.name in LIGHT]
    if not stale_programs(wanted):
        return 0
    go = find_go()
    with _exclusive():
        return _build_stale(go, wanted, only_light=only_light)


def _build_stale(go: Path, wanted: Sequence[Program], *, only_light: bool) -> int:
    stale = stale_programs(wanted)
    if len(stale) > len(wanted) // 2:
        minutes = 7 if only_light else 11
        print(
            f"Building {len(stale)} Go programs. The first build takes about {minutes} minutes on two cores; "
            f"after it, none. Compiler messages: {BUILD_LOG}",
            flush=True,
        )
    started = time.monotonic()
    for number, program in enumerate(stale, start=1):
        print(f"  [{number}/{len(stale)}] {program.name} ...", end="", flush=True)
        begun = time.monotonic()
        _compile(go, program)
        now = time.monotonic()
        print(f" {now - begun:.0f} s (elapsed {_clock(now - started)})", flush=True)
    return len(stale)


def require_built(programs: Sequence[str]) -> None:
    """Raise Refusal when one of these programs has not been built."""
    missing = [name for name in programs if not _by_name(name).binary.is_file()]
    if missing:
        names = ", ".join(missing)
        raise Refusal(f"Not built yet: {names}. Run `python -m e2e.cluster build` first (about 11 minutes, once).")


def _compile(go: Path, program: Program) -> None:
    program.binary.parent.mkdir(parents=True, exist_ok=True)
    unfinished = program.binary.with_name(f".{program.name}.unfinished")
    command = [str(go), "build", "-trimpath", "-ldflags", program.linker_flags(), "-o", str(unfinished)]
    finished = subprocess.run(
        [*command, program.package],
        cwd=program.folder,
        env=go_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    BUILD_LOG.parent.mkdir(parents=True, exist_ok=True)
    with BUILD_LOG.open("a") as log:
        log.write(f"== {program.name} ({program.package}): exit {finished.returncode}\n{finished.stdout}")
    if finished.returncode != 0:
        last_words = "\n".join(finished.stdout.strip().splitlines()[-8:])
        raise Refusal(
            f"\n{program.name} does not compile:\n{last_words}\n"
            f"Without a way to Go's modules set GOPROXY to a mirror; all messages are in {BUILD_LOG}.",
        )
    # A running cluster keeps its old binary: a new file takes the name, the old one stays until its process ends.
    unfinished.replace(program.binary)
    stamp = _stamp_file(program)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(program.stamp())


@contextmanager
def _exclusive() -> Iterator[None]:
    """One build at a time: a second one waits, and finds the work done."""
    STAMPS.mkdir(parents=True, exist_ok=True)
    with (STAMPS / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_built(program: Program) -> bool:
    stamp = _stamp_file(program)
    return program.binary.is_file() and stamp.is_file() and stamp.read_text() == program.stamp()


def _stamp_file(program: Program) -> Path:
    return STAMPS / program.name


def _by_name(name: str) -> Program:
    return next(program for program in all_programs() if program.name == name)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
