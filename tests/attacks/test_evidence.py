"""S22, S25, S26, S29: evidence that is led elsewhere, answers without end, and answers that somebody else gives."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pilotage.api.v1alpha1.acceptancecheck import HttpSource
from pilotage.evidence.http import MAX_BODY, HttpEvidence, PodAddresses, service_problem
from pilotage.evidence.probe_job import UnreadableAnswer, read_answers
from pilotage.plan.acceptance_sample import Outcome
from tests.unit.evidence.test_http import Loopback, Services

ACCOUNT = "system:serviceaccount:huasheng:pilotage-deployer"


class Answering(Loopback):
    """Every name has this address."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    async def resolve(self, host, port=0, family=socket.AF_INET):
        return [
            {"hostname": host, "host": self._address, "port": port, "family": family, "proto": 0, "flags": 0},
        ]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.1.2.3",
        "::1",
        "::ffff:127.0.0.1",
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "169.254.0.1",
    ],
)
async def test_s25_a_service_that_resolves_to_what_no_pod_has_is_not_asked(address):
    cluster = Services(web={"selector": {"app": "web"}, "ports": [{"port": 80}]})
    evidence = HttpEvidence(PodAddresses(Answering(address)), 5.0)
    sample = await evidence.measure(cluster, "huasheng", source(), ACCOUNT)
    assert (sample.outcome, "which no pod has" in sample.message) == (Outcome.ERROR, True)


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "ExternalName", "externalName": "169.254.169.254"},
        {
            "type": "ExternalName",
            "externalName": "kubernetes.default.svc",
            "selector": {"a": "b"},
            "ports": [{"port": 80}],
        },
        {"type": "ExternalName", "externalName": "localhost", "selector": {"a": "b"}},
        {"ports": [{"port": 80}]},
        {"selector": {}, "ports": [{"port": 80}]},
        {"selector": None, "ports": [{"port": 80}]},
        {"selector": {"a": "b"}, "ports": [{"port": 10250}]},
        {"selector": {"a": "b"}, "ports": []},
        {"selector": {"a": "b"}},
        {},
    ],
)
async def test_s25_a_service_that_leads_out_of_the_namespace_is_not_asked(spec):
    assert service_problem({"spec": spec}, 80)
    resolver = Loopback()
    sample = await HttpEvidence(resolver).measure(Services(web=spec), "huasheng", source(), ACCOUNT)
    assert (sample.outcome, resolver.asked) == (Outcome.ERROR, [])


def source(path: str = "/", port: int = 80, **expect: Any) -> HttpSource:
    return HttpSource.model_validate({"service": "web", "port": port, "path": path, "expect": expect})


