"""What migrations and people report, as evidence: settled results only, and silence is no data."""

from __future__ import annotations

import pytest

from pilotage.api.v1alpha1.acceptancecheck import AttestationSource, MigrationResultSource
from pilotage.evidence.records import measure_attested, measure_migration
from pilotage.plan.acceptance_sample import Outcome


def migration(**status):
    return {
        "metadata": {"name": "parties", "generation": 2},
        "spec": {"implementationRef": {"name": "erp"}},
        "status": {
            "observedGeneration": 2,
            "run": "Final",
            "phase": "Succeeded",
            "counts": {"read": 100, "loaded": 97, "quarantined": 3, "balanced": True},
            "checks": [{"name": "sum", "passed": False}, {"name": "count", "passed": True}],
            **status,
        },
    }


def of_migration(body, measure="Balanced", implementation="erp"):
    return measure_migration(body, MigrationResultSource(name="parties", measure=measure), implementation)


@pytest.mark.parametrize(("measure", "value"), [("Balanced", "1"), ("Quarantined", "3"), ("FailedChecks", "1")])
@pytest.mark.parametrize("run", ["Final", "Delta"])
def test_a_run_that_loads_is_measured(run, measure, value):
    assert of_migration(migration(run=run), measure).value == value


def test_rows_that_do_not_add_up_are_zero():
    assert of_migration(migration(phase="Rejected", counts={"read": 1, "balanced": False})).value == "0"


@pytest.mark.parametrize(
    "status",
    [{"run": "Rehearsal"}, {"phase": "Loading"}, {"phase": "Failed"}, {"observedGeneration": 1}, {"counts": None}],
)
def test_before_the_final_run_of_this_spec_has_settled_there_is_no_data(status):
    assert of_migration(migration(**status)).outcome is Outcome.NO_DATA


@pytest.mark.parametrize(("body", "implementation"), [(None, "erp"), (migration(), "crm")])
def test_a_migration_that_is_not_there_or_of_another_project_is_an_error(body, implementation):
    assert of_migration(body, implementation=implementation).outcome is Outcome.ERROR


def attested(measure, severity=None, generation=1, **status):
    body = {"metadata": {"generation": 1}, "status": {"observedGeneration": generation, **status}}
    return measure_attested(body, AttestationSource(measure=measure, severity=severity))


@pytest.mark.parametrize(("severity", "value"), [("S1", "1"), ("S2", "1"), ("S3", "6"), (None, "13")])
def test_open_defects_of_a_severity_and_worse(severity, value):
    assert attested("OpenDefects", severity, defects={"s1": 1, "s2": 0, "s3": 5, "s4": 7}).value == value


def test_tests_that_failed_or_are_open_have_not_passed():
    sample = attested("TestsNotPassed", tests={"passed": 8, "failed": ["FIN-003"], "open": ["FIN-004"]})
    assert (sample.value, sample.message) == ("2", "FIN-003, FIN-004")


def test_people_who_still_have_to_pass_are_counted():
    roles = [
        {"role": "clerk", "needed": 5, "passed": 3},
        {"role": "warehouse", "needed": 5, "passed": 9, "complete": True},
    ]
    assert attested("Untrained", training=roles).value == "2"


@pytest.mark.parametrize("measure", ["OpenDefects", "TestsNotPassed", "Untrained"])
def test_where_nobody_has_stated_anything_there_is_no_data(measure):
    assert attested(measure).outcome is Outcome.NO_DATA
    full = {"defects": {}, "tests": {"passed": 1}, "training": [{"role": "clerk", "needed": 1}]}
    assert attested(measure, generation=0, **full).outcome is Outcome.NO_DATA
