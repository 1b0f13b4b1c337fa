"""A PostgreSQL server of our own on a free port, from Debian's programs."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import psycopg

from e2e.cluster.packages import install_packages

VERSIONS = Path("/usr/lib/postgresql")


class PostgreSQL:
    """One server, run as a user that is not root; installed first where it is missing and we may.

    `settings` are the server's, as in `max_wal_size=4GB`.
    """

    def __init__(self, folder: Path, *settings: str) -> None:
        self.folder = folder
        self.programs = programs()
        self.settings = settings
        self.user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        if os.getuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        options = ("-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale", "C", "--no-sync")
        self.call("initdb", "-D", str(folder / "data"), *options)
        self.start()

    def call(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        if os.getuid() == 0:
            command = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", *command]
        output = subprocess.run(
            command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, text=True
        )
        assert output.returncode == 0, output.stderr

    def start(self) -> None:
        settings = " ".join(f"-c {setting}" for setting in self.settings)
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} {settings}"
        self.call("pg_ctl", "-D", f"{self.folder}/data", "-w", "-l", f"{self.folder}/log", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self.call("pg_ctl", "-D", f"{self.folder}/data", "-w", "-m", mode, "stop")

    @property
    def process(self) -> int:
        """Number of the process whose children are all of the server's others."""
        return int((self.folder / "data/postmaster.pid").read_text().splitlines()[0])

    def environment(self, database: str) -> dict[str, str]:
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGDATABASE": database,
            "PGUSER": "postgres",
            "PGPASSWORD": "not-a-secret",
        }

    def query(self, database: str, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(
            host="127.0.0.1", port=self.port, dbname=database, user="postgres", autocommit=True
        ) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []


def programs() -> Path:
    """The folder of the newest server's programs, which Debian keeps out of PATH. Raises Refusal."""
    if not list(VERSIONS.glob("*/bin/initdb")):
        install_packages({str(VERSIONS / "any/bin/initdb"): "postgresql"})
    return max(VERSIONS.glob("*/bin"), key=lambda folder: float(folder.parent.name))