@asynccontextmanager
async def answering(answer: bytes, *, endless: bytes = b""):
    """A server that says this to whoever connects; gives its port and what it was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            while endless:
                writer.write(endless)
                await writer.drain()
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()


async def judged(port: int, path: str = "/", limit: float = 3.0, **expect: Any) -> Any:
    evidence = HttpEvidence(Loopback(), limit)
    cluster = Services(web={"selector": {"app": "web"}, "ports": [{"port": port}]})
    return await evidence.measure(cluster, "huasheng", source(path, port, **expect), ACCOUNT)


OK = b"HTTP/1.1 200 OK\r\n"
HOSTILE = {
    "nothing": (b"", b""),
    "no protocol": (b"\x16\x03\x01hello\r\n\r\n", b""),
    "a status that is none": (b"HTTP/1.1 abc OK\r\n\r\n", b""),
    "a status out of range": (b"HTTP/1.1 99999 OK\r\n\r\n", b""),
    "headers without end": (OK, b"X-A: " + b"a" * 4000 + b"\r\n"),
    "one header without end": (OK + b"X-A: ", b"a" * 65536),
    "a length that lies": (OK + b"Content-Length: 999999\r\n\r\nwelcome", b""),
    "a length that is negative": (OK + b"Content-Length: -1\r\n\r\nwelcome", b""),
    "two lengths": (OK + b"Content-Length: 1\r\nContent-Length: 7\r\n\r\nwelcome", b""),
    "chunks that are none": (OK + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nwelcome", b""),
    "a redirect to the metadata": (b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n", b""),
    "a redirect to a file": (b"HTTP/1.1 301 Moved\r\nLocation: file:///etc/passwd\r\n\r\n", b""),
    "a refresh": (b"HTTP/1.1 200 OK\r\nRefresh: 0; url=http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n", b""),
    "an encoding that Python knows": (
        OK + b"Content-Type: text/plain; charset=zlib_codec\r\nContent-Length: 2\r\n\r\nxx",
        b"",
    ),
    "a packed body": (OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00", b""),
    "a switch of protocols": (b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n", b""),
    "a body without end and without the word": (OK + b"\r\n", b"x" * 65536),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_s29_a_hostile_answer_is_no_success_and_ends_in_time(name):
    begin, endless = HOSTILE[name]
    async with answering(begin, endless=endless) as (port, asked), asyncio.timeout(8):
        sample = await judged(port, body="welcome")
    assert sample.value == "0"
    assert len(asked) in {1, 2}  # a connection that breaks at once is tried once more
    assert len(sample.message) < 1000


async def test_s29_what_stands_behind_the_first_mebibyte_is_not_read():
    async with answering(OK + b"\r\n" + b"x" * MAX_BODY + b"welcome") as (port, _):
        assert (await judged(port, body="welcome")).value == "0"


@pytest.mark.parametrize(
    "path", ["/", "/a?b=c", "//169.254.169.254/", "/@169.254.169.254/", "/%0d%0aX-Evil:1", "/..;/"]
)
async def test_s26_nothing_of_ours_is_sent_along_and_the_host_stays_the_service(path):
    async with answering(OK + b"Content-Length: 0\r\n\r\n") as (port, asked):
        await judged(port, path)
    (request,) = asked
    assert f"Host: web.huasheng.svc:{port}\r\n".encode() in request
    names = {line.partition(b":")[0].lower() for line in request.split(b"\r\n")[1:] if line}
    assert names == {b"host", b"accept", b"accept-encoding", b"user-agent", b"connection"} - (
        set() if b"\r\nConnection:" in request else {b"connection"}
    )


JOB = {"metadata": {"name": "smoke-probe-1", "uid": "job"}, "status": {}}
ANSWER = json.dumps({"results": [{"name": "customers", "value": "20123"}]})


def pod(message: str, owner: str | None, container: str = "probe") -> dict[str, Any]:
    ended = {"exitCode": 0, "message": message}
    references = [{"uid": owner, "kind": "Job", "name": "smoke-probe-1"}] if owner is not None else []
    return {
        "metadata": {"name": "forged", "ownerReferences": references},
        "status": {"containerStatuses": [{"name": container, "state": {"terminated": ended}}]},
    }


@pytest.mark.parametrize(
    "forged",
    [
        pod(ANSWER, None),
        pod(ANSWER, ""),
        pod(ANSWER, "another"),
        pod(ANSWER, "job", container="sidecar"),
        {"metadata": {"name": "forged", "ownerReferences": None}, "status": None},
        {"metadata": {"name": "forged"}},
    ],
)
def test_s22_a_pod_that_only_carries_the_label_gives_no_answer(forged):
    with pytest.raises(UnreadableAnswer):
        read_answers(JOB, [forged])


@pytest.mark.parametrize(
    "message",
    [
        "",
        "nonsense",
        "[]",
        "7",
        "null",
        '{"results": 7}',
        '{"results": [7]}',
        '{"results": [{"value": "1"}]}',
        '{"results": null}',
        "[" * 5000,
        '{"results": [[]]}',
        '{"results": [{"name": ["a"]}]}',
    ],
)
def test_s29_a_last_word_that_is_no_answer_is_none(message):
    with pytest.raises(UnreadableAnswer):
        read_answers(JOB, [pod(message, "job")])
