"""What every reader of YAML from outside looks at before anything is built."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

MAX_DEPTH: Final = 64
MAX_NUMBER: Final = 300
# What YAML 1.1 reads as a number. One in base 60 costs the square of its length, and Python prints no very long one.
NUMBER: Final = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|[0-9_]+(?::[0-9]+)*(?:\.[0-9_]*)?)")

# libyaml's parser, many times as fast as Python's: half a megabyte must not hold the operator up for long.
FastLoader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def is_endless_number(event: yaml.ScalarEvent) -> bool:
    """Whether the scalar, which is in no quotes, could be read as a number of more than 300 characters."""
    in_quotes = event.implicit[1]
    return not in_quotes and len(event.value) > MAX_NUMBER and NUMBER.fullmatch(event.value) is not None
