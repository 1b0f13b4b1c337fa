"""Ask Tryton as its own clients do: JSON-RPC over HTTP, with a session of a user."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Any

TIMEOUT_SECONDS = 60.0


class TrytonError(RuntimeError):
    """Tryton refused a call, or did not answer one."""


class Tryton:
    """A session of one user with one database. The base URL is a Tryton server's, or a proxy's in front of it."""

    def __init__(self, base: str, database: str, user: str, password: str) -> None:
        self._endpoint = f"{base}/{database}/rpc/"
        self._authorization: str | None = None
        opened = self._call("common.db.login", user, {"password": password}, "en")
        session = f"{user}:{opened[0]}:{opened[1]}"
        self._authorization = "Session " + base64.b64encode(session.encode()).decode()
        self._context = self._call("model.res.user.get_preferences", True, {})

    def count(self, model: str, domain: list[Any]) -> int:
        """How many records a user finds: like every search in Tryton, without the inactive ones."""
        found: int = self._call(f"model.{model}.search_count", domain, 0, None, self._context)
        return found

    def read(self, model: str, domain: list[Any], fields: list[str], limit: int | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._call(
            f"model.{model}.search_read", domain, 0, limit, None, fields, self._context
        )
        return found

    def _call(self, method: str, *parameters: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._authorization:
            headers["Authorization"] = self._authorization
        body = json.dumps({"id": 1, "method": method, "params": parameters}).encode()
        request = urllib.request.Request(self._endpoint, data=body, headers=headers)
        try:
            # Loopback: a proxy that the user has set for the internet has no part in it.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                result = json.load(answer)
        except (urllib.error.URLError, TimeoutError) as error:
            message = f"{method}: {error}"
            raise TrytonError(message) from error
        if "error" in result:
            message = f"{method}: {result['error']}"
            raise TrytonError(message)
        return result["result"]
