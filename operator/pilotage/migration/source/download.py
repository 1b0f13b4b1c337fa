"""Files of an HTTP server or an S3 store, fetched whole into a folder while a run is planned.

A download that is cut goes on with a range request, as long as the server vouches by a strong ETag or by Last-Modified
that the file is still the same one; without either it begins anew. What changed in between is refused: no file is ever
put together of two.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import ipaddress
import os
import re
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from pilotage.api.v1alpha1.implementation import ConnectionType
from pilotage.migration.errors import Halt, Unreachable
from pilotage.migration.source.signature import DEFAULT_REGION, Keys, signed
from pilotage.migration.web import hang_up, retry_after

ATTEMPTS: Final = 6
REDIRECTS: Final = 5
SOCKET_SECONDS: Final = 60.0
READ_BYTES: Final = 1 << 18
# Of a URI: the connection's type, and the scheme of its URL.
SERVER_SCHEMES: Final = {
    "https": (ConnectionType.HTTP.value, "https"),
    "http": (ConnectionType.HTTP.value, "http"),
    "s3": (ConnectionType.S3.value, "https"),
    "s3+http": (ConnectionType.S3.value, "http"),
}
ALLOWED_VARIABLE: Final = "PILOTAGE_SOURCE_ADDRESSES"
_VARIABLES: Final = {
    "type": "SOURCE_TYPE",
    "url": "SOURCE_URL",
    "user": "SOURCE_USER",
    "password": "SOURCE_PASSWORD",
    "token": "SOURCE_TOKEN",
    "region": "SOURCE_REGION",
    "ca": "SOURCE_CA",
    "limit": "SOURCE_LIMIT",
}
_PORTS: Final = {"http": 80, "https": 443}
# Where clouds keep the metadata of their machines outside the link-local networks.
_METADATA: Final = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254")))
_REDIRECTIONS: Final = frozenset({301, 302, 303, 307, 308})
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")
_DIGEST: Final = re.compile(r"(?:^|,)\s*sha-256=:?([A-Za-z0-9+/=]{44}):?\s*(?:,|$)", re.IGNORECASE)

_UNPRINTABLE: Final = re.compile(r"[^ -~]+")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class FileServer:
    """A server by the URL below which its files are. No message has its password or token in it.

    With a `region` it is a store that speaks S3: the URL ends with the bucket, user and password are its access key and
    secret key, and requests are signed. Networks of this machine, link-local ones and those of clouds' metadata are
    refused unless they are `allowed`. Raises Halt for a URL that is none, and for credentials that would go over the
    network in the clear.
    """

    url: str
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    region: str = ""
    ca: str = field(default="", repr=False)
    allowed: tuple[Network, ...] = ()

    def __post_init__(self) -> None:
        found = self.parts
        if found.scheme == "http" and (self.user or self.token) and not self.region:
            raise Halt("ConnectionInvalid", f"the files of {found.hostname} need https: a password is sent to it")
        if any(not text.isprintable() for text in (self.user, self.password, self.token, self.region)):
            raise Halt("ConnectionInvalid", f"user, password or token of {found.hostname} has a character of control")

    @property
    def parts(self) -> SplitResult:
        """Scheme, host and path of the URL."""
        try:
            found = urlsplit(self.url)
            whole = found.scheme in _PORTS and found.hostname and (found.port is None or found.port > 0)
            # What getaddrinfo does with it first, and would stumble over.
            str(found.hostname).encode("idna")
        except ValueError:
            whole = None
        if not whole or found.query or found.fragment or "@" in found.netloc or not _is_plain(found.path):
            raise Halt("ConnectionInvalid", "the source's connection is no https://HOST/FOLDER")
        return found

    def path_of(self, folder: str, file: str) -> str:
        """The path of a request for the file."""
        parts = [part for part in f"{folder}/{file}".split("/") if part]
        if ".." in parts:
            raise Halt("SourceOutside", f"{file} leads out of the source's folder")
        return "/".join((self.parts.path.rstrip("/"), *map(quote, parts)))

    def connect(self) -> http.client.HTTPConnection:
        """A connection to the server, TLS verified. Raises Halt where it must not go, and OSError."""
        found = self.parts
        host, port = str(found.hostname), found.port or _PORTS[found.scheme]
        connection = http.client.HTTPConnection(host, port, timeout=SOCKET_SECONDS)
        plain = self._reach(host, port)
        try:
            connection.sock = self._context().wrap_socket(plain, server_hostname=host) if self._secure else plain
        except ssl.SSLCertVerificationError as error:
            plain.close()
            text = f"the certificate of {host} does not hold ({error.verify_message}): give its CA in ca"
            raise Halt("SourceUntrusted", text) from error
        except OSError:
            plain.close()
            raise
        return connection

    def headers(self, path: str, asked: Mapping[str, str], now: datetime) -> dict[str, str]:
        """All headers of a request for the path: what is asked, and by what the server knows who asks."""
        # As signed, and without the port that goes with the scheme.
        headers = {**asked, "Host": self.parts.netloc.removesuffix(f":{_PORTS[self.parts.scheme]}")}
        if self.region:
            return signed(headers, path, Keys(self.user, self.password, self.region), now)
        return {**headers, **self._authorization}

    @property
    def _authorization(self) -> dict[str, str]:
        if self.token:
            return {"Authorization": f"Bearer {self.token}"}
        if self.user:
            both = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            return {"Authorization": f"Basic {both}"}
        return {}

    @property
    def _secure(self) -> bool:
        return self.parts.scheme == "https"

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cadata=self.ca or None)
        except (ssl.SSLError, ValueError) as error:
            raise Halt("ConnectionInvalid", "the key ca holds no certificate in PEM") from error

    def _reach(self, host: str, port: int) -> socket.socket:
        """Connect to the very address that was looked at: a name may lead elsewhere when it is asked again."""
        problem: OSError = OSError(f"{host} has no address")
        for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            if not self._may_go(str(place[0])):
                raise Halt(
                    "AddressRefused",
                    f"{host} is {place[0]}, an address of this machine or of its cloud's metadata; an administrator "
                    f"allows it with engine.allowedAddresses of the chart (without a cluster: {ALLOWED_VARIABLE})",
                )
            found = socket.socket(family, kind, protocol)
            found.settimeout(SOCKET_SECONDS)
            try:
                found.connect(place)
            except OSError as error:
                found.close()
                problem = error
            else:
                return found
        raise problem

    def _may_go(self, text: str) -> bool:
        address = ipaddress.ip_address(text.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        near = address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
        return not (near or address in _METADATA) or any(address in network for network in self.allowed)


def _is_plain(path: str) -> bool:
    return path.isascii() and path.isprintable() and " " not in path and ".." not in unquote(path).split("/")


def use_server_uri(uri: str) -> None:
    """Set the SOURCE_* variables of this process as https://USER:PASSWORD@HOST/FOLDER says. Raises Halt.

    s3://ACCESSKEY:SECRETKEY@HOST/BUCKET is a store, over TLS, s3+http: one without. Token, CA and region stay in
    SOURCE_TOKEN, SOURCE_CA and SOURCE_REGION. The message never repeats the URI.
    """
    try:
        found = urlsplit(uri)
    except ValueError:
        raise Halt("ConnectionInvalid", "the source's connection is no https://USER:PASSWORD@HOST/FOLDER") from None
    kind, scheme = SERVER_SCHEMES.get(found.scheme, ("", ""))
    given = {
        "type": kind,
        "url": found._replace(scheme=scheme, netloc=found.netloc.rpartition("@")[2]).geturl(),
        "user": unquote(found.username or ""),
        "password": unquote(found.password or ""),
    }
    os.environ.update({_VARIABLES[name]: value for name, value in given.items()})


def file_server(environment: Mapping[str, str] = os.environ) -> FileServer:
    """The server in the SOURCE_* variables, which the operator sets. Raises Halt."""
    found = {name: environment.get(variable, "") for name, variable in _VARIABLES.items()}
    if found["type"] not in {ConnectionType.HTTP, ConnectionType.S3}:
        message = "the source is files of a server: give --connection NAME=https://… for it, or the variables SOURCE_*"
        raise Halt("ConnectionUnknown", message)
    try:
        allowed = tuple(map(ipaddress.ip_network, environment.get(ALLOWED_VARIABLE, "").replace(",", " ").split()))
    except ValueError as error:
        raise Halt("ConnectionInvalid", f"{ALLOWED_VARIABLE}: {error}") from error
    # As files end, so do Secrets that were made of them.
    texts = {name: found[name].strip() for name in ("url", "user", "token", "region")}
    if found["type"] == ConnectionType.S3:
        texts |= {"token": "", "region": texts["region"] or DEFAULT_REGION}
    else:
        texts["region"] = ""
    return FileServer(**texts, password=found["password"].rstrip("\r\n"), ca=found["ca"], allowed=allowed)


def download(
    server: FileServer,
    source_folder: str,
    files: Iterable[str],
    folder: Path,
    *,
    limit: int | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Fetch the files below the server's `source_folder` into `folder`, under their own names.

    `limit` is how many bytes they may have together; default: SOURCE_LIMIT, else what the disk has free. Raises
    Unreachable when the server stays away, Halt when it refuses, or offers what cannot be relied on.
    """
    room = min(limit or int(os.environ.get(_VARIABLES["limit"]) or 1 << 62), shutil.disk_usage(folder).free)
    for name in dict.fromkeys(files):
        path = server.path_of(source_folder, name)
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            one = _Download(server, name, path, file, room)
            one.fetch(pause)
            room -= one.have


