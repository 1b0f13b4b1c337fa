"""Probe Jobs: questions to a customer's database, asked in the customer's namespace with the data engine's image.

The pod carries no Kubernetes token. Its answer comes back as the container's termination message.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pilotage.api.v1alpha1.common import MANAGED_BY, MANAGED_BY_LABEL
from pilotage.api.v1alpha1.implementation import Connection, ConnectionType

CONTAINER: Final = "probe"
JOB_NAME_LABEL: Final = "batch.kubernetes.io/job-name"
SUBJECTS_ANNOTATION: Final = "pilotage.dev/subjects"
TIME_LIMIT_SECONDS: Final = 120
KEPT_SECONDS: Final = 300
CONNECTION_VARIABLES: Final = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGDATABASE": "database",
    "PGUSER": "username",
    "PGPASSWORD": "password",
}
SOURCE_VARIABLES: Final = {
    "SOURCE_HOST": "host",
    "SOURCE_PORT": "port",
    "SOURCE_DATABASE": "database",
    "SOURCE_USER": "username",
    "SOURCE_PASSWORD": "password",
}
FILE_SERVER_VARIABLES: Final = {
    "SOURCE_URL": "url",
    "SOURCE_USER": "username",
    "SOURCE_PASSWORD": "password",
    "SOURCE_TOKEN": "token",
    "SOURCE_CA": "ca",
}
STORE_VARIABLES: Final = {
    "SOURCE_URL": "url",
    "SOURCE_USER": "accessKey",
    "SOURCE_PASSWORD": "secretKey",
    "SOURCE_REGION": "region",
    "SOURCE_CA": "ca",
}

# What Pod Security `restricted` asks of every pod that runs the data engine's image.
POD_SECURITY: Final = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: Final = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True)
class ProbeAnswer:
    """The answer to one query: a value, or an error; neither when the query found nothing."""

    value: str | None = None
    error: str | None = None


class UnreadableAnswer(Exception):
    """The Job ended without an answer; the message says how."""


def build_probe_job(
    *,
    name: str,
    namespace: str,
    owner: Mapping[str, Any],
    secret: str,
    image: str,
    probe: Mapping[str, Any],
    labels: Mapping[str, str],
    environment: Iterable[Mapping[str, Any]] | None = None,
    annotations: Mapping[str, str] | None = None,
    pull_policy: str = "IfNotPresent",
) -> dict[str, Any]:
    """A Job that asks `probe` of the database whose connection Secret is named, and belongs to `owner`.

    `environment` tells another kind of connection instead. `owner` is the manifest of the object that the Job goes
    with; `probe` is what `pilotage-migrate probe` reads: `{"connect": true}` or
    `{"queries": [{"name", "query", "timeoutSeconds"}]}`.
    """
    marked = {**labels, MANAGED_BY_LABEL: MANAGED_BY}
    container = {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": pull_policy,
        "command": ["pilotage-migrate", "probe"],
        "env": [
            {"name": "PILOTAGE_PROBE", "value": json.dumps(probe, ensure_ascii=False)},
            *(connection_environment(secret) if environment is None else environment),
        ],
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 (an emptyDir of the pod)
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}}],
        "terminationGracePeriodSeconds": 5,
    }
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": marked,
        "ownerReferences": [owner_reference(owner)],
        **({"annotations": dict(annotations)} if annotations else {}),
    }
    spec = {
        "backoffLimit": 0,
        "activeDeadlineSeconds": TIME_LIMIT_SECONDS,
        "ttlSecondsAfterFinished": KEPT_SECONDS,
        "template": {"metadata": {"labels": marked}, "spec": pod},
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def connection_environment(secret: str) -> list[dict[str, Any]]:
    """The variables through which the data engine is told a connection: references to its Secret, never values."""
    return [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        for variable, key in CONNECTION_VARIABLES.items()
    ]


def source_environment(connection: Connection, allowed_addresses: str) -> list[dict[str, Any]]:
    """The variables through which the data engine is told where a source is, in the same way.

    `allowed_addresses` are networks, with commas, that a file server may be in although they are this machine's.
    """
    variables, others = SOURCE_VARIABLES, []
    if connection.type.serves_files:
        variables = STORE_VARIABLES if connection.type is ConnectionType.S3 else FILE_SERVER_VARIABLES
        others = [{"name": "PILOTAGE_SOURCE_ADDRESSES", "value": allowed_addresses}]
    needed = connection.type.secret_keys
    references = [
        {
            "name": variable,
            "valueFrom": {
                "secretKeyRef": {
                    "name": connection.secret_ref.name,
                    "key": key,
                    **({} if key in needed else {"optional": True}),
                }
            },
        }
        for variable, key in variables.items()
    ]
    return [{"name": "SOURCE_TYPE", "value": connection.type.value}, *others, *references]


def owner_reference(owner: Mapping[str, Any]) -> dict[str, Any]:
    """A reference to the object that a Job or ConfigMap goes with."""
    # Without blockOwnerDeletion, which would need rights on the owner's finalizers.
    metadata = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }


def belongs_to(child: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether that very object owns the Job or pod; one of the same name or labels is never taken for it."""
    references = child["metadata"].get("ownerReferences") or []
    return any(found.get("uid") == owner["metadata"]["uid"] for found in references)


def probe_finished(job: Mapping[str, Any]) -> bool:
    """Whether the Job has ended, well or badly."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(found.get("type") in {"Complete", "Failed"} and found.get("status") == "True" for found in conditions)


def read_answers(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> dict[str, ProbeAnswer]:
    """The answers by query name, from the termination message of the Job's pod.

    Raises UnreadableAnswer when there is none.
    """
    for pod in pods:
        if not belongs_to(pod, job):
            continue
        for container in (pod.get("status") or {}).get("containerStatuses") or []:
            ended = (container.get("state") or {}).get("terminated") or {}
            if container.get("name") != CONTAINER or not ended:
                continue
            answers = _parse(ended.get("message") or "")
            if answers is not None:
                return answers
            raise UnreadableAnswer(
                f"probe ended with exit code {ended.get('exitCode')} ({ended.get('reason', '')}) and without an answer"
            )
    failed = [found for found in (job.get("status") or {}).get("conditions") or [] if found.get("type") == "Failed"]
    raise UnreadableAnswer(failed[0].get("message") or failed[0].get("reason", "") if failed else "its pod is gone")


def _parse(message: str) -> dict[str, ProbeAnswer] | None:
    try:
        results = json.loads(message)["results"]
        return {found["name"]: ProbeAnswer(_text(found.get("value")), _text(found.get("error"))) for found in results}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
