"""What a request to the API server is about: verb, resource, namespace, name and who asks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
QUESTIONS = ("selfsubjectrulesreviews", "selfsubjectaccessreviews", "subjectaccessreviews")
RELEASE_RECORD = re.compile(rb"sh\.helm\.release\.v1\.[a-z0-9.-]+\.v[0-9]+")
VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Request:
    """One request in the API server's own words. `resource` carries its subresource: implementations/status."""

    verb: str
    resource: str
    namespace: str = ""
    name: str = ""
    actor: str = ""
    metadata_only: bool = False
    unsure_list: bool = False

    @property
    def is_write(self) -> bool:
        """Whether it changes the cluster. Questions are POSTs and change nothing; Events and Leases are no state."""
        return self.verb in WRITES and self.resource not in {*QUESTIONS, "events", "leases"}


def parse(
    method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Request:
    """The request that a method, a path and a body stand for. A path that is no object's has it as its name."""
    headers = headers or {}
    parts = [unquote(part) for part in path.strip("/").split("/")]
    rest = parts[2:] if parts[0] == "api" else parts[3:] if parts[0] == "apis" else []
    actor = headers.get("Impersonate-User", "")
    if not rest:
        return Request(VERBS.get(method, method.lower()), "", name=path, actor=actor)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource = "/".join([rest[0], *rest[2:]])
    name = rest[1] if len(rest) > 1 else ""
    verb = VERBS.get(method, method.lower())
    if verb == "get" and not name:
        verb = "watch" if query.get("watch") in {"true", "1"} else "list"
    elif verb == "delete" and not name:
        verb = "deletecollection"
    elif verb == "create" and not name:
        name = _name_in(body)
    return Request(
        verb,
        resource,
        namespace,
        name,
        actor,
        metadata_only="PartialObjectMetadata" in headers.get("Accept", ""),
        unsure_list=verb == "list" and query.get("resourceVersion") == "0",
    )


def _name_in(body: bytes) -> str:
    """The name in a body. Helm sends its records as protobuf: there the name is looked for by its form."""
    try:
        return str((json.loads(body).get("metadata") or {}).get("name") or "")
    except (ValueError, AttributeError):
        found = RELEASE_RECORD.search(body)
        return found[0].decode() if found else ""
