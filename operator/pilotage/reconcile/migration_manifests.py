"""The objects that a migration run puts into the customer's namespace: one ConfigMap and a Job for each stage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pilotage.api.v1alpha1.common import (
    IMPLEMENTATION_LABEL,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    MIGRATION_LABEL,
    MODULE_LABEL,
    parse_duration,
)
from pilotage.api.v1alpha1.implementation import Connection
from pilotage.api.v1alpha1.migrationjob import MigrationJobSpec, MigrationSource
from pilotage.evidence.probe_job import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    connection_environment,
    owner_reference,
    source_environment,
)
from pilotage.plan.migration_facts import RunIdentity, Stage
from pilotage.plan.quantity import parse_quantity
from pilotage.reconcile.settings import Settings

CONTAINER: Final = "migrate"
SPEC_KEY: Final = "migrationjob.json"
FINAL_EXIT_CODES: Final = [42, 43, 44]
RETRIES: Final = 6
SCRATCH_BYTES: Final = 64 << 20
COMMANDS: Final = {Stage.PLAN: "plan", Stage.LOAD: "work", Stage.REPORT: "report", Stage.ROLLBACK: "rollback"}


def spec_name(body: Mapping[str, Any], identity: RunIdentity) -> str:
    """Name of the ConfigMap with the run's spec."""
    return identity.job_name(body["metadata"]["name"], "spec")


def spec_config_map(body: Mapping[str, Any], spec: MigrationJobSpec, identity: RunIdentity) -> dict[str, Any]:
    """Name and spec as the data engine reads them."""
    metadata = {name: body["metadata"][name] for name in ("namespace", "name")}
    content = json.dumps({"metadata": metadata, "spec": body["spec"]}, ensure_ascii=False)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(body, spec, spec_name(body, identity)),
        "immutable": True,
        "data": {SPEC_KEY: content},
    }


def stage_job(
    body: Mapping[str, Any],
    spec: MigrationJobSpec,
    stage: Stage,
    identity: RunIdentity,
    *,
    secret: str,
    live: Connection | None = None,
    retry_at: str,
    settings: Settings,
) -> dict[str, Any]:
    """The Job of one stage; `live` is the connection that is its source, where it is one.

    Evictions are no failures; what cannot succeed by trying again fails the Job at once.
    """
    metadata = _metadata(body, spec, identity.job_name(body["metadata"]["name"], stage))
    job: dict[str, Any] = {
        "backoffLimit": RETRIES,
        "activeDeadlineSeconds": max(1, int(parse_duration(spec.deadline).total_seconds())),
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": FINAL_EXIT_CODES}},
            ]
        },
        "template": {
            "metadata": {"labels": metadata["labels"]},
            "spec": _pod(body, spec, stage, identity, secret=secret, live=live, retry_at=retry_at, settings=settings),
        },
    }
    if stage is Stage.LOAD:
        del job["backoffLimit"]
        job |= {
            "completionMode": "Indexed",
            "completions": spec.parallelism,
            "parallelism": spec.parallelism,
            "backoffLimitPerIndex": RETRIES,
        }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job}


def _metadata(body: Mapping[str, Any], spec: MigrationJobSpec, name: str) -> dict[str, Any]:
    owner = body["metadata"]
    return {
        "name": name,
        "namespace": owner["namespace"],
        "labels": {
            MANAGED_BY_LABEL: MANAGED_BY,
            IMPLEMENTATION_LABEL: spec.implementation_ref.name[:63],
            MODULE_LABEL: spec.module,
            MIGRATION_LABEL: owner["name"],
        },
        "ownerReferences": [owner_reference(body)],
    }


def _pod(
    body: Mapping[str, Any],
    spec: MigrationJobSpec,
    stage: Stage,
    identity: RunIdentity,
    *,
    secret: str,
    live: Connection | None,
    retry_at: str,
    settings: Settings,
) -> dict[str, Any]:
    mounts = [
        {"name": "spec", "mountPath": "/etc/pilotage", "readOnly": True},
        {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 (an emptyDir of the pod)
    ]
    volumes: list[dict[str, Any]] = [
        {"name": "spec", "configMap": {"name": spec_name(body, identity)}},
        {"name": "scratch", "emptyDir": {"sizeLimit": str(SCRATCH_BYTES)}},
    ]
    environment = connection_environment(secret)
    requests = {"cpu": spec.resources.cpu, "memory": spec.resources.memory}
    if live is not None and stage is Stage.PLAN:
        environment += source_environment(live, settings.source_addresses)
        if spec.source.server:
            # A pod whose volume outgrows its limit is evicted, again and again: the engine refuses before that.
            room = int(parse_quantity(spec.source.server.scratch))
            volumes[1]["emptyDir"]["sizeLimit"] = requests["ephemeral-storage"] = str(room + SCRATCH_BYTES)
            environment.append({"name": "SOURCE_LIMIT", "value": str(room)})
    if live is None and stage in {Stage.PLAN, Stage.LOAD}:
        volume, mount = _source(spec.source)
        volumes.append(volume)
        mounts.append(mount)
    container = {
        "name": CONTAINER,
        "image": settings.engine_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["pilotage-migrate", COMMANDS[stage], "--run-id", identity.run],
        "args": [f"--attempt={retry_at}", "--source-root=/source", f"/etc/pilotage/{SPEC_KEY}"],
        "env": environment,
        "resources": {
            "requests": requests,
            "limits": {"memory": spec.resources.memory},
        },
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": mounts,
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 10,
        "securityContext": {**POD_SECURITY, "fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch"},
        "containers": [container],
        "volumes": volumes,
    }


def _source(source: MigrationSource) -> tuple[dict[str, Any], dict[str, Any]]:
    mount: dict[str, Any] = {"name": "source", "mountPath": "/source", "readOnly": True}
    if source.volume:
        if source.volume.path:
            mount["subPath"] = source.volume.path.strip("/")
        return {"name": "source", "persistentVolumeClaim": {"claimName": source.volume.claim_name}}, mount
    config_map: dict[str, Any] = {"name": source.config_map.name if source.config_map else ""}
    if source.config_map and source.config_map.key:
        config_map["items"] = [{"key": source.config_map.key, "path": source.config_map.key}]
    return {"name": "source", "configMap": config_map}, mount
