"""What the installation decides, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pilotage.evidence.endpoints import Endpoints


@dataclass(frozen=True)
class Settings:
    """Settings of one operator. Every one has the variable PILOTAGE_ and its name in capitals."""

    namespace: str = "pilotage-system"
    identity: str = "pilotage"
    service_account: str = "pilotage"
    engine_image: str = "localhost/pilotage/engine:dev"
    image_pull_policy: str = "IfNotPresent"
    source_addresses: str = ""
    scratch: Path = Path("/tmp/pilotage")  # noqa: S108 (the image mounts an emptyDir there)
    helm: str = "helm"
    workers: int = 8
    helm_processes: int = 4
    max_concurrent_cutovers: int = 0
    max_priority: int = 100
    health_port: int = 8080
    metrics_port: int = 8081
    input_ttl: float = 60.0
    release_ttl: float = 30.0
    pod_ttl: float = 3.0
    resync: float = 600.0
    sweep: float = 300.0
    leader_election: bool = True
    endpoints: Endpoints = field(default_factory=Endpoints)

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> Settings:
        """Settings as the environment gives them. Raises ValueError for what cannot be read."""
        defaults = Settings()
        chosen: dict[str, object] = {}
        for name, default in vars(defaults).items():
            text = environment.get(f"PILOTAGE_{name.upper()}")
            if text is None:
                continue
            if isinstance(default, bool):
                chosen[name] = text.lower() in {"1", "true", "yes"}
            else:
                chosen[name] = type(default)(text)
        return Settings(**chosen)  # type: ignore[arg-type]
