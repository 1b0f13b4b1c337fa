"""S40: decisions forged, borrowed, edited or deleted; and the ways around them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from e2e.cluster.kubeconfig import write_kubeconfig
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
        "training": {"roles": [{"role": "clerk", "audience": 3}]},
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


def attestation(**spec: Any) -> dict[str, Any]:
    wanted = {
        "implementationRef": {"name": "governed"},
        "type": "Training",
        "role": "clerk",
        "result": {"completed": 3, "passed": 3},
        "by": "wang",
        "recordedBy": SIGNATORY,
    }
    return {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "Attestation",
        "metadata": {"name": spec.pop("name", "invented"), "namespace": TENANT},
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
    narrow = ["--verb=get,create", "--resource=signoffs.pilotage.dev,attestations.pilotage.dev"]
    ground.done("create", "role", NARROW, *narrow, "-n", TENANT)
    ground.done("create", "rolebinding", NARROW, f"--role={NARROW}", f"--user={NARROW}", "-n", TENANT)
    ground.done("create", "-f", "-", body=IMPLEMENTATION)
    # Roles are aggregated, and policies enforced, a moment after they are written.
    assert wait_until(lambda: ground.may(ENGINEER, "patch", "implementations.pilotage.dev", "-n", TENANT), 30)
    trial = sign_off(recordedBy="somebody")
    assert wait_until(lambda: ground.create(trial, SIGNATORY).returncode != 0, 30)
    # The mutating policy knows a new kind only after the API server has discovered it anew, every half minute.
    unsaid = sign_off(name="trial", recordedBy=None)
    assert wait_until(lambda: ground.create(unsaid, SIGNATORY).returncode == 0, 90)
    ground.done("create", "-f", "-", f"--as={SIGNATORY}", body=sign_off(name="true"))
    ground.done("create", "-f", "-", f"--as={SIGNATORY}", body=attestation(name="true"))
    return ground


def as_person(court, user: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line in the hands of that person."""
    authority = court.light.authority
    client = authority.client(user, user)
    path = write_kubeconfig(court.folder / f"{user}.kubeconfig", court.light.url, authority.files.certificate, client)
    command = [sys.executable, "-m", "pilotage.cli", *words, "-n", TENANT]
    environment = {**os.environ, "KUBECONFIG": str(path), "LANG": "C.UTF-8"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL
    )


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
    "a fact in another's name": (SIGNATORY, attestation(recordedBy=MANAGER), "must be the user who creates"),
    "a fact by an engineer": (ENGINEER, attestation(recordedBy=ENGINEER), "cannot create resource"),
    "a fact by one who may create and not attest": (NARROW, attestation(recordedBy=NARROW), "verb attest"),
    "a fact by the operator": (
        "system:serviceaccount:pilotage-system:pilotage",
        attestation(),
        "cannot create resource",
    ),
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


def test_s40_a_fact_is_neither_deleted_nor_edited_not_even_by_the_administrator(court):
    assert "an Attestation is never deleted" in court.kubectl("delete", "attestation", "true", "-n", TENANT).stderr
    patch = '{"spec":{"result":{"completed":9,"passed":9}}}'
    answer = court.kubectl("patch", "attestation", "true", "-n", TENANT, "--type=merge", "-p", patch)
    assert "an Attestation is never edited" in answer.stderr


PAGE = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {
        "name": "pilotage-ledger-u1-1",
        "namespace": "pilotage-system",
        "labels": {"pilotage.dev/ledger": "true"},
    },
    "data": {"a": "1"},
}
OPERATOR_ACCOUNT = "--as=system:serviceaccount:pilotage-system:pilotage"


def test_s40_a_ledger_is_forged_altered_and_deleted_by_nobody(court):
    court.done("create", "-f", "-", OPERATOR_ACCOUNT, body=PAGE)
    where = ("configmap", "pilotage-ledger-u1-1", "-n", "pilotage-system")
    forged = PAGE | {"metadata": PAGE["metadata"] | {"name": "pilotage-ledger-u2-1"}}
    assert "written by the operator alone" in court.kubectl("create", "-f", "-", body=forged).stderr
    more = PAGE | {"data": {"a": "1", "b": "2"}}
    assert "written by the operator alone" in court.kubectl("replace", "-f", "-", body=more).stderr
    assert "written by the operator alone" in court.kubectl("label", *where, "pilotage.dev/ledger-").stderr
    assert "a ledger is never deleted" in court.kubectl("delete", *where).stderr
    for data in ({"a": "2"}, {"b": "2"}, None):
        altered = PAGE | {"data": data} if data else {key: PAGE[key] for key in PAGE if key != "data"}
        assert "a ledger only grows" in court.kubectl("replace", "-f", "-", OPERATOR_ACCOUNT, body=altered).stderr
    court.done("replace", "-f", "-", OPERATOR_ACCOUNT, body=more)


AROUND = {
    "no profile": '{"spec":{"profile":null}}',
    "another profile": '{"spec":{"profile":"Light"}}',
    "a gate that opens by itself": '{"spec":{"gates":[{"name":"GoLiveApproved","decidedBy":"Automatic"}]}}',
    "another person in the role": (
        '{"spec":{"contacts":[{"id":"wang","role":"CustomerLead","name":"王强","subject":"chen"}]}}'
    ),
    "nobody": '{"spec":{"contacts":null}}',
    "no training": '{"spec":{"training":null}}',
}


