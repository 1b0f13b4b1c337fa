"""Whole passes over a MigrationJob: Jobs made as the customer's account, read back by their pods' last words."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from pilotage.kube.client import Conflict, Forbidden, NotFound
from pilotage.kube.resources import CONFIG_MAPS, EVENTS, IMPLEMENTATIONS, JOBS, MIGRATION_JOBS, PODS, SECRETS
from pilotage.kube.store import Key, Store
from pilotage.plan.migration_facts import Stage, identify
from pilotage.reconcile.context import Context
from pilotage.reconcile.migrationjob import reconcile
from pilotage.reconcile.observe import observe_migrations
from pilotage.reconcile.settings import Settings
from tests.unit.migration.test_decide import (
    NOW,
    SUCCEEDED,
    a_live_migration,
    a_migration,
    an_implementation,
    with_connections,
)

KEY = Key("migrationjobs", "huasheng", "parties")
USER = "system:serviceaccount:huasheng:pilotage-deployer"
CREDENTIALS = dict.fromkeys(("host", "port", "database", "username", "password"), "eA==")


class FakeCluster:
    """Objects by kind and name; remembers who wrote what."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.writes: list[tuple[str, str, str | None]] = []
        self.log = ""
        self.version = 1

    def put(self, resource, name: str, body: dict[str, Any]) -> None:
        self.objects[resource.plural, name] = body

    async def get(self, resource, namespace, name, *, acting_as=None):
        if (resource.plural, name) not in self.objects:
            raise NotFound(404, "NotFound", f"{name} not found")
        return self.objects[resource.plural, name]

    async def list(self, resource, namespace=None, *, labels=None, fields=None, acting_as=None):
        found = [body for (plural, _), body in self.objects.items() if plural == resource.plural]
        if labels:
            key, _, value = labels.partition("=")
            found = [body for body in found if body["metadata"].get("labels", {}).get(key) == value]
        return found

    async def create(self, resource, body, *, acting_as=None):
        name = body["metadata"]["name"]
        if (resource.plural, name) in self.objects:
            raise Conflict(409, "AlreadyExists", name)
        self.version += 1
        made = {
            **body,
            "metadata": {
                **body["metadata"], "uid": f"u{self.version}", "resourceVersion": str(self.version),
                "creationTimestamp": "2026-11-23T08:00:00Z",
            },
        }  # fmt: skip
        self.objects[resource.plural, name] = made
        if resource != EVENTS:
            self.writes.append((resource.plural, name, acting_as))
        return made

    async def replace_status(self, resource, body):
        self.version += 1
        self.writes.append(("status", body["metadata"]["name"], None))
        return {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}

    async def read_log(self, *_, **__):
        return self.log


class Room:
    """One namespace with an Implementation whose module runs, and a MigrationJob."""

    def __init__(self) -> None:
        self.cluster, self.now = FakeCluster(), NOW
        self.store = Store(lambda *_: ())
        self.context = Context(self.cluster, self.store, clock=lambda: self.now)  # type: ignore[arg-type]
        self.cluster.put(SECRETS, "erp-db", {"data": CREDENTIALS})
        self.cluster.objects["persistentvolumeclaims", "legacy"] = {}
        self.body = a_migration()
        self.tell(self.body)
        self.store.observe(IMPLEMENTATIONS, None, an_implementation())

    def tell(self, body: dict[str, Any]) -> None:
        """The MigrationJob as it is now, in the cluster and in the store."""
        self.cluster.put(MIGRATION_JOBS, body["metadata"]["name"], body)
        self.store.observe(MIGRATION_JOBS, None, body)

    async def look(self, after: float = 0) -> float | None:
        self.now += timedelta(seconds=after)
        return await reconcile(self.context, KEY)

    @property
    def status(self) -> dict[str, Any]:
        return self.store.get(MIGRATION_JOBS, "huasheng", "parties")["status"]

    @property
    def ready(self) -> dict[str, Any]:
        return next(found for found in self.status["conditions"] if found["type"] == "Ready")

    def job(self, stage: Stage) -> dict[str, Any]:
        name = identify(self.body, "").job_name("parties", stage)
        return self.cluster.objects["jobs", name]

    def want(self, **spec: Any) -> None:
        body = self.store.get(MIGRATION_JOBS, "huasheng", "parties")
        self.cluster.version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self.cluster.version)}
        self.tell({**body, "metadata": metadata, "spec": {**body["spec"], **spec}})

    def end(self, stage: Stage, answer: dict[str, Any], *, code: int = 0) -> None:
        self.end_job(self.job(stage), answer, code=code)

    def end_job(self, job: dict[str, Any], answer: dict[str, Any], *, code: int = 0) -> None:
        self.pod_of(job, {"terminated": {"exitCode": code, "message": json.dumps(answer)}}, phase="Succeeded")
        self.change_job(job, {"conditions": [{"type": "Failed" if code else "Complete", "status": "True"}]})

    def pod(self, stage: Stage, state: dict[str, Any], phase: str) -> None:
        self.pod_of(self.job(stage), state, phase)

    def pod_of(self, job: dict[str, Any], state: dict[str, Any], phase: str) -> None:
        name = job["metadata"]["name"]
        self.cluster.version += 1
        body = {
            "metadata": {
                "name": f"{name}-0", "namespace": "huasheng", "uid": f"p{name}",
                "resourceVersion": str(self.cluster.version), "labels": {"batch.kubernetes.io/job-name": name},
                "ownerReferences": [{"uid": job["metadata"]["uid"]}],
            },
            "status": {"phase": phase, "containerStatuses": [{"name": "migrate", "ready": True, "state": state}]},
        }  # fmt: skip
        self.cluster.put(PODS, f"{name}-0", body)
        self.store.observe(PODS, None, body)

    def change(self, stage: Stage, status: dict[str, Any]) -> None:
        self.change_job(self.job(stage), status)

    def change_job(self, job: dict[str, Any], status: dict[str, Any]) -> None:
        self.cluster.version += 1
        metadata = {**job["metadata"], "resourceVersion": str(self.cluster.version)}
        self.store.observe(JOBS, None, {**job, "metadata": metadata, "status": status})


