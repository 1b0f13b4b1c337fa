"""The ledger: ConfigMaps in the operator's own namespace, which only grow, as many pages as a project needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pilotage.api.v1alpha1.common import IMPLEMENTATION_LABEL, MANAGED_BY, MANAGED_BY_LABEL
from pilotage.kube.client import ApiError, Cluster, NotFound
from pilotage.kube.resources import CONFIG_MAPS

LEDGER_LABEL: Final = "pilotage.dev/ledger"
PROJECT_ANNOTATION: Final = "pilotage.dev/project"
FULL: Final = 700 * 1024
"""Bytes of a page: the API server takes no ConfigMap over 1 MiB."""


@dataclass
class _Book:
    """The pages of one project, as they were read or written last."""

    uid: str
    pages: list[Mapping[str, Any]] = field(default_factory=list)


class Ledger:
    """Reads each project's pages once, and remembers them: nobody else writes them."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._books: dict[tuple[str, str], _Book] = {}

    async def read(self, cluster: Cluster, project: Mapping[str, Any]) -> dict[str, str]:
        """The entries of this very project, by the uid of what they are about. Raises ApiError."""
        book = await self._book(cluster, project)
        return {key: text for page in book.pages for key, text in (page.get("data") or {}).items()}

    async def append(self, cluster: Cluster, project: Mapping[str, Any], entries: Mapping[str, str]) -> None:
        """Write the entries down. After an error nothing is remembered, so the next pass reads what is there.

        Raises ApiError; a Conflict where an earlier write's answer was lost, or somebody else wrote.
        """
        pages = (await self._book(cluster, project)).pages
        try:
            for key, text in entries.items():
                last = dict((pages[-1].get("data") or {}) if pages else {})
                if pages and sum(map(_bytes, last.items())) + _bytes((key, text)) <= FULL:
                    pages[-1] = await cluster.replace(CONFIG_MAPS, {**pages[-1], "data": last | {key: text}})
                else:
                    pages.append(await cluster.create(CONFIG_MAPS, self._new_page(project, len(pages) + 1, key, text)))
        except ApiError:
            self.forget(project["metadata"]["namespace"], project["metadata"]["name"])
            raise

    def forget(self, namespace: str, name: str) -> None:
        """Read the project's pages anew next time."""
        self._books.pop((namespace, name), None)

    async def _book(self, cluster: Cluster, project: Mapping[str, Any]) -> _Book:
        metadata = project["metadata"]
        key, uid = (metadata["namespace"], metadata["name"]), metadata["uid"]
        known = self._books.get(key)
        if known is None or known.uid != uid:
            known = _Book(uid)
            while (page := await self._page(cluster, uid, len(known.pages) + 1)) is not None:
                known.pages.append(page)
            self._books[key] = known
        return known

    async def _page(self, cluster: Cluster, uid: str, number: int) -> Mapping[str, Any] | None:
        try:
            return await cluster.get(CONFIG_MAPS, self._namespace, _name(uid, number))
        except NotFound:
            return None

    def _new_page(self, project: Mapping[str, Any], number: int, key: str, text: str) -> dict[str, Any]:
        metadata = project["metadata"]
        return {
            "apiVersion": CONFIG_MAPS.api_version,
            "kind": CONFIG_MAPS.kind,
            "metadata": {
                "name": _name(metadata["uid"], number),
                "namespace": self._namespace,
                "labels": {MANAGED_BY_LABEL: MANAGED_BY, LEDGER_LABEL: "true", IMPLEMENTATION_LABEL: metadata["name"]},
                "annotations": {PROJECT_ANNOTATION: f"{metadata['namespace']}/{metadata['name']}"},
            },
            "data": {key: text},
        }


def _name(uid: str, number: int) -> str:
    return f"pilotage-ledger-{uid}-{number}"


def _bytes(entry: tuple[str, str]) -> int:
    key, text = entry
    return len(key) + len(text.encode())
