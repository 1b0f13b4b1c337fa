"""A cluster as far as probe Jobs see it: Jobs with uids, their pods, and who asked."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime

from pilotage.kube.client import ApiError, Conflict, NotFound
from pilotage.kube.resources import ACCEPTANCE_CHECKS, JOBS, PODS

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


class JobCluster:
    def __init__(self):
        self.jobs, self.pods, self.writes, self.version = {}, {}, [], 10
        self.statuses, self.events = [], []
        self.refuse: ApiError | None = None

    async def create(self, resource, body, *, acting_as=None):
        if resource != JOBS:
            self.events.append(body)
            return body
        if self.refuse:
            raise self.refuse
        name = body["metadata"]["name"]
        if name in self.jobs:
            raise Conflict(409, "AlreadyExists", name)
        self.version += 1
        job = copy.deepcopy(body)
        job["metadata"] |= {
            "uid": f"uid-{self.version}",
            "resourceVersion": str(self.version),
            "creationTimestamp": "2026-03-01T08:00:00Z",
        }
        self.jobs[name] = job
        self.writes.append(("create", name, acting_as))
        return copy.deepcopy(job)

    async def get(self, resource, namespace, name, *, acting_as=None):
        if name not in self.jobs:
            raise NotFound(404, "NotFound", name)
        return copy.deepcopy(self.jobs[name])

    async def list(self, resource, namespace=None, *, labels=None, fields=None, acting_as=None):
        assert resource == PODS
        return [
            copy.deepcopy(self.pods[name]) for name in self.pods if labels == f"batch.kubernetes.io/job-name={name}"
        ]

    async def delete(self, resource, namespace, name, *, uid, resource_version=None, propagation="", acting_as=None):
        assert self.jobs[name]["metadata"]["uid"] == uid
        del self.jobs[name]
        self.writes.append(("delete", name, acting_as))

    async def replace_status(self, resource, body):
        assert resource == ACCEPTANCE_CHECKS
        self.version += 1
        written = copy.deepcopy(dict(body))
        written["metadata"]["resourceVersion"] = str(self.version)
        self.statuses.append(written["status"])
        return written

    def end(self, name, results=None, *, exit_code=0, message=None):
        """The Job's pod ends with these results as its termination message."""
        text = message if message is not None else json.dumps({"results": results or []}, ensure_ascii=False)
        ended = {"exitCode": exit_code, "reason": "Completed" if not exit_code else "Error", "message": text}
        self.pods[name] = {
            "metadata": {"name": f"{name}-x", "ownerReferences": [{"uid": self.jobs[name]["metadata"]["uid"]}]},
            "status": {"containerStatuses": [{"name": "probe", "state": {"terminated": ended}}]},
        }
        kind = "Failed" if exit_code else "Complete"
        self.version += 1
        self.jobs[name]["metadata"]["resourceVersion"] = str(self.version)
        self.jobs[name]["status"] = {"conditions": [{"type": kind, "status": "True", "message": "BackoffLimit"}]}
        return self.jobs[name]
