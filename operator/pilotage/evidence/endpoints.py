"""Addresses outside the customers' namespaces that an administrator declared, and who may have them asked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from yarl import URL

from pilotage.api.v1alpha1.common import DNS_LABEL_PATTERN

EVERYONE: Final = "*"
TENANT_LABEL: Final = "namespace"
LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True)
class Endpoint:
    """An address, and the label by which its Prometheus tells namespaces apart; empty: what it knows is for all."""

    url: URL
    tenant_label: str


class EndpointUnknown(Exception):
    """No endpoint of that name is declared for the namespace."""


class Endpoints:
    """The list of the chart's value `endpoints`, as JSON: `[{"name", "url", "namespaces", "tenantLabel"}]`.

    Raises ValueError with the entry and what is wrong with it.
    """

    def __init__(self, text: str = "[]") -> None:
        declared = json.loads(text)
        if not isinstance(declared, list):
            msg = "endpoints: a list is wanted"
            raise ValueError(msg)  # noqa: TRY004 (the text is wrong, not its type)
        self._endpoints: dict[str, Endpoint] = {}
        self._namespaces: dict[str, frozenset[str]] = {}
        for number, entry in enumerate(declared):
            try:
                self._declare(entry)
            except (KeyError, TypeError, ValueError) as error:
                msg = f"endpoints[{number}]: {error}"
                raise ValueError(msg) from error

    def _declare(self, entry: Mapping[str, Any]) -> None:
        name, namespaces = entry["name"], entry["namespaces"]
        if not re.fullmatch(DNS_LABEL_PATTERN, name) or name in self._endpoints:
            msg = f"name {name!r} is not a DNS label of its own"
            raise ValueError(msg)
        if not isinstance(namespaces, list) or not all(isinstance(found, str) for found in namespaces):
            msg = "namespaces is not a list of names"
            raise ValueError(msg)
        url = URL(entry["url"])
        if url.scheme not in {"http", "https"} or not url.host or url.user or url.query_string or url.fragment:
            msg = "url is not http or https with a host and at most a path"
            raise ValueError(msg)
        label = entry.get("tenantLabel", TENANT_LABEL)
        if label != "" and not LABEL.fullmatch(label):
            msg = f"tenantLabel {label!r} is no label of Prometheus"
            raise ValueError(msg)
        self._endpoints[name], self._namespaces[name] = Endpoint(url, label), frozenset(namespaces)

    def find(self, name: str, namespace: str) -> Endpoint:
        """The endpoint of that name. Raises EndpointUnknown, in the same words for one that others may use."""
        if {namespace, EVERYONE} & self._namespaces.get(name, frozenset()):
            return self._endpoints[name]
        msg = (
            f"endpoint {name} is not declared for namespace {namespace}: "
            "an administrator adds it to the value endpoints of the operator's chart"
        )
        raise EndpointUnknown(msg)
