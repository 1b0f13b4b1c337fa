"""Drives the official Helm program: one process per action, in the background, as the tenant's account."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pilotage.api.v1alpha1.common import IMPLEMENTATION_LABEL
from pilotage.delivery import leftovers
from pilotage.delivery.access import ApiAccess, kubeconfig
from pilotage.delivery.archive import ChartError
from pilotage.delivery.chart import Chart
from pilotage.delivery.command import (
    AGAIN_AFTER,
    SCHEMA_REFUSAL,
    HelmAction,
    HelmError,
    arguments_of,
    error_of,
    error_of_refusal,
    last_words,
)
from pilotage.delivery.fair_slots import FairSlots
from pilotage.delivery.process import child_environment, run
from pilotage.delivery.records import decode_record, encode_record, parse_manifests, revision_of
from pilotage.kube.client import ApiError, Cluster, NotFound, Unavailable
from pilotage.kube.resources import SECRETS
from pilotage.plan.delivery import ACTION_OF, CUT_OFF, INPUT_LABEL, ReleaseFacts, Revision

__all__ = ["HelmAction", "HelmEngine", "HelmError"]

logger = logging.getLogger(__name__)

ACTION_TIMEOUT: Final = 300.0
TEMPLATE_TIMEOUT: Final = 20.0

MAX_REMEMBERED: Final = 5000


class HelmEngine:
    """Acts on releases and reads what Helm recorded of them."""

    def __init__(self, cluster: Cluster, helm: str, scratch: Path, access: ApiAccess, processes: int) -> None:
        self._cluster = cluster
        self._helm = helm
        self._scratch = scratch
        self._access = access
        self._slots = FairSlots(processes)
        self._renderings = FairSlots(processes)
        self._acting: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._errors: dict[tuple[str, str, str, str], HelmError] = {}
        self._decoded: dict[str, tuple[str, Revision]] = {}

    async def facts(self, namespace: str, release: str, account: str) -> ReleaseFacts:
        """The release's records, read as the tenant. A record that cannot be read raises ValueError."""
        acting = self.acting(namespace, release)
        ordered = await self._records(namespace, release, account)
        newest = ordered[-1] if ordered else None
        revisions = tuple(self._decode(secret, newest=secret is newest) for secret in ordered)
        return ReleaseFacts(release, revisions, acting)

    async def _records(self, namespace: str, release: str, account: str) -> list[dict[str, Any]]:
        """The release's records in ascending order."""
        labels = f"owner=helm,name={release}"
        secrets = await self._cluster.list(SECRETS, namespace, labels=labels, acting_as=account)
        try:
            return sorted(secrets, key=lambda secret: int(secret["metadata"]["labels"]["version"]))
        except (KeyError, ValueError) as error:
            msg = f"release {release}: a record's label `version` is missing or no number"
            raise ValueError(msg) from error

    def _decode(self, secret: Mapping[str, Any], *, newest: bool) -> Revision:
        uid, version = secret["metadata"]["uid"], f"{secret['metadata']['resourceVersion']}/{newest}"
        known = self._decoded.get(uid)
        if known and known[0] == version:
            return known[1]
        revision = revision_of(secret, with_manifest=newest)
        if len(self._decoded) > MAX_REMEMBERED:
            self._decoded.clear()
        self._decoded[uid] = (version, revision)
        return revision

    async def releases_of(self, namespace: str, implementation: str, account: str) -> list[str]:
        """The names of the releases whose records carry the Implementation's label."""
        labels = f"owner=helm,{IMPLEMENTATION_LABEL}={implementation}"
        secrets = await self._cluster.list(SECRETS, namespace, labels=labels, acting_as=account)
        return sorted({name for secret in secrets if (name := secret["metadata"]["labels"].get("name"))})

    def acting(self, namespace: str, release: str) -> bool:
        """Whether a child of ours acts on the release at this moment, or waits for its slot."""
        return (namespace, release) in self._acting

    def last_error(self, namespace: str, release: str, digest: str, attempt: str) -> HelmError | None:
        """How the last action with this very input failed, if it left no record."""
        error = self._errors.get((namespace, release, digest, attempt))
        return None if error is None or (error.until and time.monotonic() > error.until) else error

    def start(self, action: HelmAction, on_end: Callable[[], None]) -> None:
        """Act in the background and call `on_end` afterwards. A release that is acted on is left alone."""
        place = (action.namespace, action.release)
        if place in self._acting:
            return
        self._acting[place] = asyncio.create_task(self._act(action, on_end), name=f"helm {action.release}")

    async def _act(self, action: HelmAction, on_end: Callable[[], None]) -> None:
        key = (action.namespace, action.release, action.input, action.attempt)
        try:
            try:
                error = await self._carry_out(action)
            except (OSError, ValueError) as failure:
                error = HelmError("HelmFailed", f"helm cannot be started: {failure}", time.monotonic() + AGAIN_AFTER)
            except ApiError as failure:
                error = error_of_refusal(action, failure)
            if error is None:
                self._errors.pop(key, None)
            else:
                logger.warning("helm %s of %s: %s", action.kind, action.release, error.message)
                if len(self._errors) > MAX_REMEMBERED:
                    self._errors.clear()
                self._errors[key] = error
                if error.until:
                    asyncio.get_running_loop().call_later(AGAIN_AFTER + 0.1, on_end)
        finally:
            del self._acting[action.namespace, action.release]
            on_end()

    async def _carry_out(self, action: HelmAction) -> HelmError | None:
        if action.kind == "Uninstall":
            return await self._uninstall(action)
        async with self._slots.hold(action.namespace):
            error = await self._run(action)
        if error is None:
            await self._remove_dropped(action)
        return error

    async def _uninstall(self, action: HelmAction) -> HelmError | None:
        records = await self._records(action.namespace, action.release, action.account)
        if records and revision_of(records[-1], with_manifest=False).status != "uninstalled":
            async with self._slots.hold(action.namespace):
                error = await self._run(action)
            if error is not None:
                return error
        await self.finish_removal(action)
        return None

    async def finish_removal(self, action: HelmAction) -> None:
        """Look whether every object of an uninstalled release is gone, and only then delete the records, which alone
        name them. Raises ApiError, and is then to be called again.
        """
        records = await self._records(action.namespace, action.release, action.account)
        revisions = [revision_of(record, with_manifest=True) for record in records]
        await self._remove(action, [found for revision in revisions for found in leftovers.places(revision.manifests)])
        # The newest goes last: as long as it is there, the release is to be removed.
        for record in records:
            with contextlib.suppress(NotFound):
                await self._delete_record(record, action.account)

    async def _remove_dropped(self, action: HelmAction) -> None:
        """Remove what earlier revisions had and the newest has no more. Tried until the API server has answered.

        An operator that is killed meanwhile does it after the next action on the release.
        """
        while True:
            try:
                records = await self._records(action.namespace, action.release, action.account)
                revisions = [revision_of(record, with_manifest=True) for record in records]
                await self._remove(action, leftovers.dropped(revisions) if len(revisions) > 1 else [])
            except Unavailable as error:
                logger.warning("what %s no longer has cannot be removed yet: %s", action.release, error.message)
                await asyncio.sleep(AGAIN_AFTER)
            else:
                return

    async def _remove(self, action: HelmAction, places: Iterable[leftovers.Place]) -> None:
        distinct = dict.fromkeys(places)
        removed = await leftovers.remove(self._cluster, action.release, action.namespace, distinct, action.account)
        for place in removed:
            logger.warning("helm left %s %s of %s behind: removed", place.kind, place.name, action.release)

    async def _delete_record(self, record: Mapping[str, Any], account: str) -> None:
        """Delete the record that was read; one that somebody touched meanwhile is left alone (Conflict)."""
        metadata = record["metadata"]
        await self._cluster.delete(
            SECRETS,
            metadata["namespace"],
            metadata["name"],
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
            acting_as=account,
        )

    async def _run(self, action: HelmAction) -> HelmError | None:
        with tempfile.TemporaryDirectory(dir=self._scratch) as place:
            config = Path(place) / "kubeconfig"
            config.write_text(kubeconfig(self._access, action.namespace, action.account))
            command = [
                self._helm,
                *arguments_of(action),
                "--namespace",
                action.namespace,
                "--kubeconfig",
                str(config),
                "--qps",
                "200",
                "--timeout",
                f"{int(action.timeout or ACTION_TIMEOUT)}s",
            ]
            values = json.dumps(action.values, ensure_ascii=False).encode()
            ended = await run(
                command,
                environment=child_environment(self._scratch),
                stdin=values,
                timeout=(action.timeout or ACTION_TIMEOUT) + 30,
            )
        return error_of(action, ended)

    async def unlock(self, namespace: str, release: str, account: str) -> None:
        """Write `failed` into the record of an action that was cut off, as Flux does, so that the next one can start.

        It stays, for the objects may be half-way: without it the record before would say that all is as it was. That
        is what a rollback which was cut off is told by: its objects are the good ones already, and the record before
        it is the bad one. The replacement carries the version that was read: a record that somebody touched meanwhile
        is left alone (Conflict).
        """
        records = await self._records(namespace, release, account)
        if not records or self.acting(namespace, release):
            return
        newest = records[-1]
        if not revision_of(newest, with_manifest=False).is_pending:
            return
        metadata, document = newest["metadata"], decode_record(newest)
        stale, labels = document["info"]["status"], dict(metadata["labels"])
        if stale == "uninstalling":
            # Half its objects are gone: it must not be taken for a failed attempt at its input.
            labels.pop(INPUT_LABEL, None)
        document["info"] |= {"status": "failed", "description": f'{ACTION_OF[stale]} "{release}" failed: {CUT_OFF}'}
        body = {
            **newest,
            "metadata": {**metadata, "labels": {**labels, "status": "failed"}},
            "data": {**newest["data"], "release": encode_record(document)},
        }
        await self._cluster.replace(SECRETS, body, acting_as=account)

    async def template(
        self, chart: Chart, values: Mapping[str, Any], release: str, namespace: str, redact: Callable[[str], str] = str
    ) -> list[dict[str, Any]]:
        """The chart's objects, rendered without a cluster. Raises ChartError when the values or the chart forbid it."""
        command = [
            self._helm, "template", release, str(chart.path), "--namespace", namespace, "--values", "-",
            "--include-crds", "--no-hooks",
        ]  # fmt: skip
        async with self._renderings.hold(namespace):
            ended = await run(
                command,
                environment=child_environment(self._scratch),
                stdin=json.dumps(values, ensure_ascii=False).encode(),
                timeout=TEMPLATE_TIMEOUT,
                cpu_seconds=15,
            )
        if ended.exceeded or ended.code < 0:
            limit = ended.exceeded or "processor time"
            text = f"the chart's templates were stopped: they exceeded their limit of {limit}; look for an endless loop"
            raise ChartError("ChartLimit", text)
        if ended.code != 0:
            reason = "ValuesInvalid" if SCHEMA_REFUSAL in ended.errors else "ChartInvalid"
            raise ChartError(reason, last_words(redact(ended.errors)))
        try:
            return parse_manifests(ended.output.decode())
        except ValueError as error:
            raise ChartError("ChartInvalid", str(error)) from error

    async def close(self) -> None:
        """Kill the children and wait until they are gone. Their records are unlocked by whoever comes next."""
        tasks = list(self._acting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
