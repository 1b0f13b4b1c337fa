"""Keeps a query in PromQL within one namespace: every selector must name it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import promql_parser

MAX_SELECTOR: Final = 80
# The tree is walked in the operator's own process, at a cost that grows with the square of its depth.
MAX_OPERATORS: Final = 50
OPERATOR: Final = re.compile(r"[-+*/%^(<>=]|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)


class QueryRefused(Exception):
    """The query is none, or it could read series of another namespace; the message says what to write."""


@lru_cache(maxsize=1024)
def confined(query: str, label: str, namespace: str) -> str:
    """The query as it is to be asked, written anew from what was understood of it.

    Every selector must hold LABEL="NAMESPACE", which is what prom-label-proxy would put there. Prometheus is never
    shown the text that was judged, only what this parser read in it: where the two read it differently, what was
    judged is what is asked. Raises QueryRefused.
    """
    if len(OPERATOR.findall(query)) > MAX_OPERATORS:
        msg = f"query: more than {MAX_OPERATORS} operators and brackets: let a recording rule of Prometheus hold a part"
        raise QueryRefused(msg)
    try:
        expression = promql_parser.parse(query)
    except ValueError as error:
        msg = f"query is no PromQL: {error}"
        raise QueryRefused(msg) from error
    open_selectors: list[str] = []

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector) and not _names(node, label, namespace):
            open_selectors.append(node.prettify())
        return True

    promql_parser.walk(expression, visit)
    if open_selectors:
        msg = f'query: selector {open_selectors[0][:MAX_SELECTOR]} must hold {label}="{namespace}"'
        raise QueryRefused(msg)
    return str(expression.prettify())


def _names(selector: promql_parser.VectorSelector, label: str, namespace: str) -> bool:
    matchers = selector.matchers
    return not matchers.or_matchers and any(
        found.name == label and found.op == promql_parser.MatchOp.Equal and found.value == namespace
        for found in matchers.matchers
    )
