"""Small builders of the objects that a check is decided on."""

from __future__ import annotations

from typing import Any

DIGEST = "input-1"


def metric(name: str = "up", *, interval: str = "10s", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "source": {"http": {"service": "web", "port": 80}},
        "target": {"atLeast": "1"},
        "interval": interval,
        **more,
    }


def check(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "AcceptanceCheck",
        "metadata": {
            "name": "smoke",
            "namespace": "huasheng",
            "uid": "check-uid",
            "generation": 1,
            "resourceVersion": "1",
        },
        "spec": {
            "implementationRef": {"name": "erp"},
            "gate": "ConfigurationReady",
            "metrics": [metric()],
            **spec,
        },
        "status": {"observedGeneration": -1},
    }


def module(name: str = "core", *, reached: str = "Verifying", digest: str = DIGEST, **more: Any) -> dict[str, Any]:
    release = {"name": f"erp-{name}", "chart": name, "version": "1", "revision": 1, "inputDigest": digest}
    return {"name": name, "state": reached, "reached": reached, "desiredInput": digest, "release": release, **more}


def implementation(*modules: dict[str, Any], reached: str = "Verifying") -> dict[str, Any]:
    reported = list(modules) or [module(reached=reached)]
    return {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "Implementation",
        "metadata": {"name": "erp", "namespace": "huasheng", "uid": "project-uid", "generation": 1},
        "spec": {
            "customer": {"code": "huasheng", "name": "华升商贸"},
            "serviceAccountName": "pilotage-deployer",
            "connections": [{"name": "erp-db", "type": "postgresql", "secretRef": {"name": "erp-database"}}],
            "modules": [{"name": found["name"]} for found in reported],
        },
        "status": {"observedGeneration": 1, "modules": reported},
    }
