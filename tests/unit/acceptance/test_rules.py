"""The stable run by its rules, each under the number that docs/acceptancecheck.md gives it."""

from __future__ import annotations

import json
import random
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from pilotage.api.v1alpha1.acceptancecheck import AcceptanceCheckSpec, CheckPhase
from pilotage.api.v1alpha1.common import parse_duration
from pilotage.plan.acceptance import decide
from pilotage.plan.acceptance_days import midnight
from pilotage.plan.acceptance_sample import Sample
from pilotage.plan.acceptance_track import advance, break_chain, fresh_track
from pilotage.plan.conditions import parse_timestamp
from pilotage.plan.related import check_facts
from tests.unit.acceptance.builders import DIGEST, check, implementation, metric, module
from tests.unit.acceptance.story import BAD, GOOD, START, Story

NO_DATA = Sample.no_data("empty")
DAY = timedelta(days=1)


def stable_run(*metrics, required="1m", deadline=None, **run):
    body = check(gate="StableRunComplete", metrics=list(metrics) or [metric()], stableRun={"required": required, **run})
    if deadline:
        body["spec"]["deadline"] = deadline
    return Story(body, implementation(reached="Live"))


def clock(story):
    return story.track["clock"]


def hourly(story, hours, sample=GOOD):
    return story.hear(*[sample] * hours, after=3600)


def test_rule_1_the_clock_starts_when_the_module_is_live():
    story = stable_run()
    story.project = implementation(reached="CuttingOver")
    assert story.due() == []
    assert "measured from state Live on" in story.look().track["message"]
    story.project = implementation(reached="Live")
    assert clock(story.hear(GOOD, GOOD))["accumulated"] == "10s"


def test_rule_2_the_contract_says_how_long():
    story = hourly(stable_run(metric(interval="1h"), required="14d"), 14 * 24)
    assert not story.verdict().passed
    assert hourly(story, 1).verdict().passed


@pytest.mark.parametrize(
    ("declared", "accumulated", "extended", "resets"),
    [
        ({}, "0s", None, 1),
        ({"severity": "Critical"}, "0s", None, 1),
        ({"severity": "Major"}, "30s", "20s", 0),
        ({"severity": "Minor"}, "50s", None, 0),
        ({"onBreach": "Restart", "severity": "Minor"}, "0s", None, 1),
        ({"onBreach": "Extend"}, "30s", "20s", 0),
        ({"onBreach": "Pause"}, "30s", None, 0),
        ({"onBreach": "Record"}, "50s", None, 0),
    ],
)
def test_rule_3_a_breach_acts_as_declared_or_by_its_severity(declared, accumulated, extended, resets):
    story = stable_run(metric(**declared), required="2m").hear(*[GOOD] * 4, BAD, BAD)
    found = clock(story)
    assert (found["accumulated"], found.get("extended"), found["resets"]) == (accumulated, extended, resets)


def test_rule_3_what_extends_has_to_be_earned_on_top():
    story = stable_run(metric(onBreach="Extend")).hear(*[GOOD] * 4, BAD, *[GOOD] * 4)
    assert story.body["status"]["clock"] == "1m/1m10s"
    assert not story.verdict().passed
    assert story.hear(GOOD).verdict().passed
    assert story.body["status"]["phase"] == "Passed"


def test_rule_3_a_run_that_has_not_begun_is_not_extended():
    assert clock(stable_run(metric(onBreach="Extend")).hear(BAD, BAD)).get("extended") is None


def test_rule_3_a_restart_at_midnight_counts_from_the_next_local_day():
    story = stable_run(metric(interval="1h"), required="2d", restartAt="Midnight", timezone="Asia/Shanghai")
    hourly(story, 3)
    hourly(story, 1, BAD)
    assert clock(story)["notBefore"] == "2026-03-01T16:00:00.000000Z"
    hourly(story, 4)
    assert story.now == datetime(2026, 3, 1, 16, tzinfo=UTC)
    assert clock(story)["accumulated"] == "0s"
    assert "begins anew at 2026-03-01T16:00:00Z" in clock(story)["pausedReason"]
    assert clock(story)["projectedEnd"] == "2026-03-03T16:00:00Z"
    hourly(story, 2)
    assert clock(story)["accumulated"] == "1h"