async def test_a_run_goes_through_its_three_jobs_as_the_customer_s_account():
    room = Room()
    await room.look()
    room.end(Stage.PLAN, {"outcome": "Planned", "progress": {"chunksDone": 0, "chunksTotal": 4}})
    await room.look()
    assert room.job(Stage.LOAD)["spec"]["completionMode"] == "Indexed"
    room.pod(Stage.LOAD, {"running": {}}, phase="Running")
    room.cluster.log = 'noise\n{"chunksDone": 3, "chunksTotal": 4, "rowsPerSecond": 10}\n'
    assert await room.look() == 2.0
    assert room.status["progressText"] == "3/4"
    room.end(Stage.LOAD, {"outcome": "Loaded", "reason": "succeeded"})
    await room.look()
    room.end(Stage.REPORT, SUCCEEDED)
    assert await room.look() is None
    assert (room.status["phase"], room.ready["status"]) == ("Succeeded", "True")
    created = [write for write in room.cluster.writes if write[0] in {"jobs", "configmaps"}]
    assert [plural for plural, _, _ in created] == ["configmaps", "jobs", "jobs", "jobs"]
    assert {user for _, _, user in created} == {USER}


async def test_a_pass_that_finds_nothing_new_writes_nothing():
    room = Room()
    await room.look()
    before = len(room.cluster.writes)
    await room.look()
    await room.look()
    assert len(room.cluster.writes) == before + 1
    await room.look()
    assert len(room.cluster.writes) == before + 1


async def test_a_job_that_is_there_already_is_taken_up_and_not_made_twice():
    room = Room()
    await room.look()
    forgetful = Room()
    forgetful.cluster = room.cluster
    forgetful.context.cluster = room.cluster
    await forgetful.look()
    assert sum(plural == "jobs" for plural, _, _ in room.cluster.writes) == 1
    assert forgetful.status["phase"] == "Planning"


async def test_a_job_of_that_name_that_belongs_to_somebody_else_is_never_taken_for_ours():
    room = Room()
    await room.look()
    job = room.job(Stage.PLAN)
    owner = {**job["metadata"]["ownerReferences"][0], "uid": "somebody else"}
    metadata = {**job["metadata"], "ownerReferences": [owner], "resourceVersion": str(room.cluster.version + 1)}
    room.store.observe(JOBS, None, {**job, "metadata": metadata})
    await room.look(after=5)
    assert room.ready["reason"] == "JobNameTaken"
    assert sum(plural == "jobs" for plural, _, _ in room.cluster.writes) == 1


async def test_the_pods_carry_no_token_and_are_restricted():
    room = Room()
    await room.look()
    pod = room.job(Stage.PLAN)["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {entry["name"] for entry in container["env"]} == {
        "PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD"
    }  # fmt: skip


def a_live_room() -> Room:
    room = Room()
    room.body = a_live_migration()
    connections = [
        {"name": "erp-db", "type": "postgresql", "secretRef": {"name": "erp-db"}},
        {"name": "old-erp", "type": "mysql", "secretRef": {"name": "old-secret"}},
    ]
    room.tell(room.body)
    room.store.observe(IMPLEMENTATIONS, None, an_implementation(connections=connections))
    return room