def reach(server: FileServer) -> str:
    """Ask for the URL itself; what it answers is said in words. Raises Halt when it does not, or takes no password."""
    try:
        with _asked(server, server.parts.path or "/", {}) as answer:
            status = HTTPStatus(answer.status)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable("SourceUnreachable", f"{server.parts.hostname} {_why(error)}") from error
    if status is HTTPStatus.UNAUTHORIZED:
        raise Halt("SourceForbidden", f"{server.parts.hostname} does not take user, password or token")
    return f"{server.parts.hostname} answers {status}"


class _Again(Exception):
    """Worth another try, after `wait` seconds if the server has said so."""

    def __init__(self, problem: str, wait: float | None = None) -> None:
        super().__init__(problem)
        self.wait = wait


@dataclass(frozen=True)
class _Version:
    """By what the server knows the state of a file. `size` is in bytes, `digest` base64 of a sha256."""

    validator: str
    size: int | None
    digest: str

    @staticmethod
    def of(answer: http.client.HTTPResponse, size: int | None) -> _Version:
        """As the answer says. A weak ETag speaks of the meaning, not of the bytes."""
        etag = answer.headers.get("etag", "")
        validator = etag if etag.startswith('"') else answer.headers.get("last-modified", "")
        given = _DIGEST.search(answer.headers.get("repr-digest", "") or answer.headers.get("digest", ""))
        return _Version(validator, size, given.group(1) if given else "")


