"""`python -m bench.migration`: the data engine beside `psql \\copy` of the same rows, already clean, in one run."""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.__main__ import Report
from bench.customers import TABLE, specification, write_customers
from bench.processes import TICKS
from e2e.postgresql import PostgreSQL, programs

SETTINGS = ("shared_buffers=512MB", "max_wal_size=8GB", "checkpoint_timeout=30min", "maintenance_work_mem=256MB")
LAST_CHUNK = "select extract(epoch from max(done_at)) from mig.chunk"
WATCHED_EVERY = 0.02


@dataclass(frozen=True)
class Cost:
    """What some processes took: seconds of wall clock, of processor by client and server, and MiB at the peak."""

    wall: float
    client: float
    server: float
    memory: float


class Measurement:
    """One server, one folder of files."""

    def __init__(self, server: PostgreSQL, folder: Path, workers: int) -> None:
        self.server = server
        self.folder = folder
        self.workers = workers

    def take(self, database: str, *commands: list[str]) -> Cost:
        """Run the commands side by side to their end."""
        environment = os.environ | self.server.environment(database)
        begun, before = time.perf_counter(), self._server_seconds()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        log = self.folder / "log"
        memory = 0.0
        with log.open("wb") as output:
            running = [
                subprocess.Popen(command, cwd=self.folder, env=environment, stdout=output, stderr=output)
                for command in commands
            ]
            while any(process.poll() is None for process in running):
                memory = max([memory, *(_peak(process.pid) for process in running)])
                time.sleep(WATCHED_EVERY)
        wall = time.perf_counter() - begun
        if any(process.returncode for process in running):
            raise SystemExit(f"{' '.join(commands[0])} failed:\n{log.read_text()[-2000:]}")
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        client = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        return Cost(wall, client, self._server_seconds() - before, memory)

    def engine(self, rows: int, bad_rows: int) -> tuple[Cost, Cost, tuple[float, float]]:
        """Planning; working; seconds until the last chunk was done, and from there to the end of the run."""
        self._database("engine")
        spec = self.folder / "spec.json"
        spec.write_text(json.dumps(specification(rows, bad_rows)))
        command = [sys.executable, "-m", "pilotage.migration"]
        options = ["--run-id", "bench", str(spec), "--source-root", str(self.folder)]
        planning = self.take("engine", [*command, "plan", *options])
        begun = time.time()
        working = self.take("engine", *([[*command, "work", *options]] * self.workers))
        ended = time.time()
        last = float(self.server.query("engine", LAST_CHUNK)[0][0])
        ((counted, digest),) = self.server.query("engine", "select result -> 'counts', certificate_digest from mig.run")
        if not (digest and counted["loaded"] == rows - bad_rows and counted["balanced"]):
            raise SystemExit(f"the engine loaded something else: {counted}")
        return planning, working, (last - begun, ended - last)

    def copy(self) -> Cost:
        """psql's own copy of the clean rows into the same table, key and all."""
        self._database("copied")
        command = rf"\copy customer from '{self.folder}/clean.csv' with (format csv)"
        return self.take("copied", [str(programs() / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", command])

    def compare(self) -> bool:
        """Whether both ways left the same rows."""
        query = "select md5(string_agg(c::text, ',' order by code)) from customer c"
        return self.server.query("engine", query) == self.server.query("copied", query)

    def _database(self, name: str) -> None:
        self.server.query("postgres", f"drop database if exists {name}")
        self.server.query("postgres", f"create database {name}")
        self.server.query(name, TABLE)
        self.server.query(name, "checkpoint")

    def _server_seconds(self) -> float:
        """Processor time of the server: its own, its present children's and that of those that ended."""
        mother = self.server.process
        children = Path(f"/proc/{mother}/task/{mother}/children").read_text().split()
        return sum(_processor(int(process), ended=int(process) == mother) for process in (mother, *children))


def _peak(process: int) -> float:
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    return int(found[1]) / 1024 if found else 0.0


def _processor(process: int, *, ended: bool) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(ticks) for ticks in fields[11 : 15 if ended else 13]) / TICKS


def report(rows: int, engine: tuple[Cost, Cost, tuple[float, float]], copied: Cost) -> Report:
    """The figures, each beside that of psql."""
    planning, working, (loading, settling) = engine
    wall, limit = planning.wall + working.wall, rows / copied.wall
    client = planning.client + working.client
    server = planning.server + working.server
    shown = Report()
    peer = r"psql \copy"
    shown.add("rows a second, the whole run", rows / wall, "rows/s", peer, limit, "0.9")
    shown.add("rows a second, planning", rows / planning.wall, "rows/s", peer, limit, "-")
    shown.add("rows a second, loading", rows / loading, "rows/s", peer, limit, "-")
    shown.add("rows a second, settling", rows / settling, "rows/s", peer, limit, "-")
    shown.add("rows a processor second, client", rows / client, "rows/s", peer, rows / copied.client, "-")
    shown.add("rows a processor second, server", rows / server, "rows/s", peer, rows / copied.server, "-")
    shown.add("peak memory of a worker", working.memory, "MiB", peer, copied.memory, "< 400 MiB")
    shown.add("peak memory of the planner", planning.memory, "MiB", peer, copied.memory, "< 400 MiB")
    return shown


def measure(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="pilotage-bench-", dir="/tmp") as place:
        folder = Path(place)
        folder.chmod(0o755)
        (folder / "server").mkdir()
        begun = time.perf_counter()
        bad_rows = write_customers(folder, arguments.rows, arguments.bad_percent / 100)
        size = (folder / "客户.csv").stat().st_size / 2**20
        taken = time.perf_counter() - begun
        print(f"· {arguments.rows} rows, {bad_rows} of them bad, {size:.0f} MiB, made in {taken:.0f} s", flush=True)
        server = PostgreSQL(folder / "server", *SETTINGS)
        try:
            measurement = Measurement(server, folder, arguments.workers)
            copied = measurement.copy()
            engine = measurement.engine(arguments.rows, bad_rows)
            shown = report(arguments.rows, engine, copied)
            print(f"· the same rows on both sides: {'yes' if measurement.compare() else 'NO'}", flush=True)
            shown.show()
        finally:
            server.stop("immediate")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.migration", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--bad-percent", type=float, default=0.1)
    measure(parser.parse_args())
    return 0


if __name__ == "__main__":
    sys.exit(main())
