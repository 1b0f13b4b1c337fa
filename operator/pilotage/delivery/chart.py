"""Brings a chart archive in and looks at it before Helm does: regular files only, bounded, self-contained."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import yaml

from pilotage.api.v1alpha1.implementation import ChartSource
from pilotage.delivery.process import child_environment, run
from pilotage.kube.client import Cluster, Forbidden, NotFound
from pilotage.kube.resources import CONFIG_MAPS, SECRETS

ARCHIVE_KEY: Final = "chart.tgz"
MAX_PACKED: Final = 10 * 1024 * 1024
MAX_UNPACKED: Final = 50 * 1024 * 1024
MAX_ENTRIES: Final = 5000
PULL_TIMEOUT: Final = 60.0


class ChartError(Exception):
    """A chart that cannot be used; `reason` for machines, the message with what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class Chart:
    """A chart archive that was looked at. `digest` is sha256 over the archive."""

    path: Path
    name: str
    version: str
    digest: str


class ChartFetcher:
    """Fetches charts and keeps the archives by digest in a scratch directory."""

    def __init__(self, cluster: Cluster, helm: str, scratch: Path) -> None:
        self._cluster = cluster
        self._helm = helm
        self._scratch = scratch
        self._known: dict[str, Chart] = {}

    async def fetch(self, source: ChartSource, namespace: str, account: str) -> Chart:
        """The chart that the source names. Raises ChartError with the remedy."""
        data = await self._read(source, namespace, account)
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if source.digest and source.digest != digest:
            msg = f"the chart's digest is {digest}, but chart.digest says {source.digest}: set the one you reviewed"
            raise ChartError("ChartDigestMismatch", msg)
        if digest not in self._known:
            metadata = await asyncio.to_thread(inspect_archive, data)
            path = self._scratch / "charts" / f"{digest.removeprefix('sha256:')}.tgz"
            await asyncio.to_thread(_keep, path, data)
            self._known[digest] = Chart(path, str(metadata["name"]), str(metadata["version"]), digest)
        chart = self._known[digest]
        if source.config_map_ref and source.version and source.version != chart.version:
            msg = f"the archive holds version {chart.version}, but chart.version says {source.version}"
            raise ChartError("ChartVersionMismatch", msg)
        return chart

    async def _read(self, source: ChartSource, namespace: str, account: str) -> bytes:
        if source.config_map_ref:
            return await self._from_config_map(source.config_map_ref.name, namespace, account)
        with tempfile.TemporaryDirectory(dir=self._scratch) as place:
            return await self._pull(source, namespace, account, Path(place))

    async def _from_config_map(self, name: str, namespace: str, account: str) -> bytes:
        try:
            found = await self._cluster.get(CONFIG_MAPS, namespace, name, acting_as=account)
        except NotFound as error:
            msg = f"ConfigMap {name} (chart.configMapRef) is not there: create it with the packaged chart under binaryData, key {ARCHIVE_KEY}"
            raise ChartError("ChartMissing", msg) from error
        except Forbidden as error:
            raise ChartError("ChartForbidden", error.message) from error
        text = (found.get("binaryData") or {}).get(ARCHIVE_KEY)
        if text is None:
            msg = f"ConfigMap {name} has no binaryData key {ARCHIVE_KEY}"
            raise ChartError("ChartMissing", msg)
        return base64.b64decode(text)

    async def _pull(self, source: ChartSource, namespace: str, account: str, place: Path) -> bytes:
        command = [self._helm, "pull", "--destination", str(place)]
        if source.version:
            command += ["--version", source.version]
        if source.oci:
            reference = source.oci
            if source.secret_ref:
                config = await self._registry_config(source.secret_ref.name, namespace, account)
                (place / "registry.json").write_bytes(config)
                command += ["--registry-config", str(place / "registry.json")]
            if not source.version and source.digest:
                reference += f"@{source.digest}"
            command.append(reference)
        else:
            command += ["--repo", str(source.repository), str(source.name)]
        ended = await run(command, environment=child_environment(self._scratch), timeout=PULL_TIMEOUT)
        archives = list(place.glob("*.tgz"))
        if ended.code != 0 or not archives:
            why = "no answer in time" if ended.late else ended.errors.strip().removeprefix("Error: ")[-500:]
            msg = f"the chart cannot be pulled from {source.oci or source.repository}: {why}"
            raise ChartError("ChartMissing", msg)
        if archives[0].stat().st_size > MAX_PACKED:
            msg = f"the archive is larger than {MAX_PACKED} bytes"
            raise ChartError("ChartRefused", msg)
        return archives[0].read_bytes()

    async def _registry_config(self, name: str, namespace: str, account: str) -> bytes:
        try:
            secret = await self._cluster.get(SECRETS, namespace, name, acting_as=account)
            return base64.b64decode(secret["data"][".dockerconfigjson"])
        except (NotFound, KeyError) as error:
            msg = f"Secret {name} (chart.secretRef) of type kubernetes.io/dockerconfigjson is not there"
            raise ChartError("ChartSecretMissing", msg) from error


