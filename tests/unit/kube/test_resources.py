"""Paths name exactly one thing."""

from __future__ import annotations

import pytest

from pilotage.kube.resources import CONFIG_MAPS, JOBS, NODES


def test_a_path_names_collection_object_and_subresource() -> None:
    assert JOBS.path("huasheng") == "/apis/batch/v1/namespaces/huasheng/jobs"
    assert JOBS.path("huasheng", "load", "status") == "/apis/batch/v1/namespaces/huasheng/jobs/load/status"
    assert NODES.path(None, "node-1") == "/api/v1/nodes/node-1"


def test_a_name_cannot_leave_its_collection() -> None:
    assert CONFIG_MAPS.path("huasheng", "../pods") == "/api/v1/namespaces/huasheng/configmaps/..%2Fpods"


@pytest.mark.parametrize(
    ("namespace", "name"), [(None, "a"), ("", "a"), ("ns", ""), ("ns", ".."), ("..", "a"), (".", "a")]
)
def test_a_path_that_a_url_would_shorten_is_refused(namespace: str | None, name: str) -> None:
    with pytest.raises(ValueError, match=r"needs a namespace|names no ConfigMap"):
        CONFIG_MAPS.path(namespace, name)
