"""Brings chart archives in from ConfigMaps, chart repositories and registries, and keeps them by digest."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pilotage.api.v1alpha1.implementation import ChartSource
from pilotage.delivery.archive import MAX_PACKED, ChartError, inspect_archive
from pilotage.delivery.process import child_environment, run
from pilotage.kube.client import Cluster, Forbidden, NotFound
from pilotage.kube.resources import CONFIG_MAPS, SECRETS

__all__ = ["Chart", "ChartError", "ChartFetcher"]

ARCHIVE_KEY: Final = "chart.tgz"
PULL_TIMEOUT: Final = 60.0
PULL_AGAIN_AFTER: Final = 600.0
MAX_REMEMBERED: Final = 5000


@dataclass(frozen=True)
class Chart:
    """A chart that was looked at: `path` is what Helm is given, `digest` is sha256 over the archive as it came."""

    path: Path
    name: str
    version: str
    digest: str


class ChartFetcher:
    """Fetches charts and keeps the archives by digest in a scratch directory.

    A registry is asked again for the same chart after ten minutes at the earliest, each account for itself: what one
    may pull is not handed to another.
    """

    def __init__(self, cluster: Cluster, helm: str, scratch: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._helm = helm
        self._scratch = scratch
        self._clock = clock
        self._known: dict[str, Chart] = {}
        self._pulled: dict[tuple[str, str], tuple[float, Chart]] = {}

    async def fetch(self, source: ChartSource, namespace: str, account: str) -> Chart:
        """The chart that the source names. Raises ChartError with the remedy."""
        if source.config_map_ref:
            return await self._take(source, await self._from_config_map(source.config_map_ref.name, namespace, account))
        place = account, source.model_dump_json()
        until, chart = self._pulled.get(place, (0.0, None))
        if chart is None or self._clock() > until:
            with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
                chart = await self._take(source, await self._pull(source, namespace, account, Path(folder)))
            if len(self._pulled) > MAX_REMEMBERED:
                self._pulled.clear()
            self._pulled[place] = (self._clock() + PULL_AGAIN_AFTER, chart)
        return chart

    async def _take(self, source: ChartSource, data: bytes) -> Chart:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if source.digest and source.digest != digest:
            msg = f"the chart's digest is {digest}, but chart.digest says {source.digest}: set the one you reviewed"
            raise ChartError("ChartDigestMismatch", msg)
        if digest not in self._known:
            found = await asyncio.to_thread(inspect_archive, data)
            path = self._scratch / "charts" / f"{digest.removeprefix('sha256:')}.tgz"
            await asyncio.to_thread(_keep, path, found.data)
            self._known[digest] = Chart(path, found.name, found.version, digest)
        chart = self._known[digest]
        if source.config_map_ref and source.version and source.version != chart.version:
            msg = f"the archive holds version {chart.version}, but chart.version says {source.version}"
            raise ChartError("ChartVersionMismatch", msg)
        return chart

    async def _from_config_map(self, name: str, namespace: str, account: str) -> bytes:
        try:
            found = await self._cluster.get(CONFIG_MAPS, namespace, name, acting_as=account)
        except NotFound as error:
            msg = (
                f"ConfigMap {name} (chart.configMapRef) is not there: "
                f"create it with the packaged chart under binaryData, key {ARCHIVE_KEY}"
            )
            raise ChartError("ChartMissing", msg) from error
        except Forbidden as error:
            raise ChartError("ChartForbidden", error.message) from error
        text = (found.get("binaryData") or {}).get(ARCHIVE_KEY)
        if text is None:
            msg = f"ConfigMap {name} has no binaryData key {ARCHIVE_KEY}"
            raise ChartError("ChartMissing", msg)
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error as error:
            msg = f"ConfigMap {name}: binaryData key {ARCHIVE_KEY} is no base64"
            raise ChartError("ChartRefused", msg) from error

    async def _pull(self, source: ChartSource, namespace: str, account: str, place: Path) -> bytes:
        command = [self._helm, "pull", "--destination", str(place)]
        if source.version:
            command += ["--version", source.version]
        if source.oci:
            if source.secret_ref:
                config = await self._registry_config(source.secret_ref.name, namespace, account)
                (place / "registry.json").write_bytes(config)
                command += ["--registry-config", str(place / "registry.json")]
            command.append(source.oci)
        else:
            command += ["--repo", str(source.repository), str(source.name)]
        ended = await run(command, environment=child_environment(self._scratch), timeout=PULL_TIMEOUT)
        data = await asyncio.to_thread(_pulled, place)
        if ended.code != 0 or data is None:
            why = "no answer in time" if ended.late else ended.errors.strip().removeprefix("Error: ")[-500:]
            msg = f"the chart cannot be pulled from {source.oci or source.repository}: {why}"
            raise ChartError("ChartMissing", msg)
        return data

    async def _registry_config(self, name: str, namespace: str, account: str) -> bytes:
        try:
            secret = await self._cluster.get(SECRETS, namespace, name, acting_as=account)
            return base64.b64decode(secret["data"][".dockerconfigjson"])
        except (NotFound, KeyError) as error:
            msg = f"Secret {name} (chart.secretRef) of type kubernetes.io/dockerconfigjson is not there"
            raise ChartError("ChartSecretMissing", msg) from error


def _pulled(place: Path) -> bytes | None:
    """The archive that helm left there, cut off where it is too large to be taken anyway."""
    for archive in place.glob("*.tgz"):
        with archive.open("rb") as file:
            return file.read(MAX_PACKED + 1)
    return None


def _keep(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(data)
    unfinished.replace(path)
