"""The store holds the newest of every object, however late or often its events come."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.kube.resources import CONFIG_MAPS, IMPLEMENTATIONS
from pilotage.kube.store import Key, Store


def config_map(version: int = 1, uid: str = "u1", name: str = "settings", **metadata: Any) -> dict[str, Any]:
    fields = {"name": name, "namespace": "huasheng", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": {**fields, **metadata}}


def waking_by_label(_resource: Any, body: Any, _store: Any) -> list[Key]:
    label = (body["metadata"].get("labels") or {}).get("for")
    return [Key("implementations", "huasheng", label)] if label else []


def a_store() -> Store:
    return Store(waking_by_label)


def key(name: str) -> Key:
    return Key("implementations", "huasheng", name)


def version_of(store: Store) -> str | None:
    found = store.get(CONFIG_MAPS, "huasheng", "settings")
    return found["metadata"]["resourceVersion"] if found else None


def test_an_older_version_of_the_same_object_is_ignored() -> None:
    store = a_store()
    store.observe(CONFIG_MAPS, "MODIFIED", config_map(9))
    assert store.observe(CONFIG_MAPS, "MODIFIED", config_map(8, labels={"for": "erp"})) == set()
    assert version_of(store) == "9"


def test_versions_are_compared_as_numbers() -> None:
    store = a_store()
    store.observe(CONFIG_MAPS, "ADDED", config_map(9))
    store.observe(CONFIG_MAPS, "MODIFIED", config_map(10))
    assert version_of(store) == "10"


def test_the_same_version_again_wakes_nobody() -> None:
    store = a_store()
    assert store.observe(CONFIG_MAPS, "ADDED", config_map(labels={"for": "erp"})) == {key("erp")}
    assert store.observe(CONFIG_MAPS, None, config_map(labels={"for": "erp"})) == set()


def test_a_change_wakes_whom_the_object_concerned_before_and_whom_it_concerns_now() -> None:
    store = a_store()
    store.observe(CONFIG_MAPS, "ADDED", config_map(1, labels={"for": "old"}))
    assert store.observe(CONFIG_MAPS, "MODIFIED", config_map(2, labels={"for": "new"})) == {key("old"), key("new")}


def test_a_deletion_wakes_whom_the_object_concerned() -> None:
    store = a_store()
    store.observe(CONFIG_MAPS, "ADDED", config_map(1, labels={"for": "erp"}))
    assert store.observe(CONFIG_MAPS, "DELETED", config_map(2)) == {key("erp")}
    assert store.get(CONFIG_MAPS, "huasheng", "settings") is None
    assert store.list(CONFIG_MAPS, "huasheng") == []


def test_late_news_of_a_deleted_object_does_not_bring_it_back() -> None:
    store = a_store()
    store.observe(CONFIG_MAPS, "ADDED", config_map(1))
    store.observe(CONFIG_MAPS, "DELETED", config_map(5))
    store.observe(CONFIG_MAPS, "MODIFIED", config_map(4))
    assert version_of(store) is None


def test_an_object_of_the_same_name_made_anew_takes_the_old_ones_place() -> None:
    store = a_store()
    store.observe(CONFIG_MAPS, "ADDED", config_map(1, "old"))
    store.observe(CONFIG_MAPS, "DELETED", config_map(5, "old"))
    store.observe(CONFIG_MAPS, "ADDED", config_map(6, "new"))
    assert version_of(store) == "6"


def test_the_late_deletion_of_a_replaced_object_leaves_its_successor_alone() -> None:
    store = a_store()
    store.observe(CONFIG_MAPS, "ADDED", config_map(1, "old"))
    store.observe(CONFIG_MAPS, "ADDED", config_map(6, "new"))
    assert store.observe(CONFIG_MAPS, "DELETED", config_map(5, "old")) == set()
    assert version_of(store) == "6"


def test_late_news_of_a_predecessor_does_not_push_its_successor_out() -> None:
    store = a_store()
    store.observe(CONFIG_MAPS, "ADDED", config_map(1, "old"))
    store.observe(CONFIG_MAPS, "ADDED", config_map(6, "new"))
    store.observe(CONFIG_MAPS, "MODIFIED", config_map(5, "old"))
    assert version_of(store) == "6"


def test_the_answer_to_a_creation_that_comes_after_the_deletion_brings_nothing_back() -> None:
    store = a_store()
    store.observe(CONFIG_MAPS, "DELETED", config_map(5))
    store.observe(CONFIG_MAPS, None, config_map(4))
    assert version_of(store) is None


def test_memory_does_not_grow_with_what_was_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotage.kube.store.REMEMBERED_DELETIONS", 20)
    store = a_store()

    def live_and_die(start: int) -> None:
        for number in range(start, start + 100):
            body = config_map(number, f"u{number}", f"job-{number}", namespace=f"customer-{number}")
            store.observe(CONFIG_MAPS, "ADDED", body)
            store.observe(CONFIG_MAPS, "DELETED", body)

    live_and_die(0)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    live_and_die(1000)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 16 * 1024


def test_managed_fields_are_not_kept_and_the_kind_is_filled_in() -> None:
    store = a_store()
    store.observe(CONFIG_MAPS, "ADDED", config_map(managedFields=[{"manager": "kubectl"}]))
    found = store.get(CONFIG_MAPS, "huasheng", "settings")
    assert found is not None
    assert "managedFields" not in found["metadata"]
    assert (found["apiVersion"], found["kind"]) == ("v1", "ConfigMap")


def test_objects_are_found_by_namespace_label_and_owner() -> None:
    store = a_store()
    store.observe(CONFIG_MAPS, "ADDED", config_map(1, "a", "one", labels={"app": "x"}))
    store.observe(CONFIG_MAPS, "ADDED", config_map(2, "b", "two", ownerReferences=[{"uid": "owner"}]))
    store.observe(CONFIG_MAPS, "ADDED", config_map(3, "c", "far", namespace="elsewhere", labels={"app": "x"}))
    store.observe(IMPLEMENTATIONS, "ADDED", config_map(4, "d", "one"))

    def names(found: list[dict[str, Any]]) -> list[str]:
        return [body["metadata"]["name"] for body in found]

    assert names(store.list(CONFIG_MAPS, "huasheng")) == ["one", "two"]
    assert names(store.list(CONFIG_MAPS)) == ["one", "two", "far"]
    assert names(store.by_label(CONFIG_MAPS, "huasheng", "app", "x")) == ["one"]
    assert names(store.by_owner(CONFIG_MAPS, "huasheng", "owner")) == ["two"]


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, dict[str, Any]]]:
    """What the server did to one name: each life is created, changed and perhaps deleted; versions only rise."""
    version, events = 0, []
    lives = draw(st.integers(1, 3))
    for life in range(lives):
        for step in range(draw(st.integers(1, 3))):
            version += draw(st.integers(1, 5))
            events.append(("ADDED" if step == 0 else "MODIFIED", config_map(version, f"u{life}")))
        if life + 1 < lives or draw(st.booleans()):
            version += 1
            events.append(("DELETED", config_map(version, f"u{life}")))
    return events


@given(histories(), st.randoms(use_true_random=False))
def test_answers_to_writes_that_overtake_or_lag_behind_the_watch_change_nothing_in_the_end(
    history: list[tuple[str, dict[str, Any]]], chance: random.Random
) -> None:
    store, told = a_store(), []
    for kind, body in history:
        store.observe(CONFIG_MAPS, kind, body)
        told.append((kind, body))
        # An answer of this life that comes late: never of an earlier one, for its writer saw the object.
        mine = [found for found in told if found[1]["metadata"]["uid"] == body["metadata"]["uid"]]
        late_kind, late = chance.choice(mine)
        if late_kind != "DELETED":
            store.observe(CONFIG_MAPS, "MODIFIED", late)
    last_kind, last = history[-1]
    expected = None if last_kind == "DELETED" else last["metadata"]["resourceVersion"]
    assert version_of(store) == expected
