"""The CRDs on a real API server: what it takes, what it refuses, and with which words."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.light import LightCluster
from e2e.cluster.places import BINARIES, REPOSITORY
from e2e.cluster.probe import wait_until
from pilotage.api.crd import KINDS

pytestmark = pytest.mark.light

MODELS = {kind.kind: kind for kind in KINDS}
EXAMPLES = [f"manifests/examples/{kind.kind.lower()}.yaml" for kind in KINDS]

PROJECTS = [f"manifests/examples/{name}.yaml" for name in ("light", "strict", "cutover", "saas")]


class Server:
    """The API server, spoken to as a user does: through kubectl, strict."""

    def __init__(self, cluster: LightCluster) -> None:
        self._kubeconfig = cluster.kubeconfig

    def run(self, *arguments: str, body: Any = None) -> subprocess.CompletedProcess[str]:
        command = [str(BINARIES / "kubectl"), f"--kubeconfig={self._kubeconfig}", *arguments]
        text = json.dumps(body) if body is not None else None
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)

    def apply(self, body: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        return self.run("apply", "--server-side", "--validate=strict", "-f", "-", body=body)

    def refusal(self, body: dict[str, Any]) -> str:
        """What the server says against the object."""
        finished = self.apply(body)
        assert finished.returncode != 0, f"accepted: {finished.stdout}"
        return finished.stderr

    def read(self, *arguments: str) -> dict[str, Any]:
        finished = self.run("get", "-o", "json", *arguments)
        assert finished.returncode == 0, finished.stderr
        return json.loads(finished.stdout)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with LightCluster(tmp_path_factory.mktemp("crds"), audit=False) as cluster:
        server = Server(cluster)
        finished = server.run("apply", "--server-side", "--validate=strict", "-f", str(REPOSITORY / "crds"))
        assert finished.returncode == 0, finished.stderr
        names = [f"crd/{kind.plural}.pilotage.dev" for kind in KINDS]
        established = server.run("wait", "--for=condition=Established", "--timeout=30s", *names)
        assert established.returncode == 0, established.stderr
        for kind in KINDS:
            assert wait_until(lambda kind=kind: server.run("get", kind.plural).returncode == 0, 30)
        yield server


def implementation(name: str = "erp", *modules: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """The smallest Implementation, with these modules and fields."""
    return {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "Implementation",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "customer": {"code": "huasheng", "name": "华升商贸有限公司"},
            "modules": list(modules) or [module("core")],
            **spec,
        },
    }


def module(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "chart": {"oci": "oci://example.com/core", "version": "1.0.0"}, **fields}


def check(**spec: Any) -> dict[str, Any]:
    """The smallest AcceptanceCheck, with these fields."""
    return {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "AcceptanceCheck",
        "metadata": {"name": "smoke", "namespace": "default"},
        "spec": {
            "implementationRef": {"name": "erp"},
            "gate": "ConfigurationReady",
            "metrics": [metric()],
            **spec,
        },
    }


def metric(**fields: Any) -> dict[str, Any]:
    source, target = {"kubernetes": {"measure": "Availability"}}, {"atLeast": "100"}
    return {"name": "up", "source": source, "target": target, **fields}


def migration(**spec: Any) -> dict[str, Any]:
    """The smallest MigrationJob, with these fields."""
    return {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "MigrationJob",
        "metadata": {"name": "customers", "namespace": "default"},
        "spec": {
            "implementationRef": {"name": "erp"},
            "module": "core",
            "source": {"volume": {"claimName": "legacy"}},
            "target": {"connection": "erp-db"},
            "objects": [target_object()],
            **spec,
        },
    }


def target_object(**fields: Any) -> dict[str, Any]:
    return {
        "name": "customers",
        "from": {"file": "客户.csv"},
        "to": "party_party",
        "key": ["code"],
        "fields": [{"to": "code", "from": "KHBM"}],
        **fields,
    }


def sign_off(name: str = "wang-goes-live", **spec: Any) -> dict[str, Any]:
    """The smallest SignOff, with these fields."""
    return {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "SignOff",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "implementationRef": {"name": "erp"},
            "gate": "GoLiveApproved",
            "decision": "Approve",
            "digest": "5891b5b522d5",
            "by": "wang",
            "recordedBy": "wang",
            **spec,
        },
    }


def scheduled(**window: Any) -> dict[str, Any]:
    """An Implementation with one window."""
    schedule = {"windows": [{"name": "friday", "kind": "Allow", **window}]}
    return implementation("erp", module("core"), schedule=schedule)


def attestation(**spec: Any) -> dict[str, Any]:
    """An Attestation with these fields; None leaves one out."""
    usual: dict[str, Any] = {
        "implementationRef": {"name": "erp"},
        "type": "UAT",
        "name": "FIN-003",
        "result": {"outcome": "Passed"},
        "by": "wang",
        "recordedBy": "wang",
    }
    return {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "Attestation",
        "metadata": {"name": "fin-003", "namespace": "default"},
        "spec": {name: value for name, value in (usual | spec).items() if value is not None},
    }


@pytest.mark.parametrize("example", [*EXAMPLES, *PROJECTS])
def test_the_examples_of_kinds_and_projects_are_taken_and_read_as_they_were_written(server, example):
    written = list(yaml.safe_load_all((REPOSITORY / example).read_text(encoding="utf-8")))
    assert written
    for document in written:
        body = copy.deepcopy(document)
        body["metadata"]["namespace"] = "default"
        finished = server.apply(body)
        assert finished.returncode == 0, finished.stderr
        if document["kind"] not in MODELS:
            continue
        spec = MODELS[document["kind"]].spec.model_validate(document["spec"])
        stored = server.read(document["kind"], document["metadata"]["name"])["spec"]
        assert stored == document["spec"], "the API server pruned or defaulted something"
        assert MODELS[document["kind"]].spec.model_validate(stored) == spec


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_kind_has_a_page_that_leads_to_its_example(example):
    page = REPOSITORY / f"docs/{Path(example).stem}.md"
    assert example in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("smallest", [implementation(), check(), migration()], ids=lambda body: body["kind"])
def test_a_new_object_says_that_nobody_has_looked_at_it(server, smallest):
    body = {**smallest, "metadata": {**smallest["metadata"], "name": "fresh"}, "status": {"observedGeneration": 7}}
    assert server.apply(body).returncode == 0
    assert server.read(body["kind"], "fresh")["status"] == {"observedGeneration": -1}


@pytest.mark.parametrize(
    "smallest", [implementation(), check(), migration(), sign_off(), attestation()], ids=lambda body: body["kind"]
)
def test_an_unknown_field_is_refused_with_its_name(server, smallest):
    body = {**smallest, "spec": {**smallest["spec"], "wavez": 3}}
    assert "wavez" in server.refusal(body)


@pytest.mark.parametrize("smallest", [implementation(), check(), migration()], ids=lambda body: body["kind"])
def test_a_name_that_could_not_become_a_label_is_refused(server, smallest):
    body = {**smallest, "metadata": {**smallest["metadata"], "name": "n" * 64}}
    assert "metadata.name" in server.refusal(body)


CHART = {"oci": "oci://example.com/core", "version": "1.0.0"}
STABLE = {"required": "30d"}
NEVER_EDITED = "a SignOff is never edited: create another one"
FACT_NEVER_EDITED = "an Attestation is never edited: create another one, of which the newest counts"

FREEZE = {"name": "freeze", "type": "Confirm", "owner": "wang", "plannedMinutes": 10}
BACKUP = {"name": "backup", "type": "Job", "ref": "backup", "plannedMinutes": 10}


def cutover(*steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """An Implementation whose module is cut over by these steps."""
    return implementation("erp", module("core", cutover={"steps": list(steps or [FREEZE, BACKUP]), **fields}))


REFUSED = {
    "a dependency on a module that is not there": (
        implementation("erp", module("sales", dependsOn=["finance"])),
        "dependsOn names a module that is not in spec.modules",
    ),
    "a step that nobody confirms": (
        cutover({"name": "freeze", "type": "Confirm", "plannedMinutes": 10}),
        "Confirm needs owner, the contact who confirms it",
    ),
    "a step of a Job without its template": (
        cutover({"name": "backup", "type": "Job", "plannedMinutes": 10}),
        "Job, Migration and Check need ref; Confirm and Rollout have none",
    ),
    "a run of a step that is no migration": (
        cutover({"name": "freeze", "type": "Confirm", "owner": "wang", "plannedMinutes": 10, "run": "Delta"}),
        "only Migration has run",
    ),
    "a way back of a Job without its template": (
        cutover(rollback=[{"name": "restore", "type": "Job", "plannedMinutes": 10}]),
        "Job and Migration need ref; Confirm has none",
    ),
    "a point of no return that is no step": (
        cutover(pointOfNoReturn="open"),
        "pointOfNoReturn names none of the steps",
    ),
    "more steps than a status can report": (
        implementation(
            "erp",
            *(
                module(f"m{number}", cutover={"steps": [FREEZE | {"name": f"s{step}"} for step in range(23)]})
                for number in range(9)
            ),
        ),
        "the cutovers of all modules have at most 200 steps together",
    ),
    "no chart source": (implementation("erp", module("core", chart={"version": "1"})), "give exactly one chart source"),
    "two chart sources": (
        implementation("erp", module("core", chart={**CHART, "configMapRef": {"name": "chart"}})),
        "give exactly one chart source",
    ),
    "a repository without a chart's name": (
        implementation("erp", module("core", chart={"repository": "https://example.com", "version": "1"})),
        "repository and name go together",
    ),
    "a chart that is not pinned": (
        implementation("erp", module("core", chart={"oci": "oci://example.com/core"})),
        "pin the chart: give a version, or oci with @sha256:",
    ),
    "registry credentials for a ConfigMap": (
        implementation("erp", module("core", chart={"configMapRef": {"name": "c"}, "secretRef": {"name": "s"}})),
        "secretRef holds registry credentials and goes with oci only",
    ),
    "a database's expectations of a file server": (
        implementation(
            connections=[{"name": "files", "type": "http", "secretRef": {"name": "s"}, "expects": {"version": ">=15"}}]
        ),
        "expects is measured of type postgresql only",
    ),
    "a release name that Helm would refuse": (
        implementation("i" * 30, module("m" * 23)),
        "at most 53 characters together",
    ),
    "two modules with one release": (
        implementation("erp", module("core", releaseName="shared"), module("sales", releaseName="shared")),
        "two modules would share one release",
    ),
    "a release name that is another module's default": (
        implementation("erp", module("core"), module("sales", releaseName="erp-core")),
        "two modules would share one release",
    ),
    "two modules of one name": (implementation("erp", module("core"), module("core")), "uplicate"),
    "no modules": (implementation(modules=[]), "spec.modules"),
    "a duration without a unit": (implementation("erp", module("core", timeout="10")), "timeout"),
    "no source of a metric": (
        check(metrics=[metric(source={})]),
        "give exactly one source: kubernetes, http, sql, prometheus, migration or attestation",
    ),
    "a severity of tests": (
        check(metrics=[metric(source={"attestation": {"measure": "TestsNotPassed", "severity": "S1"}})]),
        "severity goes with OpenDefects",
    ),
    "a service without its port": (
        check(metrics=[metric(source={"http": {"service": "web"}})]),
        "give service and port, or endpoint",
    ),
    "a service and an endpoint": (
        check(metrics=[metric(source={"http": {"service": "web", "port": 80, "endpoint": "portal"}})]),
        "give service and port, or endpoint",
    ),
    "an address instead of an endpoint": (
        check(metrics=[metric(source={"prometheus": {"endpoint": "http://10.0.0.1", "query": "up"}})]),
        "spec.metrics[0].source.prometheus.endpoint",
    ),
    "two targets of a metric": (
        check(metrics=[metric(target={"atLeast": "1", "atMost": "2"})]),
        "give exactly one target: atLeast, atMost or equals",
    ),
    "a stable run at another gate": (check(stableRun=STABLE), "stableRun goes with the gate StableRunComplete"),
    "the stable run's gate without one": (
        check(gate="StableRunComplete"),
        "stableRun goes with the gate StableRunComplete, and that gate needs it",
    ),
    "no source of a migration": (
        migration(source={}),
        "give exactly one source: volume, configMap, http, s3 or connection",
    ),
    "two sources of a migration": (
        migration(source={"http": {"connection": "files"}, "s3": {"connection": "store"}}),
        "give exactly one source: volume, configMap, http, s3 or connection",
    ),
    "a path that leads up from the server's folder": (
        migration(source={"http": {"connection": "files", "path": "../other"}}),
        "path may not lead upwards",
    ),
    "SQL that is no change of the staged rows": (
        migration(objects=[target_object(sql=["delete from staged"])]),
        "should match '^(update|UPDATE) staged",
    ),
    "a path that leads out of the volume": (
        migration(source={"volume": {"claimName": "legacy", "path": "../other"}}),
        "path may not lead out of the volume",
    ),
    "the consistency of a file": (
        migration(source={"configMap": {"name": "legacy"}, "consistency": "Freeze"}),
        "consistency goes with connection",
    ),
    "a constant that is mapped": (
        migration(objects=[target_object(fields=[{"to": "code", "value": "1", "map": {"A": "B"}}])]),
        "a constant takes none of split, transform, nulls, map, enum, default",
    ),
    "a filter that asks nothing": (
        migration(objects=[target_object(where=[{"column": "A"}])]),
        "a filter gives exactly one of in, notIn and pattern",
    ),
    "onUnmapped without a map": (
        migration(objects=[target_object(fields=[{"to": "code", "from": "A", "onUnmapped": "Keep"}])]),
        "onUnmapped goes with map",
    ),
    "a column of time that no policy reads": (
        migration(objects=[target_object(onConflict={"policy": "Overwrite", "column": "changed_at"})]),
        "column goes with NewerWins",
    ),
    "the newer of rows that tell no time": (
        migration(objects=[target_object(onConflict={"policy": "NewerWins"})]),
        "column goes with NewerWins",
    ),
    "a reference to nothing": (
        migration(
            objects=[
                target_object(fields=[{"to": "code", "from": "A", "reference": {"match": "code", "use": "id"}}]),
            ]
        ),
        "a reference names exactly one of object and table",
    ),
    "a control total without a field": (
        migration(reconcile=[{"name": "sum", "object": "customers", "type": "ControlTotal"}]),
        "field goes with ControlTotal, which needs it",
    ),
    "groups of no sum": (
        migration(reconcile=[{"name": "all", "object": "customers", "type": "Checksum", "groupBy": "tier"}]),
        "groupBy goes with ControlTotal",
    ),
    "a figure expected of a checksum": (
        migration(reconcile=[{"name": "all", "object": "customers", "type": "Checksum", "expected": "7"}]),
        "expected goes with RowCount and ControlTotal",
    ),
    "a reconciliation of an object that is not loaded": (
        migration(reconcile=[{"name": "rows", "object": "suppliers", "type": "RowCount"}]),
        "reconcile names an object that is not in spec.objects",
    ),
    "a decision about two things": (sign_off(wave=1, module="core"), "about a wave or about a module, not both"),
    "a rejection without a reason": (sign_off(decision="Reject"), "a Reject needs a reason"),
    "conditions of no approval": (
        sign_off(decision="ApproveWithConditions"),
        "punchList and the decision ApproveWithConditions go together",
    ),
    "a waiver of nothing": (
        sign_off(decision="Waive", reason="-", expires="2027-01-01T00:00:00Z"),
        "waives and the decision Waive go together",
    ),
    "a waiver that never expires": (
        sign_off(decision="Waive", reason="-", waives=["module core: not ready"]),
        "a Waive needs a reason and the time when it expires",
    ),
    "a decision about what is measured": (
        implementation("erp", module("core"), gates=[{"name": "EnvironmentReady"}]),
        "EnvironmentReady is measured: waive single checks by a SignOff",
    ),
    "a rollback of nothing": (
        sign_off(decision="RollBack", reason="-"),
        "a RollBack needs gate GoLiveApproved, a module and a reason",
    ),
    "a window without an end": (
        scheduled(start="2026-12-04T12:00:00Z"),
        "give start and end, or rrule and duration",
    ),
    "a window that ends before it starts": (
        scheduled(start="2026-12-04T12:00:00Z", end="2026-12-03T12:00:00Z"),
        "end comes after start",
    ),
    "a duration of one span": (
        scheduled(start="2026-12-04T12:00:00Z", end="2026-12-05T12:00:00Z", duration="1h"),
        "duration goes with rrule",
    ),
    "every second week from nowhere": (
        scheduled(rrule="FREQ=WEEKLY;INTERVAL=2;BYDAY=FR", duration="1h"),
        "an rrule with INTERVAL needs start",
    ),
    "every month on no day": (
        scheduled(rrule="FREQ=MONTHLY", duration="1h"),
        "an rrule without start says on which day",
    ),
    "a count from long ago": (
        scheduled(rrule="FREQ=DAILY;INTERVAL=2", duration="1h", start="1970-01-01T00:00:00Z"),
        "start lies after 2020-01-01",
    ),
    "a training of nobody": (
        attestation(type="Training", result={"completed": 3, "passed": 3}),
        "Training needs role, result.completed and result.passed",
    ),
    "the role of a test": (attestation(role="clerk"), "role goes with Training"),
    "more who passed than took part": (
        attestation(type="Training", role="clerk", result={"completed": 3, "passed": 4}),
        "result.passed are some of result.completed",
    ),
    "a test without an outcome": (attestation(result={}), "UAT needs name, the test case, and result.outcome"),
    "a business event without an outcome": (
        attestation(type="BusinessEvent", name="month-end-close", result={}),
        "BusinessEvent needs name, such as month-end-close, and result.outcome",
    ),
    "a confirmed step without its module": (
        attestation(type="CutoverStep", name="freeze"),
        "CutoverStep needs module, name, the step, and result.outcome",
    ),
    "the module of a test": (attestation(module="core"), "module goes with CutoverStep"),
    "a defect without a number": (
        attestation(type="Defect", name=None, result={"severity": "S1", "state": "Open"}),
        "Defect needs name, its number, result.severity and result.state",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_server_refuses_with_words_that_help(server, case):
    body, words = REFUSED[case]
    assert words in server.refusal(body)


def test_every_rule_has_a_case_that_breaks_it():
    def rules(node: Any) -> list[str]:
        if isinstance(node, list):
            return [message for item in node for message in rules(item)]
        if not isinstance(node, dict):
            return []
        own = [rule["message"] for rule in node.get("x-kubernetes-validations", [])]
        return own + [message for value in node.values() for message in rules(value)]

    messages = {
        message for path in (REPOSITORY / "crds").glob("*.yaml") for message in rules(yaml.safe_load(path.read_text()))
    }
    told = [NEVER_EDITED, FACT_NEVER_EDITED, *(words for _body, words in REFUSED.values())]
    assert {message for message in messages if not any(words in message for words in told)} == set()


def test_a_sign_off_is_never_edited_but_may_be_labelled(server):
    assert server.apply(sign_off("first")).returncode == 0
    assert NEVER_EDITED in server.refusal(sign_off("first", digest="aaaaaaaaaaaa"))
    labelled = sign_off("first")
    labelled["metadata"]["labels"] = {"customer": "huasheng"}
    assert server.apply(labelled).returncode == 0


def test_an_attestation_is_never_edited(server):
    assert server.apply(attestation()).returncode == 0
    assert FACT_NEVER_EDITED in server.refusal(attestation(result={"outcome": "Failed"}))


def test_the_longest_release_name_is_taken(server):
    assert server.apply(implementation("i" * 30, module("m" * 22))).returncode == 0


def test_a_hundred_modules_with_sixteen_dependencies_each_are_taken(server):
    names = [f"module-{number}" for number in range(100)]
    modules = [module(name, dependsOn=names[:16] if number >= 16 else []) for number, name in enumerate(names)]
    finished = server.apply(implementation("large", *modules))
    assert finished.returncode == 0, finished.stderr


def test_kubectl_shows_the_columns(server):
    assert server.apply(implementation("shown")).returncode == 0
    header, line = server.run("get", "impl", "shown").stdout.splitlines()
    assert header.split() == ["NAME", "CUSTOMER", "PHASE", "WAVE", "LIVE", "WAITING-ON", "ISSUES", "READY", "AGE"]
    assert line.split()[:2] == ["shown", "huasheng"]


def test_children_are_found_by_their_implementation(server):
    assert server.apply(check()).returncode == 0
    found = server.read("ac", "--field-selector=spec.implementationRef.name=erp")
    assert "smoke" in [item["metadata"]["name"] for item in found["items"]]
    assert server.read("ac", "--field-selector=spec.implementationRef.name=other")["items"] == []


def test_the_category_lists_all_kinds(server):
    assert server.apply(implementation("one")).returncode == 0
    assert server.apply(migration()).returncode == 0
    kinds = {line.partition("/")[0] for line in server.run("get", "pilotage", "-o", "name").stdout.split()}
    assert {"implementation.pilotage.dev", "migrationjob.pilotage.dev"} <= kinds
