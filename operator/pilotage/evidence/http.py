"""What a GET request is answered by a Service of the namespace, or by a declared endpoint. Nothing else is asked."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from pilotage.api.v1alpha1.acceptancecheck import HttpMeasure, HttpSource
from pilotage.evidence.endpoints import Endpoints, EndpointUnknown
from pilotage.kube.client import ApiError, Cluster, NotFound
from pilotage.kube.resources import SERVICES
from pilotage.plan.acceptance_sample import Sample

TIME_LIMIT: Final = 10.0
MAX_BODY: Final = 1024 * 1024
CHARSETS: Final = frozenset({"utf-8", "gb18030", "gbk", "gb2312", "big5", "iso-8859-1", "us-ascii"})
GOOD, BAD = "1", "0"


@dataclass(frozen=True)
class Answer:
    """What came back. `problem` says why it is not what was expected; empty when it is."""

    seconds: float
    problem: str = ""


class SourceUnusable(Exception):
    """The source cannot be asked at all."""


class PodAddresses(AbstractResolver):
    """Resolves as `inner` does, and refuses with OSError what no pod or Service has: this machine, its link, a cloud's
    metadata. The connection is made to the very address that was looked at.
    """

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self._inner = inner or aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of the host, all of them such as a pod or Service may have."""
        found = await self._inner.resolve(host, port, family)
        for each in found:
            if _is_no_pod(each["host"]):
                msg = f"it resolves to {each['host']}, which no pod has; that is refused"
                raise OSError(None, msg)
        return found

    async def close(self) -> None:
        """Let go of the resolver behind it."""
        await self._inner.close()


def _is_no_pod(host: str) -> bool:
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified


class HttpEvidence:
    """Asks Services. One client for all: no proxy, no cookies, no redirects, no connection kept."""

    def __init__(
        self,
        resolver: AbstractResolver | None = None,
        time_limit: float = TIME_LIMIT,
        endpoints: Endpoints | None = None,
    ) -> None:
        self._resolver = resolver
        self._time_limit = time_limit
        self._endpoints = endpoints or Endpoints()

    async def measure(self, cluster: Cluster, namespace: str, source: HttpSource, account: str) -> Sample:
        """One sample: Success is 1 or 0, Latency in seconds. A request that fails has no latency, it misses."""
        try:
            answer = await self.ask(source, await self._address(cluster, namespace, source, account))
        except (SourceUnusable, EndpointUnknown) as error:
            return Sample.error(str(error))
        if source.measure is HttpMeasure.SUCCESS:
            return Sample.of(BAD if answer.problem else GOOD, answer.problem)
        return Sample.missed(answer.problem) if answer.problem else Sample.of(f"{answer.seconds:.3f}")

    async def _address(self, cluster: Cluster, namespace: str, source: HttpSource, account: str) -> URL:
        if source.endpoint is not None:
            base = self._endpoints.find(source.endpoint, namespace).url
            root = str(base).rstrip("/")
            # Joined as text: a path such as //host stays a path.
            url = URL(f"{root}{source.path}")
            if not url.path.startswith(f"{URL(root).path.rstrip('/')}/"):
                msg = f"path {source.path} leads out of endpoint {source.endpoint}; that is refused"
                raise SourceUnusable(msg)
            return url
        if source.service is None or source.port is None:
            msg = "the source names neither service and port nor endpoint"
            raise SourceUnusable(msg)
        await _require_service(cluster, namespace, source.service, source.port, account)
        return URL(f"http://{source.service}.{namespace}.svc:{source.port}{source.path}")

    async def ask(self, source: HttpSource, url: URL) -> Answer:
        """Send the request and judge the answer. Raises SourceUnusable when the name cannot be resolved."""
        started = time.monotonic()
        try:
            async with (
                open_session(self._resolver, self._time_limit) as session,
                session.get(url, allow_redirects=False) as response,
            ):
                body = await read_body(response)
                return Answer(time.monotonic() - started, _problem(source, response, body))
        except aiohttp.ClientConnectorDNSError as error:
            msg = f"{url.host} cannot be resolved: {error.os_error.strerror or error.os_error}"
            raise SourceUnusable(msg) from error
        except TimeoutError:
            return Answer(self._time_limit, f"no complete answer within {self._time_limit:g} s")
        except (aiohttp.ClientError, OSError, ValueError, asyncio.IncompleteReadError) as error:
            text = f"no answer from {url.host}:{url.port}: {str(error) or type(error).__name__}"
            return Answer(time.monotonic() - started, text)


def open_session(resolver: AbstractResolver | None, time_limit: float) -> aiohttp.ClientSession:
    """A client for one request: bounded in time, without proxy, cookies, decompression or a connection kept."""
    connector = aiohttp.TCPConnector(resolver=resolver or PodAddresses(), force_close=True, use_dns_cache=False)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=time_limit),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "pilotage"},
    )


async def _require_service(cluster: Cluster, namespace: str, name: str, port: int, account: str) -> None:
    try:
        service = await cluster.get(SERVICES, namespace, name, acting_as=account)
    except NotFound as error:
        msg = f"Service {name} is not there"
        raise SourceUnusable(msg) from error
    except ApiError as error:
        msg = f"Service {name} cannot be read: {error.message}"
        raise SourceUnusable(msg) from error
    if problem := service_problem(service, port):
        raise SourceUnusable(f"Service {name} {problem}")


def service_problem(service: Mapping[str, Any], port: int) -> str:
    """Why the Service must not or cannot be asked; empty when it can.

    An external name or hand-made endpoints would let a tenant point the operator at any address.
    """
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return "has the type ExternalName and leads out of the namespace; that is refused"
    if not spec.get("selector"):
        return "has no selector, so its endpoints are not pods of the namespace; that is refused"
    ports = [found.get("port") for found in spec.get("ports") or []]
    if port not in ports:
        return f"has no port {port}, only {', '.join(map(str, ports)) or 'none'}"
    return ""


async def read_body(response: aiohttp.ClientResponse) -> bytes:
    """The answer's first MiB."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        body += chunk
        if len(body) >= MAX_BODY:
            break
    return bytes(body[:MAX_BODY])


def _problem(source: HttpSource, response: aiohttp.ClientResponse, body: bytes) -> str:
    expected = source.expect
    if response.status != expected.status:
        return f"answered {response.status}, expected {expected.status}"
    if expected.body is not None and expected.body not in _text(response, body):
        return f"the answer does not contain {expected.body[:60]!r}"
    return ""


def _text(response: aiohttp.ClientResponse, body: bytes) -> str:
    # Only these: the answer names its encoding, and some of Python's codecs are slow on hostile input.
    named = (response.charset or "").lower()
    return body.decode(named if named in CHARSETS else "utf-8", errors="replace")