def test_rule_3_another_breach_while_it_waits_moves_the_beginning():
    story = stable_run(metric(interval="1h"), required="2d", restartAt="Midnight")
    hourly(story, 1, BAD)
    story.now += DAY
    hourly(story, 1, BAD)
    assert clock(story)["notBefore"] == "2026-03-03T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("zone", "hour", "begins"),
    [
        ("Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC), "2026-03-28T23:00:00.000000Z"),
        ("Europe/Berlin", datetime(2026, 3, 29, 12, tzinfo=UTC), "2026-03-29T22:00:00.000000Z"),
        ("Europe/Berlin", datetime(2026, 10, 25, 12, tzinfo=UTC), "2026-10-25T23:00:00.000000Z"),
        ("UTC", datetime(2028, 2, 28, 12, tzinfo=UTC), "2028-02-29T00:00:00.000000Z"),
    ],
)
def test_rule_3_local_midnight_is_found_over_summer_time_and_leap_days(zone, hour, begins):
    story = stable_run(restartAt="Midnight", timezone=zone)
    story.now = hour
    assert clock(story.hear(BAD))["notBefore"] == begins


def test_rule_4_what_comes_again_is_treated_one_level_harder():
    story = stable_run(metric(onBreach="Record"), required="10m").hear(GOOD, GOOD, BAD, BAD)
    assert clock(story)["accumulated"] == "30s"
    story.hear(GOOD, BAD)
    assert clock(story)["extended"] == "10s"
    assert clock(story)["resets"] == 0
    story.hear(GOOD, BAD)
    assert clock(story)["resets"] == 1
    assert clock(story)["accumulated"] == "0s"


def test_rule_4_it_has_come_again_only_after_it_was_met():
    story = stable_run(metric(onBreach="Record", minSamples=3), required="10m").hear(BAD, GOOD, GOOD, BAD)
    assert clock(story).get("extended") is None
    story.hear(*[GOOD] * 3, BAD)
    assert clock(story)["extended"] == "10s"


def test_rule_5_restarts_of_containers_are_a_breach_and_new_pods_are_not():
    story = stable_run(metric("restarts", target={"atMost": "0"}), required="10m")
    story.hear(Sample.reading(4), Sample.reading(4), metric="restarts")
    # A rollout replaces the pods, and the sum over all containers falls.
    assert clock(story.hear(Sample.reading(0), metric="restarts"))["resets"] == 0
    assert clock(story.hear(Sample.reading(1), metric="restarts"))["resets"] == 1


def release(story, digest):
    story.project = implementation(module(reached="Live", digest=digest))
    return story


def test_rule_6_a_release_in_mid_run_begins_anew():
    story = release(stable_run().hear(*[GOOD] * 5), "input-2").look()
    assert clock(story)["accumulated"] == "0s"


def test_rule_6_with_min_soak_a_release_keeps_the_clock_and_has_to_soak():
    story = release(stable_run(minSoak="30s").hear(*[GOOD] * 6), "input-2")
    assert not story.verdict("input-2").passed
    story.hear(*[GOOD] * 3)
    assert story.body["status"]["clock"] == "1m10s/1m20s"
    assert not story.verdict("input-2").passed
    assert story.hear(GOOD).verdict("input-2").passed


def test_rule_6_early_in_the_run_the_rest_is_soak_enough():
    story = release(stable_run(minSoak="30s").hear(GOOD, GOOD), "input-2").hear(GOOD)
    assert story.body["status"]["clock"] == "10s/1m"


def test_rule_6_while_the_release_is_rolled_out_the_clock_waits_and_is_kept():
    story = stable_run(minSoak="30s").hear(*[GOOD] * 3)
    rolling = module(reached="Live", digest="input-2", release={"name": "erp-core", "inputDigest": DIGEST})
    story.project = implementation(rolling)
    story.look()
    assert not story.verdict("input-2").passed
    story.now += timedelta(hours=1)
    assert clock(release(story, "input-2").hear(GOOD))["accumulated"] == "20s"


