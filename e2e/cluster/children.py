"""Processes of the light cluster: they never outlive the process that started them."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from e2e.cluster.errors import Refusal

# The kernel sends the death signal when the thread that forked ends, so all children come from one that never does.
_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")
PATIENCE = 5.0


class Child:
    """One process with its log file; killed by the kernel when we die."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise Refusal("The light cluster needs setpriv (Debian: util-linux), which ends its processes with ours.")
        self.name = name
        self.log = log
        self._command = [setpriv, "--pdeathsig", "KILL", "--", *command]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = _SPAWNER.submit(self._spawn).result()

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def has_ended(self) -> bool:
        """Whether it was started and is gone."""
        return self._process is not None and self._process.poll() is not None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it, if it lives."""
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self, patience: float = PATIENCE) -> None:
        """SIGTERM and, after `patience` seconds, SIGKILL."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()

    def last_words(self, lines: int = 5) -> str:
        """The end of its log, for a message."""
        text = self.log.read_text(errors="replace") if self.log.is_file() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
