"""Every plan that once broke a rule, run anew on a real API server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.faults.ground import Ground
from tests.faults.plan import read_plan
from tests.faults.sweep import learn, run_plan

PLANS = sorted((Path(__file__).parent / "plans").glob("*.yaml"))


@pytest.mark.light
@pytest.mark.timeout(900)
async def test_no_plan_that_once_broke_a_rule_breaks_one_now(tmp_path):
    plans = {file.stem: read_plan(file) for file in PLANS}
    async with Ground(tmp_path) as ground:
        references = await learn(ground, sorted({plan.workload for plan in plans.values()}))
        slots = asyncio.Semaphore(2)

        async def one(name: str) -> tuple[str, str, list[str]]:
            async with slots:
                result = await run_plan(ground, plans[name], references[plans[name].workload])
                return name, result.outcome, result.said

        found = await asyncio.gather(*(one(name) for name in plans))
    assert found == [(name, "held", []) for name in plans]
