"""SQL evidence: one Job per connection and round, as the tenant, never adopted from somebody else."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from pilotage.api.v1alpha1.acceptancecheck import Metric
from pilotage.evidence.sql import ProbeSetting, measure_sql, probe_name, retire
from pilotage.kube.client import Forbidden
from pilotage.kube.resources import JOBS
from pilotage.kube.store import Store
from pilotage.plan.acceptance_sample import Outcome
from pilotage.plan.acceptance_schedule import Measurement
from tests.unit.acceptance.builders import DIGEST, check, metric
from tests.unit.evidence.jobs import START, JobCluster


def due(*names, subject=DIGEST, module="core"):
    return [
        Measurement(
            module,
            subject,
            "erp-core",
            Metric.model_validate(metric(name, source={"sql": {"connection": "erp-db", "query": f"select {number}"}})),
        )
        for number, name in enumerate(names)
    ]


class Bench:
    def __init__(self):
        self.cluster, self.store, self.now = JobCluster(), Store(lambda *_: ()), START

    def setting(self):
        return ProbeSetting(
            self.cluster,
            self.store,
            check(),
            "tenant",
            "engine:dev",
            "Never",
            self.now,  # type: ignore[arg-type]
        )

    async def ask(self, *wanted, number=0, secret="erp-database"):
        return await measure_sql(self.setting(), "erp-db", secret, number, wanted or due("customers"))

    @property
    def job(self):
        (name,) = self.cluster.jobs
        return name

    def end(self, *results, **more):
        self.store.observe(JOBS, "MODIFIED", self.cluster.end(self.job, list(results), **more))


async def test_due_metrics_of_a_connection_share_one_job_made_as_the_tenant():
    bench = Bench()
    round_ = await bench.ask(*due("customers", "parties"))
    assert not round_.samples
    assert bench.cluster.writes == [("create", bench.job, "tenant")]
    pod = bench.cluster.jobs[bench.job]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    probe = json.loads(pod["containers"][0]["env"][0]["value"])
    assert [query["name"] for query in probe["queries"]] == ["customers", "parties"]
    assert not any(
        "value" in variable and variable["name"].startswith("PG") for variable in pod["containers"][0]["env"]
    )


async def test_a_repeated_pass_starts_no_second_job():
    bench = Bench()
    await bench.ask()
    await bench.ask()
    bench.store = Store(lambda *_: ())
    await bench.ask()
    assert len(bench.cluster.writes) == 1


async def test_answers_become_samples_and_the_job_goes():
    bench = Bench()
    await bench.ask(*due("customers", "empty", "wrong"))
    bench.end(
        {"name": "customers", "value": "20000", "error": None},
        {"name": "empty", "value": None, "error": None},
        {"name": "wrong", "value": None, "error": 'relation "party" does not exist'},
    )
    round_ = await bench.ask(*due("customers", "empty", "wrong"))
    assert round_.samples["core", "customers"].value == "20000"
    assert round_.samples["core", "empty"].outcome is Outcome.NO_DATA
    assert round_.samples["core", "wrong"].outcome is Outcome.ERROR
    assert round_.answered == {"erp-db"}
    await retire(bench.setting(), round_.served[0])
    assert not bench.cluster.jobs


async def test_an_answer_about_an_older_input_does_not_count():
    bench = Bench()
    await bench.ask()
    bench.end({"name": "customers", "value": "20000"})
    round_ = await bench.ask(*due("customers", subject="input-2"))
    assert not round_.samples
    assert round_.answered == {"erp-db"}


@pytest.mark.parametrize("message", ["", "no json", '{"results": 3}', "[]", '{"results": [{"value": 1}]}'])
async def test_an_unreadable_answer_is_an_error(message):
    bench = Bench()
    await bench.ask()
    bench.end(exit_code=2, message=message)
    sample = (await bench.ask()).samples["core", "customers"]
    assert sample.outcome is Outcome.ERROR
    assert "exit code 2" in sample.message


async def test_a_pod_that_cannot_start_is_reported_before_its_time_limit():
    bench = Bench()
    await bench.ask()
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "erp-database" not found'}}
    bench.cluster.pods[bench.job] = {
        "metadata": {"name": "p"},
        "status": {"containerStatuses": [{"name": "probe", "state": waiting}]},
    }
    assert not (await bench.ask()).samples
    bench.now = START + timedelta(seconds=21)
    sample = (await bench.ask()).samples["core", "customers"]
    assert sample.outcome is Outcome.ERROR
    assert 'secret "erp-database" not found' in sample.message


async def test_a_job_that_never_ends_is_given_up():
    bench = Bench()
    await bench.ask()
    bench.now = START + timedelta(seconds=181)
    assert "has not ended" in (await bench.ask()).samples["core", "customers"].message


async def test_somebody_elses_job_is_not_adopted():
    bench = Bench()
    await bench.ask()
    bench.cluster.jobs[bench.job]["metadata"]["ownerReferences"] = []
    bench.store = Store(lambda *_: ())
    bench.end({"name": "customers", "value": "20000"})
    round_ = await bench.ask()
    assert round_.samples["core", "customers"].outcome is Outcome.ERROR
    assert not round_.served


async def test_a_missing_connection_and_a_missing_right_are_errors():
    bench = Bench()
    assert "not among" in (await bench.ask(secret=None)).samples["core", "customers"].message
    bench.cluster.refuse = Forbidden(403, "Forbidden", "jobs.batch is forbidden")
    assert "forbidden" in (await bench.ask()).samples["core", "customers"].message


def test_every_round_and_every_generation_has_its_own_name():
    names = {probe_name(check(), "erp-db", number) for number in range(3)}
    changed = check()
    changed["metadata"] = {**changed["metadata"], "generation": 2, "name": "x" * 250}
    names.add(probe_name(changed, "erp-db", 0))
    assert len(names) == 4
    assert all(len(name) <= 63 for name in names)
