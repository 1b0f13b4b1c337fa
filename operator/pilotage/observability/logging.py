"""JSON logs, one object on one line, with the key of the object being worked on. No secrets, no forged lines."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

from pilotage.observability.redaction import redact

MAX_MESSAGE: Final = 4096
MAX_TRACE: Final = 16384

current_key: ContextVar[str] = ContextVar("current_key", default="")
"""Key of the object that this task works on, such as implementations/huasheng/erp."""

current_secrets: ContextVar[tuple[str, ...]] = ContextVar("current_secrets", default=())
"""Secret values that this task has read; they are masked in everything that it logs."""

# Control characters beyond ASCII, line separators, text direction marks, lone surrogates: what makes a viewer show
# something else than what was logged.
_DECEPTIVE = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


class JsonFormatter(logging.Formatter):
    """One line of JSON for each record: time, level, logger, message, and key and error where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        secrets = current_secrets.get()
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _bounded(redact(_message(record), secrets), MAX_MESSAGE),
        }
        if key := current_key.get():
            entry["key"] = key
        if record.exc_info:
            entry["error"] = _bounded(redact(self.formatException(record.exc_info), secrets), MAX_TRACE)
        return escape(json.dumps(entry, ensure_ascii=False))


def escape(text: str) -> str:
    r"""JSON text with deceptive characters written as \uXXXX; json.dumps has escaped the ASCII control characters."""
    return _DECEPTIVE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def configure_logging(level: str | None = None) -> None:
    """Log JSON to standard output from now on.

    level: name of the least level that is logged; by default what PILOTAGE_LOG_LEVEL says, or INFO.
    Raises ValueError for an unknown name.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(
        level=(level or os.environ.get("PILOTAGE_LOG_LEVEL") or "INFO").upper(), handlers=[handler], force=True
    )
    logging.captureWarnings(capture=True)
    # kopf tells of every stream that it opens and every object that it sees.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # In its thread it warns that it hears no signals; the operator hears them.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    sys.excepthook = _log_uncaught


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        # A wrong placeholder must not cost the message.
        return f"{record.msg} {record.args!r}"


def _bounded(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    end = f"… ({len(text)} characters)"
    return text[: limit - len(end)] + end


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("pilotage").critical("the process ends with an exception", exc_info=(kind, error, trace))
