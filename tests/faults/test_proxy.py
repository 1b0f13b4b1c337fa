"""The proxy, between a client and a server that notes what reaches it: each fault does what its name says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web

from tests.faults.plan import Fault, Plan, Trigger, read_plan
from tests.faults.proxy import FaultProxy, Upstream

SECRETS = "/api/v1/namespaces/shop/secrets"
DEPLOYMENTS = "/apis/apps/v1/deployments"
CREATE = Trigger("create", "secrets", "one")


class Server:
    """Answers every request and notes it; a watch gives three changes of `web` and then waits for ever."""

    def __init__(self) -> None:
        self.reached: list[tuple[str, str, str]] = []
        self.selectors: list[str] = []
        self.listed = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await self._watch(request)
        self.reached.append((request.method, request.path, request.headers.get("Impersonate-User", "")))
        if request.method == "GET":
            self.listed += 1
            self.selectors.append(request.query.get("fieldSelector", ""))
            return web.json_response({"items": [], "metadata": {"resourceVersion": str(self.listed)}})
        return web.json_response(await request.json(), status=201)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "application/json"})
        await stream.prepare(request)
        for number in ("1", "2", "3"):
            body = {"metadata": {"name": "web", "resourceVersion": number}}
            await stream.write(json.dumps({"type": "MODIFIED", "object": body}).encode() + b"\n")
        await asyncio.Event().wait()
        return stream


class Rig:
    """The proxy between the client and the server."""

    def __init__(self, session: aiohttp.ClientSession, server: Server) -> None:
        self.session, self.server = session, server
        self.kills: list[str] = []

    async def arm(self, fault: Fault, trigger: Trigger = CREATE, **fields: float) -> FaultProxy:
        self.proxy.arm(Plan("install", fault, trigger, **fields))
        return self.proxy

    async def create(self, name: str, **headers: str) -> int:
        """The answer's code; 0 when the connection was cut."""
        body = {"metadata": {"name": name}}
        try:
            async with self.session.post(self.url + SECRETS, json=body, headers=headers) as answer:
                await answer.read()
                return answer.status
        except aiohttp.ClientError:
            return 0

    async def list(self) -> str:
        async with self.session.get(self.url + DEPLOYMENTS) as answer:
            return str((await answer.json(content_type=None))["metadata"]["resourceVersion"])

    async def events(self, wanted: int = 3, patience: float = 5.0) -> list[str]:
        """What the watch tells, until so many events came, the stream ended, or nothing more came in time."""
        found: list[str] = []
        try:
            async with (
                asyncio.timeout(patience),
                self.session.get(self.url + DEPLOYMENTS, params={"watch": "true"}) as answer,
            ):
                async for line in answer.content:
                    event = json.loads(line)
                    found.append(str(event["object"].get("code") or event["object"]["metadata"]["resourceVersion"]))
                    if len(found) == wanted:
                        return found
        except (TimeoutError, aiohttp.ClientError):
            pass
        return found


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    server = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        found = Rig(session, server)
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        found.proxy = FaultProxy(
            Upstream(url, session),
            "shop",
            kill=lambda: found.kills.append("operator"),
            kill_helm=lambda: found.kills.append("helm"),
            terminate=lambda: found.kills.append("politely"),
        )
        found.url = await found.proxy.start()
        yield found
        await found.proxy.stop()
    await runner.cleanup()


async def test_without_a_plan_everything_passes_as_the_account_that_asked(rig):
    assert await rig.create("one", **{"Impersonate-User": "tenant"}) == 201
    assert rig.server.reached == [("POST", SECRETS, "tenant")]
    assert [(traced.request.actor, traced.code) for traced in rig.proxy.trace] == [("tenant", 201)]


async def test_a_kill_before_reaches_the_operator_and_not_the_server(rig):
    proxy = await rig.arm(Fault.KILL_BEFORE)
    assert await rig.create("one") == 0
    assert (rig.kills, rig.server.reached, bool(proxy.fired)) == (["operator"], [], True)


@pytest.mark.parametrize(
    ("fault", "kills"),
    [
        (Fault.KILL_AFTER, ["operator"]),
        (Fault.STALE_LIST, ["operator"]),
        (Fault.KILL_HELM, ["helm"]),
        (Fault.LOST_RESPONSE, []),
    ],
)
async def test_what_is_struck_after_the_server_did_it_is_done_and_never_heard_of(rig, fault, kills):
    await rig.arm(fault)
    assert await rig.create("one") == 0
    assert (rig.kills, len(rig.server.reached)) == (kills, 1)


