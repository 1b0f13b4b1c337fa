"""The cluster through the official Kubernetes client."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote

import aiohttp
from kubernetes.aio import client as official
from kubernetes.aio import config as official_config
from kubernetes.aio.config.incluster_config import SERVICE_HOST_ENV_NAME

from pilotage.kube.client import ApiError, NotFound, Objects, Unavailable, error_from
from pilotage.kube.resources import Resource

FIELD_MANAGER: Final = "pilotage"
REQUEST_TIMEOUT: Final = 30.0
ATTEMPTS: Final = 4
LONGEST_PAUSE: Final = 8.0
SAFE_TO_REPEAT: Final = frozenset({"GET", "PUT", "PATCH", "DELETE"})
JSON: Final = "application/json"
APPLY: Final = "application/apply-patch+yaml"
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

Read = TypeVar("Read")
ObserveRequest = Callable[[str, int], None]
Query = list[tuple[str, str]]


async def connect(
    kubeconfig: str | None = None, context: str | None = None, observe_request: ObserveRequest | None = None
) -> OfficialCluster:
    """A connection as the pod's service account, or as a kubeconfig says (KUBECONFIG or the usual place by default)."""
    configuration = official.Configuration()
    if kubeconfig is None and os.environ.get(SERVICE_HOST_ENV_NAME):
        official_config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    else:
        await official_config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=kubeconfig, context=context, client_configuration=configuration, persist_config=False
        )
    configuration.connection_pool_maxsize = 64
    return OfficialCluster(official.ApiClient(configuration), observe_request)


def known_contexts(kubeconfig: str | None = None) -> tuple[dict[str, str], str]:
    """The default namespace of each context of a kubeconfig, and the name of the current context.

    Raises FileNotFoundError or ValueError when there is no kubeconfig that could be used.
    """
    try:
        contexts, current = official_config.list_kube_config_contexts(kubeconfig)  # type: ignore[no-untyped-call]
    except official_config.ConfigException as error:
        raise ValueError(str(error)) from error
    return {found["name"]: found["context"].get("namespace") or "default" for found in contexts}, current["name"]


