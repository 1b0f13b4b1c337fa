"""A MariaDB server of our own on a free port, from Debian's programs."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pymysql

from e2e.cluster.packages import install_packages

PROGRAMS = {"mariadbd": "mariadb-server"}
PATIENCE_SECONDS = 60.0


class MariaDB:
    """One server, run as a user that is not root; installed first where it is missing and we may."""

    def __init__(self, folder: Path) -> None:
        install_packages(PROGRAMS)
        self.folder = folder
        self.user = "mysql" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        self.password = "not-a-secret"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        if os.getuid() == 0:
            shutil.chown(folder, self.user, self.user)
        self._run(
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={folder}/data",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        )
        command = self._as_user(
            "mariadbd",
            "--no-defaults",
            f"--datadir={folder}/data",
            f"--socket={folder}/socket",
            f"--pid-file={folder}/pid",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--character-set-server=utf8mb4",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=32M",
        )
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        self._wait()
        self.query("", f"alter user root@localhost identified by '{self.password}'", password="")

    def _as_user(self, program: str, *arguments: str) -> list[str]:
        found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/usr/bin") or program
        command = [found, *arguments]
        if os.getuid() == 0:
            command = ["setpriv", "--reuid", self.user, "--regid", self.user, "--clear-groups", *command]
        return command

    def _run(self, program: str, *arguments: str) -> None:
        command = self._as_user(program, *arguments)
        finished = subprocess.run(command, cwd=self.folder, capture_output=True, check=False, text=True)
        assert finished.returncode == 0, finished.stdout + finished.stderr

    def _wait(self) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self.query("", "select 1", password="")
            except pymysql.OperationalError:
                running = self.process.poll() is None and time.monotonic() < end
                assert running, (self.folder / "log").read_text()
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=PATIENCE_SECONDS)

    def uri(self, database: str) -> str:
        return f"mysql://root:{self.password}@127.0.0.1:{self.port}/{database}"

    def query(self, database: str, query: str, *, password: str | None = None, charset: str = "utf8mb4") -> list[Any]:
        with (
            pymysql.connect(
                host="127.0.0.1",
                port=self.port,
                user="root",
                password=self.password if password is None else password,
                database=database or None,
                charset=charset,
                autocommit=True,
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(query)
            return list(cursor.fetchall())
