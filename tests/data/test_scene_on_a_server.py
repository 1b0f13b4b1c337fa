"""A real API server takes every object of the demo, under strict field validation."""

from __future__ import annotations

import pytest

from e2e.cluster.light import LightCluster
from e2e.cluster.places import REPOSITORY
from e2e.demo import scene
from e2e.demo.kubectl import Kubectl

pytestmark = pytest.mark.light


def test_the_whole_scene_and_the_project_are_accepted_twice(tmp_path):
    with LightCluster(tmp_path, audit=False) as cluster:
        kubectl = Kubectl(cluster.kubeconfig, scene.NAMESPACE)
        kubectl.run("apply", "--server-side", "--validate=strict", f"--filename={REPOSITORY / 'crds'}")
        kubectl.run("wait", "--for=condition=Established", "--timeout=60s", f"--filename={REPOSITORY / 'crds'}")
        for _ in range(2):
            kubectl.apply(scene.manifests("namespace.yaml"))
            scene.ensure_secrets(kubectl)
            kubectl.apply(scene.manifests("database.yaml"))
            kubectl.apply([*scene.legacy_manifests(), *scene.chart_config_maps().values()])
            scene.apply_project(cluster.kubeconfig)
        assert kubectl.find("implementations.pilotage.dev", scene.IMPLEMENTATION)["metadata"]["generation"] == 1
