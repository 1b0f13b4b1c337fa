"""Expressions over values, evaluated in the real child process."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pilotage.render import renderer as rendering
from pilotage.render.renderer import ModuleTemplate, Renderer, RenderError

CONTEXT = {"customer": {"name": "华升商贸"}, "values": {"replicas": 3, "hosts": ["a", "b"], "items": 1}}


def module(tree: Any = None, *, name: str = "core", outputs: dict[str, str] | None = None) -> ModuleTemplate:
    return ModuleTemplate(name, CONTEXT, outputs or {}, {f"modules[{name}].values": tree or {}})


@pytest.fixture(autouse=True)
def renderers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Renderer]]:
    """Ends the processes of all renderers that a test made."""
    made: list[Renderer] = []
    begin = Renderer.__init__

    def remember(self: Renderer) -> None:
        begin(self)
        made.append(self)

    monkeypatch.setattr(Renderer, "__init__", remember)
    yield made
    for renderer in made:
        renderer.close()


async def rendered(tree: Any) -> Any:
    answer = await Renderer().render([module({"leaf": tree})])
    assert not answer.errors, answer.errors
    return answer.trees["core"]["modules[core].values"]["leaf"]


async def error(tree: Any) -> RenderError:
    answer = await Renderer().render([module({"leaf": tree})])
    assert not answer.trees, answer.trees
    return answer.errors["core"]


@pytest.mark.parametrize(
    ("leaf", "value"),
    [
        ("on: [[ values.replicas > 2 ]]", "on: true"),
        ("[[ values.hosts | tojson ]]!", '["a", "b"]!'),
        ("plain", "plain"),
        ("{{ .Values.x }} {% raw %} {# kept #}", "{{ .Values.x }} {% raw %} {# kept #}"),
        (7, 7),
        (None, None),
        ("[[ values.replicas ]]", 3),
        ("[[ values.hosts ]]", ["a", "b"]),
        ("[[ values.replicas > 2 ]]", True),
        ("[[ customer.name ]]", "华升商贸"),
        ("客户 [[ customer.name ]]: [[ values.replicas ]]", "客户 华升商贸: 3"),
        ("[[ values.hosts | join(',') ]]", "a,b"),
        ("[[ values.missing | default('none') ]]", "none"),
        ("[[ values.hosts[0] ]]", "a"),
        ("[[ values.items ]]", 1),
        ("[[ 'x' if values.replicas else 'y' ]]", "x"),
        ({"deep": ["[[ values.replicas ]]"]}, {"deep": [3]}),
    ],
)
async def test_an_expression_gives_its_value(leaf, value):
    assert await rendered(leaf) == value


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        ("[[ customr.name ]]", "'customr' is undefined"),
        ("a [[ customr ]]", "'customr' is undefined"),
        ("[[ customer.nme ]]", "nme"),
    ],
)
async def test_an_undefined_name_is_an_error_with_its_path(leaf, message):
    found = await error({"database": [leaf]})
    assert (found.reason, found.path) == ("UndefinedName", "modules[core].values.leaf.database[0]")
    assert message in found.message


ESCAPES = [
    "[[ ''.__class__ ]]",
    "[[ ''['__class__'] ]]",
    "[[ ''.__class__.__mro__[1].__subclasses__() ]]",
    "[[ nothing.__class__.__init__.__globals__ ]]",
    "[[ nothing['__class__'] ]]",
    "[[ customer|attr('__class__') ]]",
    "[[ customer|map(attribute='__class__')|list ]]",
    "[[ ['']|map(attribute='__class__')|first ]]",
    "[[ ['a', 'b']|sort(attribute='__class__') ]]",
    "[[ ['']|sum(attribute='__class__') ]]",
    "[[ ['']|unique(attribute='__class__')|first ]]",
    "[[ '{0.__class__}'.format('') ]]",
    "[[ '{0.__class__}'|format('') ]]",
    "[[ 'a'.upper() ]]",
    "[[ customer.update({'a': 1}) ]]",
    "[[ customer.items() ]]",
    "[[ range(9) ]]",
    "[[ lipsum() ]]",
    "[[ cycler('a') ]]",
    "[[ namespace() ]]",
    "[[ self ]]",
    "[[ self._TemplateReference__context ]]",
    "[[ caller ]]",
    "[[ config ]]",
    "[[ __import__('os') ]]",
    "[[ customer.__init__ ]]",
    "[[ (customer.name)() ]]",
    "[[ values.hosts.append('c') ]]",
    "x [[ ''.__class__ ]]",
    "x [[ self ]]",
    "\x00[% set a = 1 %]\x00[[ a ]]",
]


@pytest.mark.parametrize("leaf", ESCAPES)
async def test_an_expression_reaches_nothing_but_data(leaf):
    found = await error(leaf)
    assert found.reason in {"UndefinedName", "TemplateError"}
    assert found.path == "modules[core].values.leaf"


@pytest.mark.parametrize(
    "leaf",
    [
        "[[ ]]",
        "[[ 1 + ]]",
        "[[ 1 // 0 ]]",
        "[[ 'a' + 1 ]]",
        "[[ a",
        "[[ 1 | nofilter ]]",
        "hosts: [[ values.hosts ]]",
        "none: [[ none ]]",
        "[[ 1" + " " * 70000 + "]]",
        "[[ 1e999 ]]",
        "[[ [1e999 - 1e999] ]]",
        "[[ '\\ud800' ]]",
        "[[ {'\\udfff': 1} ]]",
    ],
)
async def test_a_broken_expression_names_its_path(leaf):
    found = await error(leaf)
    assert (found.reason, found.path) == ("TemplateError", "modules[core].values.leaf")


@pytest.mark.parametrize(
    "leaf",
    [
        "[[ 9**(9**9) ]]",
        "[[ 'a' * 10**9 ]]",
        "[[ [0] * 10**9 ]]",
        "[[ '%1000000000d' % 1 ]]",
        "x [[ 9**(9**9) ]]",
        "[[ 'a' * 2000000 ]]",
        "[[ ('a' * 9999999) | replace('a', 'a' * 9999999) ]]",
    ],
)
async def test_a_huge_expression_is_stopped_within_five_seconds(leaf):
    begun = time.monotonic()
    found = await error(leaf)
    assert found.reason == "RenderLimit"
    assert time.monotonic() - begun < 6


@pytest.mark.parametrize("leaf", ["[[ ('%400000000d' % 1) | length ]]"])
async def test_memory_is_limited_also_where_the_answer_is_small(leaf):
    assert (await error(leaf)).reason == "RenderLimit"


async def test_a_child_that_says_nothing_is_killed_at_its_deadline(monkeypatch):
    monkeypatch.setattr(rendering, "WALL_SECONDS", 0.001)
    found = await error("[[ 1 ]]")
    assert found.reason == "RenderLimit"
    assert "stopped after" in found.message


async def test_outputs_of_a_module_are_read_by_those_after_it():
    core = module(name="core", outputs={"url": "http://[[ customer.name ]]", "port": "[[ 80 + 1 ]]"})
    portal = module(
        {"backend": "[[ modules.core.outputs.url ]]", "port": "[[ modules.core.outputs.port ]]"}, name="portal"
    )
    answer = await Renderer().render([core, portal])
    assert answer.trees["portal"]["modules[portal].values"] == {"backend": "http://华升商贸", "port": 81}


async def test_an_error_concerns_its_module_alone():
    answer = await Renderer().render([module({"a": "[[ nothing ]]"}), module({"a": "[[ 1 ]]"}, name="portal")])
    assert set(answer.errors) == {"core"}
    assert answer.trees["portal"]["modules[portal].values"] == {"a": 1}


async def test_an_output_that_cannot_be_rendered_names_itself():
    answer = await Renderer().render([module(outputs={"url": "[[ nothing ]]"})])
    assert answer.errors["core"].path == "modules[core].outputs.url"


async def test_an_unchanged_request_starts_no_child(monkeypatch):
    renderer = Renderer()
    first = await renderer.render([module({"a": "[[ 1 ]]"})])

    async def refuse(*_):
        pytest.fail("a child was started")

    monkeypatch.setattr(Renderer, "_ask_child", refuse)
    assert await renderer.render([module({"a": "[[ 1 ]]"})]) is first


async def test_a_child_that_was_stopped_does_not_concern_the_next_request():
    renderer = Renderer()
    stopped = await renderer.render([module({"a": "[[ 9**(9**9) ]]"})])
    after = await renderer.render([module({"a": "[[ 1 + 1 ]]"})])
    assert stopped.errors["core"].reason == "RenderLimit"
    assert after.trees["core"]["modules[core].values"] == {"a": 2}


async def test_nothing_that_one_request_names_is_known_to_the_next():
    renderer = Renderer()
    await renderer.render([module({"a": "[[ 1 ]]"}, name="core", outputs={"password": "hunter[[ 2 ]]"})])
    after = await renderer.render([module({"a": "[[ modules.core.outputs.password ]]"}, name="portal")])
    assert after.errors["portal"].reason == "UndefinedName"


async def test_renderings_side_by_side_do_not_wait_for_an_endless_one():
    renderer = Renderer()
    await renderer.render([module({"a": "[[ 0 ]]"})])
    endless = asyncio.create_task(renderer.render([module({"a": "[[ 9**(9**9) ]]"})]))
    found = await asyncio.gather(*(renderer.render([module({"a": f"[[ {n} + 1 ]]"})]) for n in range(1, 9)))
    assert not endless.done()
    assert [answer.trees["core"]["modules[core].values"]["a"] for answer in found] == list(range(2, 10))
    assert (await endless).errors["core"].reason == "RenderLimit"


async def test_a_killed_nursery_is_followed_by_another(renderers):
    renderer = Renderer()
    await renderer.render([module({"a": "[[ 1 ]]"})])
    os.kill(renderer._nursery._process.pid, signal.SIGKILL)
    renderer._nursery._process.wait()
    assert (await renderer.render([module({"a": "[[ 2 ]]"})])).trees["core"]["modules[core].values"] == {"a": 2}


async def test_the_child_sees_nothing_of_the_operators_environment(monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    found = await error("[[ environ.SECRET ]]")
    assert "hunter2" not in found.message
