"""A Job controller without nodes: the pods of a Job run as processes of this machine, the real data engine in them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from pilotage.kube.resources import CONFIG_MAPS, JOBS, PODS, SECRETS, Resource
from pilotage.plan.conditions import timestamp
from tests.faults.history import Change, History
from tests.faults.proxy import Upstream

JOB_NAME = "batch.kubernetes.io/job-name"
# Small enough that a small file makes eight of them.
CHUNK_ROWS = 75
AGAIN_AFTER = 0.5


class SimulatedJobs:
    """Runs every Job once: its pods at the same time, and then it is Complete or Failed."""

    def __init__(self, upstream: Upstream, history: History, directory: Path) -> None:
        self._upstream, self._history, self._directory = upstream, history, directory
        self._tasks: set[asyncio.Task[None]] = set()
        history.subscribe(self._hear)

    async def stop(self) -> None:
        """End the processes."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hear(self, namespace: str, change: Change) -> None:
        if change.resource == JOBS.plural and change.kind == "ADDED":
            task = asyncio.create_task(self._run(namespace, change.body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, namespace: str, job: dict[str, Any]) -> None:
        begun = _now()
        pods = range(job["spec"].get("completions") or 1)
        codes = await asyncio.gather(*(self._run_pod(namespace, job, index) for index in pods))
        await self._report(JOBS, namespace, job["metadata"]["name"], _job_status(job, begun, codes))

    async def _run_pod(self, namespace: str, job: dict[str, Any], index: int) -> int:
        name = f"{job['metadata']['name']}-{index}"
        template = job["spec"]["template"]
        container = template["spec"]["containers"][0]
        labels = {**template["metadata"]["labels"], JOB_NAME: job["metadata"]["name"]}
        owner = {"apiVersion": JOBS.api_version, "kind": JOBS.kind, "name": job["metadata"]["name"]}
        references = [owner | {"uid": job["metadata"]["uid"], "controller": True}]
        metadata = {"name": name, "namespace": namespace, "labels": labels, "ownerReferences": references}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        await self._send("POST", PODS.path(namespace), body)
        begun = _now()
        await self._report(PODS, namespace, name, _pod_status(container, "Running", {"running": {"startedAt": begun}}))
        code, message = await self._execute(namespace, template["spec"], self._directory / namespace / name, index)
        ended = {"exitCode": code, "message": message, "startedAt": begun, "finishedAt": _now()}
        phase = "Failed" if code else "Succeeded"
        await self._report(PODS, namespace, name, _pod_status(container, phase, {"terminated": ended}))
        return code

    async def _execute(self, namespace: str, pod: dict[str, Any], place: Path, index: int) -> tuple[int, str]:
        """Exit code and termination message of the pod's container."""
        container = pod["containers"][0]
        mounts = dict(self._mount(namespace, pod, place))
        last_word = place / "termination"
        last_word.touch()
        _, command, *words = [*container["command"], *container.get("args", [])]
        words = [_rebased(word, mounts) for word in words] + (
            ["--chunk-rows", str(CHUNK_ROWS)] if command == "plan" else []
        )
        environment = {"PATH": os.environ["PATH"], "PILOTAGE_TERMINATION_LOG": str(last_word)}
        environment |= dict(self._environment(namespace, container)) | {"JOB_COMPLETION_INDEX": str(index)}
        setpriv = shutil.which("setpriv") or "setpriv"
        with (place / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                setpriv, "--pdeathsig", "KILL", sys.executable, "-m", "pilotage.migration", command, *words,
                stdout=log, stderr=log, env=environment, cwd=place,
            )  # fmt: skip
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                raise
        return code, last_word.read_text()

    def _mount(self, namespace: str, pod: dict[str, Any], place: Path) -> Iterator[tuple[str, Path]]:
        """Folders with what the mounted ConfigMaps hold, by the path that the container knows them by."""
        place.mkdir(parents=True)
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for mount in pod["containers"][0]["volumeMounts"]:
            reference = volumes[mount["name"]].get("configMap")
            if reference is None:
                continue
            folder = place / mount["name"]
            folder.mkdir()
            found = self._history.object(namespace, CONFIG_MAPS, reference["name"]) or {}
            for file, text in (found.get("data") or {}).items():
                (folder / file).write_text(text)
            for file, packed in (found.get("binaryData") or {}).items():
                (folder / file).write_bytes(base64.b64decode(packed))
            yield mount["mountPath"], folder

    def _environment(self, namespace: str, container: dict[str, Any]) -> Iterator[tuple[str, str]]:
        for variable in container["env"]:
            if "value" in variable:
                yield variable["name"], variable["value"]
                continue
            reference = variable["valueFrom"]["secretKeyRef"]
            secret = self._history.object(namespace, SECRETS, reference["name"]) or {"data": {}}
            yield variable["name"], base64.b64decode(secret["data"][reference["key"]]).decode()

    async def _report(self, resource: Resource, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        await self._send("PATCH", resource.path(namespace, name, "status"), {"status": status})

    async def _send(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        """What is refused is refused for good: the object is gone, or the pod is there already."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        while True:
            try:
                async with self._upstream.session.request(
                    method, self._upstream.url + path, data=json.dumps(body), headers={"Content-Type": kind}
                ) as answer:
                    if answer.status < 500 and answer.status != 429:
                        if answer.status not in {200, 201, 404, 409}:
                            raise AssertionError(f"{method} {path}: {(await answer.read()).decode()}")
                        return
            except aiohttp.ClientError:
                pass  # the API server is away
            await asyncio.sleep(AGAIN_AFTER)


def _rebased(word: str, mounts: Mapping[str, Path]) -> str:
    for path, folder in mounts.items():
        word = word.replace(path, str(folder))
    return word


def _now() -> str:
    return timestamp(datetime.now(UTC))


def _pod_status(container: Mapping[str, Any], phase: str, state: Mapping[str, Any]) -> dict[str, Any]:
    about = {"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0}
    return {"phase": phase, "containerStatuses": [about | {"ready": phase == "Running", "state": state}]}


def _job_status(job: Mapping[str, Any], begun: str, codes: list[int]) -> dict[str, Any]:
    """As the Job controller writes it: what a Job ends by is announced by a condition of its own."""
    good = not any(codes)
    now = _now()
    words = ("SuccessCriteriaMet", "Complete") if good else ("FailureTarget", "Failed")
    conditions = [
        {"type": word, "status": "True", "reason": "Simulated", "lastTransitionTime": now, "lastProbeTime": now}
        for word in words
    ]
    status: dict[str, Any] = {"startTime": begun, "conditions": conditions, "succeeded": codes.count(0)}
    if good:
        status["completionTime"] = now
        if job["spec"].get("completionMode") == "Indexed":
            status["completedIndexes"] = ",".join(str(index) for index in range(len(codes)))
    else:
        status["failed"] = len(codes) - codes.count(0)
    return status
