"""Each oracle, on a history that breaks its rule and on one that does not. Nothing runs here."""

from __future__ import annotations

import base64
import json
from collections import Counter
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from pilotage.delivery.records import encode_record
from pilotage.plan.delivery import INPUT_LABEL
from tests.faults.canaries import PASSWORD, seen_in
from tests.faults.history import Change
from tests.faults.kubelet import status_of
from tests.faults.masking import differing, flatten
from tests.faults.oracles import Reference, counted, judge
from tests.faults.plan import Fault, Plan, Trigger
from tests.faults.proxy import Traced
from tests.faults.runner import Run
from tests.faults.wire import Request
from tests.faults.workloads import WORKLOADS

TENANT = "system:serviceaccount:shop:pilotage-deployer"
PLAN = Plan("upgrade", Fault.KILL_AFTER, Trigger("patch", "deployments", "erp-a"))


def deployment(module: str, tag: str = "v1", *, ready: bool = True, generation: int = 1) -> dict[str, Any]:
    container = {"image": f"example.invalid/application:{tag}"}
    body = {
        "metadata": {"name": f"erp-{module}", "generation": generation},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
    return body | ({"status": status_of(body)} if ready else {})


def record(version: int, status: str = "deployed", wanted: str = "one", description: str = "", uid: str = "") -> Any:
    document = {
        "name": "erp-a",
        "version": version,
        "info": {"status": status, "description": description},
        "chart": {"metadata": {}},
        "config": {"input": wanted},
    }
    labels = {"name": "erp-a", "version": str(version), "status": status, INPUT_LABEL: wanted}
    name = f"sh.helm.release.v1.erp-a.v{version}"
    metadata = {"name": name, "uid": uid or f"{version}", "labels": labels}
    return {"type": "helm.sh/release.v1", "metadata": metadata, "data": {"release": encode_record(document)}}


def implementation(reached: str = "Accepted", observed: int = 1, since: str = "01", **condition: str) -> dict[str, Any]:
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": f"2026-11-23T08:00:{since}Z"} | condition
    module = {"name": "a", "state": reached, "reached": reached, "desiredInput": "one"}
    status = {"observedGeneration": observed, "modules": [module], "conditions": [ready]}
    return {"metadata": {"name": "erp", "generation": 1}, "status": status}


def history(*steps: tuple[str, str, dict[str, Any]]) -> list[Change]:
    return [
        Change(version, kind, resource, body["metadata"]["name"], body)
        for version, (kind, resource, body) in enumerate(steps, 1)
    ]


def a_run(*steps: tuple[str, str, dict[str, Any]], workload: str = "upgrade", **fields: Any) -> Run:
    changes = history(*steps)
    objects: dict[Any, dict[str, Any]] = {}
    for change in changes:
        if change.kind == "DELETED":
            objects.pop(change.place)
        else:
            objects[change.place] = change.body
    values: dict[str, Any] = {
        "workload": WORKLOADS[workload], "plan": PLAN, "namespace": "shop", "converged": True, "quiet": True,
        "fired": True,
        "watching": True, "seconds": 1.0, "trace": [], "events": [], "changes": changes, "objects": objects, "kills": 1,
        "surprises": [], "bugs": [], "states": {}, "log": "",
    }  # fmt: skip
    return Run(**values | fields)


def reference(run: Run) -> Reference:
    """A reference that the run equals in its end: what remains is what its path breaks."""
    return Reference(flatten(run.objects, "shop"), frozenset(), counted(run), 1.0, (run, run))


def said_of(run: Run, against: Run | None = None) -> list[str]:
    return judge(run, reference(against or run))


GOOD = (
    ("ADDED", "deployments", deployment("a", ready=False)),
    ("MODIFIED", "deployments", deployment("a")),
    ("ADDED", "deployments", deployment("b")),
    ("ADDED", "deployments", deployment("c")),
)


def test_a_history_that_breaks_nothing_is_judged_to_break_nothing():
    assert said_of(a_run(*GOOD, ("ADDED", "secrets", record(1)), ("ADDED", "implementations", implementation()))) == []


@pytest.mark.parametrize(
    ("oracle", "run"),
    [
        ("O3", a_run(*GOOD, quiet=False)),
        ("O4", a_run(*GOOD, converged=False)),
        ("O4", a_run(*GOOD, watching=False)),
        ("O10", a_run(*GOOD, leaks=("create jobs erp: plain",))),
        ("O10", a_run(*GOOD, ("ADDED", "configmaps", {"metadata": {"name": "a"}, "data": {"a": PASSWORD}}))),
        ("O5", a_run(("ADDED", "deployments", deployment("b")), ("ADDED", "deployments", deployment("a")))),
        ("O5", a_run(*GOOD, ("MODIFIED", "deployments", deployment("c", "v2", generation=2)))),
        (
            "O5",
            a_run(*GOOD, *(("DELETED", "deployments", deployment(module)) for module in "abc"), workload="deletion"),
        ),
        (
            "O6",
            a_run(
                ("ADDED", "implementations", implementation(observed=2)),
                ("MODIFIED", "implementations", implementation(observed=1)),
            ),
        ),
        (
            "O6",
            a_run(
                ("ADDED", "implementations", implementation()),
                ("MODIFIED", "implementations", implementation(reached="Migrating")),
            ),
        ),
        (
            "O6",
            a_run(
                ("ADDED", "implementations", implementation()),
                ("MODIFIED", "implementations", implementation(since="02")),
            ),
        ),
        ("O7", a_run(("ADDED", "secrets", record(1, "superseded")), ("ADDED", "secrets", record(2)))),
        ("O9", a_run(("ADDED", "deployments", deployment("a")), workload="deletion")),
        ("O11", a_run(trace=[Traced(1.0, Request("create", "secrets", "shop", "x"), 201)])),
        ("O11", a_run(trace=[Traced(1.0, Request("get", "secrets", "other", "x", TENANT), 200)])),
        ("O11", a_run(trace=[Traced(1.0, Request("list", "secrets", "shop", unsure_list=True), 200)])),
        ("O12", a_run(surprises=[1])),
        ("O12", a_run(bugs=["a bug: the pass ended with an exception"])),
    ],
)
def test_a_broken_rule_is_told_by_its_oracle_alone(oracle, run):
    if oracle == "O7":
        first = record(1)
        run = replace(run, changes=[*history(("ADDED", "secrets", first)), *run.changes])
    found = said_of(run)
    assert found
    assert {said.partition(" ")[0] for said in found} == {oracle}


def test_a_return_to_the_revision_before_waits_for_nobody_and_deploys_nothing_twice():
    steps = (
        *GOOD,
        ("MODIFIED", "deployments", deployment("a", "v2", generation=2)),
        ("MODIFIED", "deployments", deployment("b", "bad", generation=2)),
        ("MODIFIED", "deployments", deployment("b", "v1", generation=3)),
        ("ADDED", "secrets", record(1)),
        ("ADDED", "secrets", record(3, description="Rollback to 1")),
    )
    assert said_of(a_run(*steps, workload="rollback")) == []


def test_three_actions_at_once_are_more_than_the_rollout_allows():
    pending = []
    for module in ("a", "b", "c"):
        body = record(1, "pending-install")
        body["metadata"] |= {"name": module, "labels": body["metadata"]["labels"] | {"name": f"erp-{module}"}}
        pending.append(("ADDED", "secrets", body))
    assert said_of(a_run(*pending[:2])) == []
    assert [said[:2] for said in said_of(a_run(*pending))] == ["O5"]


def gate(phase: str, samples: int) -> dict[str, Any]:
    module = {"name": "a", "phase": phase, "metrics": [{"name": "available", "samples": samples}]}
    return {"metadata": {"name": "gate"}, "status": {"modules": [module]}}


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([gate("Passed", 2), implementation()], []),
        ([gate("Passed", 1), implementation()], ["O8 the gate passed on fewer good samples than it asks for"]),
        ([gate("Observing", 1), implementation()], ["O8 a went live before the gate passed"]),
    ],
)
def test_a_gate_opens_after_enough_good_samples_and_nobody_passes_before(steps, words):
    kinds = ("acceptancechecks", "implementations")
    assert said_of(a_run(*(("ADDED", kind, body) for kind, body in zip(kinds, steps, strict=True)))) == words


