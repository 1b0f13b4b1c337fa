"""The certificate of a run: what was read, what became of it, and which numbers agreed, bound by a digest."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from pilotage.migration import ledger
from pilotage.migration.database import Connection, server_version
from pilotage.migration.rehearsal import fingerprint


def certificate_digest(certificate: Mapping[str, Any]) -> str:
    """sha256 over the certificate's canonical JSON."""
    return "sha256:" + hashlib.sha256(ledger.canonical(certificate).encode()).hexdigest()


def write_certificate(
    connection: Connection,
    run: str,
    found: ledger.RunRow,
    result: Mapping[str, Any],
    particulars: Mapping[str, Any],
) -> None:
    """Write certificate and digest to the ledger, in the transaction that loads the rows.

    `particulars` are what only a run of its kind has to say.
    """
    certificate = {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "MigrationCertificate",
        "run": run,
        "runKind": found.kind.value,
        "planHash": f"sha256:{found.plan_hash}",
        "fingerprint": fingerprint(found.plan),
        "durations": result["durations"],
        **particulars,
        "database": connection.info.dbname,
        "order": found.plan.get("order"),
        "sources": [
            {key: plan[key] for key in ("file", "encoding", "sha256", "consistency") if plan[key] is not None}
            for plan in found.plan["objects"]
        ],
        "counts": result["counts"],
        "objects": result["objects"],
        "checks": result["checks"],
        "groups": result["groups"],
        "errors": result["topErrors"],
        "versions": {
            "python": platform.python_version(),
            "psycopg": psycopg.__version__,
            "postgresql": server_version(connection),
        },
    }
    connection.execute(
        "update mig.run set certificate = %s, certificate_digest = %s where run_id = %s",
        (Jsonb(certificate), certificate_digest(certificate), run),
    )
