"""A client of the Bulk API 2.0: jobs that take one CSV each and upsert its rows by an external id."""

from __future__ import annotations

import csv
import http.client
import io
import ipaddress
import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import SplitResult, urlsplit

from pilotage.migration.errors import Halt, Unreachable
from pilotage.migration.web import hang_up, retry_after

ANSWER_BYTES: Final = 1 << 20
RESULT_BYTES: Final = 256 << 20
ATTEMPTS: Final = 6
SOCKET_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 600.0
READ_BYTES: Final = 1 << 16

ID: Final = "sf__Id"
CREATED: Final = "sf__Created"
ERROR: Final = "sf__Error"

_JOB: Final = re.compile(r"[A-Za-z0-9]{1,64}")
_PATH: Final = re.compile(r"[!-~]*")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class UploadLost(Exception):
    """Whether the job has its rows is not known: nothing but another job can be relied on."""


@dataclass(frozen=True)
class Job:
    """A job as the API describes it."""

    id: str
    state: str
    error: str


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class BulkApi:
    """One API by the URL of its version, such as https://HOST/services/data/v62.0.

    Every request can be repeated, so an answer that got lost is asked for again; only `upload` leaves that to the
    caller. Raises Unreachable when the API stays away, Halt when it refuses or answers what nobody can use. No message
    has the token in it.
    """

    def __init__(self, url: str, token: str, pause: Callable[[float], None] = time.sleep) -> None:
        found, port = _address(url)
        if "@" in found.netloc:
            raise Halt(
                "ApiUrlInvalid", "the API's URL has a user or password in it: the token goes into PILOTAGE_TOKEN"
            )
        if found.scheme == "http" and not _is_loopback(str(found.hostname)):
            raise Halt("ApiUrlInvalid", "the API's URL is not https: the token would go over the network in the clear")
        if not token or not token.isascii() or not token.isprintable():
            raise Halt("TokenMissing", "PILOTAGE_TOKEN has no token of the API in it")
        self._secure = found.scheme == "https"
        self._host, self._port = str(found.hostname), port
        self._path = found.path.rstrip("/") + "/jobs/ingest"
        self._token = token
        self._pause = pause

    def create(self, target: str, external_id: str) -> Job:
        """A new job, open for its rows. One whose answer is lost stays open and empty, which changes nothing."""
        wanted = {
            "object": target,
            "externalIdFieldName": external_id,
            "operation": "upsert",
            "contentType": "CSV",
            "lineEnding": "LF",
            "columnDelimiter": "COMMA",
        }
        return self._job(self._ask("POST", "", json.dumps(wanted).encode()))

    def upload(self, job: str, rows: bytes) -> None:
        """The job's only rows. Raises UploadLost when it is not known whether they have arrived."""
        self._ask("PUT", f"/{job}/batches", rows, kind="text/csv; charset=UTF-8")

    def close(self, job: str) -> Job:
        """Let the API begin. Raises Halt when the job was given up by somebody else."""
        return self._set_state(job, "UploadComplete", "Open", "Aborted")

    def abort(self, job: str) -> None:
        """Give an open job up. Raises Halt when it has begun."""
        self._set_state(job, "Aborted", "Open", "UploadComplete", "InProgress", "JobComplete", "Failed")

    def job(self, job: str) -> Job | None:
        """How far the job is; None when the API no longer knows it."""
        answer = self._ask("GET", f"/{job}", missing=True)
        return self._job(answer, job) if answer.status != HTTPStatus.NOT_FOUND else None

    def results(self, job: str, kind: str) -> list[dict[str, str]]:
        """The rows of one outcome: successfulResults, failedResults or unprocessedrecords."""
        answer = self._ask("GET", f"/{job}/{kind}", limit=RESULT_BYTES)
        try:
            rows = csv.reader(io.StringIO(answer.body.decode("utf-8-sig"), newline=""), strict=True)
            header = next(rows, [])
            return [dict(zip(header, row, strict=True)) for row in rows if row]
        except (ValueError, csv.Error) as error:
            raise Halt("AnswerUnusable", f"the API's {kind} are no CSV in UTF-8 of rows of one width") from error

    def _set_state(self, job: str, state: str, *unlike: str) -> Job:
        """Move the job on. A refusal is none where an earlier request, whose answer was lost, has moved it already."""
        try:
            return self._job(self._ask("PATCH", f"/{job}", json.dumps({"state": state}).encode()), job)
        except Halt as halt:
            found = self.job(job) if halt.reason == "ApiRefused" else None
            if found is None or found.state in unlike:
                raise
            return found

    def _job(self, answer: _Answer, asked: str | None = None) -> Job:
        try:
            found = json.loads(answer.body)
            job, state = found["id"], found["state"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise Halt("AnswerUnusable", "the API describes a job without id and state") from error
        if not isinstance(job, str) or not isinstance(state, str) or not _JOB.fullmatch(job):
            raise Halt("AnswerUnusable", "the API names a job by an id that is none")
        if asked is not None and job != asked:
            raise Halt("AnswerUnusable", f"the API describes job {job} where it was asked for {asked}")
        return Job(job, self._words(state), self._words(str(found.get("errorMessage") or "")))

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        kind: str = "application/json; charset=UTF-8",
        limit: int = ANSWER_BYTES,
        missing: bool = False,
    ) -> _Answer:
        problem = ""
        for attempt in range(ATTEMPTS):
            wait = float(2**attempt)
            try:
                answer = self._once(method, path, body, kind, limit)
            except (OSError, http.client.HTTPException) as error:
                if method == "PUT":
                    raise UploadLost from error
                problem = f"does not answer ({type(error).__name__})"
            else:
                if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
                    return answer
                if answer.status == HTTPStatus.NOT_FOUND and missing:
                    return answer
                if answer.status != HTTPStatus.TOO_MANY_REQUESTS and answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise self._refusal(method, answer)
                if answer.status != HTTPStatus.TOO_MANY_REQUESTS and method == "PUT":
                    raise UploadLost
                problem = f"answers {answer.status}"
                wait = retry_after(answer.headers.get("retry-after", ""), wait)
            if attempt < ATTEMPTS - 1:
                self._pause(wait)
        raise Unreachable("ApiUnreachable", f"the API at {self._host} {problem}, {ATTEMPTS} times; run the same again")

    def _once(self, method: str, path: str, body: bytes | None, kind: str, limit: int) -> _Answer:
        deadline = time.monotonic() + ANSWER_SECONDS
        connection: http.client.HTTPConnection
        if self._secure:
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=SOCKET_SECONDS, context=context)
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=SOCKET_SECONDS)
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "text/csv, application/json"}
        if body is not None:
            headers["Content-Type"] = kind
        connection.connect()
        # The timeout of a socket begins anew with each byte: who sends headers for ever is hung up on.
        watch = threading.Timer(ANSWER_SECONDS, hang_up, (connection.sock,))
        watch.start()
        try:
            connection.request(method, self._path + path, body, headers)
            answer = connection.getresponse()
            found = bytearray()
            while part := answer.read1(READ_BYTES):
                found += part
                if len(found) > limit:
                    raise Halt("AnswerUnusable", f"the API's answer is longer than {limit} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError
            if answer.length:
                raise http.client.IncompleteRead(bytes(found), answer.length)
            return _Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, bytes(found))
        finally:
            watch.cancel()
            connection.close()

    def _refusal(self, method: str, answer: _Answer) -> Halt:
        if answer.status < HTTPStatus.BAD_REQUEST:
            return Halt(
                "RedirectRefused", f"the API at {self._host} leads elsewhere ({answer.status}): give its own URL"
            )
        try:
            words = "; ".join(f"{one['errorCode']}: {one['message']}" for one in json.loads(answer.body))
        except (ValueError, TypeError, KeyError, RecursionError):
            words = ""
        text = f"the API refuses {method} with {answer.status}" + (f": {self._words(words)}" if words else "")
        if "REQUEST_LIMIT_EXCEEDED" in words:
            return Unreachable("ApiLimitReached", f"{text}; run the same again when the limit allows it")
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return Halt("ApiForbidden", f"{text}; renew the token in PILOTAGE_TOKEN or give its account the right")
        return Halt("ApiRefused", text)

    def _words(self, text: str) -> str:
        return _UNPRINTABLE.sub(" ", text.replace(self._token, "…"))[:300]


def _address(url: str) -> tuple[SplitResult, int | None]:
    try:
        found = urlsplit(url)
        port = found.port
    except ValueError:
        found, port = SplitResult("", "", "", "", ""), None
    plain = not found.query and not found.fragment and _PATH.fullmatch(found.path)
    if found.scheme not in {"http", "https"} or not found.hostname or not plain:
        raise Halt("ApiUrlInvalid", "the API's URL is no https://HOST/services/data/VERSION")
    return found, port


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def outcome_of(row: Mapping[str, str], name: str) -> str:
    """A cell of a result row. Raises Halt when the API left the column out."""
    if name not in row:
        raise Halt("AnswerUnusable", f"the API's results have no column {name}")
    return row[name]
