"""Which objects a release should no longer have."""

from __future__ import annotations

from typing import Any

import pytest

from pilotage.delivery.leftovers import Place, dropped, places
from pilotage.plan.delivery import Revision


def an_object(name: str, kind: str = "ConfigMap", api_version: str = "v1", **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **metadata}}


def revisions(*manifests: tuple[dict[str, Any], ...]) -> list[Revision]:
    return [Revision(number, "superseded", manifests=found) for number, found in enumerate(manifests, 1)]


def names(found: list[Place]) -> list[str]:
    return [place.name for place in found]


def test_what_any_earlier_revision_had_and_the_newest_has_not_is_dropped() -> None:
    a, b, c = (an_object(name) for name in "abc")
    assert names(dropped(revisions((a, b), (b, c), (c,)))) == ["a", "b"]


def test_what_came_back_is_not_dropped() -> None:
    a, b = (an_object(name) for name in "ab")
    assert dropped(revisions((a, b), (a,), (a, b))) == []


def test_the_only_revision_drops_nothing() -> None:
    assert dropped(revisions((an_object("a"),))) == []


def test_another_version_of_the_api_is_the_same_object() -> None:
    before = an_object("a", "CronJob", "batch/v1beta1")
    assert dropped(revisions((before,), (an_object("a", "CronJob", "batch/v1"),))) == []


@pytest.mark.parametrize(
    "other",
    [an_object("a", "Secret"), an_object("a", namespace="elsewhere"), an_object("a", api_version="example.invalid/v1")],
    ids=["kind", "namespace", "group"],
)
def test_an_object_of_the_same_name_is_another_one(other: dict[str, Any]) -> None:
    assert names(dropped(revisions((an_object("a"),), (other,)))) == ["a"]


def test_what_helm_is_told_to_keep_is_nobodys_leftover() -> None:
    kept = an_object("a", annotations={"helm.sh/resource-policy": "keep"})
    assert names(places([kept, an_object("b")])) == ["b"]


def test_what_names_no_kind_is_no_object() -> None:
    assert places([{"metadata": {"name": "a"}}, {"apiVersion": "v1", "kind": "Secret", "metadata": {}}]) == []
