"""A server of files on loopback, with range requests, and with faults at chosen requests."""

from __future__ import annotations

import hashlib
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from e2e.cluster.certificates import Authority


@dataclass
class Reply:
    """What the server is about to send; a fault changes it. `cut` is after how many bytes it hangs up."""

    status: int
    headers: dict[str, str]
    body: bytes
    cut: int | None = None
    endless: bool = False


Fault = Callable[[Reply], None]


class Files:
    """Files by their path. `faults` are by number of the request, from 0; `always` befalls every one.

    Without an `authorization` it takes who says nothing of himself, and whoever signs as for S3.
    """

    def __init__(self, certificates: Path | None = None) -> None:
        self.content: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.sent: list[dict[str, str]] = []
        self.faults: dict[int, Fault] = {}
        self.always: Fault = lambda _reply: None
        self.ranges = True
        self.authorization: str | None = None
        handler = type("Handler", (_Handler,), {"files": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        scheme, self.ca = "http", ""
        if certificates:
            authority = Authority(certificates)
            pair = authority.server("files", "files", ["127.0.0.1"])
            self.ca = authority.files.certificate.read_text()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.certificate, pair.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"{scheme}://{self.host}/erp"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def etag_of(self, path: str) -> str:
        return f'"{hashlib.sha256(self.content[path]).hexdigest()[:16]}"'

    def answer(self, path: str, asked: str | None, same: str | None) -> Reply:
        path = unquote(path)
        if path not in self.content:
            return Reply(404, {}, b"not here")
        body, etag = self.content[path], self.etag_of(path)
        found = re.fullmatch(r"bytes=([0-9]+)-", asked or "")
        if not found or not self.ranges or same != etag:
            return Reply(200, {"ETag": etag}, body)
        first = int(found.group(1))
        if first >= len(body):
            return Reply(416, {"Content-Range": f"bytes */{len(body)}"}, b"")
        place = f"bytes {first}-{len(body) - 1}/{len(body)}"
        return Reply(206, {"ETag": etag, "Content-Range": place}, body[first:])


class _Handler(BaseHTTPRequestHandler):
    files: Files
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        number, asked = len(self.files.asked), self.headers.get("Range")
        self.files.asked.append((self.path, asked))
        self.files.sent.append(dict(self.headers.items()))
        wanted = self.files.authorization
        if self.headers.get("Authorization") != wanted and not (wanted is None and "x-amz-date" in self.headers):
            reply = Reply(401, {}, b"")
        else:
            reply = self.files.answer(self.path, asked, self.headers.get("If-Range"))
        self.files.faults.get(number, self.files.always)(reply)
        headers = {} if reply.endless else {"Content-Length": str(len(reply.body))}
        self.close_connection = True
        self.send_response(reply.status)
        for name, value in (headers | reply.headers).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(reply.body[: reply.cut])
            while reply.endless:
                self.wfile.write(b"10000\r\n" + b"0" * 0x10000 + b"\r\n")


@contextmanager
def file_server(certificates: Path | None = None) -> Iterator[Files]:
    server = Files(certificates)
    try:
        yield server
    finally:
        server.stop()