def test_an_object_that_differs_in_the_end_is_told_with_its_path():
    found = said_of(a_run(*GOOD), against=a_run(*GOOD[:3], ("ADDED", "deployments", deployment("c", "v9"))))
    path = "deployments/erp-c.spec.template.spec.containers[0].image"
    assert found == [f"O1 {path} is 'example.invalid/application:v1' and not 'example.invalid/application:v9'"]


def test_an_object_that_was_made_twice_is_told_though_the_end_is_the_same():
    body = deployment("a")
    again = a_run(*GOOD[2:], *(("ADDED", "deployments", body), ("DELETED", "deployments", body)) * 2)
    once = a_run(*GOOD[2:], ("ADDED", "deployments", body), ("DELETED", "deployments", body))
    assert [said for said in said_of(again, against=once) if said.startswith("O2")] == [
        "O2 deployments erp-a was added 2 times instead of 1",
        "O2 deployments erp-a was deleted 2 times instead of 1",
    ]


def test_a_record_that_was_deleted_and_written_again_is_told():
    cut_off, whole = record(1, "pending-install", uid="first"), record(1, uid="second")
    again = a_run(("ADDED", "secrets", cut_off), ("DELETED", "secrets", cut_off), ("ADDED", "secrets", whole))
    assert said_of(again, against=a_run(("ADDED", "secrets", whole))) == [
        "O2 secrets sh.helm.release.v1.erp-a was added 2 times instead of 1",
        "O2 secrets sh.helm.release.v1.erp-a was deleted 1 times instead of 0",
    ]