def test_rule_6_a_run_that_was_passed_lets_a_fix_through_after_its_soak():
    story = stable_run(minSoak="30s").hear(*[GOOD] * 7)
    assert story.verdict().passed
    release(story, "input-2").hear(*[GOOD] * 3)
    assert not story.verdict("input-2").passed
    assert story.hear(GOOD).verdict("input-2").passed


def test_rule_6_what_ended_badly_is_not_carried_over():
    story = stable_run(metric(onNoData="Fail"), minSoak="30s").hear(*[GOOD] * 5, NO_DATA)
    assert clock(story)["accumulated"] == "40s"
    assert clock(release(story, "input-2").hear(GOOD))["accumulated"] == "0s"


def test_rule_8_three_days_without_data_make_it_inconclusive_until_a_person_asks_again():
    story = stable_run(metric(interval="1h"), required="30d")
    hourly(story, 24)
    for _ in range(2):
        hourly(story, 2, NO_DATA)
        hourly(story, 22)
    assert clock(story)["noDataDays"] == 2
    assert not story.track["concluded"]
    hourly(story, 24, NO_DATA)
    hourly(story, 24)
    assert story.track["phase"] == "Inconclusive"
    assert story.verdict().ended_badly
    assert "2026-03-02, 2026-03-03, 2026-03-04" in story.verdict().message
    assert "retry-at" in story.verdict().message
    story.body["metadata"] = {**story.body["metadata"], "annotations": {"pilotage.dev/retry-at": "1"}}
    assert hourly(story, 1).track["phase"] == "Observing"


def test_rule_8_a_day_on_which_nobody_looked_is_a_day_without_data():
    story = hourly(stable_run(metric(interval="1h"), required="30d"), 2)
    story.now += 2 * DAY
    hourly(story, 1)
    assert [day["noData"] for day in story.track["days"]] == [True, True, False]
    assert clock(story)["noDataDays"] == 2


def test_rule_8_a_day_measured_in_full_is_one_whatever_its_length():
    story = stable_run(metric(interval="1h"), required="90d", timezone="Europe/Berlin")
    story.now = datetime(2026, 3, 28, 12, tzinfo=UTC)
    hourly(story, 72)
    assert [day["measured"] for day in story.track["days"]] == ["11h", "23h", "24h", "13h"]
    assert not any(day["noData"] for day in story.track["days"])


def test_rule_8_one_sample_a_day_is_enough_when_that_is_the_interval():
    story = stable_run(metric(interval="1d"), required="30d").hear(*[GOOD] * 31, after=86400)
    assert story.verdict().passed
    assert not any(day["noData"] for day in story.track["days"])


@pytest.mark.parametrize(
    ("rule", "phase", "concluded"),
    [("Pause", "Inconclusive", False), ("Inconclusive", "Inconclusive", True), ("Fail", "Failed", True)],
)
def test_rule_8_no_data_acts_as_declared(rule, phase, concluded):
    story = stable_run(metric(onNoData=rule)).hear(GOOD, NO_DATA)
    assert story.track["phase"] == phase
    assert story.track["concluded"] is concluded
    assert story.verdict().ended_badly is concluded


def test_rule_9_too_few_samples_are_no_pass():
    story = stable_run(metric(minSamples=20)).hear(*[GOOD] * 10)
    assert parse_duration(clock(story)["accumulated"]) >= timedelta(minutes=1)
    assert not story.verdict().passed


def attested(*events):
    project = implementation(reached="Live")
    project["status"]["businessEvents"] = list(events)
    return project


def test_rule_10_the_clock_may_be_full_and_a_business_event_still_missing():
    story = stable_run(requiredEvents=["month-end-close", "first-payroll"]).hear(*[GOOD] * 8)
    assert clock(story)["accumulated"] == "1m10s"
    assert "business event month-end-close is not attested yet" in story.verdict().message
    story.project = attested("month-end-close")
    assert not story.hear(GOOD).verdict().passed
    story.project = attested("month-end-close", "first-payroll")
    assert story.hear(GOOD).verdict().passed


