"""Jobs of cutovers: looked at, and made from a suspended CronJob of the tenant, as the tenant's account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pilotage.api.v1alpha1.common import IMPLEMENTATION_LABEL, MANAGED_BY, MANAGED_BY_LABEL, MODULE_LABEL
from pilotage.api.v1alpha1.cutover import StepType
from pilotage.api.v1alpha1.implementation import ImplementationSpec, ImplementationStatus, ModuleState
from pilotage.evidence.probe_job import belongs_to, owner_reference
from pilotage.kube.client import ApiError, Conflict, Forbidden, Invalid, NotFound
from pilotage.kube.resources import CRON_JOBS, JOBS
from pilotage.plan.cutover import Step
from pilotage.plan.cutover_steps import StepJobWanted, running_jobs
from pilotage.plan.facts import StepJob
from pilotage.reconcile.context import Context

NEAR: Final = frozenset({ModuleState.PREPARED, ModuleState.CUTTING_OVER})


async def observe_step_jobs(
    context: Context, body: Mapping[str, Any], spec: ImplementationSpec, account: str
) -> dict[str, StepJob]:
    """The Jobs of steps that are under way by the status that is stored, as far as they are there.

    The API server is asked, not what watches told: a Job that they have not told of yet is at work all the same.
    """
    if not any(module.cutover for module in spec.modules):
        return {}
    status = ImplementationStatus.model_validate(body.get("status") or {})
    records = {module.name: module.cutover for module in status.modules}
    found = {}
    for module in spec.modules:
        for _, _, name in running_jobs(body, module, records.get(module.name)):
            try:
                job = await context.cluster.get(JOBS, body["metadata"]["namespace"], name, acting_as=account)
            except NotFound:
                continue
            found[name] = _standing(job, body)
    return found


async def observe_templates(
    context: Context, body: Mapping[str, Any], spec: ImplementationSpec, account: str
) -> dict[str, str]:
    """What is wrong with the CronJobs that Jobs of cutovers which may begin soon are to be made from, by name."""
    if not any(module.cutover for module in spec.modules):
        return {}
    status = ImplementationStatus.model_validate(body.get("status") or {})
    near = {
        module.name
        for module in status.modules
        if module.reached in NEAR and not (module.cutover and module.cutover.active)
    }
    found = {}
    for module in spec.modules:
        if module.cutover and module.name in near:
            steps: list[Step] = [*module.cutover.steps, *module.cutover.rollback]
            for step in steps:
                if step.type == StepType.JOB and step.ref and step.ref not in found:
                    found[step.ref] = await _wrong_with(context, body["metadata"]["namespace"], step.ref, account)
    return {name: problem for name, problem in found.items() if problem}


async def make_job(context: Context, body: Mapping[str, Any], wanted: StepJobWanted, account: str) -> StepJob | None:
    """Make the Job of a step; None when it is made, or was before. Else what is in the way."""
    namespace = body["metadata"]["namespace"]
    try:
        template = await context.cluster.get(CRON_JOBS, namespace, wanted.template, acting_as=account)
        created = await context.cluster.create(JOBS, step_job(body, wanted, template), acting_as=account)
    except Conflict:
        return None
    except NotFound:
        return StepJob(problem=f"CronJob {wanted.template} is not there")
    except Forbidden as error:
        return StepJob(problem=f"the account may not make Job {wanted.name}: {error.message}")
    except Invalid as error:
        return StepJob(failed=True, problem=f"the API server refuses Job {wanted.name}: {error.message}")
    for key in context.store.observe(JOBS, "ADDED", created):
        context.wake(key)
    return None


def step_job(body: Mapping[str, Any], wanted: StepJobWanted, template: Mapping[str, Any]) -> dict[str, Any]:
    """The Job: the template's, with a name that is the step's alone, and no time after which it would be forgotten."""
    given = template["spec"]["jobTemplate"]
    spec = {name: value for name, value in given["spec"].items() if name != "ttlSecondsAfterFinished"}
    if wanted.deadline is not None:
        limit = max(1, int(wanted.deadline.total_seconds()))
        spec["activeDeadlineSeconds"] = min(limit, spec.get("activeDeadlineSeconds", limit))
    labels = {
        MANAGED_BY_LABEL: MANAGED_BY,
        IMPLEMENTATION_LABEL: body["metadata"]["name"][:63],
        MODULE_LABEL: wanted.module,
    }
    pod = spec["template"]
    metadata = pod.get("metadata") or {}
    spec["template"] = {**pod, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}}
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {
            "name": wanted.name,
            "namespace": body["metadata"]["namespace"],
            "labels": {**((given.get("metadata") or {}).get("labels") or {}), **labels},
            "ownerReferences": [owner_reference(body)],
        },
        "spec": spec,
    }


async def _wrong_with(context: Context, namespace: str, name: str, account: str) -> str:
    try:
        found = await context.cluster.get(CRON_JOBS, namespace, name, acting_as=account)
    except NotFound:
        return f"there is no CronJob {name}"
    except ApiError as error:
        return f"CronJob {name} cannot be read: {error.message}"
    suspended = (found.get("spec") or {}).get("suspend") is True
    return "" if suspended else f"CronJob {name} is not suspended: it would run by itself too"


def _standing(job: Mapping[str, Any], body: Mapping[str, Any]) -> StepJob:
    name = job["metadata"]["name"]
    if not belongs_to(job, body):
        return StepJob(failed=True, problem=f"Job {name} is there and belongs to somebody else: delete it")
    status = job.get("status") or {}
    ended = {found["type"]: found for found in status.get("conditions") or [] if found.get("status") == "True"}
    failed = ended.get("Failed")
    return StepJob(
        complete="Complete" in ended,
        failed=failed is not None,
        message=(failed or {}).get("message") or (failed or {}).get("reason", ""),
    )