def _keep(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(data)
    unfinished.replace(path)


def inspect_archive(data: bytes) -> dict[str, Any]:
    """The archive's Chart.yaml. Raises ChartError for anything but a bounded archive of regular files whose value
    schemas refer only to themselves (Helm would fetch what they refer to)."""
    if len(data) > MAX_PACKED:
        msg = f"the archive is larger than {MAX_PACKED} bytes"
        raise ChartError("ChartRefused", msg)
    metadata: dict[str, Any] | None = None
    total = entries = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for member in archive:
                entries += 1
                total += member.size
                _refuse_member(member, entries, total)
                place = PurePosixPath(member.name)
                if place.name == "values.schema.json" and member.isfile():
                    _refuse_remote_references(_content(archive, member))
                if place.name == "Chart.yaml" and len(place.parts) == 2:
                    metadata = yaml.safe_load(_content(archive, member)[:65536])
    except (tarfile.TarError, OSError, EOFError, yaml.YAMLError, RecursionError) as error:
        msg = f"the archive is no packaged chart: {error}"
        raise ChartError("ChartRefused", msg) from error
    if not isinstance(metadata, dict) or not metadata.get("name") or not metadata.get("version"):
        msg = "the archive holds no Chart.yaml with name and version: make it with `helm package`"
        raise ChartError("ChartRefused", msg)
    return metadata


def _refuse_member(member: tarfile.TarInfo, entries: int, total: int) -> None:
    place = PurePosixPath(member.name)
    if not (member.isfile() or member.isdir()):
        msg = f"{member.name} is a link or device: a chart holds regular files only"
        raise ChartError("ChartRefused", msg)
    if place.is_absolute() or ".." in place.parts:
        msg = f"{member.name} points outside the chart"
        raise ChartError("ChartRefused", msg)
    if entries > MAX_ENTRIES or total > MAX_UNPACKED:
        msg = f"the archive unpacks to more than {MAX_ENTRIES} files or {MAX_UNPACKED} bytes"
        raise ChartError("ChartRefused", msg)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    opened = archive.extractfile(member)
    return opened.read() if opened else b""


def _refuse_remote_references(text: bytes) -> None:
    try:
        pending = [json.loads(text)]
    except (ValueError, RecursionError) as error:
        msg = f"values.schema.json is no JSON: {error}"
        raise ChartError("ChartRefused", msg) from error
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += node
        elif isinstance(node, dict):
            reference = node.get("$ref") or node.get("$dynamicRef")
            if isinstance(reference, str) and not reference.startswith("#"):
                msg = f"values.schema.json refers to {reference[:200]}: only references into the schema itself (#...) are taken"
                raise ChartError("ChartRefused", msg)
            pending += list(node.values())
