"""The state of a release, read off Helm's records."""

from __future__ import annotations

import pytest

from pilotage.plan.delivery import ReleaseFacts, ReleaseState, Revision, input_digest, release_state

WANTED, OTHER = "a" * 40, "b" * 40


def revision(number: int, status: str, wanted: str = WANTED, attempt: str = "0", description: str = "") -> Revision:
    return Revision(number, status, description, input=wanted, attempt=attempt)


def state(*revisions: Revision, acting: bool = False, attempt: str = "0") -> ReleaseState:
    return release_state(ReleaseFacts("core", revisions, acting), WANTED, attempt)


def test_without_a_record_the_release_is_absent():
    assert state() is ReleaseState.ABSENT


def test_an_uninstalled_release_whose_history_was_kept_is_absent():
    assert state(revision(1, "uninstalled")) is ReleaseState.ABSENT


@pytest.mark.parametrize("status", ["pending-install", "pending-upgrade", "pending-rollback", "uninstalling"])
def test_an_action_that_nobody_carries_on_locks_the_release(status):
    assert state(revision(1, status)) is ReleaseState.LOCKED


def test_a_release_that_our_child_acts_on_is_not_locked():
    assert state(revision(1, "pending-install"), acting=True) is ReleaseState.OUT_OF_DATE


def test_the_wanted_input_deployed_is_in_sync():
    assert state(revision(1, "superseded", OTHER), revision(2, "deployed")) is ReleaseState.IN_SYNC


def test_another_attempt_does_not_upgrade_what_is_deployed():
    assert state(revision(1, "deployed"), attempt="1f") is ReleaseState.IN_SYNC


def test_another_input_deployed_is_out_of_date():
    assert state(revision(1, "deployed", OTHER)) is ReleaseState.OUT_OF_DATE


def test_a_release_that_somebody_made_by_hand_is_out_of_date():
    assert state(revision(1, "deployed", "")) is ReleaseState.OUT_OF_DATE


def test_a_failure_with_the_wanted_input_is_final():
    assert state(revision(1, "deployed", OTHER), revision(2, "failed")) is ReleaseState.FAILED


@pytest.mark.parametrize(
    "words",
    [
        'Patch "https://10.96.0.1:443/apis/apps/v1": unexpected EOF',
        "dial tcp 10.96.0.1:443: connect: connection refused",
        "etcdserver: leader changed",
        "the server is currently unable to handle the request",
        'an error on the server ("502 Bad Gateway") has prevented the request from succeeding',
        'deployments.apps "erp-core" is forbidden: RBAC: clusterrole.rbac.authorization.k8s.io "deployer" not found',
        'is forbidden: User "system:serviceaccount:a:b" cannot impersonate-on:serviceaccount:get resource "pods"',
        'Upgrade "core" failed: the action was cut off',
    ],
)
def test_a_failure_for_which_the_cluster_was_to_blame_is_taken_up_again(words):
    assert state(revision(1, "failed", description=words)) is ReleaseState.OUT_OF_DATE


@pytest.mark.parametrize(("wanted", "attempt"), [(OTHER, "0"), (WANTED, "1f")])
def test_a_failure_is_taken_up_again_with_another_input_or_attempt(wanted, attempt):
    assert state(revision(1, "failed", wanted), attempt=attempt) is ReleaseState.OUT_OF_DATE


CUT_OFF = 'Rollback "core" failed: the server was unable to return a response in the time allotted'
KILLED = 'Rollback "core" failed: the action was cut off'


@pytest.mark.parametrize("words", [CUT_OFF, KILLED], ids=["by the cluster", "by a kill"])
@pytest.mark.parametrize("left", ["failed", "superseded", "deployed"])
def test_a_way_back_that_was_cut_off_is_taken_again_and_not_the_way_forth(left, words):
    before = revision(1, "superseded", OTHER), revision(2, left)
    assert state(*before, revision(3, "failed", OTHER, description=words)) is ReleaseState.FAILED
    twice = [revision(number, "failed", OTHER, description=words) for number in (3, 4)]
    assert state(*before, *twice) is ReleaseState.FAILED


def test_a_way_back_that_succeeded_at_the_second_time_is_one():
    records = revision(1, "superseded", OTHER), revision(2, "failed"), revision(3, "failed", OTHER, description=CUT_OFF)
    assert state(*records, revision(4, "deployed", OTHER, description="Rollback to 1")) is ReleaseState.ROLLED_BACK


def test_a_way_back_that_was_cut_off_does_not_keep_another_input_or_attempt_from_being_tried():
    records = revision(1, "superseded", OTHER), revision(2, "failed"), revision(3, "failed", OTHER, description=CUT_OFF)
    assert state(*records, attempt="1f") is ReleaseState.OUT_OF_DATE
    assert release_state(ReleaseFacts("core", records), "c" * 40, "0") is ReleaseState.OUT_OF_DATE


def rolled_back(attempt: str = "0") -> tuple[Revision, ...]:
    return (
        revision(1, "superseded", OTHER),
        revision(2, "failed", WANTED, attempt),
        revision(3, "deployed", OTHER, description="Rollback to 1"),
    )


def test_a_return_from_the_wanted_input_is_rolled_back():
    assert state(*rolled_back()) is ReleaseState.ROLLED_BACK


def test_a_new_attempt_goes_forward_again_after_a_rollback():
    assert state(*rolled_back(), attempt="1f") is ReleaseState.OUT_OF_DATE


def test_a_rollback_to_the_wanted_input_is_in_sync():
    facts = (
        revision(1, "superseded"),
        revision(2, "failed", OTHER),
        revision(3, "deployed", description="Rollback to 1"),
    )
    assert state(*facts) is ReleaseState.IN_SYNC


def test_the_input_digest_fits_a_label_and_tells_chart_and_values_apart():
    assert len(input_digest("sha256:" + "1" * 64, "sha256:" + "2" * 64)) == 40
    assert input_digest("1", "2") != input_digest("2", "1") != input_digest("12", "")
