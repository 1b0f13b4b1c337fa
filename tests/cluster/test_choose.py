from __future__ import annotations

import pytest

from e2e.cluster import choose as choosing
from e2e.cluster.choose import choose, default_choice, forget, remember
from e2e.cluster.current import CONSENT, require_consent
from e2e.cluster.errors import Refusal


@pytest.fixture(autouse=True)
def nothing_chosen_before(monkeypatch, tmp_path):
    monkeypatch.delenv("CLUSTER", raising=False)
    monkeypatch.delenv(CONSENT, raising=False)
    monkeypatch.setattr(choosing, "CHOICE", tmp_path / "build" / "choice")


@pytest.mark.parametrize(
    ("embedded", "docker", "expected"),
    [(True, True, "embedded"), (True, False, "embedded"), (False, True, "kind")],
)
def test_silence_means_embedded_where_it_can_run_and_kind_elsewhere(embedded, docker, expected):
    assert default_choice(embedded, lambda: docker) == expected


def test_silence_never_means_the_users_own_cluster():
    with pytest.raises(Refusal, match="CLUSTER=current"):
        default_choice(embedded=False, docker=lambda: False)


def test_the_environment_decides(monkeypatch):
    monkeypatch.setenv("CLUSTER", "kind")
    assert choose() == "kind"


def test_an_unknown_kind_is_refused(monkeypatch):
    monkeypatch.setenv("CLUSTER", "minikube")
    with pytest.raises(Refusal, match="embedded, kind, current"):
        choose()


def test_later_commands_mean_the_cluster_that_up_brought():
    remember("current")
    assert choose() == "current"


def test_a_cluster_that_was_ended_is_forgotten(monkeypatch):
    remember("kind")
    forget()
    monkeypatch.setattr(choosing, "embedded_can_run", lambda: True)
    assert choose() == "embedded"


def test_without_a_terminal_the_context_must_be_named():
    with pytest.raises(Refusal, match=f"{CONSENT}=production"):
        require_consent("production")


def test_another_context_named_is_no_consent(monkeypatch):
    monkeypatch.setenv(CONSENT, "staging")
    with pytest.raises(Refusal):
        require_consent("production")


def test_the_context_named_is_consent(monkeypatch):
    monkeypatch.setenv(CONSENT, "staging")
    require_consent("staging")


@pytest.mark.parametrize("answer", ["", "y", "no", "YES please"])
def test_on_a_terminal_only_yes_is_consent(monkeypatch, answer):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    with pytest.raises(Refusal, match="Nothing was done"):
        require_consent("production")