class _Download:
    """One file on its way."""

    def __init__(self, server: FileServer, name: str, path: str, file: BinaryIO, room: int) -> None:
        self._server, self._name, self._path, self._file, self._room = server, name, path, file, room
        self._version: _Version | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.have = 0
        self._digest = hashlib.sha256()
        self._file.seek(0)
        self._file.truncate()

    def fetch(self, pause: Callable[[float], None]) -> None:
        """All of it. Tries that bring it no further than any before are counted, and are not many."""
        farthest = fails = 0
        while True:
            wait = None
            try:
                return self._go_on()
            except _Again as again:
                problem, wait = str(again), again.wait
            except (OSError, http.client.HTTPException) as error:
                problem = _why(error)
            if self.have > farthest:
                farthest, fails = self.have, 0
            fails += 1
            if fails == ATTEMPTS:
                of = f" of {self._version.size}" if self._version and self._version.size is not None else ""
                raise Unreachable(
                    "SourceUnreachable",
                    f"{self._name}: {self._host} {problem}, {ATTEMPTS} times; {farthest}{of} bytes came; run it again",
                )
            pause(float(2 ** (fails - 1)) if wait is None else wait)

    @property
    def _host(self) -> str:
        return str(self._server.parts.hostname)

    def _go_on(self) -> None:
        headers = {"Accept-Encoding": "identity"}
        if self.have and self._version and self._version.validator:
            headers |= {"Range": f"bytes={self.have}-", "If-Range": self._version.validator}
        elif self.have:
            self._begin_anew()
        with _asked(self._server, self._path, headers) as answer:
            self._require(answer, asked_range="Range" in headers)
            version = self._begins(answer) if answer.status == HTTPStatus.OK else self._continues(answer)
            if version.size is not None and version.size > self._room:
                raise self._too_large(version.size)
            self._version = version
            self._take(answer)
        if version.size is not None and self.have != version.size:
            if self.have > version.size:
                self._begin_anew()
            raise _Again("ends the file too early")
        if version.digest and version.digest != base64.b64encode(self._digest.digest()).decode():
            raise Halt("SourceDamaged", f"{self._name}: what came is not what {self._host} gives as its sha256")

    def _begins(self, answer: http.client.HTTPResponse) -> _Version:
        version = _Version.of(answer, answer.length)
        if self._version and self._version.validator != version.validator:
            raise self._moved()
        self._begin_anew()
        return version

    def _continues(self, answer: http.client.HTTPResponse) -> _Version:
        """The rest, from where it was cut. What does not say that it is just this is of no use."""
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        version = _Version.of(answer, int(found.group(2)) if found and found.group(2) != "*" else None)
        if self._version and version.validator and version.validator != self._version.validator:
            raise self._moved()
        if not found or int(found.group(1)) != self.have or not version.validator:
            self._begin_anew()
            raise _Again("does not go on where the file was cut")
        return version

    def _take(self, answer: http.client.HTTPResponse) -> None:
        while part := answer.read1(READ_BYTES):
            if self.have + len(part) > self._room:
                raise self._too_large(self.have + len(part))
            try:
                self._file.write(part)
            except OSError as error:
                raise Halt("SourceTooLarge", f"{self._name} cannot be kept: {error.strerror}") from error
            self._digest.update(part)
            self.have += len(part)

    def _require(self, answer: http.client.HTTPResponse, *, asked_range: bool) -> None:
        status, where = answer.status, f"{self._host} answers {answer.status} for {self._name}"
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            given = answer.headers.get("retry-after", "")
            raise _Again(f"answers {status}", retry_after(given, 1.0) if given else None)
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and asked_range:
            self._begin_anew()
            raise _Again("does not go on where the file was cut")
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            text = f"{where}: check user and password, token or keys in the connection's Secret, and what they may read"
            raise Halt("SourceForbidden", text)
        if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
            raise Halt(
                "SourceMissing", f"{where}: check the connection's url, source.http.path (or s3.path) and from.file"
            )
        if status != HTTPStatus.OK and not (asked_range and status == HTTPStatus.PARTIAL_CONTENT):
            raise Halt("SourceRefused", where)
        packing = answer.headers.get("content-encoding", "identity").lower()
        if packing != "identity" and not (packing.endswith("gzip") and self._name.lower().endswith(".gz")):
            raise Halt("SourceRefused", f"{self._host} packs {self._name} ({_printable(packing)}), unasked")
        if answer.length is None and not answer.chunked:
            raise Halt("SourceRefused", f"{self._host} does not say where {self._name} ends: nobody could tell a part")

    def _moved(self) -> Halt:
        return Halt("SourceMoved", f"{self._name} was changed on {self._host} while it was fetched: run it again")

    def _too_large(self, size: int) -> Halt:
        return Halt(
            "SourceTooLarge",
            f"{self._name} has {size} bytes or more, there is room for {self._room}: raise the source's scratch "
            "(without a cluster: free some of the disk of TMPDIR)",
        )


