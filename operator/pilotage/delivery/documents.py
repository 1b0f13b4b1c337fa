"""Reads YAML that a chart brought along, as fast as libyaml and without its dangers."""

from __future__ import annotations

from typing import Any, Final

import yaml

from pilotage.api.yaml_text import MAX_DEPTH, MAX_NUMBER, FastLoader, is_endless_number

MAX_REPEATED: Final = 100_000


def load_documents(text: str) -> list[Any]:
    """All documents in the text. Raises ValueError for what is no YAML, nested too deeply or grows too large.

    All that is judged before anything is built: the fast loader overruns its stack where the slow one would raise, the
    slow one takes seconds for a few thousand open brackets, and either builds what aliases and merge keys multiply.
    """
    try:
        _Growth().follow(text)
        return list(yaml.load_all(text, Loader=FastLoader))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"no YAML: {error}") from error


class _Growth:
    """Follows the events of a text and counts what its aliases would repeat."""

    def __init__(self) -> None:
        self._open: list[tuple[str | None, int]] = []
        self._sizes: dict[str, int] = {}
        self._nodes = 0
        self._repeated = 0

    def follow(self, text: str) -> None:
        for event in yaml.parse(text, Loader=FastLoader):
            if isinstance(event, yaml.CollectionStartEvent):
                self._open.append((event.anchor, self._nodes))
                if len(self._open) > MAX_DEPTH:
                    raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
                self._nodes += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                anchor, before = self._open.pop()
                if anchor:
                    self._sizes[anchor] = self._nodes - before
            elif isinstance(event, yaml.ScalarEvent):
                self._count_scalar(event)
            elif isinstance(event, yaml.AliasEvent):
                self._repeat(event.anchor or "")

    def _count_scalar(self, event: yaml.ScalarEvent) -> None:
        self._nodes += 1
        if event.anchor:
            self._sizes[event.anchor] = 1
        if is_endless_number(event):
            raise ValueError(f"a number of more than {MAX_NUMBER} characters")

    def _repeat(self, anchor: str) -> None:
        if any(anchor == inside for inside, _ in self._open):
            raise ValueError(f"the alias {anchor[:60]} stands inside of what it repeats")
        size = self._sizes.get(anchor, 1)
        self._nodes += size
        self._repeated += size
        if self._repeated > MAX_REPEATED:
            raise ValueError(f"its aliases repeat more than {MAX_REPEATED} nodes")
