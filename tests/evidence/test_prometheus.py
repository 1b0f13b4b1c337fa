"""Evidence and a stable run on a real Prometheus whose past is known, and which goes away in the middle."""

from __future__ import annotations

import json
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from e2e.prometheus import Prometheus
from pilotage.api.v1alpha1.acceptancecheck import PrometheusSource, Target
from pilotage.evidence.endpoints import Endpoints
from pilotage.evidence.prometheus import PrometheusEvidence
from pilotage.evidence.promql import confined
from pilotage.kube.resources import ACCEPTANCE_CHECKS, IMPLEMENTATIONS
from pilotage.kube.store import Key, Store
from pilotage.plan.acceptance_sample import Outcome
from pilotage.reconcile.acceptancecheck import reconcile
from pilotage.reconcile.context import Context
from pilotage.reconcile.settings import Settings
from tests.unit.acceptance.builders import check, implementation, metric
from tests.unit.evidence.jobs import JobCluster

pytestmark = pytest.mark.prometheus

STEP = 15
PAST = 3600
KEY = Key("acceptancechecks", "huasheng", "smoke")


@pytest.fixture(scope="module")
def began():
    return time.time() - 60


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory, began):
    moments = [began - PAST + STEP * number for number in range(PAST // STEP + 1)]
    hole = (began - 1800, began - 1200)
    past = {
        'orders_total{code="200"}': [(moment, str(100 * n)) for n, moment in enumerate(moments)],
        'orders_total{code="500"}': [(moment, str(n // 40)) for n, moment in enumerate(moments)],
        "latency_seconds": [(m, "3.5" if began - 300 <= m < began - 280 else "0.4") for m in moments],
        "with_a_hole": [(moment, "1") for moment in moments if not hole[0] < moment < hole[1]],
        'stock{namespace="huasheng"}': [(moment, "7") for moment in moments],
        'stock{namespace="other"}': [(moment, "1000") for moment in moments],
        "idle_total": [(moment, "0") for moment in moments],
    }
    server = Prometheus(tmp_path_factory.mktemp("prometheus"), past)
    yield server
    server.stop()


async def ask(prometheus, began, query, *, target=None, after=0, label="", **source):
    declared = [{"name": "main", "url": prometheus.url, "namespaces": ["huasheng"], "tenantLabel": label}]
    wanted = PrometheusSource.model_validate({"endpoint": "main", "query": query, **source})
    now = datetime.fromtimestamp(began + after, tz=UTC)
    evidence = PrometheusEvidence(Endpoints(json.dumps(declared)))
    return await evidence.measure("huasheng", wanted, Target.model_validate(target or {"atLeast": "1"}), now)


IN = 'namespace="huasheng"'
QUERIES = [
    f"sum(rate(a{{{IN}}}[5m])) / sum(rate(b{{{IN}}}[5m]))",
    f"(a{{{IN}}} + b{{{IN}}}) * c{{{IN}}} - -d{{{IN}}} ^ 2 ^ 0.5 % 3",
    f"a{{{IN}}} * (b{{{IN}}} + c{{{IN}}}) / (d{{{IN}}} - (e{{{IN}}} - f{{{IN}}}))",
    f"a{{{IN}}} and b{{{IN}}} or c{{{IN}}} unless d{{{IN}}}",
    f"a{{{IN}}} and (b{{{IN}}} or c{{{IN}}})",
    f"a{{{IN}}} > bool 1e-3",
    f"histogram_quantile(0.95, sum by (le) (rate(a{{{IN}}}[10m] offset 1d)))",
    f"a{{{IN}}} / on (job) group_left (version) b{{{IN}}}",
    f"a{{{IN}}} / ignoring (code) group_right () b{{{IN}}}",
    f"sum without (pod, code) (a{{{IN}}})",
    f"max_over_time((a{{{IN}}} + 1)[1h:5m])",
    f"max_over_time(a{{{IN}}}[1h:] @ 1609746000)",
    f"a{{{IN}}} @ end() offset -5m",
    f'a{{{IN}, path=~"/api/\\\\d+", x!="1", y!~"é.*\\n"}}',
    f'{{__name__=~"a|b", {IN}}}',
    f'topk(3, a{{{IN}}}) and absent(b{{{IN}}}) or quantile(0.9, c{{{IN}}}) or count_values("v", d{{{IN}}})',
    f'clamp_max(a{{{IN}}}, Inf) or vector(NaN) or label_replace(a{{{IN}}}, "x", "$1", "y", "(.*)")',
]


def understood(prometheus, query):
    """The query as Prometheus itself would write it."""
    asked = urllib.request.Request(f"{prometheus.url}/api/v1/format_query", data=urlencode({"query": query}).encode())
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return json.load(answer)["data"]


SUCCESS = 'sum(rate(orders_total{code="200"}[10m])) / sum(rate(orders_total[10m]))'


async def test_a_ratio_of_rates_is_one_number(prometheus, began):
    sample = await ask(prometheus, began, SUCCESS)
    assert sample.outcome is Outcome.VALUE
    assert 0.999 < float(sample.value) < 1


async def test_of_a_shared_prometheus_only_the_own_namespace_is_read(prometheus, began):
    confined = await ask(prometheus, began, 'sum(stock{namespace="huasheng"})', label="namespace")
    assert confined.value == "7"
    assert "must hold" in (await ask(prometheus, began, "sum(stock)", label="namespace")).message


@pytest.mark.parametrize("query", QUERIES)
def test_what_is_asked_means_what_was_written(prometheus, query):
    assert understood(prometheus, confined(query, "namespace", "huasheng")) == understood(prometheus, query)


async def test_two_series_are_refused(prometheus, began):
    sample = await ask(prometheus, began, "orders_total")
    assert "2 series" in sample.message


@pytest.mark.parametrize("query", ["absent_metric", "sum(rate(idle_total[10m])) / sum(rate(idle_total[10m]))"])
async def test_nothing_and_zero_by_zero_are_no_data(prometheus, began, query):
    assert (await ask(prometheus, began, query)).outcome is Outcome.NO_DATA


async def test_a_query_that_cannot_be_read_says_where(prometheus, began):
    sample = await ask(prometheus, began, "sum(")
    assert sample.outcome is Outcome.ERROR
    assert "answered 400: bad_data" in sample.message
    assert "parse error" in sample.message


async def test_the_worst_moment_of_a_window_counts_though_now_is_good(prometheus, began):
    target = {"atMost": "2"}
    assert (await ask(prometheus, began, "latency_seconds", target=target)).value == "0.4"
    assert (await ask(prometheus, began, "latency_seconds", target=target, window="10m")).value == "3.5"


async def test_a_window_in_which_it_did_not_measure_is_no_data(prometheus, began):
    full = await ask(prometheus, began, "count_over_time(with_a_hole[30s]) > 0", window="10m")
    holed = await ask(prometheus, began, "count_over_time(with_a_hole[30s]) > 0", window="30m")
    assert (full.outcome, holed.outcome) == (Outcome.VALUE, Outcome.NO_DATA)


async def test_while_prometheus_is_down_the_clock_stands_still(prometheus, began):
    source = {"prometheus": {"endpoint": "main", "query": "vector(1)"}}
    body = check(gate="StableRunComplete", stableRun={"required": "1h"}, metrics=[metric(source=source, interval="1m")])
    now = datetime.fromtimestamp(began, tz=UTC)
    store = Store(lambda *_: ())
    store.observe(ACCEPTANCE_CHECKS, None, body)
    store.observe(IMPLEMENTATIONS, None, implementation(reached="Live"))
    declared = [{"name": "main", "url": prometheus.url, "namespaces": ["huasheng"]}]
    settings = Settings(endpoints=Endpoints(json.dumps(declared)))
    context = Context(JobCluster(), store, settings, clock=lambda: now)  # type: ignore[arg-type]

    async def minutes(count):
        nonlocal now
        for _ in range(count):
            await reconcile(context, KEY)
            now += timedelta(minutes=1)
        return store.get(ACCEPTANCE_CHECKS, "huasheng", "smoke")["status"]["modules"][0]

    assert (await minutes(4))["clock"]["accumulated"] == "3m"
    prometheus.stop()
    down = await minutes(3)
    prometheus.start()
    assert (down["phase"], down["clock"]["accumulated"]) == ("Error", "3m")
    assert "no answer from 127.0.0.1" in down["clock"]["pausedReason"]
    assert (await minutes(3))["clock"]["accumulated"] == "5m"
