"""A reverse proxy between the operator and a real API server: it carries out one plan and notes every request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from tests.faults.canaries import seen_in
from tests.faults.plan import OF_EVENTS, Fault, Plan, Trigger
from tests.faults.wire import Request, parse

# The connection's own business, and what this proxy decides for itself.
NOT_PASSED_ON = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "host", "content-length"}
# What the operator watches across all namespaces. It is shown one namespace of it, so that plans can run side by side.
SCOPED = {
    "implementations", "migrationjobs", "acceptancechecks", "signoffs", "attestations", "deployments", "statefulsets",
    "daemonsets", "jobs", "pods",
}  # fmt: skip
LARGEST = 64 * 1024 * 1024
# In the API server's own words: Helm and the operator tell passing trouble from lasting trouble by them.
STATUS_TEXTS = {
    401: ("Unauthorized", "Unauthorized"),
    403: ("Forbidden", "forbidden: the fault plan says so"),
    409: ("Conflict", "Operation cannot be fulfilled: the object has been modified; please apply your changes again"),
    410: ("Expired", "too old resource version"),
    429: ("TooManyRequests", "Too many requests, please try again later."),
    500: ("InternalError", "Internal error occurred: the fault plan says so"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: ("Timeout", "Timeout: request did not complete within the allotted timeout"),
}
ANSWERS = {
    Fault.UNAUTHORIZED: 401,
    Fault.FORBIDDEN: 403,
    Fault.CONFLICT: 409,
    Fault.TOO_MANY: 429,
    Fault.SERVER_ERROR: 500,
    Fault.OUTAGE: 503,
}
# What something between the operator and the API server may say in its place.
PAGE = "<html><body>Please sign in</body></html>"


@dataclass(frozen=True)
class Traced:
    """One request that came to the proxy, and its answer's code; 0 when it got none."""

    moment: float
    request: Request
    code: int
    struck: bool = False


