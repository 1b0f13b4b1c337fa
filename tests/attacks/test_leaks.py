"""S18, S30 to S33, S38: what gets out, in which disguise, and how much of it.

Where canaries are looked for in all that the operator sends, logs and writes: oracle `no canary` of tests/faults.
"""

from __future__ import annotations

import base64
import json
import logging
import sys

import pytest
from prometheus_client import generate_latest

from pilotage.delivery.access import ApiAccess, kubeconfig
from pilotage.delivery.chart import Chart
from pilotage.delivery.command import HelmAction, arguments_of, error_of, error_of_refusal
from pilotage.delivery.process import Ended, child_environment
from pilotage.evidence.probe_job import build_probe_job
from pilotage.observability.logging import JsonFormatter, current_secrets
from pilotage.observability.metrics import Metrics
from pilotage.observability.redaction import redact
from pilotage.plan.conditions import condition, shorten
from pilotage.render.values import values_digest
from tests.faults.canaries import PASSWORD, TOKEN, forms
from tests.unit.acceptance.builders import check


def carrier(secret: str, name: str, form: bytes) -> str:
    """A text in which the secret stands in that encoding, as a program would write it."""
    if not name.startswith("base64"):
        return form.decode()
    encode = base64.urlsafe_b64encode if name.startswith("base64url") else base64.b64encode
    return encode(b"\0" * int(name[-1]) + secret.encode()).decode()


DISGUISES = [
    pytest.param(form.decode(), carrier(secret, name, form), secret, id=f"{which} {name}")
    for which, secret in (("password", PASSWORD), ("token", TOKEN))
    for name, form in forms(secret)
    if name != "reversed"
]


@pytest.mark.parametrize(("form", "text", "secret"), DISGUISES)
def test_s31_a_secret_in_an_encoding_is_masked_in_logs(form, text, secret):
    token = current_secrets.set((secret,))
    try:
        said = json.loads(JsonFormatter().format(record(f"helm said {text} and went on")))
    finally:
        current_secrets.reset(token)
    assert form not in said["message"]
    assert said["message"].startswith("helm said ")


@pytest.mark.parametrize(("form", "text", "secret"), DISGUISES)
def test_s31_and_in_what_helm_says_before_it_becomes_a_condition(form, text, secret):
    action = HelmAction("Install", "huasheng", "erp-core", "a", redact=lambda said: redact(said, [secret]))
    error = error_of(action, Ended(1, b"", f"Error: cannot decode {text}"))
    assert error is not None
    assert form not in error.message


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://erp:hunter2@db/erp",
        "mysql+pymysql://erp:hunter2@db",
        "Authorization: Bearer hunter2hunter2",
        "authorization=Basic aHVudGVyMjpodW50ZXIy",
        "password=hunter2",
        "PASSWORD: hunter2",
        '{"password": "hunter2"}',
        "api_key='hunter2'",
        "token=hunter2;a=b",
        "eyJhbGciOiJSUzI1NiJ9.eyJodW50ZXIyIjoxfQ.hunter2",
    ],
)
def test_s30_credentials_are_masked_by_their_form_alone(text):
    masked = redact(f"before {text}")
    assert "hunter2" not in masked
    assert "aHVudGVyMjpodW50ZXIy" not in masked


def test_s30_no_secret_is_in_the_words_or_environment_of_a_child(monkeypatch, tmp_path):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    chart = Chart(tmp_path / "a.tgz", "core", "1", "sha256:a")
    action = HelmAction("Upgrade", "huasheng", "erp-core", "a", chart=chart, values={"password": PASSWORD}, input="b")
    assert PASSWORD not in " ".join(arguments_of(action)) + json.dumps(child_environment(tmp_path))
    access = ApiAccess("https://api", "/ca", token_file="/token")
    assert (
        "token"
        not in json.loads(kubeconfig(access, "huasheng", "system:serviceaccount:huasheng:a"))["users"][0]["user"]
    )


def test_s30_a_job_names_the_secret_and_holds_nothing_of_it():
    job = build_probe_job(
        name="a", namespace="huasheng", owner=check(), secret="erp-db", image="i", probe={"connect": True}, labels={}
    )
    environment = job["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {entry["name"] for entry in environment if "value" in entry} == {"PILOTAGE_PROBE"}


def test_s30_a_digest_of_values_does_not_tell_a_guess_of_the_secret():
    guesses = {values_digest({"a": "hunter2"}, ["hunter2"], key) for key in (b"one", b"two")}
    assert len(guesses) == 2


def record(message: str, error: BaseException | None = None) -> logging.LogRecord:
    trace = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("pilotage", logging.INFO, __file__, 1, message, (), trace)


def test_s30_neither_is_it_in_the_trace_of_an_exception():
    token = current_secrets.set((PASSWORD,))
    try:
        int(f"cannot connect with {PASSWORD}")
    except ValueError as error:
        line = JsonFormatter().format(record("failed", error))
    finally:
        current_secrets.reset(token)
    assert not [
        name for name, form in forms(PASSWORD) if name != "reversed" and form.decode() in json.loads(line)["error"]
    ]


DECEPTIONS = [
    '\n{"level": "error"}',
    "\r\nerased",
    "\x1b[2J\x1b[H",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\u202egnp.exe",
    "\u2066a\u2069",
    "a\u200bb",
    "\x00",
    "\x08\x08\x08",
    "\u2028",
    "\u2029",
    "\ufeff",
    "\ud800",
    "\x7f",
    "\t",
    '"}',
    "%s %d",
    "{0}",
    "x" * 10**6,
]


@pytest.mark.parametrize("text", DECEPTIONS, ids=ascii)
def test_s32_a_log_line_stays_one_bounded_line_of_json(text):
    line = JsonFormatter().format(record("said %s".replace("%s", text.replace("%", "%%"))))
    assert json.loads(line)["level"] == "info"
    assert line.isascii() or line.isprintable()
    assert len(line) < 10_000


@pytest.mark.parametrize("text", DECEPTIONS, ids=ascii)
def test_s32_a_message_in_status_or_event_shows_what_it_is(text):
    for message in (condition("Ready", status=True, reason="A", message=text)["message"], shorten(text, 1000)):
        assert len(message) <= 2048
        assert message.replace("\n", "").isprintable()


def test_s33_ten_thousand_states_are_one_series_for_each_module():
    metrics = Metrics()
    for number in range(10_000):
        status = {"phase": f"Phase{number}", "modules": [{"name": "core", "state": f"State{number}"}]}
        metrics.observe_implementation("huasheng", "erp", status)
    lines = [line for line in generate_latest(metrics.registry).decode().splitlines() if "huasheng" in line]
    assert len(lines) == 2


@pytest.mark.parametrize("name", ["queue", "requests", "passes"])
def test_s33_no_name_of_a_tenant_becomes_a_label_of_a_counter(name):
    metrics = Metrics()
    observer = metrics.queue_observer("pilotage")
    assert observer
    metrics.observe_request("get", 200)
    metrics.observe_reconcile("implementations", "success", 0.1)
    text = generate_latest(metrics.registry).decode()
    assert len(text.splitlines()) < 200
    assert sys.getsizeof(text) < 100_000


def test_s30_what_the_api_server_says_is_masked_too():
    from pilotage.kube.client import Forbidden

    action = HelmAction("Uninstall", "huasheng", "erp-core", "a", redact=lambda text: redact(text, [PASSWORD]))
    error = error_of_refusal(action, Forbidden(403, "Forbidden", f"no {PASSWORD}"))
    assert PASSWORD not in error.message
