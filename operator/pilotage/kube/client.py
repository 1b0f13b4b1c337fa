"""The narrow protocol to the cluster, and the errors that it raises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pilotage.kube.resources import Resource

# Named here because a method `list` hides the type inside the classes.
Objects = list[dict[str, Any]]


class ApiError(Exception):
    """The API server refused a request, or did not answer it."""

    def __init__(self, status: int, reason: str, message: str, causes: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = tuple(causes)
        self.retry_after: float | None = None


class NotFound(ApiError):
    """404: the object is not there."""


class Conflict(ApiError):
    """409: it is there already, or it changed since it was read. Look again."""


class Forbidden(ApiError):
    """403: the acting account may not."""

    @property
    def namespace_terminating(self) -> bool:
        """Whether it was refused because its namespace is going away."""
        return any(cause.get("reason") == "NamespaceTerminating" for cause in self.causes)


class Invalid(ApiError):
    """Refused for its content: the same request fails for ever and is not retried."""


class Unavailable(ApiError):
    """No usable answer: overload, outage, broken connection. Whether a write happened is unknown."""


PERMANENT_TEXTS = ("failed to create typed patch object", "request is too large")


def error_from(status: int, document: Mapping[str, Any]) -> ApiError:
    """The error that a Status document of the API server stands for.

    Sources: 500 for a field that the schema does not know and for a request over etcd's limit are permanent
    (measured on 1.37).
    """
    reason = str(document.get("reason") or "")
    message = str(document.get("message") or "")
    causes = (document.get("details") or {}).get("causes") or ()
    kind: type[ApiError]
    if status == 404:
        kind = NotFound
    elif status == 409:
        kind = Conflict
    elif status == 403:
        kind = Forbidden
    elif status in {400, 413, 415, 422} or any(text in message for text in PERMANENT_TEXTS):
        kind = Invalid
    elif status == 429 or status >= 500:
        kind = Unavailable
    else:
        kind = ApiError
    return kind(status, reason, message, causes)


class Cluster(Protocol):
    """What Pilotage does with a cluster.

    `acting_as` is a full user name such as `system:serviceaccount:NS:NAME`; None is the operator's own account,
    and an empty name is refused with ValueError, for the API server would take it for the operator.
    Bodies are plain JSON trees and carry apiVersion and kind, those of lists too.
    """

    async def get(
        self, resource: Resource, namespace: str | None, name: str, *, acting_as: str | None = None
    ) -> dict[str, Any]: ...

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        acting_as: str | None = None,
    ) -> Objects: ...

    async def list_metadata(self, resource: Resource, *, labels: str | None = None) -> Objects: ...

    async def apply(
        self, resource: Resource, body: Mapping[str, Any], *, acting_as: str | None = None
    ) -> dict[str, Any]: ...

    async def create(
        self, resource: Resource, body: Mapping[str, Any], *, acting_as: str | None = None
    ) -> dict[str, Any]: ...

    async def replace(
        self, resource: Resource, body: Mapping[str, Any], *, acting_as: str | None = None
    ) -> dict[str, Any]: ...

    async def replace_status(self, resource: Resource, body: Mapping[str, Any]) -> dict[str, Any]: ...

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str,
        resource_version: str | None = None,
        propagation: str = "Background",
        acting_as: str | None = None,
    ) -> None: ...

    async def read_log(
        self,
        namespace: str,
        pod: str,
        *,
        container: str | None = None,
        tail_lines: int = 1,
        acting_as: str | None = None,
    ) -> str: ...

    async def create_review(
        self, resource: Resource, body: Mapping[str, Any], *, acting_as: str | None = None
    ) -> dict[str, Any]: ...

    async def find_resource(self, api_version: str, kind: str) -> Resource | None: ...

    async def server_version(self) -> str: ...

    async def close(self) -> None: ...
