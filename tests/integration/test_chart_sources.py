"""Charts from a registry and a repository that speak TLS, pulled by the real helm."""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster.places import BINARIES
from pilotage.api.v1alpha1.implementation import ChartSource
from pilotage.delivery.archive import inspect_archive
from pilotage.delivery.chart import PULL_AGAIN_AFTER, ChartError, ChartFetcher
from pilotage.kube.resources import SECRETS
from tests.support.clock import VirtualClock
from tests.support.registry import ChartServer
from tests.support.world import World
from tests.unit.delivery.builders import chart

pytestmark = [pytest.mark.light, pytest.mark.timeout(120)]

ACCOUNT = "system:serviceaccount:huasheng:pilotage-deployer"
OTHER = "system:serviceaccount:other:pilotage-deployer"
ARCHIVE = chart()
DIGEST = "sha256:" + hashlib.sha256(ARCHIVE).hexdigest()


class Place:
    """A server with the chart core 1.2.3, and a fetcher that trusts its certificate."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = ChartServer(folder / "tls", ARCHIVE, "core", "1.2.3")
        monkeypatch.setenv("SSL_CERT_FILE", str(self.server.authority_file))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        self.clock = VirtualClock()
        self.world = World(self.clock.now)
        scratch = folder / "scratch"
        scratch.mkdir()
        self.fetcher = ChartFetcher(self.world, str(BINARIES / "helm"), scratch, lambda: self.clock.elapsed)

    async def fetch(self, account: str = ACCOUNT, **source: object):
        return await self.fetcher.fetch(ChartSource.model_validate(source), account.split(":")[2], account)

    @property
    def oci(self) -> str:
        return f"oci://{self.server.host}/core"

    async def give_credentials(self) -> None:
        config = base64.b64encode(self.server.docker_config().encode()).decode()
        metadata = {"name": "registry", "namespace": "huasheng"}
        await self.world.create(SECRETS, {"metadata": metadata, "data": {".dockerconfigjson": config}})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    made = Place(tmp_path, monkeypatch)
    yield made
    made.server.close()
    shutil.rmtree(tmp_path / "scratch")


async def test_a_chart_is_pulled_from_a_registry_by_version(place):
    found = await place.fetch(oci=place.oci, version="1.2.3", digest=DIGEST)
    assert (found.name, found.version, found.digest) == ("core", "1.2.3", DIGEST)
    assert found.path.read_bytes() == inspect_archive(ARCHIVE).data


async def test_a_chart_is_pulled_from_a_registry_by_the_digest_of_its_manifest(place):
    found = await place.fetch(oci=f"{place.oci}@{place.server.manifest_digest}")
    assert (found.version, found.digest) == ("1.2.3", DIGEST)


async def test_a_chart_is_pulled_from_a_repository(place):
    found = await place.fetch(repository=f"https://{place.server.host}/charts", name="core", version="1.2.3")
    assert found.digest == DIGEST


async def test_another_archive_than_the_one_reviewed_is_refused(place):
    with pytest.raises(ChartError, match="set the one you reviewed"):
        await place.fetch(oci=place.oci, version="1.2.3", digest="sha256:" + "0" * 64)


async def test_a_version_that_is_not_there_is_told(place):
    with pytest.raises(ChartError, match="cannot be pulled from oci") as caught:
        await place.fetch(oci=place.oci, version="9.9.9")
    assert caught.value.reason == "ChartMissing"


async def test_a_private_registry_opens_to_the_credentials_of_the_namespace(place):
    place.server.private = True
    with pytest.raises(ChartError, match="cannot be pulled"):
        await place.fetch(oci=place.oci, version="1.2.3")
    await place.give_credentials()
    found = await place.fetch(oci=place.oci, version="1.2.3", secretRef={"name": "registry"})
    assert found.digest == DIGEST


async def test_a_registry_is_left_alone_for_a_while_but_no_account_profits_from_anothers_pull(place):
    await place.fetch(oci=place.oci, version="1.2.3")
    pulled = len(place.server.pulled)
    await place.fetch(oci=place.oci, version="1.2.3")
    assert len(place.server.pulled) == pulled

    place.server.private = True
    with pytest.raises(ChartError, match="cannot be pulled"):
        await place.fetch(OTHER, oci=place.oci, version="1.2.3")

    place.clock.advance(PULL_AGAIN_AFTER + 1)
    with pytest.raises(ChartError, match="cannot be pulled"):
        await place.fetch(oci=place.oci, version="1.2.3")
