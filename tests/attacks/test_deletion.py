"""S37: an object that will not go. Nothing that a tenant breaks keeps a namespace, or a project with `Orphan`."""

from __future__ import annotations

from typing import Any

import pytest

from pilotage.api.v1alpha1.common import FINALIZER
from pilotage.plan.delivery import ReleaseFacts
from pilotage.plan.facts import ModuleFacts, Problem
from pilotage.plan.implementation import Decision, decide
from tests.support.builders import a_module, an_implementation, facts, running

BROKEN: dict[str, dict[str, Any]] = {
    "the account is gone": {"problem": Problem("ServiceAccountMissing", "it is not there")},
    "its rights are gone": {"problem": Problem("RecordsUnreadable", "it may not read its releases")},
    "the preflight never ends": {"assessment_pending": "the probe of erp-db has not answered"},
    "a release is taken": {"modules": {"core": ModuleFacts(problem=Problem("ReleaseTaken", "belongs to another"))}},
    "a release acts for ever": {
        "modules": {"core": ModuleFacts(release=ReleaseFacts("erp-core", running().release.revisions, acting=True))}
    },
    "a record is unreadable": {"modules": {"core": ModuleFacts(problem=Problem("ReleaseUnreadable", "no gzip"))}},
}


def deleted(policy: str, **broken: Any) -> Decision:
    metadata = {"deletionTimestamp": "2026-11-23T08:00:00Z", "finalizers": [FINALIZER, "tenant.example/never"]}
    body = an_implementation(a_module("core"), metadata=metadata, deletionPolicy=policy)
    modules = broken.pop("modules", {"core": running()})
    return decide(facts(body, modules, **broken))


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("policy", ["Orphan", "Uninstall"])
def test_s37_a_namespace_that_goes_away_is_let_go(policy, broken):
    found = deleted(policy, **broken, namespace_terminating=True)
    assert (found.finalizer, found.actions) == (False, ())


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_s37_a_project_that_keeps_its_releases_is_let_go(broken):
    found = deleted("Orphan", **broken)
    assert (found.finalizer, found.actions) == (False, ())


@pytest.mark.parametrize("broken", ["the account is gone", "its rights are gone"])
def test_s37_one_that_cannot_be_uninstalled_says_how_to_let_it_go(broken):
    found = deleted("Uninstall", **BROKEN[broken])
    assert found.finalizer is None
    assert found.status is not None
    stalled = next(entry for entry in found.status["conditions"] if entry["type"] == "Stalled")
    assert stalled["status"] == "True"
    assert "Orphan" in stalled["message"]
