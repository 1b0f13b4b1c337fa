"""Workloads are judged by the rules of kstatus, pods by why they do not run."""

from __future__ import annotations

from typing import Any

import pytest

from pilotage.plan.health import Health, pod_problem, release_health, workload_health


def workload(kind: str, spec: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"name": "web", "generation": 2},
        "spec": spec or {},
        "status": {"observedGeneration": 2, **status},
    }


TWO = {"replicas": 2}
LATE = {"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}
REFUSED = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "quota exceeded"}]}
DONE = {"conditions": [{"type": "Complete", "status": "True"}]}
LOST = {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}


@pytest.mark.parametrize(
    ("body", "health", "said"),
    [
        (workload("Deployment", TWO, replicas=2, updatedReplicas=2, availableReplicas=2), Health.CURRENT, ""),
        (workload("Deployment", TWO, replicas=2, updatedReplicas=1), Health.IN_PROGRESS, "1 of 2 pods updated"),
        (workload("Deployment", TWO, replicas=3, updatedReplicas=2, availableReplicas=2), Health.IN_PROGRESS, "1 old"),
        (workload("Deployment", TWO, replicas=2, updatedReplicas=2), Health.IN_PROGRESS, "0 of 2 pods available"),
        (workload("Deployment", TWO, replicas=2, updatedReplicas=2, **LATE), Health.FAILED, "0 of 2 pods available"),
        (workload("Deployment", TWO, **LATE), Health.FAILED, "0 of 2 pods updated"),
        (workload("Deployment", TWO, **REFUSED), Health.IN_PROGRESS, "quota exceeded"),
        (workload("Deployment", {"replicas": 0}), Health.CURRENT, ""),
        (workload("StatefulSet", TWO, readyReplicas=2, updatedReplicas=2), Health.CURRENT, ""),
        (workload("StatefulSet", TWO, readyReplicas=1, updatedReplicas=2), Health.IN_PROGRESS, "1 of 2 pods ready"),
        (workload("StatefulSet", TWO, readyReplicas=2, updatedReplicas=1), Health.IN_PROGRESS, "1 of 2 pods updated"),
        (
            workload("StatefulSet", {**TWO, "updateStrategy": {"type": "OnDelete"}}, readyReplicas=2),
            Health.CURRENT,
            "",
        ),
        (
            workload("DaemonSet", desiredNumberScheduled=3, numberAvailable=3, updatedNumberScheduled=3),
            Health.CURRENT,
            "",
        ),
        (
            workload("DaemonSet", desiredNumberScheduled=3, numberAvailable=2, updatedNumberScheduled=3),
            Health.IN_PROGRESS,
            "2 of 3 pods available",
        ),
        (workload("DaemonSet", desiredNumberScheduled=3), Health.IN_PROGRESS, "0 of 3 pods updated"),
        (workload("Job", **DONE), Health.CURRENT, ""),
        (workload("Job", **LOST), Health.FAILED, "BackoffLimitExceeded"),
        (workload("Job", active=1), Health.IN_PROGRESS, "not complete"),
    ],
)
def test_a_workload_is_judged_by_its_status(body: dict[str, Any], health: Health, said: str) -> None:
    found = workload_health(body)
    assert found.health is health
    assert said in found.message
    assert bool(found.message) == (health is not Health.CURRENT)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_a_status_of_an_older_generation_says_nothing(kind: str) -> None:
    full = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "readyReplicas": 1}
    body = workload(kind, **full)
    body["status"]["observedGeneration"] = 1
    assert workload_health(body).health is Health.IN_PROGRESS
    del body["status"]
    assert workload_health(body).health is Health.IN_PROGRESS


def test_an_active_job_is_known_as_such() -> None:
    assert workload_health(workload("Job", active=1)).active
    assert not workload_health(workload("Job", **DONE)).active


def named(name: str, body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "metadata": {**body["metadata"], "name": name}}


GOOD = named("good", workload("Job", **DONE))
SLOW = named("slow", workload("Job"))
BAD = named("bad", workload("Job", **LOST))


@pytest.mark.parametrize(
    ("expected", "there", "health"),
    [
        ([], [], Health.CURRENT),
        (["good"], [GOOD], Health.CURRENT),
        (["good", "slow"], [GOOD, SLOW], Health.IN_PROGRESS),
        (["good", "absent"], [GOOD], Health.MISSING),
        (["slow", "absent"], [SLOW], Health.MISSING),
        (["bad", "slow", "absent"], [BAD, SLOW], Health.FAILED),
        (["good"], [GOOD, BAD], Health.CURRENT),
    ],
)
def test_a_release_is_as_healthy_as_its_worst_workload(expected: list[str], there: list[Any], health: Health) -> None:
    assert release_health([("Job", name) for name in expected], there)[0] is health


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web-1"}, "status": status}


def a_container(state: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"name": "web", "state": state or {}, **fields}


CRASHED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/1 nodes: Insufficient memory"}]),
            "Insufficient memory",
        ),
        (
            pod(containerStatuses=[a_container({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}})]),
            "ImagePullBackOff: the image cannot be pulled (Back-off)",
        ),
        (
            pod(containerStatuses=[a_container({"waiting": {"reason": "CrashLoopBackOff"}}, lastState=CRASHED)]),
            "it ended with exit code 137 (OOMKilled)",
        ),
        (
            pod(initContainerStatuses=[a_container({"waiting": {"reason": "CreateContainerConfigError"}})]),
            "configuration cannot be resolved",
        ),
        (pod(containerStatuses=[a_container({"terminated": {"exitCode": 1}})]), "exit code 1 (Error)"),
        (pod(reason="Evicted", message="low on disk"), "Evicted: low on disk"),
        (pod(phase="Running", containerStatuses=[a_container(ready=False)]), "readiness probe does not succeed (web)"),
    ],
)
def test_why_a_pod_does_not_run_is_said_with_its_name(found: dict[str, Any], said: str) -> None:
    message = pod_problem(found)
    assert message is not None
    assert "web-1" in message
    assert said in message


@pytest.mark.parametrize(
    "found",
    [
        pod(),
        pod(phase="Running", containerStatuses=[a_container({"running": {}}, ready=True)]),
        pod(phase="Pending", containerStatuses=[a_container({"waiting": {"reason": "ContainerCreating"}})]),
        pod(phase="Succeeded", containerStatuses=[a_container({"terminated": {"exitCode": 0}})]),
    ],
)
def test_nothing_is_said_of_a_pod_that_does_its_work(found: dict[str, Any]) -> None:
    assert pod_problem(found) is None
