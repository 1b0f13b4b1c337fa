"""The official client's wrapper, where no server is needed to see what it sends."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from pilotage.kube.client import ApiError, Conflict, Forbidden, Invalid, NotFound, Unavailable, error_from
from pilotage.kube.official import OfficialCluster
from pilotage.kube.resources import CONFIG_MAPS


class Wire:
    """The library's client: counts what is sent, and answers nothing."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def param_serialize(self, method: str, *_: Any, **__: Any) -> tuple[Any, ...]:
        self.sent.append(method)
        raise OSError


BODY = {"metadata": {"name": "a", "namespace": "b", "resourceVersion": "1"}}


async def test_once_the_lease_lapsed_only_reads_are_sent(monkeypatch):
    monkeypatch.setattr("pilotage.kube.official._pause", lambda *_: 0)
    wire = Wire()
    cluster = OfficialCluster(wire)  # type: ignore[arg-type]
    cluster.fence(lambda: True)
    for write in (
        lambda: cluster.create(CONFIG_MAPS, BODY),
        lambda: cluster.apply(CONFIG_MAPS, BODY),
        lambda: cluster.replace(CONFIG_MAPS, BODY),
        lambda: cluster.replace_status(CONFIG_MAPS, BODY),
        lambda: cluster.delete(CONFIG_MAPS, "b", "a", uid="1"),
    ):
        with pytest.raises(Unavailable, match="Lease"):
            await write()
    assert wire.sent == []
    with pytest.raises(Unavailable):
        await cluster.get(CONFIG_MAPS, "b", "a")
    assert set(wire.sent) == {"GET"}


async def test_a_creation_is_sent_once_and_never_repeated(monkeypatch):
    monkeypatch.setattr("pilotage.kube.official._pause", lambda *_: 0)
    wire = Wire()
    cluster = OfficialCluster(wire)  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        await cluster.create(CONFIG_MAPS, BODY)
    assert wire.sent == ["POST"]
    with pytest.raises(Unavailable):
        await cluster.replace(CONFIG_MAPS, BODY)
    assert wire.sent.count("PUT") > 1


class Answer:
    status = 200
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, said: bytes) -> None:
        self.said = said

    async def read(self) -> bytes:
        return self.said


class Talking(Wire):
    """Answers with what it was given, in turn; the last of it again and again."""

    def __init__(self, *said: bytes) -> None:
        super().__init__()
        self.said = list(said)

    async def param_serialize(self, method: str, *_: Any, **__: Any) -> tuple[Any, ...]:
        self.sent.append(method)
        return method, "", {}, None, None

    async def call_api(self, *_: Any, **__: Any) -> Answer:
        return Answer(self.said.pop(0) if len(self.said) > 1 else self.said[0])


@pytest.mark.parametrize("said", [b"<html>Please sign in</html>", b"", b'{"kind": "Imple', b"[]", b"null", b"\xff"])
async def test_an_answer_that_is_no_document_counts_as_none(monkeypatch, said):
    monkeypatch.setattr("pilotage.kube.official._pause", lambda *_: 0)
    with pytest.raises(Unavailable, match="between here and the API server"):
        await OfficialCluster(Talking(said)).create(CONFIG_MAPS, BODY)  # type: ignore[arg-type]
    again = Talking(said, b'{"metadata": {"name": "a"}}')
    assert await OfficialCluster(again).get(CONFIG_MAPS, "b", "a") == {"metadata": {"name": "a"}}  # type: ignore[arg-type]
    assert again.sent == ["GET", "GET"]


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (404, "", NotFound),
        (409, "", Conflict),
        (403, "", Forbidden),
        (400, "", Invalid),
        (413, "request entity too large", Invalid),
        (422, "", Invalid),
        (500, "etcdserver: request is too large", Invalid),
        (429, "", Unavailable),
        (500, "", Unavailable),
        (504, "", Unavailable),
        (401, "", ApiError),
    ],
)
def test_an_answer_says_whether_asking_again_can_help(status, message, kind):
    assert type(error_from(status, {"message": message})) is kind
