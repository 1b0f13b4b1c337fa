"""Puts the delivery engine together from the operator's own connection."""

from __future__ import annotations

from pathlib import Path

from pilotage.delivery.access import ApiAccess
from pilotage.delivery.chart import ChartFetcher
from pilotage.delivery.helm import HelmEngine
from pilotage.kube.official import OfficialCluster


def build_delivery(
    cluster: OfficialCluster, *, helm: str, scratch: Path, processes: int
) -> tuple[HelmEngine, ChartFetcher]:
    """The engine and the chart fetcher, both with the same scratch directory, which is made if it is missing."""
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    access = ApiAccess.of(cluster.configuration)
    return HelmEngine(cluster, helm, scratch, access, processes), ChartFetcher(cluster, helm, scratch)
