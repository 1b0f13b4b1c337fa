from __future__ import annotations

import json
import logging
import sys

import pytest

from pilotage.observability.logging import (
    MAX_MESSAGE,
    JsonFormatter,
    configure_logging,
    current_key,
    current_secrets,
)


@pytest.fixture
def log_line():
    """Formats one record and gives the line and what a reader of JSON sees."""

    def log_line(message, *args, exc_info=None):
        record = logging.LogRecord("pilotage.test", logging.WARNING, __file__, 1, message, args, exc_info)
        line = JsonFormatter().format(record)
        assert "\n" not in line
        return line, json.loads(line)

    return log_line


@pytest.fixture
def scoped():
    """Sets a context variable for the length of the test."""
    tokens = []
    yield lambda variable, value: tokens.append((variable, variable.set(value)))
    for variable, token in reversed(tokens):
        variable.reset(token)


@pytest.fixture
def configured():
    """Configures logging and puts back what was there."""
    root, kopf, hook = logging.getLogger(), logging.getLogger("kopf"), sys.excepthook
    before = (root.level, list(root.handlers), kopf.level)
    yield configure_logging
    sys.excepthook = hook
    logging.captureWarnings(capture=False)
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    kopf.setLevel(before[2])


def test_a_line_says_when_how_bad_who_and_what(log_line):
    _, entry = log_line("chart %s of %d", "core", 3)
    assert entry.pop("time").endswith("+00:00")
    assert entry == {"level": "warning", "logger": "pilotage.test", "message": "chart core of 3"}


def test_the_key_of_the_object_being_worked_on_is_on_the_line(log_line, scoped):
    scoped(current_key, "implementations/huasheng/erp")
    assert log_line("x")[1]["key"] == "implementations/huasheng/erp"


@pytest.mark.parametrize(
    "forgery",
    [
        "\n{}",
        "\r",
        "\x1b[31m",
        "\x00",
        "\x7f",
        "\x85",
        "\x9b31m",
        "\u2028",
        "\u202etxt.exe",
        "\u2066",
        "\ufeff",
        "\ud800",
        "\u200b",
    ],
)
def test_no_message_forges_a_line_or_its_looks(log_line, forgery):
    line, entry = log_line(f"name {forgery} end")
    assert line.isprintable()
    assert entry["message"] == f"name {forgery} end"
    line.encode()


def test_chinese_stays_legible(log_line):
    assert "华升商贸" in log_line("客户 华升商贸")[0]


def test_a_trace_is_one_field_and_holds_no_secret(log_line, scoped):
    scoped(current_secrets, ("canary-value",))
    error = ValueError("cannot parse canary-value at postgresql://erp:hunter2@db/erp")
    line, entry = log_line("refused: %s", "canary-value", exc_info=(type(error), error, None))
    assert "canary" not in entry["message"]
    assert entry["error"].startswith("ValueError: cannot parse")
    assert "canary-value at" not in entry["error"]
    assert "hunter2" not in line


def test_a_trace_of_several_lines_stays_on_one(log_line):
    try:
        int("three")
    except ValueError:
        _, entry = log_line("bug", exc_info=sys.exc_info())
    assert entry["error"].startswith("Traceback")


def test_a_huge_message_is_cut_and_says_how_long_it_was(log_line):
    message = log_line("x" * 1_000_000)[1]["message"]
    assert len(message) <= MAX_MESSAGE
    assert message.endswith("(1000000 characters)")


def test_a_secret_at_the_cut_is_masked_before_it_is_cut(log_line, scoped):
    scoped(current_secrets, ("canary-value",))
    padding = "x" * (MAX_MESSAGE - 26)
    assert "canar" not in log_line(f"{padding}canary-value{padding}")[1]["message"]


def test_a_wrong_placeholder_does_not_cost_the_message(log_line):
    assert log_line("%d modules", "three")[1]["message"] == "%d modules ('three',)"


def test_the_process_logs_json_at_the_level_asked_for(configured, capsys):
    configured("warning")
    logging.getLogger("pilotage").info("quiet")
    logging.getLogger("pilotage").warning("loud")
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["message"] == "loud"


def test_the_environment_gives_the_level(configured, monkeypatch, capsys):
    monkeypatch.setenv("PILOTAGE_LOG_LEVEL", "DEBUG")
    configured()
    logging.getLogger("pilotage").debug("fine")
    assert "fine" in capsys.readouterr().out


def test_an_unknown_level_is_refused(configured):
    with pytest.raises(ValueError, match="LOUD"):
        configured("loud")


def test_an_exception_that_ends_the_process_is_logged_too(configured, capsys):
    configured("INFO")
    sys.excepthook(RuntimeError, RuntimeError("out of luck"), None)
    entry = json.loads(capsys.readouterr().out)
    assert (entry["level"], entry["error"]) == ("critical", "RuntimeError: out of luck")
