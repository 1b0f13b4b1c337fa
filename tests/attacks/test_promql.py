"""S27: a query that reads another customer's series, of a Prometheus that knows both."""

from __future__ import annotations

import pytest

from pilotage.evidence.promql import MAX_OPERATORS, QueryRefused, confined

OWN = 'namespace="huasheng"'
BREAKS_OUT = {
    "no label": "up",
    "other namespace": 'up{namespace="other"}',
    "any namespace": 'up{namespace=~".*"}',
    "own or other": 'up{namespace=~"huasheng|other"}',
    "a pattern of the own name": 'up{namespace=~"huasheng"}',
    "not another": 'up{namespace!="x"}',
    "not the own": 'up{namespace!="huasheng"}',
    "another label": 'up{exported_namespace="huasheng"}',
    "another case": 'up{Namespace="huasheng"}',
    "name as a label": '{__name__="up"}',
    "name as a pattern": '{__name__=~".+"}',
    "or of matchers": f'up{{{OWN} or namespace="other"}}',
    "the second operand": f"up{{{OWN}}} or up",
    "the first operand": f"up or up{{{OWN}}}",
    "in a call": f"absent(up) * up{{{OWN}}}",
    "in a range": f"rate(up[5m]) + up{{{OWN}}}",
    "in a subquery": "max_over_time(up[1h:5m])",
    "in a parameter": f"topk(scalar(up), up{{{OWN}}})",
    "in a quantile": f"quantile(scalar(up), up{{{OWN}}})",
    "in an aggregate": "sum by (namespace) (up)",
    "in the offset of another": f"up{{{OWN}}} - up offset 1d",
    "in brackets": "((((up))))",
    "a sign before it": "-up",
    "hidden by a comment": "up # {" + OWN + "}",
    "hidden by a string": 'label_replace(up, "namespace", "huasheng", "", "")',
    "hidden by a string with the selector": f"count_values('up{{{OWN}}}', up)",
    "an escape that is none": 'up{namespace="huasheng\\u0000"}',
    "a look-alike": 'up{namespace="huаsheng"}',
    "a space": 'up{namespace=" huasheng"}',
    "a broken string": f'up{{{OWN}}} or foo{{a="',
    "a quote within": 'up{a="namespace=\\"huasheng\\""}',
    "a comparison": f"up{{{OWN}}} > bool up",
    "a join": f"up{{{OWN}}} * on () group_left () up",
    "the info of others": f'info(up{{{OWN}}}, {{k="v"}})',
    "two statements": f"up{{{OWN}}}; up",
    "a line break": f"up{{{OWN}}}\nup",
    "nothing": "",
    "depth": "(" * 1000 + "up" + ")" * 1000,
    "signs": "-" * 4000 + f"up{{{OWN}}}",
    "a long sum": "+".join([f"up{{{OWN}}}"] * 60),
}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("query", BREAKS_OUT.values(), ids=BREAKS_OUT)
def test_s27_a_query_reads_no_other_namespace(query: str) -> None:
    with pytest.raises(QueryRefused):
        confined(query, "namespace", "huasheng")


@pytest.mark.parametrize(
    "query", [f"up{{{OWN}}}", "vector(1)", f"up{{{OWN},namespace=~'h.*'}}", 'up{"namespace"="huasheng"}', "time()"]
)
def test_what_stays_in_the_namespace_is_asked(query: str) -> None:
    again = confined(query, "namespace", "huasheng")
    assert confined(again, "namespace", "huasheng") == again


def test_a_query_of_ordinary_size_is_taken() -> None:
    query = " + ".join([f"up{{{OWN}}}"] * (MAX_OPERATORS // 2))
    assert confined(query, "namespace", "huasheng").count(OWN) == MAX_OPERATORS // 2


def test_a_label_s_value_that_holds_quotes_stays_a_value() -> None:
    query = 'up{namespace="huasheng",a="\\"} or up{b=\\""}'
    again = confined(query, "namespace", "huasheng")
    assert confined(again, "namespace", "huasheng") == again
    assert again.count("up") == 2
