"""What every client of an HTTP server needs: how long to wait when it asks for it, and how to hang up."""

from __future__ import annotations

import socket
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_PAUSE: Final = 300.0


def retry_after(text: str, otherwise: float) -> float:
    """Seconds that the header asks for, as a number or a date, within what a run can wait."""
    try:
        seconds = float(text) if text.isdigit() else (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return otherwise
    return min(max(seconds, 0.0), LONGEST_PAUSE)


def hang_up(connection: socket.socket) -> None:
    """End a connection that another thread is reading from."""
    # Of the plain socket: the method of a TLS socket would take the session from under whoever reads.
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