@contextmanager
def _asked(server: FileServer, path: str, headers: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
    """The answer to a GET. Redirects are followed as long as they stay with the same server. Raises OSError and Halt.

    The timeout of a socket begins anew with each byte: who sends headers for ever is hung up on.
    """
    for _ in range(REDIRECTS):
        connection = server.connect()
        watch = threading.Timer(SOCKET_SECONDS, hang_up, (connection.sock,))
        watch.start()
        try:
            connection.request("GET", path, headers=server.headers(path, headers, datetime.now(UTC)))
            answer = connection.getresponse()
            watch.cancel()
            if answer.status not in _REDIRECTIONS:
                yield answer
                return
            path = _same_server(server, path, answer.headers.get("location", ""))
        finally:
            watch.cancel()
            connection.close()
    raise Halt("RedirectRefused", f"{server.parts.hostname} leads on and on")


def _same_server(server: FileServer, path: str, location: str) -> str:
    """The path that a redirect leads to. Raises Halt when it is another server's, which would get the password."""
    origin = server.parts
    try:
        found = urlsplit(urljoin(origin._replace(path=path).geturl(), location))
        port = found.port or _PORTS.get(found.scheme)
    except ValueError:
        found, port = SplitResult("", "", "", "", ""), None
    here = (origin.scheme, origin.hostname, origin.port or _PORTS[origin.scheme])
    if not location or (found.scheme, found.hostname, port) != here or not _is_plain(found.path):
        to = f" to {_printable(found.hostname)}" if found.hostname else ""
        raise Halt("RedirectRefused", f"{origin.hostname} leads elsewhere{to}: give the connection that server's URL")
    return found.path + (f"?{found.query}" if found.query and _is_plain(found.query) else "")


def _printable(text: str) -> str:
    return _UNPRINTABLE.sub("?", text)[:100]


def _why(error: Exception) -> str:
    return f"cannot be reached or broke off ({type(error).__name__}{_said(error)})"


def _said(error: Exception) -> str:
    return f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
