"""Everything that the demo puts into the cluster: what the customer has before Pilotage comes, and the project."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from e2e.charts import MODULES, digest, package
from e2e.data.export import generator_digest
from e2e.demo.kubectl import Kubectl

NAMESPACE = "huasheng"
IMPLEMENTATION = "erp"
DATABASE = "erp"
DATABASE_SECRET = "erp-db"
ADMINISTRATOR_SECRET = "erp-administrator"
FRONT_SERVICE, FRONT_PORT = "erp-core-front", 8080
CONTACTS = [
    {"id": "wang", "role": "CustomerLead", "name": "王强"},
    {"id": "li", "role": "ProjectManager", "name": "李敏"},
    {"id": "zhou", "role": "Operations", "name": "周晓"},
]
MANIFESTS = Path(__file__).parent / "manifests"
READY_SECONDS = 300

Manifest = dict[str, Any]
Say = Callable[[str], None]


def prepare(kubeconfig: Path, say: Say = print) -> None:
    """Bring about what stands at the customer's before the Implementation: namespace, account and its bindings,
    database server, legacy files and charts. Returns when the database answers and the files lie on their volume.

    Safe to repeat: what is there stays, passwords included.
    """
    kubectl = Kubectl(kubeconfig, NAMESPACE)
    say("namespace, account and bindings")
    kubectl.apply(manifests("namespace.yaml"))
    ensure_secrets(kubectl)
    say("database server, legacy export and charts")
    kubectl.apply(manifests("database.yaml"))
    claim, job = legacy_manifests()
    kubectl.apply([claim, *chart_config_maps().values()])
    kubectl.run("rollout", "status", "statefulset/postgresql", f"--timeout={READY_SECONDS}s")
    kubectl.complete_job(job, READY_SECONDS)


def apply_project(kubeconfig: Path, profile: str | None = None) -> None:
    """Apply the Implementation, its MigrationJobs and AcceptanceChecks."""
    Kubectl(kubeconfig, NAMESPACE).apply(project(profile))


def project(profile: str | None = None) -> list[Manifest]:
    """The project's objects, each module's chart pinned to the digest of the archive that `prepare` puts up.

    profile: with it persons decide the gates; without, every gate opens by its conditions.
    """
    (implementation,) = manifests("implementation.yaml")
    if profile:
        implementation["spec"] |= {"profile": profile, "contacts": CONTACTS}
    charts = chart_config_maps()
    for module in implementation["spec"]["modules"]:
        archive = base64.b64decode(charts[module["name"]]["binaryData"]["chart.tgz"])
        module["chart"]["digest"] = digest(archive)
    return [*manifests("migrationjobs.yaml"), *manifests("acceptancechecks.yaml"), implementation]


def manifests(name: str) -> list[Manifest]:
    return [found for found in yaml.safe_load_all((MANIFESTS / name).read_text(encoding="utf-8")) if found]


def chart_config_maps() -> dict[str, Manifest]:
    """By module, the ConfigMap that carries its chart to the operator."""
    return {
        name: {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"chart-{name}", "namespace": NAMESPACE},
            "binaryData": {"chart.tgz": base64.b64encode(package(name)).decode()},
        }
        for name in MODULES
    }


def legacy_manifests() -> tuple[Manifest, Manifest]:
    """The claim, and the Job that writes the files on it: named after its generator, so that a changed one runs.

    An image that holds another generator than this checkout makes the Job fail: its files would not be those that
    `verify` expects.
    """
    claim, job = manifests("legacy.yaml")
    generator = generator_digest()[:8]
    job["metadata"]["name"] += f"-{generator}"
    job["spec"]["template"]["spec"]["containers"][0]["command"].append(f"--generator={generator}")
    return claim, job


def ensure_secrets(kubectl: Kubectl) -> None:
    """Make the passwords of this installation, once: the database keeps the first one that it was given."""
    if kubectl.find("secret", DATABASE_SECRET) is None:
        entries = {
            "host": f"postgresql.{NAMESPACE}.svc",
            "port": "5432",
            "database": DATABASE,
            "username": "erp",
            "password": secrets.token_urlsafe(24),
        }
        kubectl.apply([secret(DATABASE_SECRET, entries)])
    if kubectl.find("secret", ADMINISTRATOR_SECRET) is None:
        kubectl.apply([secret(ADMINISTRATOR_SECRET, {"password": secrets.token_urlsafe(24)})])


def secret(name: str, entries: Mapping[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "type": "Opaque",
        "stringData": dict(entries),
    }
