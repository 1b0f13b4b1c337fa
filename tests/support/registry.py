"""An OCI registry and a chart repository on loopback, over TLS, each with one chart; counts what is pulled."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from e2e.cluster.certificates import Authority

CONFIG_TYPE = "application/vnd.cncf.helm.config.v1+json"
LAYER_TYPE = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
USER, PASSWORD = "puller", "hunter2"

Document = tuple[str, bytes]


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class ChartServer:
    """Serves `chart` as NAME, VERSION under oci://HOST/NAME and https://HOST/charts. `private` asks for a password."""

    def __init__(self, directory: Path, chart: bytes, name: str, version: str) -> None:
        self.private = False
        self.pulled: list[str] = []
        authority = Authority(directory)
        pair = authority.server("registry", "registry", ["127.0.0.1"])
        self.authority_file = authority.files.certificate
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.documents, self.manifest_digest = _documents(chart, name, version)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def docker_config(self) -> str:
        """Credentials as a Secret of type kubernetes.io/dockerconfigjson holds them."""
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return json.dumps({"auths": {self.host: {"auth": token}}})

    def _answer(self, path: str, authorization: str | None) -> tuple[int, Mapping[str, str], bytes]:
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.private and authorization != f"Basic {token}":
            return 401, {"WWW-Authenticate": 'Basic realm="registry"'}, b"{}"
        if path not in self.documents:
            return 404, {}, b"{}"
        kind, data = self.documents[path]
        return 200, {"Content-Type": kind, "Docker-Content-Digest": digest_of(data)}, data

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                code, headers, data = server._answer(self.path, self.headers["Authorization"])
                if self.command == "GET" and code == 200:
                    server.pulled.append(self.path)
                self.send_response(code)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data)

            do_HEAD = do_GET  # noqa: N815 (the name that http.server calls)

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


def _documents(chart: bytes, name: str, version: str) -> tuple[dict[str, Document], str]:
    described = {"name": name, "version": version, "apiVersion": "v2"}
    config = json.dumps(described).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": digest_of(config), "size": len(config)},
            "layers": [{"mediaType": LAYER_TYPE, "digest": digest_of(chart), "size": len(chart)}],
        }
    ).encode()
    archive = f"{name}-{version}.tgz"
    index = {"apiVersion": "v1", "entries": {name: [{**described, "urls": [archive]}]}}
    pinned = digest_of(manifest)
    documents = {
        "/v2/": ("application/json", b"{}"),
        f"/v2/{name}/tags/list": ("application/json", json.dumps({"name": name, "tags": [version]}).encode()),
        f"/v2/{name}/manifests/{version}": (MANIFEST_TYPE, manifest),
        f"/v2/{name}/manifests/{pinned}": (MANIFEST_TYPE, manifest),
        f"/v2/{name}/blobs/{digest_of(config)}": (CONFIG_TYPE, config),
        f"/v2/{name}/blobs/{digest_of(chart)}": (LAYER_TYPE, chart),
        "/charts/index.yaml": ("application/yaml", yaml.safe_dump(index).encode()),
        f"/charts/{archive}": ("application/gzip", chart),
    }
    return documents, pinned
