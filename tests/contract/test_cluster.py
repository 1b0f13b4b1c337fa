"""What Pilotage relies on of an API server, asked of the simulated world and of a real one alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.light import LightCluster
from pilotage.kube.client import Cluster, Conflict, Forbidden, Invalid, NotFound
from pilotage.kube.official import connect
from pilotage.kube.resources import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    IMPLEMENTATIONS,
    NAMESPACES,
    SELF_SUBJECT_RULES_REVIEWS,
)
from tests.support.builders import a_module, an_implementation
from tests.support.world import World

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "contract"


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LightCluster]:
    with LightCluster(tmp_path_factory.mktemp("light"), audit=False) as running:
        yield running


async def _prepare(cluster: Cluster) -> None:
    definition = yaml.safe_load((ROOT / "crds/pilotage.dev_implementations.yaml").read_text())
    await cluster.apply(CUSTOM_RESOURCE_DEFINITIONS, definition)
    await _until(lambda: _served(cluster))


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 (the other side is a server)
            await asyncio.sleep(0.1)


async def _served(cluster: Cluster) -> bool:
    try:
        await cluster.list(IMPLEMENTATIONS)
    except NotFound:
        return False
    return True


@pytest.fixture(params=["world", pytest.param("light", marks=[pytest.mark.light, pytest.mark.timeout(180)])])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    if request.param == "world":
        found: Any = World(lambda: datetime(2026, 11, 23, tzinfo=UTC))
    else:
        found = await connect(kubeconfig=str(request.getfixturevalue("light").kubeconfig))
        await _prepare(found)
    try:
        await found.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    except Conflict:
        await _clear(found)
    yield found
    await found.close()


async def _clear(cluster: Cluster) -> None:
    for resource in (CONFIG_MAPS, IMPLEMENTATIONS):
        for body in await cluster.list(resource, NAMESPACE):
            metadata = body["metadata"]
            if metadata.get("finalizers"):
                await cluster.replace(resource, {**body, "metadata": {**metadata, "finalizers": []}})
            try:
                await cluster.delete(resource, NAMESPACE, metadata["name"], uid=metadata["uid"])
            except NotFound:
                continue


def config_map(name: str = "settings", data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE, **metadata},
        "data": data or {"a": "1"},
    }


def implementation(**spec: Any) -> dict[str, Any]:
    body = an_implementation(a_module("core"), **spec)
    return {**body, "metadata": {"name": "erp", "namespace": NAMESPACE}}


async def test_what_is_not_there_is_not_found(cluster: Cluster) -> None:
    with pytest.raises(NotFound):
        await cluster.get(CONFIG_MAPS, NAMESPACE, "absent")
    with pytest.raises(NotFound):
        await cluster.delete(CONFIG_MAPS, NAMESPACE, "absent", uid="u")


async def test_a_kind_is_found_where_the_server_serves_it(cluster: Cluster) -> None:
    assert await cluster.find_resource("v1", "ConfigMap") == CONFIG_MAPS
    assert await cluster.find_resource("apps/v1", "Deployment") == DEPLOYMENTS
    for unknown in ("v1", "apps/v1", "example.invalid/v1", "", "..", "../v1"):
        assert await cluster.find_resource(unknown, "Unheard") is None


async def test_a_name_is_created_once(cluster: Cluster) -> None:
    made = await cluster.create(CONFIG_MAPS, config_map())
    assert made["metadata"]["uid"]
    assert made["metadata"]["creationTimestamp"]
    with pytest.raises(Conflict) as refused:
        await cluster.create(CONFIG_MAPS, config_map())
    assert refused.value.reason == "AlreadyExists"


async def test_an_update_of_a_stale_view_is_refused(cluster: Cluster) -> None:
    first = await cluster.create(CONFIG_MAPS, config_map())
    second = await cluster.replace(CONFIG_MAPS, {**first, "data": {"a": "2"}})
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    with pytest.raises(Conflict):
        await cluster.replace(CONFIG_MAPS, {**first, "data": {"a": "3"}})


async def test_an_update_that_changes_nothing_keeps_the_version(cluster: Cluster) -> None:
    first = await cluster.create(CONFIG_MAPS, config_map())
    again = await cluster.replace(CONFIG_MAPS, first)
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_an_update_without_a_version_is_never_sent(cluster: Cluster) -> None:
    await cluster.create(CONFIG_MAPS, config_map())
    with pytest.raises(ValueError, match="resourceVersion"):
        await cluster.replace(CONFIG_MAPS, config_map())


async def test_only_the_object_that_was_seen_is_deleted(cluster: Cluster) -> None:
    made = (await cluster.create(CONFIG_MAPS, config_map()))["metadata"]
    with pytest.raises(Conflict):
        await cluster.delete(CONFIG_MAPS, NAMESPACE, "settings", uid="somebody-else")
    with pytest.raises(Conflict):
        await cluster.delete(CONFIG_MAPS, NAMESPACE, "settings", uid=made["uid"], resource_version="1")
    await cluster.delete(CONFIG_MAPS, NAMESPACE, "settings", uid=made["uid"], resource_version=made["resourceVersion"])
    with pytest.raises(NotFound):
        await cluster.get(CONFIG_MAPS, NAMESPACE, "settings")


async def test_a_finalizer_holds_the_object_until_it_is_taken_away(cluster: Cluster) -> None:
    made = await cluster.create(CONFIG_MAPS, config_map(finalizers=["pilotage.dev/releases"]))
    await cluster.delete(CONFIG_MAPS, NAMESPACE, "settings", uid=made["metadata"]["uid"])
    held = await cluster.get(CONFIG_MAPS, NAMESPACE, "settings")
    assert held["metadata"]["deletionTimestamp"]
    await cluster.replace(CONFIG_MAPS, {**held, "metadata": {**held["metadata"], "finalizers": []}})
    with pytest.raises(NotFound):
        await cluster.get(CONFIG_MAPS, NAMESPACE, "settings")


async def test_applying_creates_then_changes_and_removes_what_is_no_longer_said(cluster: Cluster) -> None:
    await cluster.apply(CONFIG_MAPS, config_map(data={"a": "1", "b": "2"}))
    changed = await cluster.apply(CONFIG_MAPS, config_map(data={"b": "3"}))
    assert changed["data"] == {"b": "3"}
    again = await cluster.apply(CONFIG_MAPS, config_map(data={"b": "3"}))
    assert again["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]


async def test_applying_to_another_uid_is_refused(cluster: Cluster) -> None:
    with pytest.raises(Conflict):
        await cluster.apply(CONFIG_MAPS, config_map(uid="11111111-2222-3333-4444-555555555555"))
    await cluster.apply(CONFIG_MAPS, config_map())
    with pytest.raises((Invalid, Conflict)) as refused:
        await cluster.apply(CONFIG_MAPS, config_map(uid="11111111-2222-3333-4444-555555555555"))
    assert refused.value.status == 422


async def test_lists_select_by_labels_and_by_name_and_carry_their_kind(cluster: Cluster) -> None:
    await cluster.create(CONFIG_MAPS, config_map("one", labels={"app": "a", "tier": "x"}))
    await cluster.create(CONFIG_MAPS, config_map("two", labels={"app": "a"}))

    async def names(**selector: str) -> list[str]:
        found = await cluster.list(CONFIG_MAPS, NAMESPACE, **selector)
        assert all(body["kind"] == "ConfigMap" and body["apiVersion"] == "v1" for body in found)
        return sorted(body["metadata"]["name"] for body in found if body["metadata"]["name"] != "kube-root-ca.crt")

    assert await names(labels="app=a") == ["one", "two"]
    assert await names(labels="app=a,tier=x") == ["one"]
    assert await names(labels="tier") == ["one"]
    assert await names(fields="metadata.name=two") == ["two"]


async def test_metadata_lists_carry_what_the_sweep_compares(cluster: Cluster) -> None:
    made = await cluster.create(CONFIG_MAPS, config_map(labels={"app": "a"}))
    found = await cluster.list_metadata(CONFIG_MAPS, labels="app=a")
    assert [item["metadata"]["uid"] for item in found] == [made["metadata"]["uid"]]
    assert "data" not in found[0]


async def test_our_kinds_begin_with_an_observed_generation_that_is_behind(cluster: Cluster) -> None:
    made = await cluster.create(IMPLEMENTATIONS, {**implementation(), "status": {"phase": "Closed"}})
    assert made["status"] == {"observedGeneration": -1}
    assert made["metadata"]["generation"] == 1


async def test_the_status_and_the_rest_are_written_apart(cluster: Cluster) -> None:
    made = await cluster.create(IMPLEMENTATIONS, implementation())
    changed = {**made, "spec": {**made["spec"], "suspend": True}, "status": {"observedGeneration": 1}}
    reported = await cluster.replace_status(IMPLEMENTATIONS, changed)
    assert reported["status"] == {"observedGeneration": 1}
    assert "suspend" not in reported["spec"] or reported["spec"]["suspend"] is False
    assert reported["metadata"]["generation"] == 1
    changed = {**reported, "spec": {**made["spec"], "suspend": True}, "status": {"observedGeneration": 7}}
    updated = await cluster.replace(IMPLEMENTATIONS, changed)
    assert updated["spec"]["suspend"] is True
    assert updated["status"] == {"observedGeneration": 1}
    assert updated["metadata"]["generation"] == 2


async def test_a_status_for_a_stale_view_or_a_gone_object_is_refused(cluster: Cluster) -> None:
    made = await cluster.create(IMPLEMENTATIONS, implementation())
    await cluster.replace_status(IMPLEMENTATIONS, {**made, "status": {"observedGeneration": 1}})
    with pytest.raises(Conflict):
        await cluster.replace_status(IMPLEMENTATIONS, {**made, "status": {"observedGeneration": 2}})
    await cluster.delete(IMPLEMENTATIONS, NAMESPACE, "erp", uid=made["metadata"]["uid"])
    with pytest.raises(NotFound):
        await cluster.replace_status(IMPLEMENTATIONS, {**made, "status": {"observedGeneration": 2}})


async def test_what_lost_its_owner_goes_after_it(cluster: Cluster) -> None:
    owner = await cluster.create(CONFIG_MAPS, config_map("owner"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    await cluster.create(CONFIG_MAPS, config_map("owned", ownerReferences=[reference]))
    await cluster.delete(CONFIG_MAPS, NAMESPACE, "owner", uid=owner["metadata"]["uid"])

    async def collected() -> bool:
        return not await cluster.list(CONFIG_MAPS, NAMESPACE, fields="metadata.name=owned")

    await _until(collected)


async def test_nobody_acts_without_a_name(cluster: Cluster) -> None:
    with pytest.raises(ValueError, match="empty user name"):
        await cluster.get(CONFIG_MAPS, NAMESPACE, "settings", acting_as="")


async def test_an_account_without_rights_is_told_so(cluster: Cluster) -> None:
    if isinstance(cluster, World):

        def refuse(_verb: str, _resource: Any, _namespace: str | None, acting_as: str | None) -> None:
            if acting_as:
                raise Forbidden(403, "Forbidden", "cannot get resource")

        cluster.may = refuse
    user = f"system:serviceaccount:{NAMESPACE}:nobody"
    with pytest.raises(Forbidden) as refused:
        await cluster.get(CONFIG_MAPS, NAMESPACE, "settings", acting_as=user)
    assert not refused.value.namespace_terminating


async def test_a_rules_review_answers_with_resource_rules(cluster: Cluster) -> None:
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
    answer = await cluster.create_review(SELF_SUBJECT_RULES_REVIEWS, {**review, "spec": {"namespace": NAMESPACE}})
    assert any("*" in rule["verbs"] for rule in answer["status"]["resourceRules"])


async def test_the_server_says_its_version(cluster: Cluster) -> None:
    assert (await cluster.server_version()).startswith("v1.")


async def test_nothing_is_created_in_a_namespace_that_goes_away(cluster: Cluster) -> None:
    name = "contract-leaving"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "finalizers": ["pilotage.dev/test"]}}
    made = await cluster.create(NAMESPACES, body)
    await cluster.delete(NAMESPACES, None, name, uid=made["metadata"]["uid"])
    with pytest.raises(Forbidden) as refused:
        await cluster.create(CONFIG_MAPS, config_map() | {"metadata": {"name": "late", "namespace": name}})
    assert refused.value.namespace_terminating
