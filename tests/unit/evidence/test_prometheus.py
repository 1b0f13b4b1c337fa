"""Prometheus' evidence against a server that answers whatever the test wants, hostile things too."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from aiohttp import web

from pilotage.api.v1alpha1.acceptancecheck import PrometheusSource, Target
from pilotage.evidence.endpoints import Endpoints
from pilotage.evidence.http import MAX_BODY
from pilotage.evidence.prometheus import PrometheusEvidence
from pilotage.plan.acceptance_sample import Outcome
from tests.unit.evidence.test_http import Loopback

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


class Stub:
    """Answers every question with `answer` and keeps what it was asked."""

    def __init__(self):
        self.answer, self.status, self.questions, self.headers = {}, 200, [], {}
        self.delay = 0.0

    async def handle(self, request):
        self.questions.append((request.method, request.path_qs, dict(await request.post())))
        await asyncio.sleep(self.delay)
        body = self.answer if isinstance(self.answer, str) else json.dumps(self.answer)
        return web.Response(text=body, status=self.status, headers=self.headers)


@pytest.fixture
async def stub():
    found = Stub()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.port = site._server.sockets[0].getsockname()[1]
    yield found
    await runner.cleanup()


def result(kind, found, **more):
    return {"status": "success", "data": {"resultType": kind, "result": found}, **more}


def vector(*values):
    return result("vector", [{"metric": {}, "value": [1.0, value]} for value in values])


def matrix(*values):
    return result("matrix", [{"metric": {}, "values": [[float(n), value] for n, value in enumerate(values)]}])


async def ask(stub, query="up", *, namespace="huasheng", limit=5.0, target=None, path="", label="", **source):
    declared = [
        {
            "name": "prometheus",
            "url": f"http://metrics.test:{stub.port}{path}",
            "namespaces": ["huasheng"],
            "tenantLabel": label,
        },
        {"name": "shared", "url": f"http://metrics.test:{stub.port}", "namespaces": ["*"]},
    ]
    declared[0]["tenantLabel"] = label
    wanted = PrometheusSource.model_validate({"endpoint": "prometheus", "query": query, **source})
    evidence = PrometheusEvidence(Endpoints(json.dumps(declared)), Loopback(), limit)
    return await evidence.measure(namespace, wanted, Target.model_validate(target or {"atLeast": "1"}), NOW)


async def test_the_only_series_is_the_value(stub):
    stub.answer = vector("0.9995")
    sample = await ask(stub)
    assert (sample.outcome, sample.value) == (Outcome.VALUE, "0.9995")


async def test_a_query_that_names_the_namespace_everywhere_is_asked_as_it_was_understood(stub):
    stub.answer = vector("1")
    query = "sum(rate(orders_total{namespace='huasheng',code=~\"5..\"}[5m]))  # of the shop"
    await ask(stub, query, label="namespace")
    asked = stub.questions[0][2]["query"]
    assert asked == 'sum(rate(orders_total{code=~"5..",namespace="huasheng"}[5m]))'


async def test_a_query_that_reads_more_is_not_asked_and_the_selector_is_named(stub):
    sample = await ask(stub, 'sum(up{namespace="huasheng"}) / sum(up)', label="namespace")
    assert sample.outcome is Outcome.ERROR
    assert sample.message == 'query: selector up must hold namespace="huasheng"'
    assert stub.questions == []


async def test_an_endpoint_that_says_nothing_of_labels_is_confined(stub):
    assert "must hold" in (await ask(stub, endpoint="shared")).message


async def test_a_scalar_is_the_value(stub):
    stub.answer = result("scalar", [1.0, "7"])
    assert (await ask(stub)).value == "7"


@pytest.mark.parametrize("answer", [vector(), vector("NaN"), result("scalar", [1.0, "NaN"])])
async def test_no_series_and_no_number_are_no_data(stub, answer):
    stub.answer = answer
    assert (await ask(stub)).outcome is Outcome.NO_DATA


async def test_more_than_one_series_is_an_error_that_says_so(stub):
    stub.answer = vector("1", "1")
    sample = await ask(stub)
    assert sample.outcome is Outcome.ERROR
    assert "2 series: aggregate it to one" in sample.message


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (result("matrix", []), "gives a matrix"),
        (result("string", [1.0, "x"]), "gives a string"),
        ({"status": "error", "errorType": "bad_data", "error": "parse error"}, "bad_data: parse error"),
        (vector("1") | {"warnings": ["store unreachable"]}, "store unreachable"),
        ("<html>sign in</html>", "nothing that Prometheus says"),
        ("[" * 100_000, "nothing that Prometheus says"),
        ("[]", "nothing that Prometheus says"),
        ('"text"', "nothing that Prometheus says"),
        ({"status": "success"}, "without data"),
        (result("vector", {"a": 1}), "no list of series"),
        (result("vector", [1]), "no list of series"),
        (result("vector", [{"metric": {}}]), "not a pair"),
        (result("vector", [{"value": [1, 2]}]), "not a pair"),
        ("x" * (MAX_BODY + 1), "larger than one MiB"),
    ],
)
async def test_any_other_answer_is_an_error(stub, answer, message):
    stub.answer = answer
    sample = await ask(stub)
    assert sample.outcome is Outcome.ERROR
    assert message in sample.message


async def test_a_status_other_than_200_is_an_error_whatever_it_says(stub):
    stub.answer, stub.status = vector("1"), 503
    assert (await ask(stub)).outcome is Outcome.ERROR


async def test_a_redirect_is_not_followed(stub):
    stub.answer, stub.status, stub.headers = vector("1"), 307, {"Location": "/elsewhere"}
    assert (await ask(stub)).outcome is Outcome.ERROR
    assert [path for _, path, _ in stub.questions] == ["/api/v1/query"]


async def test_a_slow_answer_is_given_up(stub):
    stub.delay = 30
    assert "within 0.2 s" in (await ask(stub, limit=0.2)).message


async def test_nothing_that_listens_is_an_error(stub):
    stub.port = 1
    assert "no answer from metrics.test" in (await ask(stub)).message


@pytest.mark.parametrize("query", ["up&time=1", "up#x", "up\r\nHost: other", '{{ .Values }} ${HOME} "', "中文"])
async def test_a_query_is_sent_as_it_is_written_in_a_field_of_its_own(stub, query):
    stub.answer = vector("1")
    await ask(stub, query)
    ((method, path, form),) = stub.questions
    assert (method, path, form) == ("POST", "/api/v1/query", {"query": query, "timeout": "5s"})


async def test_an_endpoint_may_be_below_a_path(stub):
    stub.answer = vector("1")
    await ask(stub, path="/prometheus/")
    assert stub.questions[0][1] == "/prometheus/api/v1/query"


async def test_an_endpoint_of_others_and_one_of_nobody_are_told_apart_by_nobody(stub):
    foreign = await ask(stub, namespace="mingda")
    missing = await ask(stub, namespace="mingda", endpoint="missing")
    assert foreign.outcome is missing.outcome is Outcome.ERROR
    assert foreign.message.replace("prometheus", "missing") == missing.message
    assert stub.questions == []


async def test_an_endpoint_for_everybody_is_asked_by_everybody(stub):
    stub.answer = vector("1")
    sample = await ask(stub, 'up{namespace="mingda"}', namespace="mingda", endpoint="shared")
    assert sample.value == "1"


@pytest.mark.parametrize(
    ("target", "value"), [({"atLeast": "1"}, "0.5"), ({"atMost": "1"}, "3e2"), ({"equals": "2"}, "0.5")]
)
async def test_the_worst_point_of_a_window_is_its_value(stub, target, value):
    stub.answer = matrix("2", "0.5", "3e2", *["2"] * 57)
    sample = await ask(stub, window="10m", target=target)
    assert sample.value == value
    ((_, path, form),) = stub.questions
    assert path == "/api/v1/query_range"
    assert float(form["end"]) - float(form["start"]) == 590
    assert form["step"] == "10.000"


@pytest.mark.parametrize("answer", [matrix(*["2"] * 56), matrix(*["2"] * 56, *["NaN"] * 4), result("matrix", [])])
async def test_a_window_with_holes_is_no_data(stub, answer):
    stub.answer = answer
    assert (await ask(stub, window="10m")).outcome is Outcome.NO_DATA


async def test_infinity_in_a_window_is_never_the_best_point(stub):
    stub.answer = matrix("2", "+Inf", *["2"] * 58)
    assert (await ask(stub, window="10m")).value == "+Inf"


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("{}", "a list is wanted"),
        ('[{"name": "a"}]', "endpoints"),
        ('[{"name": "A B", "url": "http://x", "namespaces": []}]', "not a DNS label"),
        ('[{"name": "a", "url": "file:///etc/passwd", "namespaces": []}]', "not http or https"),
        ('[{"name": "a", "url": "http://u:p@x", "namespaces": []}]', "not http or https"),
        ('[{"name": "a", "url": "http://x/?q=1", "namespaces": []}]', "not http or https"),
        ('[{"name": "a", "url": "http://x", "namespaces": "huasheng"}]', "not a list of names"),
        ('[{"name": "a", "url": "http://x", "namespaces": [], "tenantLabel": "a b"}]', "no label of Prometheus"),
        ('[{"name": "a", "url": "http://x", "namespaces": [], "tenantLabel": null}]', "endpoints"),
        ("[1]", "endpoints"),
    ],
)
def test_a_wrong_declaration_is_refused_at_the_start(declared, message):
    with pytest.raises(ValueError, match=message):
        Endpoints(declared)
