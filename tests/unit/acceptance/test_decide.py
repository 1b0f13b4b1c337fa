"""What becomes of a check: states, subjects, gates, errors kept apart, and when to look again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pilotage.api.v1alpha1.acceptancecheck import Target
from pilotage.plan.acceptance import decide, gate_verdict, refuse
from pilotage.plan.acceptance_sample import Outcome, Sample, judge
from tests.unit.acceptance.builders import DIGEST, check, implementation, metric, module
from tests.unit.acceptance.story import BAD, GOOD, START, Story


@pytest.mark.parametrize(
    ("target", "value", "outcome"),
    [
        ({"atLeast": "99.5"}, "99.5", Outcome.VALUE),
        ({"atLeast": "99.5"}, "99.49", Outcome.MISSED),
        ({"atMost": "2"}, "2.000", Outcome.VALUE),
        ({"atMost": "2"}, "2.001", Outcome.MISSED),
        ({"atMost": "2"}, "NaN", Outcome.ERROR),
        ({"atMost": "2"}, "-Infinity", Outcome.ERROR),
        ({"atLeast": "1"}, "many", Outcome.ERROR),
        ({"atLeast": "1"}, "", Outcome.ERROR),
        ({"equals": "20"}, "20.0", Outcome.VALUE),
        ({"equals": "20"}, "21", Outcome.MISSED),
        ({"equals": "华升商贸"}, "华升商贸", Outcome.VALUE),
        ({"equals": "华升商贸"}, "华升", Outcome.MISSED),
    ],
)
def test_a_value_meets_its_target_or_not(target, value, outcome):
    assert judge(Target.model_validate(target), value) is outcome


def test_a_good_sample_opens_the_gate():
    story = Story(check()).hear(GOOD)
    assert story.verdict().passed
    assert story.body["status"]["phase"] == "Passed"
    assert story.condition("Ready") == "True"
    assert story.decision.again is None


def test_enough_good_samples_in_a_row_are_needed():
    story = Story(check(metrics=[metric(minSamples=3)])).hear(GOOD, GOOD, BAD, GOOD, GOOD)
    assert not story.verdict().passed
    assert "2 of 3 good samples" in story.verdict().message
    assert story.hear(GOOD).verdict().passed


def test_an_error_neither_counts_nor_begins_the_row_anew():
    story = Story(check(metrics=[metric(minSamples=2)])).hear(GOOD, Sample.error("refused"))
    assert not story.verdict().passed
    assert story.hear(GOOD).verdict().passed


@pytest.mark.parametrize(
    ("sample", "phase"),
    [
        (BAD, "Failed"),
        (Sample.missed("no answer"), "Failed"),
        (Sample.no_data("no row"), "Inconclusive"),
        (Sample.error("Service web is not there"), "Error"),
        (Sample.of("text"), "Error"),
    ],
)
def test_what_is_not_good_never_passes_and_is_kept_apart(sample, phase):
    story = Story(check()).hear(sample)
    assert story.verdict().phase == phase
    assert not story.verdict().passed
    assert not story.verdict().ended_badly
    assert story.condition("Ready") == "False"
    assert story.condition("Reconciling") == "True"
    assert story.hear(GOOD).verdict().passed


def test_the_message_names_metric_value_and_target():
    metrics = [metric("customers", target={"atLeast": "20000"})]
    story = Story(check(metrics=metrics)).hear(Sample.of("19"), metric="customers")
    assert story.verdict().message == "metric customers: value 19, target at least 20000"


@pytest.mark.parametrize(
    ("gate", "reached", "measured"),
    [
        ("ConfigurationReady", "Migrating", False),
        ("ConfigurationReady", "Verifying", True),
        ("ConfigurationReady", "Live", True),
        ("StableRunComplete", "CuttingOver", False),
        ("StableRunComplete", "Live", True),
        ("FinalAccepted", "Live", False),
        ("FinalAccepted", "Stable", True),
    ],
)
def test_a_module_is_measured_from_its_gates_state_on(gate, reached, measured):
    stable = {"stableRun": {"required": "1m"}} if gate == "StableRunComplete" else {}
    story = Story(check(gate=gate, **stable), implementation(reached=reached))
    assert bool(story.due()) is measured
    if not measured:
        assert story.look().track["phase"] == "Pending"
        assert f"has reached {reached}" in story.track["message"]


def test_a_module_that_does_not_run_at_the_version_wanted_is_not_measured():
    upgrading = module(release={"name": "erp-core", "inputDigest": "old"})
    assert Story(check(), implementation(upgrading)).due() == []


def test_another_input_is_measured_anew_and_the_old_verdict_does_not_count_for_it():
    story = Story(check()).hear(GOOD)
    story.project = implementation(module(digest="input-2"))
    assert not story.verdict("input-2").passed
    story.look()
    assert story.track["phase"] == "Observing"
    assert not story.verdict(DIGEST).passed
    assert story.hear(GOOD).verdict("input-2").passed


def test_a_changed_spec_begins_anew():
    story = Story(check()).hear(GOOD)
    story.body = {**story.body, "metadata": {**story.body["metadata"], "generation": 2}}
    assert not story.verdict().passed
    assert not story.look().verdict().passed


def test_a_new_implementation_of_the_same_name_inherits_nothing():
    story = Story(check()).hear(GOOD)
    story.project = implementation()
    story.project["metadata"]["uid"] = "another"
    assert not story.look().verdict().passed


def test_a_verdict_outlasts_a_pass_in_which_the_release_is_unknown():
    story = Story(check()).hear(GOOD)
    story.project = implementation(module(release=None, reached="Pending"))
    assert story.look().verdict().passed


def test_without_its_implementation_it_waits():
    story = Story(check())
    story.project = None
    assert story.look().body["status"]["phase"] == "Pending"
    assert "Implementation erp is not there" in story.body["status"]["verdict"]


def test_a_fresh_or_deleted_check_never_passes():
    assert not gate_verdict(check(), "core", DIGEST).passed
    story = Story(check()).hear(GOOD)
    story.body["metadata"]["deletionTimestamp"] = "2026-03-01T08:00:00Z"
    assert not story.verdict().passed
    assert not gate_verdict(Story(check()).hear(GOOD).body, "core", "").passed


def test_a_breach_restarts_the_stable_run():
    spec = {"gate": "StableRunComplete", "stableRun": {"required": "1m"}}
    story = Story(check(**spec), implementation(reached="Live")).hear(*[GOOD] * 4)
    assert story.track["clock"]["accumulated"] == "30s"
    story.hear(BAD)
    assert story.track["clock"]["accumulated"] == "0s"
    assert story.track["clock"]["resets"] == 1
    assert story.body["status"]["phase"] == "Failed"
    story.hear(*[GOOD] * 6)
    assert not story.verdict().passed
    assert story.body["status"]["clock"] == "50s/1m"
    assert story.hear(GOOD).verdict().passed


@pytest.mark.parametrize("sample", [Sample.no_data("empty"), Sample.error("down")])
def test_errors_and_no_data_pause_the_stable_run(sample):
    spec = {"gate": "StableRunComplete", "stableRun": {"required": "1m"}}
    story = Story(check(**spec), implementation(reached="Live")).hear(*[GOOD] * 4, sample)
    assert story.track["clock"]["accumulated"] == "30s"
    assert story.track["clock"]["pausedReason"]
    assert story.hear(GOOD).track["clock"]["accumulated"] == "30s"
    assert story.hear(GOOD).track["clock"]["accumulated"] == "40s"


def test_a_gap_of_more_than_two_intervals_credits_nothing():
    spec = {"gate": "StableRunComplete", "stableRun": {"required": "1m"}}
    story = Story(check(**spec), implementation(reached="Live")).hear(GOOD, after=20).hear(GOOD, after=21)
    assert story.track["clock"]["accumulated"] == "10s"
    story.hear(GOOD)
    assert story.track["clock"]["accumulated"] == "10s"
    assert "later than two intervals" in story.track["clock"]["pausedReason"]


def test_a_restart_of_the_operator_keeps_the_clock_and_gains_nothing():
    spec = {"gate": "StableRunComplete", "stableRun": {"required": "1m"}}
    story = Story(check(**spec), implementation(reached="Live")).hear(GOOD, GOOD)
    story.session = "two"
    assert story.hear(GOOD).track["clock"]["accumulated"] == "10s"
    assert story.hear(GOOD).track["clock"]["accumulated"] == "20s"


def test_on_breach_fail_ends_it_until_a_person_asks_for_another_try():
    story = Story(check(metrics=[metric(onBreach="Fail")])).hear(BAD)
    assert story.verdict().ended_badly
    assert story.condition("Stalled") == "True"
    assert story.due() == []
    story.body["metadata"] = {**story.body["metadata"], "annotations": {"pilotage.dev/retry-at": "1"}}
    assert story.due() == [("core", "up")]
    assert story.hear(GOOD).verdict().passed


def test_a_deadline_ends_it_and_wakes_the_reconciler():
    story = Story(check(deadline="15s")).hear(BAD)
    assert story.decision.again <= timedelta(seconds=10)
    story.hear(BAD)
    assert not story.verdict().ended_badly
    story.now = START + timedelta(seconds=15)
    story.look()
    assert story.verdict().ended_badly
    assert "not passed within 15s" in story.verdict().message


def test_restarts_are_counted_from_the_first_reading_on():
    metrics = [metric("restarts", target={"atMost": "1"}, minSamples=2)]
    readings = [Sample.reading(7), Sample.reading(8)]
    story = Story(check(metrics=metrics)).hear(*readings, metric="restarts")
    assert story.verdict().passed
    assert story.track["metrics"][0]["value"] == "1"


def test_restarts_beyond_the_target_are_a_miss_once():
    spec = {"gate": "StableRunComplete", "stableRun": {"required": "1m"}}
    metrics = [metric("restarts", target={"atMost": "0"})]
    story = Story(check(metrics=metrics, **spec), implementation(reached="Live"))
    story.hear(Sample.reading(3), Sample.reading(4), metric="restarts")
    assert story.track["metrics"][0]["state"] == "Breached"
    story.hear(Sample.reading(4), metric="restarts")
    assert story.track["metrics"][0]["state"] == "Good"


def test_nothing_is_due_between_two_samples_and_nothing_changes_then():
    story = Story(check(metrics=[metric(minSamples=3)])).hear(GOOD, after=4)
    before = story.body["status"]
    assert story.due() == []
    assert story.look().body["status"] == before
    assert timedelta() < story.decision.again <= timedelta(seconds=10)


def test_modules_share_the_moments_of_their_samples():
    project = implementation(module("core"), module("finance"))
    story = Story(check(metrics=[metric(minSamples=5)]), project)
    story.hear(GOOD, after=3, module="core").hear(GOOD, after=10, module="finance")
    assert story.due() == [("core", "up"), ("finance", "up")]


def test_only_the_named_modules_are_measured():
    project = implementation(module("core"), module("finance"))
    assert Story(check(modules=["finance"]), project).due() == [("finance", "up")]


def test_a_named_module_that_does_not_exist_holds_the_check():
    story = Story(check(modules=["sales"])).look()
    assert story.body["status"]["phase"] == "Pending"
    assert "not reported" in story.track["message"]


def test_too_many_measurements_are_refused_with_a_remedy():
    names = [f"module-{number}" for number in range(100)]
    project = implementation(*map(module, names))
    story = Story(check(metrics=[metric("a"), metric("b")]), project).look()
    assert story.condition("Stalled") == "True"
    assert "split it" in story.body["status"]["verdict"]


def test_the_largest_status_stays_small():
    long = [f"m{number}-" + "x" * 55 for number in range(20)]
    metrics = [metric(f"n{number}-" + "y" * 55) for number in range(8)]
    project = implementation(*map(module, long))
    story = Story(check(metrics=metrics), project)
    samples = {(m, found["name"]): Sample.error("错" * 5000) for m in long for found in metrics}
    status = decide(story.seen(), samples).status
    import json

    assert len(json.dumps(status, ensure_ascii=False).encode()) < 128 * 1024


def test_a_spec_that_cannot_be_read_is_stalled():
    status = refuse(Story(check()).seen(), "metrics: too few").status
    assert status["phase"] == "Error"
    assert any(c["type"] == "Stalled" for c in status["conditions"])


def test_an_answered_probe_gets_another_name_next_time():
    story = Story(check())
    body = {**story.body, "status": decide(story.seen(), {}, ["erp-db"]).status}
    assert body["status"]["probes"] == [{"connection": "erp-db", "number": 1}]
