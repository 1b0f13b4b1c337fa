"""A Bulk API 2.0 on loopback, after its public documentation, with faults at chosen requests."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PREFIX = "/services/data/v62.0/jobs/ingest"
TOKEN = "00D-token-of-a-test"
BEFORE, AFTER = "lost before it is heard", "lost after it was heard"
FAILING = "answers that it failed after it was heard"
ENDLESS = "begins to answer without end"


class BulkServer:
    """Records by external id; `changes` counts the rows that really changed something."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[str, dict[str, str]]] = {}
        self.changes = 0
        self.jobs: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.faults: dict[int, Any] = {}
        self.ending: list[str] = []
        self.results: Callable[[str, bytes], bytes] = lambda _kind, content: content
        handler = type("Handler", (_Handler,), {"api": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/services/data/v62.0"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def finish_jobs(self) -> None:
        """What a real API does by itself: jobs that have begun come to their end, asked or not."""
        for job in self.jobs.values():
            while job["state"] in {"UploadComplete", "InProgress"}:
                self._go_on(job)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        job, _, part = path.removeprefix(PREFIX).strip("/").partition("/")
        if method == "POST":
            wanted = json.loads(body)
            new = f"750{len(self.jobs):012}"
            self.jobs[new] = {"id": new, "state": "Open", **wanted, "rows": None}
            return 200, self._info(new)
        if job not in self.jobs:
            return 404, [{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]
        found = self.jobs[job]
        if method == "PUT":
            if found["state"] != "Open" or found["rows"] is not None:
                return 400, [{"errorCode": "INVALIDJOBSTATE", "message": "the job has its data"}]
            found["rows"] = body
            return 201, b""
        if method == "PATCH":
            state = json.loads(body)["state"]
            if found["state"] != "Open" or (state == "UploadComplete" and found["rows"] is None):
                return 400, [{"errorCode": "INVALIDJOBSTATE", "message": f"{state} is not allowed"}]
            found["state"] = state
            return 200, self._info(job)
        if part:
            return 200, self.results(part, found[part])
        self._go_on(found)
        return 200, self._info(job)

    def _info(self, job: str) -> dict[str, Any]:
        return {key: value for key, value in self.jobs[job].items() if isinstance(value, str)}

    def _go_on(self, job: dict[str, Any]) -> None:
        if job["state"] == "UploadComplete":
            job["state"] = "InProgress"
        elif job["state"] == "InProgress":
            job["state"] = self.ending.pop(0) if self.ending else "JobComplete"
            job["errorMessage"] = "" if job["state"] == "JobComplete" else "InternalServerError : half way"
            self._process(job, half=job["state"] != "JobComplete")

    def _process(self, job: dict[str, Any], *, half: bool) -> None:
        rows = list(csv.DictReader(io.StringIO(job["rows"].decode(), newline="")))
        names, identity = list(rows[0]), job["externalIdFieldName"]
        seen = Counter(row[identity] for row in rows)
        taken = rows[: len(rows) // 2] if half else rows
        good, bad = [], []
        for row in taken:
            if seen[row[identity]] > 1:
                bad.append(["", "DUPLICATE_VALUE:duplicate external id", *row.values()])
            elif "坏" in row.get("Name", ""):
                bad.append(["", "=名称不合规:Name --", *row.values()])
            else:
                good.append(self._upsert(row, identity))
        job["successfulResults"] = _csv(["sf__Id", "sf__Created", *names], good)
        job["failedResults"] = _csv(["sf__Id", "sf__Error", *names], bad)
        job["unprocessedrecords"] = _csv(names, [list(row.values()) for row in rows[len(taken) :]])

    def _upsert(self, row: dict[str, str], identity: str) -> list[str]:
        known = self.records.get(row[identity])
        key = known[0] if known else f"001{len(self.records):012}"
        if known is None or known[1] != row:
            self.changes += 1
        self.records[row[identity]] = (key, row)
        return [key, "false" if known else "true", *row.values()]


class _Handler(BaseHTTPRequestHandler):
    api: BulkServer

    def log_message(self, *_arguments: object) -> None:
        pass

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        number = len(self.api.asked)
        self.api.asked.append((self.command, self.path))
        fault = self.api.faults.get(number)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            said = f"Session expired: {self.headers.get('Authorization')}"
            return self._say(401, [{"errorCode": "INVALID_SESSION_ID", "message": said}])
        if fault == BEFORE:
            return self.connection.close()
        if fault == ENDLESS:
            with suppress(OSError):
                while True:
                    self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        if isinstance(fault, tuple):
            return self._say(*fault)
        status, answer = self.api.answer(self.command, self.path, body)
        if callable(fault):
            fault()
        if fault == AFTER or callable(fault):
            return self.connection.close()
        if fault == FAILING:
            status, answer = 500, b"oops"
        return self._say(status, answer)

    do_GET = do_POST = do_PUT = do_PATCH = _serve  # noqa: N815 - the names that http.server calls

    def _say(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _csv(header: list[str], rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([header, *rows])
    return text.getvalue().encode()


@contextmanager
def bulk_server() -> Iterator[BulkServer]:
    server = BulkServer()
    try:
        yield server
    finally:
        server.stop()
