"""S01 to S06: expressions that reach out, loop, allocate, or break out of what they are written into."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from pilotage.render import child
from pilotage.render.renderer import ModuleTemplate, Renderer, RenderError
from pilotage.render.template import FILTERS, LeafError, evaluate

SECRET = "hunter2-of-another-module"
CONTEXT: dict[str, Any] = {
    "customer": {"name": "华升商贸", "code": "huasheng"},
    "implementation": {"name": "erp"},
    "values": {"replicas": 3, "hosts": ["a", "b"], "empty": {}, "text": "[[ 1 + 1 ]]"},
}


@pytest.fixture(scope="module")
def renderer():
    made = Renderer()
    yield made
    made.close()


async def error(renderer: Renderer, leaf: Any) -> RenderError:
    answer = await renderer.render([ModuleTemplate("core", CONTEXT, {}, {"values": {"leaf": leaf}})])
    assert not answer.trees, answer.trees
    return answer.errors["core"]


async def rendered(renderer: Renderer, leaf: Any) -> Any:
    answer = await renderer.render([ModuleTemplate("core", CONTEXT, {}, {"values": {"leaf": leaf}})])
    assert not answer.errors, answer.errors
    return answer.trees["core"]["values"]["leaf"]


# What each of these reaches for in a sandbox with attributes, calls or globals.
REACHING = [
    "''.__class__", "''.__class__.__base__.__subclasses__()", "().__class__.__bases__[0]", "{}.__class__.__mro__[-1]",
    "''['__class__']", "''['__cl' ~ 'ass__']", "''['\\x5f\\x5fclass\\x5f\\x5f']", "[]['__class__']['__base__']",
    "customer.__class__", "customer['__class__']", "customer|attr('__class__')", "customer|attr('__cl' ~ 'ass__')",
    "customer.__init__.__globals__", "customer.get('code')", "customer.items()", "customer.keys()",
    "customer.pop('name')",
    "customer.update({'name': 'x'})", "customer.setdefault('a', 1)", "customer.clear()", "customer.copy()",
    "values.hosts.append('c')", "values.hosts.sort()", "values.hosts.__len__()", "values.hosts.__reduce__()",
    "values.text.format()", "'{0.__class__}'.format('')", "'{a.__init__.__globals__}'.format_map({'a': customer})",
    "'{0.__class__}'|format('')", "'%s'|format(customer.__class__)", "('{0.__class__.__init__}').format(customer)",
    "{'f': '{0.__class__}'.format}.f('')", "['{0.__class__}'.format][0]('')", "(''.join)(['a'])", "''.join(['a'])",
    "''.encode()", "''.upper()", "''.translate({})", "''.split()", "'a'.zfill(99)", "(1).bit_length()", "(1).real",
    "(1.5).hex()", "true.numerator", "none.__class__", "nothing.__class__", "nothing['__class__']", "nothing()",
    "lipsum", "lipsum()", "lipsum.__globals__", "lipsum.__globals__['os'].popen('id').read()", "cycler", "cycler('a')",
    "cycler.__init__.__globals__.os.popen('id')", "joiner()", "joiner.__init__.__globals__", "namespace()",
    "namespace.__init__.__globals__", "range(9)", "range.__class__", "dict()", "dict.__base__", "self", "self.__init__",
    "self._TemplateReference__context", "self._TemplateReference__context.environment", "caller", "caller()", "loop",
    "varargs", "kwargs", "context", "config", "request", "get_flashed_messages", "url_for", "environment", "eval('1')",
    "exec('1')", "open('/etc/passwd')", "__import__('os')", "__builtins__", "globals()", "getattr(customer, 'x')",
    "debug()", "_('a')", "gettext('a')", "super()", "import os", "lambda: 1", "[x for x in values.hosts]", "a := 1",
    "values.hosts|map('upper')|list", "values.hosts|map(attribute='__class__')|list", "values.hosts|list",
    "values.hosts|select('string')|first", "values.hosts|selectattr('x')|first", "values.hosts|reject('none')|first",
    "values.hosts|sort(attribute='__class__')", "[customer]|sum(attribute='__class__')",
    "[customer]|unique(attribute='__class__')|first", "[customer, customer]|min(attribute='__class__')",
    "[customer, customer]|max(attribute='__init__')", "[customer]|join(attribute='__class__')",
    "[customer]|groupby('__class__')|first", "customer|dictsort|first", "customer|items|first", "customer|xmlattr",
    "customer|pprint", "''|urlize", "'a'|center(9)", "'a'|indent(9)", "'a'|batch(9)|first", "'a'|random",
    "'a'|filesizeformat",
    "'a'|safe", "'a'|escape", "'a'|e", "'a'|forceescape", "'a'|striptags", "'a'|urlencode", "'a'|wordwrap(1)",
    "customer is mapping and customer.items()", "values.hosts[0].__class__", "values.hosts[:1][0].upper()",
    "(customer.name ~ '').__class__", "customer.name[0].__class__.__mro__", "modules.__class__",
    "modules.other.outputs.password",
]  # fmt: skip


@pytest.mark.parametrize("expression", REACHING)
async def test_s01_an_expression_reaches_nothing_but_data(renderer, expression):
    found = await error(renderer, f"[[ {expression} ]]")
    assert found.reason in {"UndefinedName", "TemplateError"}
    assert found.path == "values.leaf"


@pytest.mark.parametrize("expression", REACHING)
async def test_s01_neither_does_one_in_the_midst_of_text(renderer, expression):
    assert (await error(renderer, f"x [[ {expression} ]]")).reason in {"UndefinedName", "TemplateError"}


def test_s01_only_filters_that_were_chosen_are_there():
    child.answer({"modules": []})
    assert child.ExpressionEnvironment().filters.keys() == FILTERS
    assert not child.ExpressionEnvironment().globals


@pytest.mark.parametrize(
    "expression",
    [
        "9**(9**9)",
        "(9**9999999) % 7",
        "[[ 2**2**2**2**2**2 ]]",
        "([0] * 9999999)|sort|sum",
        "('a' * 9999999)|replace('a', 'b' * 9)|replace('b', 'c' * 9)|length",
        "(['ab' * 999999] * 9999)|join|length",
    ],
)
async def test_s02_an_expression_without_end_is_stopped_within_its_time(renderer, expression):
    begun = time.monotonic()
    assert (await error(renderer, f"[[ {expression} ]]")).reason in {"RenderLimit", "TemplateError"}
    assert time.monotonic() - begun < 8


@pytest.mark.parametrize(
    "expression",
    [
        "'a' * 10**9",
        "'a' * 10**18",
        "[0] * 10**9",
        "[[0] * 10**5] * 10**5",
        "'%1000000000d' % 1",
        "'%.1000000000f' % 1",
        "'%*d' % (1000000000, 1)",
        "('a' * 10**7)|replace('a', 'a' * 10**7)",
        "'a' * 2000000",
        "['a' * 1000] * 2000",
        "{'a': ['b' * 99999] * 99}",
        "('x' * 1100000)|tojson",
        "('ä' * 10**6)|tojson|tojson",
        "(('a' * 10**5) ~ ('a' * 10**6))|upper",
        "(1, 2) * 10**8",
        "10**400000",
    ],
)
async def test_s03_an_expression_that_grows_is_stopped(renderer, expression):
    assert (await error(renderer, f"[[ {expression} ]]")).reason in {"RenderLimit", "TemplateError"}


@pytest.mark.parametrize(
    "leaf",
    [
        "[[ " + "(" * 60000 + " ]]",
        "[[ " + "(" * 20000 + "1" + ")" * 20000 + " ]]",
        "[[ " + "[" * 20000 + "]" * 20000 + " ]]",
        "[[ " + "not " * 16000 + "1 ]]",
        "[[ " + "-" * 60000 + "1 ]]",
        "[[ " + "1 + " * 16000 + "1 ]]",
        "[[ " + "a." * 30000 + "b ]]",
        "[[ " + "1 if 1 else " * 5000 + "1 ]]",
        "[[ 1 ]]" * 9362 + "[[",
        "[[ '" + "a" * 1_000_000 + "' ]]",
        "[[ " + "1|string|" * 7000 + "length ]]",
        "[[ 1" + "0" * 65000 + " ]]",
    ],
)
async def test_s04_an_expression_that_is_long_or_deep_is_refused_or_stopped(renderer, leaf):
    assert (await error(renderer, leaf)).reason in {"RenderLimit", "TemplateError", "UndefinedName"}


async def test_s04_a_tree_that_is_deep_is_refused(renderer):
    tree: Any = "[[ 1 ]]"
    for _ in range(70):
        tree = [tree]
    found = await error(renderer, tree)
    assert (found.reason, "nested deeper" in found.message) == ("TemplateError", True)


@pytest.mark.parametrize(
    "statement",
    [
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% extends 'other' %}",
        "{% for a in range(999999999) %}a{% endfor %}",
        "{% set a = 1 %}",
        "{# comment #}",
        "{{ 1 + 1 }}",
        "# for a in b",
        "{%- raw -%}",
        "\n%s\n",
    ],
)
async def test_s05_statements_are_text(renderer, statement):
    assert await rendered(renderer, f"{statement} [[ 1 ]]") == f"{statement} 1"


@pytest.mark.parametrize(
    "statement",
    [
        "\x00[% include '/etc/passwd' %]\x00 [[ 1 ]]",
        "\x00[% set a = 9 %]\x00[[ a ]]",
        "[[ include('/etc/passwd') ]]",
        "[[ include '/etc/passwd' ]]",
    ],
)
async def test_s05_no_file_is_included(renderer, statement):
    assert (await error(renderer, statement)).reason in {"TemplateError", "UndefinedName"}


@pytest.mark.parametrize(
    ("leaf", "value"),
    [
        ("[[ values.text ]]", "[[ 1 + 1 ]]"),
        ("x [[ values.text ]]", "x [[ 1 + 1 ]]"),
        ("[[ '[' ~ '[ 1 ]' ~ ']' ]]", "[[ 1 ]]"),
        ("[[ 'a: b\\nc: !!python/object d' ]]", "a: b\nc: !!python/object d"),
        ("[[ '{{ .Values.password }}' ]]", "{{ .Values.password }}"),
        ('[[ \'"}, "admin": true\' ]]', '"}, "admin": true'),
        ("[[ '<script>alert(1)</script>' ]]", "<script>alert(1)</script>"),
    ],
)
async def test_s06_what_an_expression_gives_is_data_and_read_once(renderer, leaf, value):
    assert await rendered(renderer, leaf) == value


ATTEMPTS = """
import os, socket, subprocess
from pilotage.render.child import limit_self, rehearse
rehearse()
limit_self()
for attempt in (
    lambda: socket.socket(), lambda: socket.socket(socket.AF_UNIX), lambda: socket.socketpair(),
    lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW), lambda: socket.create_connection(("127.0.0.1", 1)),
    lambda: socket.getaddrinfo("localhost", 80), lambda: open("/etc/passwd"), lambda: open("/tmp/left", "w"),
    lambda: os.pipe(), lambda: os.dup(1), lambda: os.memfd_create("a"), lambda: os.listdir("/"),
    lambda: subprocess.run(["id"]), lambda: os.eventfd(0), lambda: os.open("/proc/self/environ", os.O_RDONLY),
):
    try:
        attempt()
    except OSError:
        continue
    raise SystemExit("one succeeded")
