"""Evaluates `[[ expressions ]]` in the string leaves of a structure. Runs in the child process only."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateError, Undefined, UndefinedError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

OPEN: Final = "[["
CLOSE: Final = "]]"
MAX_LEAF: Final = 65536
MAX_DEPTH: Final = 64
WHOLE: Final = re.compile(r"\s*\[\[((?:(?!\]\]).)*)\]\]\s*", re.DOTALL)
FILTERS: Final = frozenset(
    {
        "abs", "d", "default", "first", "float", "int", "join", "last", "length", "lower", "max", "min", "replace",
        "reverse", "round", "sort", "string", "sum", "title", "tojson", "trim", "unique", "upper",
    }
)  # fmt: skip


class LeafError(Exception):
    """A leaf that cannot be evaluated, with the path that leads to it."""

    def __init__(self, reason: str, path: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.path = path
        self.message = message


class ExpressionEnvironment(ImmutableSandboxedEnvironment):
    """Expressions over plain data: items of mappings and lists, operators and listed filters; no attribute, no call."""

    def __init__(self) -> None:
        super().__init__(
            variable_start_string=OPEN,
            variable_end_string=CLOSE,
            block_start_string="\x00[%",
            block_end_string="%]\x00",
            comment_start_string="\x00[#",
            comment_end_string="#]\x00",
            undefined=StrictUndefined,
            keep_trailing_newline=True,
            finalize=_as_text,
        )
        self.globals.clear()
        self.filters = {name: function for name, function in self.filters.items() if name in FILTERS}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`a.b` means the item `b` of the mapping `a`, never an attribute of a Python object."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        if isinstance(obj, Undefined):
            # Raises UndefinedError with the missing name; the object has attributes of Python's own.
            str(obj)
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Items by key or index only; a missing one is undefined, not an attribute of that name."""
        try:
            return obj[argument]
        except (LookupError, TypeError, AttributeError):
            return self.undefined(obj=obj, name=argument)

    def is_safe_callable(self, obj: Any) -> bool:
        """Nothing is called."""
        del obj
        return False


def _as_text(value: Any) -> Any:
    """A value in the midst of text, as YAML would write it. Raises TemplateError for what is no scalar."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float | Undefined):
        return value
    msg = f"gives a {type(value).__name__} in the midst of text: let it be the whole value, or use tojson or join"
    raise TemplateError(msg)


def evaluate(
    environment: ExpressionEnvironment, tree: Any, context: Mapping[str, Any], path: str, depth: int = 0
) -> Any:
    """The structure with its expressions replaced by their values. Raises LeafError with the path of the leaf."""
    if depth > MAX_DEPTH:
        raise LeafError("TemplateError", path, f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(tree, Mapping):
        return {key: evaluate(environment, value, context, f"{path}.{key}", depth + 1) for key, value in tree.items()}
    if isinstance(tree, list):
        return [evaluate(environment, item, context, f"{path}[{at}]", depth + 1) for at, item in enumerate(tree)]
    if not isinstance(tree, str) or OPEN not in tree:
        return tree
    return _leaf(environment, tree, context, path)


def _leaf(environment: ExpressionEnvironment, text: str, context: Mapping[str, Any], path: str) -> Any:
    if len(text) > MAX_LEAF or "\x00" in text:
        raise LeafError("TemplateError", path, f"longer than {MAX_LEAF} characters, or with a NUL character")
    try:
        if whole := WHOLE.fullmatch(text):
            expression = environment.compile_expression(whole.group(1).strip(), undefined_to_none=False)
            value = expression(**context)
            if isinstance(value, Undefined):
                str(value)
        else:
            value = environment.from_string(text).render(**context)
    except UndefinedError as error:
        raise LeafError("UndefinedName", path, str(error)) from error
    except SecurityError as error:
        raise LeafError("TemplateError", path, f"not allowed in an expression: {error}") from error
    except (TemplateError, ArithmeticError, LookupError, NameError, TypeError, ValueError, RecursionError) as error:
        raise LeafError("TemplateError", path, f"{error}" or type(error).__name__) from error
    return plain(value, path)


def _text(value: str, path: str) -> str:
    """The text, certain to be one that UTF-8 can write."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise LeafError("TemplateError", path, "the expression gives half a character (a lone surrogate)") from error
    return str(value)


def plain(value: Any, path: str) -> Any:
    """The value as JSON knows it. Raises LeafError for anything else."""
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, float) and not math.isfinite(value):
        raise LeafError("TemplateError", path, f"the expression gives {value}, which is no number that JSON knows")
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {_text(str(key), path): plain(item, path) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, path) for item in value]
    raise LeafError("TemplateError", path, f"the expression gives a {type(value).__name__}, not a value")