def test_what_was_cut_off_is_repeated_by_as_many_as_may_act_at_once():
    whole = record(1, description="Install complete")
    words = 'Install "erp-a" failed: the action was cut off'
    cut_off = [("ADDED", "secrets", record(number, "failed", description=words)) for number in (1, 2, 3)]
    run = a_run(*cut_off, ("ADDED", "secrets", record(4, description="Upgrade complete")))
    assert said_of(run, against=a_run(("ADDED", "secrets", whole))) == ["O2 3 attempts failed, more than were struck"]


def test_an_attempt_that_failed_may_be_repeated_as_often_as_the_fault_struck():
    whole = record(1, description="Install complete")
    failed = record(1, "superseded", description='Release "erp-a" failed: EOF')
    after = ("ADDED", "secrets", record(2, description="Upgrade complete"))
    run = a_run(("ADDED", "secrets", failed), after)
    assert said_of(run, against=a_run(("ADDED", "secrets", whole))) == []
    unprovoked = judge(replace(run, plan=None), reference(a_run(("ADDED", "secrets", whole))))
    assert unprovoked == ["O2 1 attempts failed, more than were struck"]


def test_what_two_runs_without_faults_do_not_agree_on_is_masked():
    one, other = a_run(*GOOD), a_run(*GOOD[:3], ("ADDED", "deployments", deployment("c", generation=2)))
    masked = differing(flatten(one.objects, "shop"), flatten(other.objects, "shop"))
    assert masked
    known = Reference(flatten(one.objects, "shop"), frozenset(masked), Counter(counted(one)), 1.0, (one, other))
    assert judge(other, known) == []


def test_rows_that_were_loaded_twice_or_never_are_told():
    found = said_of(a_run(*GOOD, outside={"rows": [(1,), (1,)]}), against=a_run(*GOOD, outside={"rows": [(1,), (2,)]}))
    assert found == ["O7 outside of the cluster it left rows: [(1,)] instead of [(2,)]"]


@pytest.mark.parametrize("before", ["", "a", "ab"])
def test_a_canary_is_seen_in_every_encoding(before):
    text = (before + PASSWORD + "tail").encode()
    for encoded in (base64.b64encode(text), base64.urlsafe_b64encode(text), text.hex().encode(), quote(text).encode()):
        assert seen_in(encoded), encoded
    assert seen_in(json.dumps({"a": PASSWORD}).encode())
    assert seen_in(repr([PASSWORD]).encode())
    assert not seen_in(b"nothing of the kind")
