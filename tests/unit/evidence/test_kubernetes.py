"""Availability and restarts of a release's workloads."""

from __future__ import annotations

import pytest

from pilotage.evidence.kubernetes import measure_availability, measure_restarts
from pilotage.kube.client import Forbidden
from pilotage.kube.resources import DAEMON_SETS, DEPLOYMENTS, STATEFUL_SETS
from pilotage.kube.store import Store
from pilotage.plan.acceptance_sample import Outcome


def workload(name, *, wanted=2, available=2, release="erp-core", observed=1, helm=True):
    return {
        "metadata": {
            "name": name,
            "namespace": "huasheng",
            "uid": name,
            "generation": 1,
            "labels": {"app.kubernetes.io/managed-by": "Helm"} if helm else {},
            "annotations": {"meta.helm.sh/release-name": release},
        },
        "spec": {"replicas": wanted, "selector": {"matchLabels": {"app": name}}},
        "status": {
            "observedGeneration": observed,
            "availableReplicas": available,
            "desiredNumberScheduled": wanted,
            "numberAvailable": available,
        },
    }


def store_of(*deployments, **others):
    store = Store(lambda *_: ())
    for body in deployments:
        store.observe(DEPLOYMENTS, None, body)
    for body in others.get("daemon_sets", ()):
        store.observe(DAEMON_SETS, None, body)
    for body in others.get("stateful_sets", ()):
        store.observe(STATEFUL_SETS, None, body)
    return store


def availability(*deployments, **others):
    return measure_availability(store_of(*deployments, **others), "huasheng", "erp-core")


def test_all_pods_available_are_a_hundred_percent():
    assert availability(workload("web"), workload("idle", wanted=0, available=0)).value == "100"


def test_the_worst_workload_counts():
    sample = availability(
        workload("web"), stateful_sets=[workload("db", wanted=3, available=1)], daemon_sets=[workload("agent")]
    )
    assert sample.value == "33.3333"
    assert "StatefulSet db: 1 of 3 pods available" in sample.message


@pytest.mark.parametrize(
    "body", [workload("web", release="another"), workload("web", helm=False), workload("web", wanted=0, available=0)]
)
def test_without_workloads_there_is_no_data(body):
    assert availability(body).outcome is Outcome.NO_DATA


def test_a_status_of_an_older_generation_says_nothing():
    assert availability(workload("web", observed=0)).outcome is Outcome.NO_DATA


class Pods:
    def __init__(self, pods=(), error=None):
        self.pods, self.error, self.calls = list(pods), error, []

    async def list(self, resource, namespace=None, *, labels=None, fields=None, acting_as=None):
        self.calls.append((labels, acting_as))
        if self.error:
            raise self.error
        return self.pods


async def test_restarts_are_summed_over_containers_as_the_tenant():
    pod = {"status": {"containerStatuses": [{"restartCount": 2}], "initContainerStatuses": [{"restartCount": 1}]}}
    cluster = Pods([pod, pod])
    sample = await measure_restarts(cluster, store_of(workload("web")), "huasheng", "erp-core", "tenant")
    assert sample.raw == 6
    assert cluster.calls == [("app=web", "tenant")]


async def test_without_pods_there_is_no_data():
    sample = await measure_restarts(Pods(), store_of(workload("web")), "huasheng", "erp-core", "tenant")
    assert sample.outcome is Outcome.NO_DATA


async def test_pods_that_may_not_be_read_are_an_error():
    cluster = Pods(error=Forbidden(403, "Forbidden", "pods is forbidden"))
    sample = await measure_restarts(cluster, store_of(workload("web")), "huasheng", "erp-core", "tenant")
    assert sample.outcome is Outcome.ERROR
    assert "forbidden" in sample.message
