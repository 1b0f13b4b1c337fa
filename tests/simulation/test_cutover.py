"""Cutovers in the simulated world: any order of events, and a crash at every write of the operator."""

from __future__ import annotations

from typing import Any

import pytest

from pilotage.kube.resources import ATTESTATIONS, CRON_JOBS, IMPLEMENTATIONS, JOBS, SIGN_OFFS
from tests.simulation.test_gates import PEOPLE
from tests.simulation.test_rollout import a_project, the_spec
from tests.support.builders import a_module
from tests.support.simulation import NAMESPACE, Simulation

LONGEST = 200
STEPS = [
    {"name": "freeze", "type": "Confirm", "owner": "wang", "plannedMinutes": 10},
    {"name": "backup", "type": "Job", "ref": "backup", "plannedMinutes": 20},
    {"name": "enable", "type": "Rollout", "plannedMinutes": 5},
    {"name": "open", "type": "Job", "ref": "open", "plannedMinutes": 5},
]
BACK = [
    {"name": "restore", "type": "Job", "ref": "restore", "plannedMinutes": 20},
    {"name": "thaw", "type": "Confirm", "owner": "wang", "plannedMinutes": 5},
]
CORE = a_module("core", cutover={"steps": STEPS, "pointOfNoReturn": "open", "rollback": BACK})
TEMPLATE = {"suspend": True, "jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "c"}]}}}}}


class Night:
    """A project with one cutover, the Jobs that were made for it, and the people who confirm its steps.

    fails: the CronJobs whose Jobs fail.
    """

    def __init__(self, simulation: Simulation, *fails: str) -> None:
        self.simulation = simulation
        self.fails = set(fails)
        self.made: list[str] = []
        self.confirmed: set[tuple[str, int]] = set()
        simulation.world.subscribe(self._see)

    def _see(self, resource: Any, kind: str, body: dict[str, Any]) -> None:
        if resource is JOBS and kind == "ADDED":
            self.made.append(self.template(body))

    @staticmethod
    def template(job: dict[str, Any]) -> str:
        return str(job["metadata"]["name"].split("-")[2])

    @property
    def record(self) -> dict[str, Any]:
        module = next(iter(self.simulation.modules()), {})
        return dict(module.get("cutover") or {})

    @property
    def steps(self) -> dict[str, str]:
        return {found["name"]: found["state"] for found in [*self.record["steps"], *self.record["rollback"]]}

    async def begin(self) -> None:
        spec = the_spec(CORE, contacts=PEOPLE)
        await a_project(self.simulation, objects=(), charts=[CORE])
        for name in ("backup", "open", "restore"):
            await self.simulation.create(CRON_JOBS, name, TEMPLATE)
        await self.simulation.create(IMPLEMENTATIONS, "erp", spec)

    async def go_on(self) -> None:
        """Until nothing moves: Jobs end, and people confirm what they are asked for."""
        for _ in range(12):
            await self.simulation.settle(until=self._has_to_do, horizon=60.0)
            if not self._has_to_do():
                return
            await self._do()
        pytest.fail(f"the night does not end: {self.record}")

    def _open_jobs(self) -> list[dict[str, Any]]:
        return [job for job in self.simulation.world.all(JOBS) if not (job.get("status") or {}).get("conditions")]

    def _to_confirm(self) -> list[tuple[str, int]]:
        running = [
            (found["name"], self.record["attempt"])
            for found in [*self.record.get("steps", []), *self.record.get("rollback", [])]
            if found["state"] == "Running" and found["name"] in {"freeze", "thaw"}
        ]
        return [found for found in running if found not in self.confirmed]

    def _has_to_do(self) -> bool:
        return bool(self._open_jobs() or self._to_confirm())

    async def _do(self) -> None:
        self.simulation.clock.advance(60.0)
        for job in self._open_jobs():
            kind = "Failed" if self.template(job) in self.fails else "Complete"
            ended = {"conditions": [{"type": kind, "status": "True", "message": "as assumed"}]}
            await self.simulation.world.replace_status(JOBS, {**job, "status": ended})
        for name, attempt in self._to_confirm():
            self.confirmed.add((name, attempt))
            spec = {
                "implementationRef": {"name": "erp"},
                "type": "CutoverStep",
                "module": "core",
                "name": name,
                "result": {"outcome": "Passed"},
                "by": "wang",
                "recordedBy": "wang",
            }
            await self.simulation.create(ATTESTATIONS, f"{name}-{attempt}", spec)


async def retry(simulation: Simulation, token: str) -> None:
    def edit(body: dict[str, Any]) -> None:
        body["metadata"].setdefault("annotations", {})["pilotage.dev/retry-at"] = token

    simulation.clock.advance(60.0)
    await simulation.change(IMPLEMENTATIONS, "erp", edit)


@pytest.mark.parametrize("seed", range(6))
async def test_a_night_without_trouble_ends_live_with_each_job_made_once(seed: int) -> None:
    night = Night(Simulation(seed))
    await night.begin()
    await night.go_on()
    assert night.simulation.states() == {"core": "Accepted"}
    assert set(night.steps.values()) == {"Done"}
    assert night.made == ["backup", "open"]
    jobs = {(acting, verb) for verb, plural, _, acting in night.simulation.world.writes if plural == "jobs"}
    assert (f"system:serviceaccount:{NAMESPACE}:pilotage-deployer", "create") in jobs
    assert (None, "create") not in jobs
    assert [write for write in night.simulation.world.no_ops if write[0] == "status"] == []


async def abort_and_try_again(night: Night) -> None:
    """The backup fails, all is taken back, and only when somebody asks the second attempt goes through."""
    await night.begin()
    await night.go_on()
    simulation = night.simulation
    assert simulation.states() == {"core": "Prepared"}
    assert night.record["aborted"]["reason"] == "StepFailed"
    assert night.steps == {
        "freeze": "RolledBack", "backup": "Failed", "enable": "Skipped", "open": "Skipped",
        "restore": "Done", "thaw": "Done",
    }  # fmt: skip
    assert night.made == ["backup", "restore"]
    night.fails.clear()
    await retry(simulation, "second")
    await night.go_on()
    assert simulation.states() == {"core": "Accepted"}
    assert night.made == ["backup", "restore", "backup", "open"]
    assert night.record["attempt"] == 2


async def stop_past_the_point(night: Night) -> None:
    """The step past the point of no return fails: all waits for a person, who orders the way back."""
    await night.begin()
    await night.go_on()
    simulation = night.simulation
    assert simulation.states() == {"core": "CuttingOver"}
    assert simulation.condition("Stalled") == ("True", "CutoverStepFailed")
    assert night.made == ["backup", "open"]
    wanted = simulation.modules()[0]["desiredInput"]
    simulation.clock.advance(60.0)
    spec = {
        "implementationRef": {"name": "erp"},
        "gate": "GoLiveApproved",
        "module": "core",
        "decision": "RollBack",
        "digest": wanted[:12],
        "by": "wang",
        "recordedBy": "wang",
        "reason": "订单无法保存",
    }
    await simulation.create(SIGN_OFFS, "back", spec)
    await night.go_on()
    assert simulation.states() == {"core": "Prepared"}
    assert night.record["aborted"]["reason"] == "Ordered"
    assert night.made == ["backup", "open", "restore"]


STORIES = {"aborts": (abort_and_try_again, "backup"), "past the point": (stop_past_the_point, "open")}


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("seed", range(4))
async def test_a_step_that_fails_is_taken_back_by_a_machine_only_before_the_point_of_no_return(
    story: str, seed: int
) -> None:
    tell, fails = STORIES[story]
    await tell(Night(Simulation(seed), fails))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("written", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("story", STORIES)
async def test_a_crash_at_any_write_changes_nothing_of_a_cutover(story: str, *, written: bool) -> None:
    tell, fails = STORIES[story]
    for number in range(1, LONGEST):
        night = Night(Simulation(number, crash_at=number, crash_after=written), fails)
        await tell(night)
        if not night.simulation.crashes:
            assert number > night.simulation.operator_writes
            return
    pytest.fail(f"a cutover took more than {LONGEST} writes")
