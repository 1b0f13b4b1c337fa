"""Ask an API server whether it is ready, with the standard library only."""

from __future__ import annotations

import http.client
import json
import ssl
import tempfile
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml


class ApiClient:
    """Reads single paths of the API server that a kubeconfig names."""

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        self._host = str(cluster["server"]).removeprefix("https://")
        self._context = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile("wb", suffix=".pem") as client:
            client.write(b64decode(user["client-certificate-data"]) + b64decode(user["client-key-data"]))
            client.flush()
            self._context.load_cert_chain(client.name)

    def get(self, path: str, timeout: float = 2.0) -> tuple[int, bytes]:
        """Status and body of one GET; 0 and nothing when no answer came."""
        connection = http.client.HTTPSConnection(self._host, timeout=timeout, context=self._context)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def read(self, path: str) -> Any:
        """The JSON document at a path, or None when there is none yet."""
        status, body = self.get(path)
        return json.loads(body) if status == 200 else None

    def is_ready(self) -> bool:
        return self.get("/readyz")[0] == 200


def kubelet_is_healthy() -> bool:
    """The node's object keeps its last word for a while after the kubelet died, so ask the kubelet itself."""
    connection = http.client.HTTPConnection("127.0.0.1", 10248, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def wait_until(condition: Callable[[], bool], seconds: float, interval: float = 0.1) -> bool:
    """Whether the condition came true within the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True
