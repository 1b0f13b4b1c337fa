"""S40: decisions forged, borrowed, edited or deleted; and the ways around them."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.cluster.probe import wait_until
from tests.attacks.conftest import TENANT

pytestmark = pytest.mark.light

SIGNATORY, MANAGER, ENGINEER, VIEWER, NARROW = "wang", "li", "chen", "guest", "zhao"
IMPLEMENTATION = {
    "apiVersion": "pilotage.dev/v1alpha1",
    "kind": "Implementation",
    "metadata": {"name": "governed", "namespace": TENANT},
    "spec": {
        "customer": {"code": "huasheng", "name": "华升"},
        "profile": "Standard",
        "contacts": [{"id": "wang", "role": "CustomerLead", "name": "王强", "subject": SIGNATORY}],
        "modules": [{"name": "core", "chart": {"configMapRef": {"name": "core"}}}],
        "suspend": True,
    },
}


def sign_off(**spec: Any) -> dict[str, Any]:
    wanted = {
        "implementationRef": {"name": "governed"},
        "gate": "GoLiveApproved",
        "wave": 1,
        "decision": "Approve",
        "digest": "5891b5b522d5",
        "by": "wang",
        "recordedBy": SIGNATORY,
    }
    return {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "SignOff",
        "metadata": {"name": spec.pop("name", "forged"), "namespace": TENANT},
        "spec": {key: value for key, value in (wanted | spec).items() if value is not None},
    }


@pytest.fixture(scope="module")
def court(ground):
    """A project whose gates persons decide, the five persons, and one decision."""
    roles = {
        SIGNATORY: "pilotage-signatory", MANAGER: "pilotage-project-manager", ENGINEER: "edit", VIEWER: "view",
    }  # fmt: skip
    for person, role in roles.items():
        ground.done("create", "rolebinding", person, f"--clusterrole={role}", f"--user={person}", "-n", TENANT)
    narrow = ["--verb=get,create", "--resource=signoffs.pilotage.dev"]
    ground.done("create", "role", NARROW, *narrow, "-n", TENANT)
    ground.done("create", "rolebinding", NARROW, f"--role={NARROW}", f"--user={NARROW}", "-n", TENANT)
    ground.done("create", "-f", "-", body=IMPLEMENTATION)
    # Roles are aggregated, and policies enforced, a moment after they are written.
    assert wait_until(lambda: ground.may(ENGINEER, "patch", "implementations.pilotage.dev", "-n", TENANT), 30)
    trial = sign_off(recordedBy="somebody")
    assert wait_until(lambda: ground.create(trial, SIGNATORY).returncode != 0, 30)
    ground.done("create", "-f", "-", f"--as={SIGNATORY}", body=sign_off(name="true"))
    return ground


REFUSED = {
    "in the name of another user": (SIGNATORY, sign_off(recordedBy=MANAGER), "must be the user who creates"),
    "in the name of the operator": (
        SIGNATORY,
        sign_off(recordedBy="system:serviceaccount:pilotage-system:pilotage"),
        "must be the user who creates",
    ),
    "in the same name in other letters": (SIGNATORY, sign_off(recordedBy="Wang"), "must be the user who creates"),
    "by an engineer": (ENGINEER, sign_off(recordedBy=ENGINEER), "cannot create resource"),
    "by a viewer": (VIEWER, sign_off(recordedBy=VIEWER), "cannot create resource"),
    "by one who may create but not approve": (NARROW, sign_off(recordedBy=NARROW), "approve-goliveapproved"),
    "a paper of one who is no witness": (
        SIGNATORY,
        sign_off(evidence=[{"url": "https://files.example/a.pdf", "sha256": "sha256:" + "a" * 64}]),
        "may not record a paper",
    ),
    "by the operator": ("system:serviceaccount:pilotage-system:pilotage", sign_off(), "cannot create resource"),
    "by the account of the customer's charts": (
        f"system:serviceaccount:{TENANT}:pilotage-deployer",
        sign_off(),
        "cannot create resource",
    ),
}


@pytest.mark.parametrize(("user", "body", "words"), REFUSED.values(), ids=REFUSED)
def test_s40_a_decision_is_refused(court, user, body, words):
    answer = court.create(body, user)
    assert answer.returncode != 0
    assert words in answer.stderr


@pytest.mark.parametrize("user", [SIGNATORY, MANAGER, ENGINEER])
def test_s40_nobody_deletes_a_decision(court, user):
    assert court.kubectl("delete", "signoff", "true", "-n", TENANT, f"--as={user}").returncode != 0


def test_s40_nor_does_the_administrator(court):
    answer = court.kubectl("delete", "signoff", "true", "-n", TENANT)
    assert "a SignOff is never deleted" in answer.stderr


def test_s40_a_decision_is_never_edited_not_even_by_the_administrator(court):
    patch = '{"spec":{"decision":"Reject","reason":"no"}}'
    answer = court.kubectl("patch", "signoff", "true", "-n", TENANT, "--type=merge", "-p", patch)
    assert "a SignOff is never edited" in answer.stderr


AROUND = {
    "no profile": '{"spec":{"profile":null}}',
    "another profile": '{"spec":{"profile":"Light"}}',
    "a gate that opens by itself": '{"spec":{"gates":[{"name":"GoLiveApproved","decidedBy":"Automatic"}]}}',
    "another person in the role": (
        '{"spec":{"contacts":[{"id":"wang","role":"CustomerLead","name":"王强","subject":"chen"}]}}'
    ),
    "nobody": '{"spec":{"contacts":null}}',
}


@pytest.mark.parametrize("patch", AROUND.values(), ids=AROUND)
def test_s40_an_engineer_does_not_change_who_decides(court, patch):
    command = ["patch", "implementation", "governed", "-n", TENANT, "--type=merge", "--dry-run=server", "-p", patch]
    answer = court.kubectl(*command, f"--as={ENGINEER}")
    assert "may not change spec.profile, spec.gates or spec.contacts" in answer.stderr
    court.done(*command, f"--as={MANAGER}")


def test_s40_an_engineer_writes_no_status(court):
    patch = '{"status":{"gates":[]}}'
    command = ["patch", "implementation", "governed", "-n", TENANT, "--subresource=status", "--type=merge", "-p", patch]
    assert court.kubectl(*command, f"--as={ENGINEER}").returncode != 0


def test_what_an_engineer_is_there_for_is_not_hindered(court):
    command = ["patch", "implementation", "governed", "-n", TENANT, "--type=merge", "-p"]
    court.done(*command, '{"spec":{"rollout":{"maxParallel":1}}}', f"--as={ENGINEER}")


def test_a_signatory_decides_and_the_server_says_who_it_was(court):
    court.done("create", "-f", "-", f"--as={SIGNATORY}", body=sign_off(name="unsaid", recordedBy=None))
    recorder = court.done("get", "signoff", "unsaid", "-n", TENANT, "-o", "jsonpath={.spec.recordedBy}")
    assert recorder == SIGNATORY


def test_a_project_manager_records_a_paper(court):
    paper = [{"url": "https://files.example/a.pdf", "sha256": "sha256:" + "a" * 64}]
    court.done("create", "-f", "-", f"--as={MANAGER}", body=sign_off(name="paper", recordedBy=MANAGER, evidence=paper))


def test_labels_of_a_decision_can_still_be_handled(court):
    court.done("label", "signoff", "true", "-n", TENANT, "archived=yes")


def test_a_namespace_that_goes_away_takes_its_decisions_with_it(court):
    """Denied, the namespace would hang in Terminating for ever."""
    controller = "system:serviceaccount:kube-system:namespace-controller"
    court.done("create", "-f", "-", f"--as={SIGNATORY}", body=sign_off(name="gone"))
    court.done("delete", "signoff", "gone", "-n", TENANT, f"--as={controller}")
