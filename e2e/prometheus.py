"""A Prometheus server of our own on a free port, from Debian's programs, with a past that the caller gives it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from e2e.cluster.packages import install_packages
from e2e.cluster.probe import wait_until

CONFIGURATION = "global: {scrape_interval: 1s}\n"


class Prometheus:
    """One server on loopback. `past` has samples by series, each a pair of Unix time and value."""

    def __init__(self, folder: Path, past: Mapping[str, Sequence[tuple[float, str]]]) -> None:
        install_packages({"prometheus": "prometheus"})
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "prometheus.yml").write_text(CONFIGURATION)
        lines = [f"{series} {value} {moment:.3f}" for series, samples in past.items() for moment, value in samples]
        (folder / "past").write_text("\n".join([*lines, "# EOF", ""]))
        command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(folder / "past"), str(folder / "data")]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        self.start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self.folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self.folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=log,
                stderr=log,
            )
        assert wait_until(self._answers, 60), (self.folder / "log").read_text(errors="replace")[-2000:]

    def _answers(self) -> bool:
        with socket.socket() as asking:
            asking.settimeout(1)
            if asking.connect_ex(("127.0.0.1", self.port)) != 0:
                return False
            asking.sendall(b"GET /-/ready HTTP/1.0\r\n\r\n")
            return b" 200 " in asking.recv(64)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)