@pytest.mark.parametrize(
    ("fault", "code", "reached"),
    [
        (Fault.CONFLICT, 409, 0),
        (Fault.TOO_MANY, 429, 0),
        (Fault.SERVER_ERROR, 500, 0),
        (Fault.TIMEOUT_AFTER_COMMIT, 504, 1),
    ],
)
async def test_a_refusal_is_the_proxys_own_but_a_timeout_comes_after_the_deed(rig, fault, code, reached):
    await rig.arm(fault)
    assert await rig.create("one") == code
    assert len(rig.server.reached) == reached


async def test_whoever_is_asked_to_end_still_gets_the_answer(rig):
    await rig.arm(Fault.TERMINATE)
    assert await rig.create("one") == 201
    assert (rig.kills, len(rig.server.reached)) == (["politely"], 1)


async def test_what_hangs_is_never_done_and_ends_when_the_asker_leaves(rig):
    proxy = await rig.arm(Fault.HANG)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await rig.create("one")
    assert rig.server.reached == []
    assert bool(proxy.fired)
    assert await rig.create("two") == 201


async def test_a_page_in_place_of_the_answer_comes_after_the_deed(rig):
    await rig.arm(Fault.GARBAGE)
    assert await rig.create("one") == 200
    assert len(rig.server.reached) == 1


@pytest.mark.parametrize(("fault", "code"), [(Fault.UNAUTHORIZED, 401), (Fault.FORBIDDEN, 403)])
async def test_a_refusal_of_rights_comes_before_the_deed(rig, fault, code):
    await rig.arm(fault)
    assert await rig.create("one") == code
    assert rig.server.reached == []


async def test_an_outage_refuses_everything_for_a_while_and_cuts_the_streams(rig):
    await rig.arm(Fault.OUTAGE, seconds=1.0)
    stream = asyncio.create_task(rig.events(wanted=4, patience=30.0))
    while not rig.proxy._streams:  # noqa: ASYNC110 (the proxy tells nobody)
        await asyncio.sleep(0.01)
    assert [await rig.create("one"), await rig.create("two")] == [503, 503]
    assert await stream == ["1", "2", "3"]
    async with asyncio.timeout(30):
        while await rig.create("two") != 201:  # noqa: ASYNC110 (the outage ends by itself)
            await asyncio.sleep(0.05)


async def test_only_the_nth_request_of_that_name_is_struck_and_as_often_as_planned(rig):
    await rig.arm(Fault.SERVER_ERROR, Trigger("create", "secrets", "one", nth=2), times=2)
    codes = [await rig.create(name) for name in ("one", "two", "one", "two", "one", "one")]
    assert codes == [201, 201, 500, 201, 500, 201]


async def test_a_cluster_wide_list_shows_one_namespace(rig):
    await rig.list()
    assert rig.server.selectors == ["metadata.namespace=shop"]


async def test_after_a_stale_list_the_first_list_comes_once_more(rig):
    await rig.arm(Fault.STALE_LIST)
    assert [await rig.list(), await rig.list()] == ["1", "2"]
    await rig.create("one")
    assert [await rig.list(), await rig.list()] == ["1", "3"]


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Fault.EVENT_DROPPED, ["1", "3"]),
        (Fault.EVENT_DUPLICATED, ["1", "2", "2"]),
        (Fault.EVENT_DELAYED, ["1", "2", "3"]),
        (Fault.BLACK_HOLE, ["1"]),
        (Fault.STREAM_CUT, ["1", "2"]),
        (Fault.STREAM_GONE, ["1", "410"]),
        (Fault.STREAM_ERROR, ["1", "500"]),
    ],
)
async def test_the_second_event_of_a_watch_is_struck(rig, fault, seen):
    await rig.arm(fault, Trigger("watch", "deployments", "web", nth=2), seconds=0.1)
    assert await rig.events(patience=1.0) == seen


async def test_a_plan_that_was_written_is_read_back_with_its_comment(tmp_path):
    plan = Plan("install", Fault.CONFLICT, Trigger("update", "implementations/status", "erp", 3), times=5)
    for written in (plan, replace(plan, second=Plan("install", Fault.OUTAGE, Trigger("get", "secrets", "x")))):
        (tmp_path / "plan.yaml").write_text(written.to_yaml("O3 it never stopped writing\nO4 not converged"))
        assert read_plan(tmp_path / "plan.yaml") == written


async def test_of_two_faults_each_strikes_by_its_own_count(rig):
    second = Plan("install", Fault.CONFLICT, Trigger("create", "secrets", ".*", nth=3))
    proxy = rig.proxy
    proxy.arm(Plan("install", Fault.TOO_MANY, Trigger("create", "secrets", "two"), second=second))
    assert [await rig.create(name) for name in ("one", "two", "three", "four")] == [201, 429, 409, 201]
    assert len(proxy.fired) == 2