"""


def test_s01_the_process_that_renders_opens_no_socket_and_no_file():
    ended = subprocess.run(
        [sys.executable, "-I", "-c", ATTEMPTS], capture_output=True, text=True, check=False, env={}, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_s01_everything_that_it_imports_it_has_imported_before():
    child.rehearse()
    known = set(sys.modules)
    for expression in REACHING:
        child.answer(
            {"modules": [{"name": "a", "context": CONTEXT, "outputs": {}, "trees": {"b": f"[[ {expression} ]]"}}]}
        )
    assert not {name for name in set(sys.modules) - known if not name.startswith(("tests.", "_pytest", "pluggy"))}


@pytest.mark.parametrize("name", sorted(FILTERS))
async def test_s01_every_filter_works_where_no_file_can_be_opened(renderer, name):
    arguments = {"replace": "('a', 'b')", "default": "(1)", "d": "(1)"}.get(name, "")
    subject = "[3, 1]" if name in {"first", "last", "length", "max", "min", "sort", "sum", "unique"} else "'2'"
    leaf = f"[[ {subject}|{name}{arguments} ]]" if name not in {"abs", "round"} else f"[[ 2|{name} ]]"
    if name in {"unique", "reverse"}:
        leaf = f"[[ {subject}|{name}|join ]]"
    assert await rendered(renderer, leaf) is not None


def test_s01_no_leaf_changes_what_it_was_given():
    before = repr(CONTEXT)
    for expression in REACHING:
        try:
            evaluate(child.ExpressionEnvironment(), {"leaf": f"[[ {expression} ]]"}, CONTEXT, "values")
        except LeafError:
            continue
    assert repr(CONTEXT) == before