async def test_only_the_planner_is_told_where_a_live_source_is_and_nothing_is_mounted():
    room = a_live_room()
    room.cluster.put(SECRETS, "old-secret", {"data": CREDENTIALS})
    await room.look()
    room.end(Stage.PLAN, {"outcome": "Planned", "progress": {"chunksDone": 0, "chunksTotal": 4}})
    await room.look()
    variables, volumes = {}, {}
    for stage in (Stage.PLAN, Stage.LOAD):
        pod = room.job(stage)["spec"]["template"]["spec"]
        variables[stage] = {entry["name"]: entry for entry in pod["containers"][0]["env"]}
        volumes[stage] = {volume["name"] for volume in pod["volumes"]}
    assert variables[Stage.PLAN]["SOURCE_TYPE"]["value"] == "mysql"
    assert variables[Stage.PLAN]["SOURCE_PASSWORD"]["valueFrom"]["secretKeyRef"]["name"] == "old-secret"
    assert variables[Stage.PLAN]["PGPASSWORD"]["valueFrom"]["secretKeyRef"]["name"] == "erp-db"
    assert not any(name.startswith("SOURCE_") for name in variables[Stage.LOAD])
    assert volumes[Stage.PLAN] == volumes[Stage.LOAD] == {"spec", "scratch"}


async def test_only_the_planner_is_told_where_files_are_and_has_room_for_them():
    room = Room()
    room.context.settings = Settings(source_addresses="127.0.0.0/8")
    room.body = a_migration(source={"http": {"connection": "files", "scratch": "2Gi"}})
    room.tell(room.body)
    room.store.observe(IMPLEMENTATIONS, None, with_connections(files="http"))
    room.cluster.put(SECRETS, "files", {"data": {"url": "eA=="}})
    await room.look()
    room.end(Stage.PLAN, {"outcome": "Planned", "progress": {"chunksDone": 0, "chunksTotal": 4}})
    await room.look()
    pods = {stage: room.job(stage)["spec"]["template"]["spec"] for stage in (Stage.PLAN, Stage.LOAD)}
    told = {entry["name"]: entry for entry in pods[Stage.PLAN]["containers"][0]["env"]}
    assert (told["SOURCE_TYPE"]["value"], told["SOURCE_LIMIT"]["value"]) == ("http", str(2 << 30))
    assert told["PILOTAGE_SOURCE_ADDRESSES"]["value"] == "127.0.0.0/8"
    references = {name: entry["valueFrom"]["secretKeyRef"] for name, entry in told.items() if "valueFrom" in entry}
    assert references["SOURCE_URL"] == {"name": "files", "key": "url"}
    assert references["SOURCE_CA"] == {"name": "files", "key": "ca", "optional": True}
    assert not any("SOURCE" in entry["name"] for entry in pods[Stage.LOAD]["containers"][0]["env"])
    room_for = {stage: pod["volumes"][1]["emptyDir"]["sizeLimit"] for stage, pod in pods.items()}
    assert room_for == {Stage.PLAN: str((2 << 30) + (64 << 20)), Stage.LOAD: str(64 << 20)}
    assert pods[Stage.PLAN]["containers"][0]["resources"]["requests"]["ephemeral-storage"] == room_for[Stage.PLAN]
    assert {volume["name"] for volume in pods[Stage.LOAD]["volumes"]} == {"spec", "scratch"}


async def test_the_planner_is_told_a_stores_keys_by_reference():
    room = Room()
    room.body = a_migration(source={"s3": {"connection": "files"}})
    room.tell(room.body)
    room.store.observe(IMPLEMENTATIONS, None, with_connections(files="s3"))
    room.cluster.put(SECRETS, "files", {"data": {"url": "eA=="}})
    await room.look()
    assert room.ready["message"] == "Secret files lacks the keys accessKey, secretKey"
    room.cluster.put(SECRETS, "files", {"data": dict.fromkeys(("url", "accessKey", "secretKey"), "eA==")})
    await room.look(after=15)
    [container] = room.job(Stage.PLAN)["spec"]["template"]["spec"]["containers"]
    keys = {
        entry["name"]: entry["valueFrom"]["secretKeyRef"]["key"]
        for entry in container["env"]
        if entry["name"].startswith("SOURCE_") and "valueFrom" in entry
    }
    assert keys == {
        "SOURCE_URL": "url", "SOURCE_USER": "accessKey", "SOURCE_PASSWORD": "secretKey",
        "SOURCE_REGION": "region", "SOURCE_CA": "ca",
    }  # fmt: skip


async def test_the_secret_of_a_file_server_needs_its_url():
    room = Room()
    room.body = a_migration(source={"http": {"connection": "files"}})
    room.tell(room.body)
    room.store.observe(IMPLEMENTATIONS, None, with_connections(files="http"))
    room.cluster.put(SECRETS, "files", {"data": {"host": "eA=="}})
    await room.look()
    assert (room.ready["reason"], room.ready["message"]) == ("SecretIncomplete", "Secret files lacks the keys url")


