"""The peer: kopf watching what the operator watches, doing nothing with it."""

from __future__ import annotations

import asyncio
from typing import Any

import kopf

from pilotage.operator import WATCHED, kopf_settings, login


async def _ignore(**_: Any) -> None:
    """The peer's handler."""


def main() -> None:
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(login)
    for kind in WATCHED:
        kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)(_ignore)
    asyncio.run(kopf.operator(registry=registry, settings=kopf_settings(), standalone=True, clusterwide=True))


if __name__ == "__main__":
    main()