class OfficialCluster:
    """Implements `Cluster` with static paths; the library does connection, credentials and TLS.

    Repeats what is safe to repeat on overload and broken connections. A POST is never repeated: whether it
    happened is unknown, and its caller's deterministic name finds out.
    """

    def __init__(self, api: official.ApiClient, observe_request: ObserveRequest | None = None) -> None:
        self._api = api
        self._observe = observe_request or (lambda _method, _code: None)
        self._lapsed: Callable[[], bool] = lambda: False

    def fence(self, lapsed: Callable[[], bool]) -> None:
        """Refuse to send anything but reads once `lapsed` holds: another may have begun to write."""
        self._lapsed = lapsed

    @property
    def configuration(self) -> Any:
        """The library's configuration: server, certificate authority, credentials."""
        return self._api.configuration

    async def get(
        self, resource: Resource, namespace: str | None, name: str, *, acting_as: str | None = None
    ) -> dict[str, Any]:
        """The object as it is now."""
        return await self._json("GET", resource.path(namespace, name), acting_as=acting_as)

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        acting_as: str | None = None,
    ) -> Objects:
        """All objects that match, in one consistent read."""
        query = [("labelSelector", labels)] if labels else []
        query += [("fieldSelector", fields)] if fields else []
        answer = await self._json("GET", resource.path(namespace), query=query, acting_as=acting_as)
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        return [kind | item for item in answer.get("items") or []]

    async def list_metadata(self, resource: Resource, *, labels: str | None = None) -> Objects:
        """The metadata of all objects that match, across namespaces."""
        query = [("labelSelector", labels)] if labels else []
        answer = await self._json("GET", resource.path(), query=query, accept=METADATA_ONLY)
        return list(answer.get("items") or [])

    async def apply(
        self, resource: Resource, body: Mapping[str, Any], *, acting_as: str | None = None
    ) -> dict[str, Any]:
        """Server-side apply with our one field manager; unknown fields are refused."""
        metadata = body["metadata"]
        return await self._json(
            "PATCH",
            resource.path(metadata.get("namespace"), metadata["name"]),
            body=body,
            content_type=APPLY,
            query=[("fieldManager", FIELD_MANAGER), ("force", "true"), ("fieldValidation", "Strict")],
            acting_as=acting_as,
        )

    async def create(
        self, resource: Resource, body: Mapping[str, Any], *, acting_as: str | None = None
    ) -> dict[str, Any]:
        """Create; Conflict when an object of that name is there."""
        query = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]
        path = resource.path(body["metadata"].get("namespace"))
        return await self._json("POST", path, body=body, query=query, acting_as=acting_as)

    async def replace(
        self, resource: Resource, body: Mapping[str, Any], *, acting_as: str | None = None
    ) -> dict[str, Any]:
        """Replace the object that was read: the body must carry its resourceVersion."""
        return await self._replace(resource, body, None, acting_as)

    async def replace_status(self, resource: Resource, body: Mapping[str, Any]) -> dict[str, Any]:
        """Replace the status of the object that was read; the spec in the body is not looked at."""
        return await self._replace(resource, body, "status", None)

    async def _replace(
        self, resource: Resource, body: Mapping[str, Any], subresource: str | None, acting_as: str | None
    ) -> dict[str, Any]:
        metadata = body["metadata"]
        if not metadata.get("resourceVersion"):
            msg = f"{resource.kind} {metadata['name']}: a replacement needs metadata.resourceVersion"
            raise ValueError(msg)
        path = resource.path(metadata.get("namespace"), metadata["name"], subresource)
        complete = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        return await self._json(
            "PUT", path, body=complete, query=[("fieldManager", FIELD_MANAGER)], acting_as=acting_as
        )

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
    ) -> None:
        """Delete exactly the object that was seen: another one of that name answers Conflict."""
        preconditions = {"uid": uid} | ({"resourceVersion": resource_version} if resource_version else {})
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": preconditions,
            "propagationPolicy": propagation,
        }
        await self._json("DELETE", resource.path(namespace, name), body=body, acting_as=acting_as)

    async def read_log(
        self,
        namespace: str,
        pod: str,
        *,
        container: str | None = None,
        tail_lines: int = 1,
        acting_as: str | None = None,
    ) -> str:
        """The last lines that the container printed."""
        query = [("tailLines", str(tail_lines)), ("limitBytes", "65536")]
        query += [("container", container)] if container else []
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        return await self._request("GET", path, read=_text, query=query, acting_as=acting_as, accept="*/*")

    async def create_review(
        self, resource: Resource, body: Mapping[str, Any], *, acting_as: str | None = None
    ) -> dict[str, Any]:
        """Ask the API server a question; nothing is stored, so it is safe to repeat."""
        return await self._json("POST", resource.path(), body=body, acting_as=acting_as, safe=True)

    async def find_resource(self, api_version: str, kind: str) -> Resource | None:
        """Under which path the server serves that kind; None when it does not (any more)."""
        group, _, version = api_version.rpartition("/")
        if not version.strip(".") or (group and not group.strip(".")):
            return None
        path = f"/apis/{quote(group, safe='')}" if group else "/api"
        try:
            served = await self._json("GET", f"{path}/{quote(version, safe='')}")
        except NotFound:
            return None
        return next(
            (
                Resource(group, version, found["name"], kind, namespaced=found["namespaced"])
                for found in served.get("resources") or []
                if found["kind"] == kind and "/" not in found["name"]
            ),
            None,
        )

    async def server_version(self) -> str:
        """The version of the API server, such as v1.37.2."""
        return str((await self._json("GET", "/version"))["gitVersion"])

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def _json(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        return await self._request(method, path, read=_document, **arguments)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        read: Callable[[bytes], Read],
        body: Mapping[str, Any] | None = None,
        query: Query | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        acting_as: str | None = None,
        safe: bool | None = None,
    ) -> Read:
        if acting_as is not None and not acting_as:
            msg = "an empty user name would act as the operator itself"
            raise ValueError(msg)
        headers = {"Accept": accept, "Content-Type": content_type}
        if acting_as:
            headers["Impersonate-User"] = acting_as
        repeat = method in SAFE_TO_REPEAT if safe is None else safe
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return read(await self._once(method, path, headers, body, query or []))
            except Unavailable as error:
                if not repeat or attempt == ATTEMPTS:
                    raise
                await asyncio.sleep(_pause(attempt, error))
        raise AssertionError(method)

    async def _once(self, method: str, path: str, headers: dict[str, str], body: Any, query: Query) -> bytes:
        if method != "GET" and self._lapsed():
            raise Unavailable(0, "LeaseLapsed", "the Lease was not renewed in time: nothing is written any more")
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                _, url, sent, content, _ = await self._api.param_serialize(
                    method,
                    path,
                    query_params=query,
                    header_params=dict(headers),
                    body=body,
                    auth_settings=["BearerToken"],
                )
                answer = await self._api.call_api(method, url, sent, content, _request_timeout=REQUEST_TIMEOUT)
                data: bytes = await answer.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._observe(method, 0)
            raise Unavailable(0, type(error).__name__, str(error) or "no answer in time") from error
        self._observe(method, answer.status)
        if 200 <= answer.status < 300:
            return data
        failure = error_from(answer.status, _status_document(data))
        failure.retry_after = _retry_after(answer)
        raise failure


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="backslashreplace")


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        said = ascii(data[:60].decode("utf-8", errors="replace"))
        raise Unavailable(200, "NotJSON", f"answered {said}: does something between here and the API server answer?")
    return document


def _status_document(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    return document if isinstance(document, dict) else {"message": data[:500].decode("utf-8", errors="replace")}


def _retry_after(answer: Any) -> float | None:
    text = (answer.headers or {}).get("Retry-After")
    return float(text) if text and text.isdigit() else None


def _pause(attempt: int, error: ApiError) -> float:
    if error.retry_after is not None:
        return min(error.retry_after, REQUEST_TIMEOUT)
    return min(LONGEST_PAUSE, 0.2 * float(2**attempt)) * random.uniform(0.5, 1.0)  # noqa: S311 (jitter)