class Upstream:
    """The real API server, spoken to with the administrator's certificate."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session


class FaultProxy:
    """One operator's way to the API server. Faults strike from `arm` on; the trace is kept from the start.

    `leaks` names the requests that carried a canary, and its form. `expired` counts the watches that the server
    itself told of 410. `reopened` are the strikes after which a stream of their kind was opened.
    kill: ends the operator's process at once, with SIGKILL. kill_helm: its helm processes alone. terminate: asks the
    operator to end, with SIGTERM.
    """

    def __init__(
        self,
        upstream: Upstream,
        namespace: str,
        *,
        kill: Callable[[], None],
        kill_helm: Callable[[], None],
        terminate: Callable[[], None],
    ) -> None:
        self.trace: list[Traced] = []
        self.events: list[Trigger] = []
        self.leaks: list[str] = []
        self.fired: dict[Plan, float] = {}
        self.expired = 0
        self.reopened: set[Plan] = set()
        self._upstream, self._namespace = upstream, namespace
        self._kill, self._kill_helm, self._terminate = kill, kill_helm, terminate
        self._plan: Plan | None = None
        self._armed_at: float | None = None
        self._seen: Counter[Plan] = Counter()
        self._first_lists: dict[str, tuple[bytes, dict[str, str]]] = {}
        self._stale: set[str] = set()
        self._out_until = 0.0
        self._streams: set[asyncio.Transport] = set()

    async def start(self) -> str:
        """Listen on a free port of this machine and return the URL."""
        application = web.Application(client_max_size=LARGEST)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    def arm(self, plan: Plan | None) -> None:
        """From now on requests and events count, for the plan and for whoever learns from this run."""
        self._plan = plan
        self._armed_at = time.monotonic()

    def requests(self) -> list[Traced]:
        """What came since it was armed."""
        begin = self._armed_at
        return [] if begin is None else [traced for traced in self.trace if traced.moment >= begin]

    # ---- requests

    async def _handle(self, incoming: web.Request) -> web.StreamResponse:
        body = await incoming.read()
        query = dict(incoming.query)
        request = parse(incoming.method, incoming.path, query, incoming.headers, body)
        sent = b"\n".join([body, incoming.raw_path.encode(), repr(list(incoming.headers.items())).encode()])
        self.leaks += [f"{request.verb} {request.resource} {request.name}: {form}" for form in seen_in(sent)]
        if request.resource in SCOPED and not request.namespace and not request.name:
            query["fieldSelector"] = f"metadata.namespace={self._namespace}"
        begun = time.monotonic()
        if begun < self._out_until:
            return self._answer(request, 503, begun)
        if request.verb == "watch":
            return await self._watch(incoming, request, query)
        struck = self._strike(request)
        fault = struck.fault if struck else None
        if struck and (instead := await self._strike_request(incoming, request, begun, struck)) is not None:
            return instead
        listed = request.verb == "list" and request.resource in SCOPED and not request.metadata_only
        if listed and request.resource in self._stale:
            self._stale.discard(request.resource)
            content, headers = self._first_lists[request.resource]
            self._note(request, 200, begun, struck=True)
            return web.Response(body=content, headers=headers)
        async with self._upstream.session.request(
            incoming.method, self._upstream.url + incoming.raw_path.partition("?")[0], params=query,
            headers=passed_on(incoming.headers), data=body or None, allow_redirects=False,
        ) as answer:  # fmt: skip
            content, headers = await answer.read(), passed_on(answer.headers)
        if fault is not None and fault is not Fault.TERMINATE:
            return self._strike_answer(incoming, request, begun, fault, answer.status)
        if listed:
            self._first_lists.setdefault(request.resource, (content, headers))
        self._note(request, answer.status, begun, struck=fault is not None)
        return web.Response(status=answer.status, body=content, headers=headers)

    async def _strike_request(
        self, incoming: web.Request, request: Request, begun: float, struck: Plan
    ) -> web.Response | None:
        """What is answered in the server's place, which never hears of it; None: the server is asked."""
        if struck.fault in ANSWERS:
            return self._answer(request, ANSWERS[struck.fault], begun, struck.seconds)
        if struck.fault is Fault.KILL_BEFORE:
            self._kill()
            return self._no_answer(incoming, request, begun)
        if struck.fault is Fault.HANG:
            await _left(incoming)
            return self._no_answer(incoming, request, begun)
        if struck.fault is Fault.TERMINATE:
            self._terminate()
        return None

    def _strike_answer(
        self, incoming: web.Request, request: Request, begun: float, fault: Fault, code: int
    ) -> web.Response:
        """The server has done what it was asked for; nobody is told."""
        if fault is Fault.TIMEOUT_AFTER_COMMIT:
            return self._answer(request, 504, begun)
        if fault is Fault.GARBAGE:
            self._note(request, code, begun, struck=True)
            return web.Response(text=PAGE, content_type="text/html")
        if fault is Fault.KILL_HELM:
            self._kill_helm()
        elif fault is not Fault.LOST_RESPONSE:
            self._stale = set(self._first_lists) if fault is Fault.STALE_LIST else set()
            self._kill()
        return self._no_answer(incoming, request, begun, code)

    def _strike(self, request: Request) -> Plan | None:
        """The fault whose turn this request is. One about events never strikes a request."""
        found = self._due(request, events=False)
        if found and found.fault is Fault.OUTAGE:
            self._out_until = time.monotonic() + found.seconds
            for stream in self._streams:
                stream.abort()
        return found

    def _due(self, request: Request, *, events: bool) -> Plan | None:
        due = None
        for strike in self._plan.strikes if self._plan else ():
            if (strike.fault in OF_EVENTS) is not events or not strike.trigger.matches(request):
                continue
            self._seen[strike] += 1
            if strike.trigger.nth <= self._seen[strike] < strike.trigger.nth + strike.times:
                self.fired.setdefault(strike, time.monotonic())
                due = due or strike
        return due

    def _note(self, request: Request, code: int, begun: float, *, struck: bool = False) -> None:
        self.trace.append(Traced(begun, request, code, struck))

    def _no_answer(self, incoming: web.Request, request: Request, begun: float, code: int = 0) -> web.Response:
        """Cut the connection: whoever asked never hears. `code` is what the server did."""
        self._note(request, code, begun, struck=True)
        if incoming.transport is not None:
            incoming.transport.abort()
        return web.Response()

    def _answer(self, request: Request, code: int, begun: float, seconds: float = 0.0) -> web.Response:
        self._note(request, code, begun, struck=True)
        document = failure(code)
        retry = {"Retry-After": f"{seconds:.0f}"} if code == 429 else {}
        return web.json_response(document, status=code, headers=retry)

    # ---- watches

    async def _watch(self, incoming: web.Request, request: Request, query: dict[str, str]) -> web.StreamResponse:
        begun = time.monotonic()
        async with self._upstream.session.get(
            self._upstream.url + incoming.raw_path.partition("?")[0], params=query,
            headers=passed_on(incoming.headers) | {"Accept-Encoding": "identity"},
        ) as answer:  # fmt: skip
            self._note(request, answer.status, begun)
            self.reopened |= {struck for struck in self.fired if request.resource == struck.trigger.resource}
            if answer.status != 200:
                return web.Response(status=answer.status, body=await answer.read(), headers=passed_on(answer.headers))
            stream = web.StreamResponse(status=200, headers={"Content-Type": answer.headers["Content-Type"]})
            with contextlib.suppress(ConnectionError, aiohttp.ClientError), self._open(incoming):
                await stream.prepare(incoming)
                async for line in answer.content:
                    if not await self._pass_event(incoming, stream, request, line):
                        break
            return stream

    @contextlib.contextmanager
    def _open(self, incoming: web.Request) -> Iterator[None]:
        """While it lasts, an outage cuts the stream."""
        transport = incoming.transport
        if transport is None:
            return
        self._streams.add(transport)
        try:
            yield
        finally:
            self._streams.discard(transport)

    async def _pass_event(self, incoming: web.Request, stream: web.StreamResponse, watch: Request, line: bytes) -> bool:
        """Pass one line on, or do to it what the plan says. False ends the stream."""
        struck = self._strike_event(watch, line)
        fault = struck.fault if struck else None
        match fault:
            case Fault.EVENT_DROPPED:
                return True
            case Fault.EVENT_DELAYED:
                await asyncio.sleep(struck.seconds if struck else 0)
            case Fault.EVENT_DUPLICATED:
                await stream.write(line)
            case Fault.BLACK_HOLE:
                await _left(incoming)
                return False
            case Fault.STREAM_GONE | Fault.STREAM_ERROR:
                code = 410 if fault is Fault.STREAM_GONE else 500
                error = {"type": "ERROR", "object": failure(code)}
                await stream.write(json.dumps(error).encode() + b"\n")
                return False
            case _:
                pass
        await stream.write(line)
        if fault is Fault.STREAM_CUT and incoming.transport is not None:
            incoming.transport.abort()
            return False
        return True

    def _strike_event(self, watch: Request, line: bytes) -> Plan | None:
        event = json.loads(line)
        self.expired += event["type"] == "ERROR" and event["object"].get("code") == 410
        if self._armed_at is None or event["type"] not in {"ADDED", "MODIFIED", "DELETED"}:
            return None
        name = event["object"]["metadata"]["name"]
        about = Request("watch", watch.resource, watch.namespace, name)
        self.events.append(Trigger("watch", watch.resource, name))
        return self._due(about, events=True)


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that the other side is to see, impersonation among them."""
    return {name: value for name, value in headers.items() if name.lower() not in NOT_PASSED_ON}


def failure(code: int) -> dict[str, Any]:
    """A Status document as the API server writes it."""
    reason, message = STATUS_TEXTS[code]
    return {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "code": code,
        "message": message,
    }  # fmt: skip


async def _left(incoming: web.Request) -> None:
    """Wait until the other side closed its connection."""
    while incoming.transport is not None and not incoming.transport.is_closing():  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(0.1)
