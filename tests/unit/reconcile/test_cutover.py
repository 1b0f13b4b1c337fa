"""The Job of a cutover's step: made from a suspended CronJob, as the customer's account, never taken for another's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pilotage.api.v1alpha1.implementation import ImplementationSpec, ImplementationStatus
from pilotage.kube.client import Forbidden, Invalid
from pilotage.kube.resources import CRON_JOBS, IMPLEMENTATIONS, JOBS, Resource
from pilotage.kube.store import Store
from pilotage.plan.cutover_steps import StepJobWanted, running_jobs
from pilotage.reconcile.context import Context, deployer
from pilotage.reconcile.cutover import make_job, observe_step_jobs, observe_templates, step_job
from pilotage.reconcile.dependents import dependents
from tests.support.builders import a_module, an_implementation
from tests.support.clock import VirtualClock
from tests.support.world import World

ACCOUNT = deployer("huasheng", "pilotage-deployer")
BACKUP = {"name": "backup", "type": "Job", "ref": "backup", "plannedMinutes": 10}
WANTED = StepJobWanted("core", "backup", "backup", "cutover-core-backup-1", timedelta(minutes=20))


def a_template(suspend: bool = True, **spec: Any) -> dict[str, Any]:
    pod = {"metadata": {"labels": {"app": "backup"}}, "spec": {"containers": [{"name": "dump"}]}}
    job = {"metadata": {"labels": {"team": "erp"}}, "spec": {"template": pod, **spec}}
    metadata = {"name": "backup", "namespace": "huasheng"}
    return {"metadata": metadata, "spec": {"suspend": suspend, "schedule": "0 0 1 1 *", "jobTemplate": job}}


def reported(reached: str = "CuttingOver", **record: Any) -> dict[str, Any]:
    step = {"name": "backup", "state": "Running", "startedAt": "2026-11-23T08:00:00Z", "plannedMinutes": 10}
    values = {"state": "Running", "startedAt": "2026-11-23T08:00:00Z", "plannedMinutes": 10, "steps": [step]}
    module = {"name": "core", "wave": 1, "state": reached, "reached": reached, "since": "2026-11-23T08:00:00Z"}
    return {"observedGeneration": 1, "modules": [module | ({"cutover": values | record} if record else {})]}


class Ground:
    """A world with an Implementation whose module has a step of type Job."""

    def __init__(self) -> None:
        self.world = World(VirtualClock().now)
        self.context = Context(self.world, Store(dependents))
        self.body: dict[str, Any] = {}

    async def begin(self, status: dict[str, Any]) -> Ground:
        made = an_implementation(a_module("core", cutover={"steps": [BACKUP]}))
        self.body = await self.world.create(IMPLEMENTATIONS, made)
        self.body["status"] = status
        return self

    @property
    def spec(self) -> ImplementationSpec:
        return ImplementationSpec.model_validate(self.body["spec"])


async def test_the_job_is_the_templates_made_once_as_the_customers_account_and_kept_until_it_is_read() -> None:
    ground = await Ground().begin(reported())
    await ground.world.create(CRON_JOBS, a_template(ttlSecondsAfterFinished=5, backoffLimit=1))
    assert await make_job(ground.context, ground.body, WANTED, ACCOUNT) is None
    assert await make_job(ground.context, ground.body, WANTED, ACCOUNT) is None
    writes = [write for write in ground.world.writes if write[1] == "jobs"]
    assert writes == [("create", "jobs", WANTED.name, ACCOUNT)]
    job = await ground.world.get(JOBS, "huasheng", WANTED.name)
    assert job["spec"]["activeDeadlineSeconds"] == 1200
    assert job["spec"]["backoffLimit"] == 1
    assert "ttlSecondsAfterFinished" not in job["spec"]
    assert job["metadata"]["ownerReferences"][0]["uid"] == ground.body["metadata"]["uid"]
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert (labels["app"], labels["pilotage.dev/module"]) == ("backup", "core")
    assert job["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "pilotage"


@pytest.mark.parametrize(("own", "limit", "used"), [(60, 1200, 60), (9000, 1200, 1200), (9000, None, 9000)])
def test_the_shorter_time_holds_and_past_the_point_of_no_return_only_the_templates(
    own: int, limit: int | None, used: int
) -> None:
    deadline = timedelta(seconds=limit) if limit else None
    wanted = StepJobWanted("core", "backup", "backup", "one", deadline)
    job = step_job(an_implementation(a_module("core")), wanted, a_template(activeDeadlineSeconds=own))
    assert job["spec"]["activeDeadlineSeconds"] == used


@pytest.mark.parametrize(
    ("refusal", "failed"),
    [(Invalid(422, "Invalid", "no image"), True), (Forbidden(403, "Forbidden", "quota"), False)],
)
async def test_a_job_that_is_refused_says_why(refusal: Exception, failed: bool) -> None:
    ground = await Ground().begin(reported())
    await ground.world.create(CRON_JOBS, a_template())

    def may(verb: str, resource: Resource, *_: Any) -> None:
        if (verb, resource) == ("create", JOBS):
            raise refusal

    ground.world.may = may
    problem = await make_job(ground.context, ground.body, WANTED, ACCOUNT)
    assert problem is not None
    assert (problem.failed, problem.complete) == (failed, False)
    assert WANTED.name in problem.problem


async def test_a_job_of_the_same_name_that_is_somebody_elses_is_no_success() -> None:
    ground = await Ground().begin(reported(attempt=1))
    status = {"conditions": [{"type": "Complete", "status": "True"}]}
    assert await observe_step_jobs(ground.context, ground.body, ground.spec, ACCOUNT) == {}
    await ground.world.create(CRON_JOBS, a_template())
    record = ImplementationStatus.model_validate(ground.body["status"]).modules[0].cutover
    ((_, _, name),) = running_jobs(ground.body, ground.spec.modules[0], record)
    strange = {"metadata": {"name": name, "namespace": "huasheng"}, "spec": {}}
    made = await ground.world.create(JOBS, strange)
    await ground.world.replace_status(JOBS, {**made, "status": status})
    (found,) = (await observe_step_jobs(ground.context, ground.body, ground.spec, ACCOUNT)).values()
    assert (found.complete, found.failed) == (False, True)
    assert "belongs to somebody else" in found.problem


@pytest.mark.parametrize(
    ("template", "problem"),
    [(None, "there is no CronJob backup"), (a_template(suspend=False), "is not suspended"), (a_template(), "")],
)
async def test_a_template_is_looked_for_before_the_cutover_begins(template: Any, problem: str) -> None:
    ground = await Ground().begin(reported("Prepared"))
    if template:
        await ground.world.create(CRON_JOBS, template)
    found = await observe_templates(ground.context, ground.body, ground.spec, ACCOUNT)
    assert bool(found) == bool(problem)
    assert problem in found.get("backup", "")
    ground.body["status"] = reported("Configuring")
    assert await observe_templates(ground.context, ground.body, ground.spec, ACCOUNT) == {}
