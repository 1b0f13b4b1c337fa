"""HTTP evidence against a real server on loopback: bounded in time and size, and never leaving the namespace."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver

from pilotage.api.v1alpha1.acceptancecheck import HttpSource
from pilotage.evidence.endpoints import Endpoints
from pilotage.evidence.http import MAX_BODY, HttpEvidence, service_problem
from pilotage.kube.client import NotFound
from pilotage.plan.acceptance_sample import Outcome


class Loopback(AbstractResolver):
    """Every Service lives on this machine; `none.*` does not resolve."""

    def __init__(self):
        self.asked = []

    async def resolve(self, host, port=0, family=socket.AF_INET):
        self.asked.append(host)
        if host.startswith("none."):
            raise OSError("no such name")
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    async def close(self):
        pass


class Services:
    """The part of a cluster that serves Services."""

    def __init__(self, **services):
        self.services, self.accounts = services, []

    async def get(self, resource, namespace, name, *, acting_as=None):
        self.accounts.append(acting_as)
        if name not in self.services:
            raise NotFound(404, "NotFound", f"services {name!r} not found")
        return {"metadata": {"name": name}, "spec": self.services[name]}


@pytest.fixture
async def server():
    async def good(request):
        return web.Response(text="欢迎 华升商贸", headers={"X-Host": request.host})

    async def gbk(_request):
        return web.Response(body="客户".encode("gb18030"), content_type="text/plain", charset="gb18030")

    async def away(_request):
        raise web.HTTPFound("http://example.com/")

    async def huge(_request):
        return web.Response(body=b"x" * (MAX_BODY + 10) + b"end")

    async def slow(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b".")
            await asyncio.sleep(0.05)
        return response

    async def error(_request):
        return web.Response(status=500, text="欢迎")

    app = web.Application()
    for path, handler in (
        ("/", good),
        ("/gbk", gbk),
        ("/away", away),
        ("/huge", huge),
        ("/slow", slow),
        ("/error", error),
    ):
        app.router.add_get(path, handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield site._server.sockets[0].getsockname()[1]
    await runner.cleanup()


async def ask(port, path="/", measure="Success", service="web", spec=None, limit=5.0, **expect):
    resolver = Loopback()
    cluster = Services(web=spec or {"selector": {"app": "web"}, "ports": [{"port": port}]})
    cluster.services["none"] = cluster.services["web"]
    source = HttpSource.model_validate(
        {"service": service, "port": port, "path": path, "measure": measure, "expect": expect}
    )
    evidence = HttpEvidence(resolver, limit)
    sample = await evidence.measure(cluster, "huasheng", source, "system:serviceaccount:huasheng:pilotage-deployer")
    assert set(cluster.accounts) == {"system:serviceaccount:huasheng:pilotage-deployer"}
    return sample, resolver.asked


async def test_an_expected_answer_is_a_success(server):
    sample, asked = await ask(server, body="华升商贸")
    assert (sample.outcome, sample.value) == (Outcome.VALUE, "1")
    assert asked == ["web.huasheng.svc"]


async def test_an_answer_in_gb18030_is_read(server):
    assert (await ask(server, "/gbk", body="客户"))[0].value == "1"


@pytest.mark.parametrize(
    ("path", "expect", "message"),
    [
        ("/error", {}, "answered 500, expected 200"),
        ("/", {"body": "nobody says this"}, "does not contain"),
        ("/away", {}, "answered 302, expected 200"),
        ("/huge", {"body": "end"}, "does not contain"),
    ],
)
async def test_another_answer_is_no_success_and_says_why(server, path, expect, message):
    sample, asked = await ask(server, path, **expect)
    assert sample.value == "0"
    assert message in sample.message
    assert asked == ["web.huasheng.svc"]


async def test_a_slow_answer_is_given_up(server):
    sample, _ = await ask(server, "/slow", limit=0.3)
    assert sample.value == "0"
    assert "within 0.3 s" in sample.message


async def test_latency_is_in_seconds_and_a_failed_request_has_none(server):
    sample, _ = await ask(server, measure="Latency")
    assert 0 <= float(sample.value) < 5
    assert (await ask(server, "/error", measure="Latency"))[0].outcome is Outcome.MISSED


async def test_a_refused_connection_is_no_success():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    assert (await ask(port))[0].value == "0"
    assert (await ask(port, measure="Latency"))[0].outcome is Outcome.MISSED


async def test_a_name_that_does_not_resolve_is_an_error(server):
    sample, _ = await ask(server, service="none")
    assert sample.outcome is Outcome.ERROR
    assert "cannot be resolved" in sample.message


async def test_a_missing_service_is_an_error_and_nothing_is_asked(server):
    sample, asked = await ask(server, service="portal")
    assert (sample.outcome, asked) == (Outcome.ERROR, [])
    assert "Service portal is not there" in sample.message


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "ExternalName", "externalName": "example.com", "ports": [{"port": 80}]},
        {"type": "ExternalName", "externalName": "example.com", "selector": {"app": "web"}, "ports": [{"port": 80}]},
        {"ports": [{"port": 80}]},
        {"selector": {"app": "web"}, "ports": [{"port": 8080}]},
    ],
)
async def test_a_service_that_leads_elsewhere_is_refused(spec):
    sample, asked = await ask(80, spec=spec)
    assert (sample.outcome, asked) == (Outcome.ERROR, [])


def test_an_ordinary_service_is_asked():
    assert service_problem({"spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}}, 80) == ""


async def ask_endpoint(port, path, namespace="huasheng", base=""):
    declared = [{"name": "portal", "url": f"http://portal.test:{port}{base}", "namespaces": ["huasheng"]}]
    resolver = Loopback()
    source = HttpSource.model_validate({"endpoint": "portal", "path": path})
    evidence = HttpEvidence(resolver, 5.0, Endpoints(json.dumps(declared)))
    return await evidence.measure(Services(), namespace, source, "nobody"), resolver.asked


async def test_a_declared_endpoint_is_asked(server):
    assert (await ask_endpoint(server, "/"))[0].value == "1"
    assert (await ask_endpoint(server, "/error"))[0].value == "0"
    assert (await ask_endpoint(server, "/away"))[0].message == "answered 302, expected 200"


async def test_an_endpoint_is_asked_for_its_own_namespaces_only(server):
    sample, asked = await ask_endpoint(server, "/", namespace="mingda")
    assert (sample.outcome, asked) == (Outcome.ERROR, [])
    assert "not declared for namespace mingda" in sample.message


@pytest.mark.parametrize("path", ["/../error", "/%2e%2e/error", "/x/../../error"])
async def test_a_path_does_not_lead_out_of_an_endpoint(server, path):
    sample, asked = await ask_endpoint(server, path, base="/below")
    assert (sample.outcome, asked) == (Outcome.ERROR, [])


async def test_a_path_never_names_another_host(server):
    _, asked = await ask_endpoint(server, "//other.test/")
    assert asked == ["portal.test"]
