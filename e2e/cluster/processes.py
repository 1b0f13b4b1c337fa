"""Processes that live on after the command that started them, and are recognised again by pid and start time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PATIENCE = 15.0


@dataclass(frozen=True)
class Identity:
    """What tells a process from a later one with the same pid. `started` counts clock ticks since boot `boot`."""

    pid: int
    started: int
    boot: str

    def is_alive(self) -> bool:
        return identify(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Send a signal, to this very process or to none."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.is_alive():
                signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return
        finally:
            os.close(descriptor)


def identify(pid: int) -> Identity | None:
    """The identity of a living process; None for a dead one and for a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in brackets and may hold blanks and brackets itself.
    fields = text.rpartition(")")[2].split()
    if fields[0] in {"Z", "X"}:
        return None
    return Identity(pid, int(fields[19]), BOOT_ID.read_text().strip())


@dataclass(frozen=True)
class Daemon:
    """A process that was started and how: everything needed to find it, end it and start it again."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: str
    identity: Identity

    def is_alive(self) -> bool:
        return self.identity.is_alive()


class Daemons:
    """The record of all daemons of a cluster, one file each in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def all(self) -> list[Daemon]:
        """Every recorded daemon, dead or alive, by name; a record cut off by a crash counts as none."""
        found = (self.find(path.stem) for path in sorted(self._directory.glob("*.json")))
        return [daemon for daemon in found if daemon is not None]

    def find(self, name: str) -> Daemon | None:
        try:
            document = json.loads((self._directory / f"{name}.json").read_text())
            return Daemon(**{**document, "identity": Identity(**document["identity"])})
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None

    def is_alive(self, name: str) -> bool:
        daemon = self.find(name)
        return daemon is not None and daemon.is_alive()

    def start(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> Daemon:
        """Start in a session of its own, with output to `log`, and record it."""
        log.parent.mkdir(parents=True, exist_ok=True)
        self._directory.mkdir(parents=True, exist_ok=True)
        extra = dict(environment or {})
        with log.open("ab") as output:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd="/",
                env={**os.environ, **extra},
            )
        identity = identify(process.pid) or Identity(process.pid, -1, "")
        daemon = Daemon(name, list(command), extra, str(log), identity)
        record = self._directory / f"{name}.json"
        unfinished = record.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(asdict(daemon)))
        unfinished.replace(record)
        return daemon

    def start_again(self, name: str) -> Daemon:
        """Start a recorded daemon the way it was started before; KeyError when there is no record."""
        daemon = self.find(name)
        if daemon is None:
            raise KeyError(name)
        return self.start(name, daemon.command, Path(daemon.log), daemon.environment)

    def kill(self, name: str) -> None:
        """SIGKILL and wait until it is gone; the record stays."""
        daemon = self.find(name)
        if daemon is not None:
            end([daemon.identity], signal.SIGKILL)

    def stop(self, name: str, patience: float | None = None) -> None:
        """SIGTERM and, after `patience` seconds, SIGKILL; the record stays."""
        daemon = self.find(name)
        if daemon is not None:
            end([daemon.identity], signal.SIGTERM, PATIENCE if patience is None else patience)


def end(
    identities: Sequence[Identity],
    number: signal.Signals = signal.SIGTERM,
    patience: float = PATIENCE,
) -> None:
    """Signal all of them at once and wait until they are gone, with SIGKILL for those that do not listen."""
    for identity in identities:
        identity.send(number)
    if _wait_gone(identities, patience):
        return
    for identity in identities:
        identity.send(signal.SIGKILL)
    _wait_gone(identities, PATIENCE)


def _wait_gone(identities: Sequence[Identity], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(identity.is_alive() for identity in identities):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
