"""Ports that nobody else takes while we hold them, and who holds one that we want."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

from e2e.cluster.errors import Refusal

# Below the range from which the kernel gives ports to clients: a server can come back to its port after a crash.
FIRST, LAST = 20000, 29999


class ReservedPort:
    """A free port of 127.0.0.1 that no other ReservedPort of this machine has, until `release` or the process's end."""

    def __init__(self) -> None:
        directory = Path(tempfile.gettempdir()) / f"pilotage-ports-{os.getuid()}"
        directory.mkdir(mode=0o700, exist_ok=True)
        for number in random.sample(range(FIRST, LAST + 1), 200):
            lock = os.open(directory / str(number), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            if _locked(lock) and is_free("127.0.0.1", number):
                self.number = number
                self._lock = lock
                return
            os.close(lock)
        raise Refusal(f"No free port between {FIRST} and {LAST} on 127.0.0.1 after 200 tries.")

    def release(self) -> None:
        os.close(self._lock)


def is_free(address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> bool:
    """Whether a server could listen there now. An address that this machine does not have yet is free."""
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno == errno.EADDRNOTAVAIL
        return True


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