async def test_the_secret_of_a_live_source_is_missed_by_its_name():
    room = a_live_room()
    await room.look()
    assert (room.ready["reason"], "old-secret" in room.ready["message"]) == ("SecretMissing", True)


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [("secrets", "erp-db", "SecretMissing"), ("persistentvolumeclaims", "legacy", "SourceMissing")],
)
async def test_what_is_missing_is_named_and_nothing_is_started(kind, name, reason):
    room = Room()
    del room.cluster.objects[kind, name]
    assert await room.look() == 15.0
    assert room.ready["reason"] == reason
    assert not any(plural == CONFIG_MAPS.plural for plural, _, _ in room.cluster.writes)


async def test_an_incomplete_secret_is_named_by_its_missing_keys():
    room = Room()
    room.cluster.put(SECRETS, "erp-db", {"data": {"host": "eA=="}})
    await room.look()
    assert (room.ready["reason"], "password" in room.ready["message"]) == ("SecretIncomplete", True)


async def test_a_last_word_that_the_watch_has_not_brought_yet_is_fetched():
    room = Room()
    await room.look()
    room.pod(Stage.PLAN, {"terminated": {"exitCode": 0, "message": '{"outcome": "Planned"}'}}, phase="Succeeded")
    pod = next(iter(room.store.list(PODS, "huasheng")))
    room.store.observe(PODS, "DELETED", pod)
    room.change(Stage.PLAN, {"conditions": [{"type": "Complete", "status": "True"}]})
    await room.look()
    assert room.status["phase"] == "Loading"


async def test_a_job_without_pods_reports_its_event_after_a_minute():
    room = Room()
    await room.look()
    room.cluster.put(EVENTS, "e", {
        "involvedObject": {"name": room.job(Stage.PLAN)["metadata"]["name"]}, "reason": "FailedCreate",
        "message": "exceeded quota", "metadata": {"name": "e"},
    })  # fmt: skip
    await room.look(after=61)
    assert (room.ready["reason"], "exceeded quota" in room.ready["message"]) == ("PodNotRunning", True)


async def test_an_account_without_rights_stalls_with_what_to_do():
    room = Room()

    async def refuse(resource, namespace, name, *, acting_as=None):
        if acting_as:
            raise Forbidden(403, "Forbidden", "cannot impersonate resource serviceaccounts: impersonate")
        return {"metadata": {"name": name}}

    room.cluster.get = refuse  # type: ignore[method-assign]
    await room.look()
    assert room.ready["reason"] == "ImpersonationForbidden"
    assert "kubectl -n huasheng create rolebinding" in room.ready["message"]


async def test_a_migration_that_was_deleted_meanwhile_starts_nothing():
    room = Room()
    del room.cluster.objects[MIGRATION_JOBS.plural, "parties"]
    await room.look()
    assert [write for write in room.cluster.writes if write[0] == JOBS.plural] == []
    assert room.store.get(MIGRATION_JOBS, "huasheng", "parties") is None


@pytest.mark.parametrize(("kind", "enough"), [("Mock", False), ("Rehearsal", False), ("Final", True), (None, True)])
def test_only_a_final_run_lets_the_module_go_on(kind, enough):
    body = a_migration({"observedGeneration": 3, "phase": "Succeeded"}, **({"run": kind} if kind else {}))
    store = Store(lambda *_: [])
    store.observe(MIGRATION_JOBS, "ADDED", body)
    found = observe_migrations(Context(None, store, None, None, None), "huasheng")["parties"]
    assert (found.succeeded, found.ended_badly) == (enough, False)


async def test_a_rollback_runs_as_a_job_that_reads_no_source():
    room = Room()
    for stage, answer in (
        (Stage.PLAN, {"outcome": "Planned"}), (Stage.LOAD, {"outcome": "Loaded"}), (Stage.REPORT, SUCCEEDED)
    ):  # fmt: skip
        await room.look()
        room.end(stage, answer)
    await room.look()
    del room.cluster.objects["persistentvolumeclaims", "legacy"]
    run = room.status["runId"]
    room.want(rollback={"run": run})
    await room.look()
    [job] = [body for (kind, name), body in room.cluster.objects.items() if kind == "jobs" and "-rollback-" in name]
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["command"] == ["pilotage-migrate", "rollback", "--run-id", run]
    assert "source" not in {volume["name"] for volume in pod["volumes"]}
    assert room.status["phase"] == "Succeeded"
    room.end_job(job, {"outcome": "RolledBack", "removed": 9, "restored": 0})
    await room.look()
    assert room.status["phase"] == "RolledBack"
    assert await room.look() is None
