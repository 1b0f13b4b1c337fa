"""Values from a Prometheus that an administrator declared. A query travels as a form field."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from pilotage.api.v1alpha1.acceptancecheck import PrometheusSource, Target
from pilotage.api.v1alpha1.common import parse_duration
from pilotage.evidence.endpoints import Endpoints, EndpointUnknown
from pilotage.evidence.http import MAX_BODY, TIME_LIMIT, open_session, read_body
from pilotage.evidence.promql import QueryRefused, confined
from pilotage.plan.acceptance_sample import Sample, worst_value
from pilotage.plan.conditions import shorten

POINTS: Final = 60
SHORTEST_STEP: Final = timedelta(seconds=1)
ENOUGH: Final = 0.95
MAX_SAID: Final = 200


class NotAnswered(Exception):
    """Prometheus could not be asked, or answered something that is no value; the message says what to do."""


class PrometheusEvidence:
    """Asks declared endpoints. One client for each question: no proxy, no cookies, no redirects, no connection kept."""

    def __init__(
        self, endpoints: Endpoints, resolver: AbstractResolver | None = None, time_limit: float = TIME_LIMIT
    ) -> None:
        self._endpoints = endpoints
        self._resolver = resolver
        self._time_limit = time_limit

    async def measure(self, namespace: str, source: PrometheusSource, target: Target, now: datetime) -> Sample:
        """One sample: the query's value, or the worst one of its window."""
        try:
            endpoint = self._endpoints.find(source.endpoint, namespace)
            label = endpoint.tenant_label
            query = confined(source.query, label, namespace) if label else source.query
            if source.window is None:
                return _instant(await self._ask(endpoint.url, "query", {"query": query}))
            window = parse_duration(source.window)
            step = max(SHORTEST_STEP, window / POINTS)
            form = {
                "query": query,
                "start": f"{(now - window + step).timestamp():.3f}",
                "end": f"{now.timestamp():.3f}",
                "step": f"{step.total_seconds():.3f}",
            }
            return _range(await self._ask(endpoint.url, "query_range", form), target, int(window / step))
        except (EndpointUnknown, NotAnswered, QueryRefused) as error:
            return Sample.error(shorten(str(error), MAX_SAID))

    async def _ask(self, url: URL, question: str, form: Mapping[str, str]) -> Mapping[str, Any]:
        """The `data` of the answer. Raises NotAnswered."""
        limited = {**form, "timeout": f"{self._time_limit:g}s"}
        try:
            async with (
                open_session(self._resolver, self._time_limit) as session,
                session.post(url / "api/v1" / question, data=limited, allow_redirects=False) as response,
            ):
                body = await read_body(response)
                status = response.status
        except TimeoutError as error:
            msg = f"no complete answer within {self._time_limit:g} s"
            raise NotAnswered(msg) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            msg = f"no answer from {url.host}: {str(error) or type(error).__name__}"
            raise NotAnswered(msg) from error
        return _data(status, body)


def _data(status: int, body: bytes) -> Mapping[str, Any]:
    if len(body) >= MAX_BODY:
        msg = "the answer is larger than one MiB: aggregate the query to one series"
        raise NotAnswered(msg)
    try:
        answer = json.loads(body)
        said, data = str(answer["status"]), answer.get("data")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        msg = f"answered {status} and nothing that Prometheus says"
        raise NotAnswered(msg) from error
    if said != "success" or status != 200:
        msg = f"answered {status}: {answer.get('errorType') or said}: {answer.get('error') or ''}"
        raise NotAnswered(msg)
    # A part of the series is missing then, and what is left may look better than it is.
    if warnings := answer.get("warnings"):
        msg = f"answered with a warning: {warnings}"
        raise NotAnswered(msg)
    if not isinstance(data, dict):
        msg = "answered without data"
        raise NotAnswered(msg)
    return data


def _instant(data: Mapping[str, Any]) -> Sample:
    found = data.get("result")
    if data.get("resultType") == "scalar" and isinstance(found, list):
        return _sample(_text(found))
    if data.get("resultType") != "vector":
        msg = f"the query gives a {data.get('resultType')}, not a number: give a window, or aggregate over time"
        raise NotAnswered(msg)
    series = _only_series(found)
    return _sample(_text(series.get("value"))) if series else Sample.no_data("the query gives no series")


def _range(data: Mapping[str, Any], target: Target, wanted: int) -> Sample:
    if data.get("resultType") != "matrix":
        msg = f"the query gives a {data.get('resultType')}, not a series"
        raise NotAnswered(msg)
    series = _only_series(data.get("result"))
    points = series.get("values") if series else []
    if not isinstance(points, list):
        msg = "the series has no values"
        raise NotAnswered(msg)
    values = [value for value in map(_text, points) if not _is_nan(value)]
    if len(values) < ENOUGH * wanted:
        return Sample.no_data(f"{len(values)} of {wanted} points of the window have a value")
    return Sample.of(worst_value(target, values))


def _only_series(found: Any) -> Mapping[str, Any] | None:
    """The only series of a result; None when there is none. Raises NotAnswered when there are more."""
    if not isinstance(found, list) or not all(isinstance(series, dict) for series in found):
        msg = "the answer is no list of series"
        raise NotAnswered(msg)
    if len(found) > 1:
        msg = f"the query gives {len(found)} series: aggregate it to one, for example with sum(...) or max(...)"
        raise NotAnswered(msg)
    return found[0] if found else None


def _text(point: Sequence[Any] | None) -> str:
    if not isinstance(point, list) or len(point) != 2 or not isinstance(point[1], str):
        msg = "a value is not a pair of time and text"
        raise NotAnswered(msg)
    return point[1]


def _is_nan(value: str) -> bool:
    return value.lower() == "nan"


def _sample(value: str) -> Sample:
    if _is_nan(value):
        return Sample.no_data("the query gives NaN: nothing happened that it could be computed from")
    return Sample.of(value)
