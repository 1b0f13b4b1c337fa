"""Addresses outside the customers' namespaces that an administrator declared, and who may have them asked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from yarl import URL

from pilotage.api.v1alpha1.common import DNS_LABEL_PATTERN

EVERYONE: Final = "*"


class EndpointUnknown(Exception):
    """No endpoint of that name is declared for the namespace."""


class Endpoints:
    """The list of the chart's value `endpoints`, as JSON: `[{"name", "url", "namespaces"}]`.

    Raises ValueError with the entry and what is wrong with it.
    """

    def __init__(self, text: str = "[]") -> None:
        declared = json.loads(text)
        if not isinstance(declared, list):
            msg = "endpoints: a list is wanted"
            raise ValueError(msg)  # noqa: TRY004 (the text is wrong, not its type)
        self._urls: dict[str, URL] = {}
        self._namespaces: dict[str, frozenset[str]] = {}
        for number, entry in enumerate(declared):
            try:
                self._declare(entry)
            except (KeyError, TypeError, ValueError) as error:
                msg = f"endpoints[{number}]: {error}"
                raise ValueError(msg) from error

    def _declare(self, entry: Mapping[str, Any]) -> None:
        name, namespaces = entry["name"], entry["namespaces"]
        if not re.fullmatch(DNS_LABEL_PATTERN, name) or name in self._urls:
            msg = f"name {name!r} is not a DNS label of its own"
            raise ValueError(msg)
        if not isinstance(namespaces, list) or not all(isinstance(found, str) for found in namespaces):
            msg = "namespaces is not a list of names"
            raise ValueError(msg)
        url = URL(entry["url"])
        if url.scheme not in {"http", "https"} or not url.host or url.user or url.query_string or url.fragment:
            msg = "url is not http or https with a host and at most a path"
            raise ValueError(msg)
        self._urls[name], self._namespaces[name] = url, frozenset(namespaces)

    def find(self, name: str, namespace: str) -> URL:
        """The address of an endpoint. Raises EndpointUnknown, in the same words for one that others may use."""
        if {namespace, EVERYONE} & self._namespaces.get(name, frozenset()):
            return self._urls[name]
        msg = (
            f"endpoint {name} is not declared for namespace {namespace}: "
            "an administrator adds it to the value endpoints of the operator's chart"
        )
        raise EndpointUnknown(msg)
