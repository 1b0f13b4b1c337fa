"""Reads YAML that a chart brought along, as fast as libyaml and without its one danger."""

from __future__ import annotations

from typing import Any, Final

import yaml

MAX_DEPTH: Final = 64

FastLoader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_documents(text: str) -> list[Any]:
    """All documents in the text. Raises ValueError for what is no YAML or nested too deeply.

    Depth is counted before anything is built: the fast loader overruns its stack where the slow one would raise, and
    the slow one takes seconds for a few thousand open brackets.
    """
    depth = 0
    try:
        for event in yaml.parse(text, Loader=FastLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise _too_deep()
        return list(yaml.load_all(text, Loader=FastLoader))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"no YAML: {error}") from error


def _too_deep() -> ValueError:
    return ValueError(f"nested deeper than {MAX_DEPTH} levels")
