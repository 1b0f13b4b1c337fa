"""Specs made from a good one by changing a single field, as the schema of its kind suggests (Acto's idea)."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

ABSENT: Final = object()
Steps = tuple[str | int, ...]
Schema = Mapping[str, Any]

# One of these fits each pattern of our schemas; the others make good changes and bad ones.
TEXTS: Final = (
    "other", "1", "30s", "1h30m", ">=1.30", "100m", "oci://charts.example.com/other", "https://charts.example.com",
    f"sha256:{'0' * 64}", "some.key", "E_PARSE", "5%", "12.5", "/path", "SELECT 1", "",
)  # fmt: skip
BAD_TEXTS: Final = ("Not valid !", "../../etc/passwd", "[[ customer.nonsense ]]", "[[ 'a' * 10 ** 9 ]]", "\u202egnp")
TREES: Final = ({"some": {"key": ["[[ modules.nobody.outputs.url ]]"]}}, {"": None}, "text", 7, [], None)
LARGEST_LIST: Final = 120


@dataclass(frozen=True)
class Mutation:
    """One change. `field` is the schema's path, such as `.modules[].chart.oci`; `value` may be ABSENT."""

    field: str
    steps: Steps
    value: Any

    def of(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The spec with the change; what it lacks on the way is made."""
        changed: Any = copy.deepcopy(dict(spec))
        place = changed
        for step, following in zip(self.steps, self.steps[1:], strict=False):
            empty: Any = [] if isinstance(following, int) else {}
            if isinstance(step, int):
                if step == len(place):
                    place.append(empty)
                place = place[step]
            else:
                place = place.setdefault(step, empty)
        last = self.steps[-1]
        if self.value is not ABSENT:
            if isinstance(last, int) and last == len(place):
                place.append(None)
            place[last] = self.value
        elif isinstance(last, int) or last in place:
            del place[last]
        result: dict[str, Any] = changed
        return result

    def __str__(self) -> str:
        shown = "absent" if self.value is ABSENT else repr(self.value)
        return f"{self.field} = {shown if len(shown) < 60 else shown[:57] + '...'}"


def mutations(schema: Schema, spec: Mapping[str, Any]) -> Iterator[Mutation]:
    """Changes of every field that the schema knows below the spec: values that it takes, and values that it refuses."""
    for name, node in schema.get("properties", {}).items():
        yield from _of(node, spec.get(name, ABSENT), f".{name}", (name,))


def _of(node: Schema, current: Any, field: str, steps: Steps) -> Iterator[Mutation]:
    if current is not ABSENT:
        yield Mutation(field, steps, ABSENT)
    for value in _values(node, current):
        if value != current:
            yield Mutation(field, steps, value)
    for name, child in node.get("properties", {}).items():
        below = current.get(name, ABSENT) if isinstance(current, dict) else ABSENT
        yield from _of(child, below, f"{field}.{name}", (*steps, name))
    if "items" in node:
        below = current[0] if isinstance(current, list) and current else ABSENT
        yield from _of(node["items"], below, f"{field}[]", (*steps, 0))


def _values(node: Schema, current: Any) -> list[Any]:
    match node.get("type"):
        case "string" if "enum" in node:
            return [*node["enum"], "Nonsense", ""]
        case "string":
            longest = node.get("maxLength", 1000)
            pattern = re.compile(node.get("pattern", ""))
            fitting = [text for text in TEXTS if pattern.search(text) and len(text) <= longest]
            return [*fitting[:3], *BAD_TEXTS, "x" * (longest + 1), 7]
        case "integer":
            least, most = node.get("minimum", 0), node.get("maximum", 10**6)
            return [least, least + 1, most, least - 1, most + 1, "1"]
        case "boolean":
            return [True, False, "yes", 2]
        case "array":
            some = current if isinstance(current, list) and current else [example(node["items"])]
            return [[], some[:1], some + some[:1], some * min(LARGEST_LIST, node.get("maxItems", 10) + 1), {}]
        case "object" if node.get("properties"):
            some = current if isinstance(current, dict) else example(node)
            return [some, {}, {**some, "nonsense": 1}, []]
        case _:
            return list(TREES)


def example(node: Schema) -> Any:
    """The smallest value that the schema takes."""
    match node.get("type"):
        case "string":
            pattern = re.compile(node.get("pattern", ""))
            return next(iter(node.get("enum", [])), next((text for text in TEXTS if pattern.search(text)), "other"))
        case "integer":
            return node.get("minimum", 1)
        case "boolean":
            return True
        case "array":
            return [example(node["items"])]
        case "object":
            return {name: example(node["properties"][name]) for name in node.get("required", [])}
        case _:
            return {}