@pytest.mark.parametrize("patch", AROUND.values(), ids=AROUND)
def test_s40_an_engineer_does_not_change_who_decides(court, patch):
    command = ["patch", "implementation", "governed", "-n", TENANT, "--type=merge", "--dry-run=server", "-p", patch]
    answer = court.kubectl(*command, f"--as={ENGINEER}")
    assert "may not change spec.profile, spec.gates, spec.contacts or spec.training" in answer.stderr
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


def test_a_person_attests_with_a_few_words(court):
    words = ["attest", "governed", "Training", "--role", "clerk", "--completed", "3", "--passed", "2", "-o", "json"]
    done = as_person(court, SIGNATORY, *words)
    assert done.returncode == 0, done.stderr
    (made,) = json.loads(done.stdout)
    assert made["spec"]["recordedBy"] == SIGNATORY
    assert made["spec"]["by"] == "wang"
    assert made["spec"]["result"] == {"completed": 3, "passed": 2}
    done = as_person(court, ENGINEER, *words)
    assert done.returncode == 1
    assert "say by --by who of spec.contacts states it" in done.stderr
    done = as_person(court, SIGNATORY, "attest", "governed", "Training", "--role", "cook", *words[5:])
    assert "cook is no role of spec.training.roles" in done.stderr


def test_labels_of_a_decision_can_still_be_handled(court):
    court.done("label", "signoff", "true", "-n", TENANT, "archived=yes")


def test_a_namespace_that_goes_away_takes_its_decisions_with_it(court):
    """Denied, the namespace would hang in Terminating for ever."""
    controller = "system:serviceaccount:kube-system:namespace-controller"
    court.done("create", "-f", "-", f"--as={SIGNATORY}", body=sign_off(name="gone"))
    court.done("delete", "signoff", "gone", "-n", TENANT, f"--as={controller}")


DIGEST = "sha256:" + "5891b5b522d5" * 5 + "0000"


@pytest.fixture(scope="module")
def asked(court):
    """The project, whose go-live now waits for the customer's word."""
    gate = {
        "name": "GoLiveApproved",
        "wave": 1,
        "state": "Open",
        "since": "2026-11-23T08:00:00Z",
        "digest": DIGEST,
        "message": "waits for the sign-off of CustomerLead",
        "missing": ["CustomerLead"],
    }
    body = json.loads(court.done("get", "implementation", "governed", "-n", TENANT, "-o", "json"))
    condition = {
        "type": "Ready",
        "status": "False",
        "observedGeneration": body["metadata"]["generation"],
        "reason": "AwaitingApproval",
        "message": "waits",
        "lastTransitionTime": "2026-11-23T08:00:00Z",
    }
    status = {"observedGeneration": -1, "phase": "Configuring", "gates": [gate], "conditions": [condition]}
    patch = json.dumps({"status": status})
    court.done("patch", "implementation", "governed", "-n", TENANT, "--subresource=status", "--type=merge", "-p", patch)
    return court


def test_a_person_approves_with_two_words(asked):
    done = as_person(asked, SIGNATORY, "approve", "governed", "--wait", "0", "-o", "json")
    assert done.returncode == 0, done.stderr
    name = json.loads(done.stdout)["metadata"]["name"]
    spec = json.loads(asked.done("get", "signoff", name, "-n", TENANT, "-o", "json"))["spec"]
    assert spec == {
        "implementationRef": {"name": "governed"},
        "gate": "GoLiveApproved",
        "wave": 1,
        "decision": "Approve",
        "digest": DIGEST,
        "by": "wang",
        "recordedBy": SIGNATORY,
    }


@pytest.mark.parametrize(
    ("user", "words", "answer"),
    [
        (ENGINEER, ["approve", "governed", "GoLiveApproved"], "that is the subject of none who is asked at this gate"),
        (ENGINEER, ["approve", "governed", "GoLiveApproved", "--by", "wang"], "cannot create resource"),
        (SIGNATORY, ["approve", "governed", "FinalAccepted"], "persons decide: GoLiveApproved"),
        (SIGNATORY, ["approve", "nothing", "GoLiveApproved"], "not found"),
        (SIGNATORY, ["reject", "governed", "GoLiveApproved"], "--reason"),
        (SIGNATORY, ["status", "governed", "--context", "other"], "has no context other"),
        ("stranger", ["status", "governed"], "cannot get resource"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(asked, user, words, answer):
    done = as_person(asked, user, *words)
    assert done.returncode in {1, 2}
    assert answer in done.stderr
    assert "Traceback" not in done.stderr


def test_a_viewer_sees_where_the_project_stands(asked):
    done = as_person(asked, VIEWER, "status", "governed")
    assert "GoLiveApproved of wave 1" in done.stdout
    assert "waits for the sign-off of CustomerLead" in done.stdout
    assert "governed" in as_person(asked, VIEWER, "status").stdout
    assert as_person(asked, VIEWER, "portfolio").returncode == 0
