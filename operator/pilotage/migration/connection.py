"""A connection given as a URI, brought into the same PG* variables that the cluster gives the engine."""

from __future__ import annotations

import os
from collections.abc import Sequence

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pilotage.migration.errors import Halt
from pilotage.migration.source.download import SERVER_SCHEMES, use_server_uri
from pilotage.migration.source.live import use_source_uri


def use_uri(uri: str) -> None:
    """Set the PG* variables of this process as the URI says; what it leaves out stays as it is. Raises Halt.

    The message never repeats the URI, which may hold a password.
    """
    try:
        found = conninfo_to_dict(uri)
    except psycopg.ProgrammingError:
        raise Halt("ConnectionInvalid", "the connection is no postgresql://USER@HOST:PORT/DATABASE") from None
    variables = {
        option.keyword.decode(): option.envvar.decode()
        for option in psycopg.pq.Conninfo.get_defaults()
        if option.envvar is not None
    }
    for keyword, value in found.items():
        if keyword not in variables:
            raise Halt("ConnectionInvalid", f"the connection's option {keyword} is not supported: leave it out")
        os.environ[variables[keyword]] = str(value)


def use_source(given: Sequence[str], wanted: str) -> None:
    """Of the connections NAME=URI, use the one that the spec's source names; none given leaves SOURCE_*."""
    named = dict(one.partition("=")[::2] for one in given)
    if wanted in named:
        uri = named[wanted]
        (use_server_uri if uri.partition(":")[0] in SERVER_SCHEMES else use_source_uri)(uri)


def use_connection(given: Sequence[str], wanted: str) -> None:
    """Of the connections NAME=URI, use the one that the spec's target names; none given leaves the PG* variables."""
    if not given:
        return
    named = dict(one.partition("=")[::2] for one in given)
    if wanted not in named:
        raise Halt(
            "ConnectionUnknown", f"the target is the connection {wanted}: give --connection {wanted}=postgresql://…"
        )
    use_uri(named[wanted])