def test_rule_10_an_event_opens_nothing_without_a_new_sample():
    story = stable_run(requiredEvents=["stocktake"]).hear(*[GOOD] * 8)
    story.project = attested("stocktake")
    assert not story.look().verdict().passed
    assert not story.hear(BAD).verdict().passed


def test_rule_10_an_event_is_no_substitute_for_time():
    story = stable_run(requiredEvents=["stocktake"])
    story.project = attested("stocktake")
    assert not story.hear(*[GOOD] * 6).verdict().passed


def test_rule_11_targets_and_consequences_are_part_of_what_is_agreed():
    body = check(gate="StableRunComplete", stableRun={"required": "30d"})
    for field, value in (("onBreach", "Record"), ("severity", "Minor"), ("target", {"atLeast": "0"})):
        changed = {**body, "spec": {**body["spec"], "metrics": [metric(**{field: value})]}}
        assert check_facts(changed, {}).terms != check_facts(body, {}).terms
    softer = {**body, "spec": {**body["spec"], "stableRun": {"required": "30d", "minSoak": "1s"}}}
    assert check_facts(softer, {}).terms != check_facts(body, {}).terms


def test_rule_12_the_clock_outlives_the_operator_and_gains_nothing_by_it():
    story = stable_run(metric(interval="1h"), required="30d")
    for hour in range(20):
        story.session = str(hour // 5)
        hourly(story, 1)
    assert clock(story)["accumulated"] == "16h"


def test_rule_13_only_what_is_recorded_makes_the_pass_conditional():
    story = stable_run(metric(), metric("speed", severity="Minor", target={"atMost": "2"}))
    for value in "1131111":
        story.decision = decide(story.seen(), {("core", "up"): GOOD, ("core", "speed"): Sample.of(value)})
        story.body = {**story.body, "status": story.decision.status}
        story.now += timedelta(seconds=10)
    assert story.body["status"]["phase"] == "ConditionallyPassed"
    assert story.verdict().passed
    assert story.condition("Ready") == "True"
    assert "metric speed (Minor) missed its target at most 2 1 times" in story.body["status"]["verdict"]


def test_rule_13_a_gate_without_a_stable_run_is_conditional_by_the_newest_sample():
    story = Story(check(metrics=[metric(severity="Minor")])).hear(BAD)
    assert story.verdict().passed
    assert story.body["status"]["phase"] == "ConditionallyPassed"


@pytest.mark.parametrize("sample", [NO_DATA, Sample.error("down")])
def test_rule_13_what_was_not_measured_is_not_conditional(sample):
    assert not Story(check(metrics=[metric(severity="Minor")])).hear(sample).verdict().passed


def test_rule_13_after_a_restart_of_the_run_older_conditions_are_gone():
    metrics = [metric(), metric("speed", severity="Minor")]
    story = stable_run(*metrics)
    for up, speed in [(GOOD, GOOD), (GOOD, BAD), (BAD, GOOD), *[(GOOD, GOOD)] * 7]:
        story.decision = decide(story.seen(), {("core", "up"): up, ("core", "speed"): speed})
        story.body = {**story.body, "status": story.decision.status}
        story.now += timedelta(seconds=10)
    assert story.body["status"]["phase"] == "Passed"


def test_rule_14_time_alone_opens_nothing():
    story = stable_run().hear(GOOD)
    for _ in range(100):
        story.now += DAY
        assert not story.look().verdict().passed
    assert clock(story)["accumulated"] == "0s"


def test_a_time_zone_that_does_not_exist_is_refused_with_its_name():
    with pytest.raises(ValueError, match="'Asia/Peking' is not a time zone"):
        AcceptanceCheckSpec.model_validate(
            check(gate="StableRunComplete", stableRun={"required": "1m", "timezone": "Asia/Peking"})["spec"]
        )


def test_days_follow_each_other_without_a_gap_over_years():
    for zone in (ZoneInfo("Europe/Berlin"), ZoneInfo("America/Sao_Paulo"), ZoneInfo("Pacific/Apia")):
        days = [datetime(2011, 12, 20, tzinfo=UTC).date() + number * DAY for number in range(800)]
        # Apia skipped a whole day, 30 December 2011; no day goes back.
        assert all(midnight(after, zone) >= midnight(before, zone) for before, after in pairwise(days))


def test_three_months_of_samples_are_decided_in_moments_and_stay_small():
    story = stable_run(metric(interval="1h"), required="90d", timezone="Europe/Berlin")
    story.now = datetime(2028, 2, 1, tzinfo=UTC)
    began = time.monotonic()
    hourly(story, 90 * 24 + 1)
    assert time.monotonic() - began < 60
    assert story.verdict().passed
    assert len(story.track["days"]) == 91
    assert "2028-02-29" in {day["date"] for day in story.track["days"]}
    assert len(json.dumps(story.body["status"])) < 16 * 1024


def test_the_largest_status_stays_small_with_all_its_days():
    names = [f"m{number}-" + "x" * 55 for number in range(20)]
    metrics = [metric(f"n{number}-" + "y" * 55, interval="12h") for number in range(8)]
    story = stable_run(*metrics, required="90d")
    story.project = implementation(*[module(name, reached="Live") for name in names])
    for sample in [GOOD, GOOD, *[GOOD, Sample.error("错" * 5000)] * 6]:
        samples = {(name, found["name"]): sample for name in names for found in metrics}
        story.body = {**story.body, "status": decide(story.seen(), samples).status}
        story.now += timedelta(hours=12)
    assert 1 < len(story.track["days"]) < 8
    assert len(json.dumps(story.body["status"], ensure_ascii=False).encode()) < 128 * 1024


def test_the_projected_end_is_when_it_passes_if_all_goes_well():
    story = stable_run(metric(interval="1h", onBreach="Extend"), required="3d")
    hourly(story, 5)
    hourly(story, 2, BAD)
    hourly(story, 2)
    projected = parse_timestamp(clock(story)["projectedEnd"])
    while not story.verdict().passed:
        hourly(story, 1)
    assert story.now - timedelta(hours=1) == projected


def test_ten_thousand_series_with_all_consequences_give_no_false_pass():
    """The run passes only with its required time of samples that were good, or recorded, since its last restart."""
    dice = random.Random(20261123)
    passes = 0
    for _ in range(10_000):
        rule = dice.choice(["Restart", "Extend", "Pause", "Record"])
        run = {"required": "60s", "restartAt": dice.choice(["Now", "Midnight"])}
        spec = AcceptanceCheckSpec.model_validate(
            check(gate="StableRunComplete", metrics=[metric(onBreach=rule)], stableRun=run)["spec"]
        )
        begin = START.replace(hour=23, minute=59, second=dice.randrange(60))
        track, quality, real, skew = fresh_track(spec, "core", DIGEST, begin), dice.choice([0.8, 0.97, 1.0]), 0.0, 0.0
        earned, last, restarts = 0.0, None, 0
        for _ in range(12):
            real += dice.choice([9.9, 10.0, 10.1, 10.0, 19.0, 25.0])
            step = dice.choice([0.0] * 30 + [-60.0, 8.0])
            skew += step
            if step or dice.random() < 0.02:
                track, last = break_chain(track), None
            answer = GOOD if dice.random() < quality else dice.choice([BAD, NO_DATA, Sample.error("down")])
            track = advance(spec, track, {"up": answer}, begin + timedelta(seconds=real + skew))
            if track.clock.resets > restarts:
                earned, restarts = 0.0, track.clock.resets
            if answer is GOOD or (answer is BAD and rule == "Record"):
                earned += min(10.0, real - last) if last is not None and real - last <= 20.0 else 0.0
                last = real
            else:
                last = None
            assert parse_duration(track.clock.accumulated).total_seconds() <= earned + 1e-6
            if track.phase in {CheckPhase.PASSED, CheckPhase.CONDITIONALLY_PASSED}:
                assert earned >= 60 - 0.01
                passes += 1
                break
    assert passes > 300, "series that pass must be among them, or the test proves nothing"
