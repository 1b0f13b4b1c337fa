from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from pilotage.api.structural import NotStructuralError, first_sentence, lint, structural_schema
from pilotage.api.v1alpha1.common import ApiModel, DnsLabel, free_form, list_map

pytestmark = pytest.mark.filterwarnings("error")


class Colour(StrEnum):
    """A colour. Programmers read this too."""

    RED = "Red"
    BLUE = "Blue"


class Part(ApiModel):
    """A part. With more to say to programmers."""

    name: DnsLabel


def field(annotation: Any, default: Any = ...) -> dict[str, Any]:
    """The schema of one field so annotated."""
    model = type("Model", (ApiModel,), {"__annotations__": {"the_field": annotation}, "the_field": default})
    return structural_schema(model)["properties"]["theField"]


def test_names_are_camel_case_and_titles_are_gone():
    class Model(ApiModel):
        first_name: DnsLabel

    schema = structural_schema(Model)
    assert list(schema["properties"]) == ["firstName"]
    assert schema["required"] == ["firstName"]
    assert "title" not in str(schema)


def test_an_optional_field_is_its_type_and_absent_rather_than_null():
    assert field(Annotated[str, Field(max_length=5)] | None, None) == {"type": "string", "maxLength": 5}


def test_an_optional_model_keeps_the_field_s_description():
    schema = field(Part | None, Field(default=None, description="the part that broke"))
    assert schema["description"] == "the part that broke"
    assert schema["required"] == ["name"]


def test_a_field_s_description_beats_the_class_s_of_which_the_first_sentence_counts():
    assert field(Part)["description"] == "A part."
    assert (
        field(Annotated[Part, Field(description="the spare part. In full.")])["description"]
        == "the spare part. In full."
    )


def test_an_enum_is_inlined_with_the_first_sentence_of_its_docstring():
    assert field(Colour) == {"description": "A colour.", "type": "string", "enum": ["Red", "Blue"]}


def test_a_single_literal_becomes_an_enum_of_one():
    assert field(Literal["csv"]) == {"type": "string", "enum": ["csv"]}


def test_exclusive_limits_become_flags():
    assert field(Annotated[int, Field(gt=0, lt=9)]) == {
        "type": "integer",
        "minimum": 0,
        "exclusiveMinimum": True,
        "maximum": 9,
        "exclusiveMaximum": True,
    }


@pytest.mark.parametrize(
    ("default", "told"),
    [("10m", "default 10m"), (3, "default 3"), (True, "default true"), (Colour.RED, "A colour; default Red")],
)
def test_a_scalar_default_is_told_and_not_frozen(default, told):
    schema = field(type(default) if not isinstance(default, str) or isinstance(default, Colour) else DnsLabel, default)
    assert schema["description"] == told
    assert "default" not in schema


@pytest.mark.parametrize("default", ["", False, 0, None])
def test_an_empty_default_goes_without_saying(default):
    annotation = DnsLabel | None if default is None else type(default)
    assert "description" not in field(annotation, default)


def test_markers_pass_through():
    parts = Annotated[list[Part], Field(max_length=3, json_schema_extra=list_map("name"))]
    schema = field(parts)
    assert (schema["x-kubernetes-list-type"], schema["x-kubernetes-list-map-keys"]) == ("map", ["name"])
    assert field(Annotated[Any, Field(json_schema_extra=free_form())]) == {"x-kubernetes-preserve-unknown-fields": True}


def test_forbidden_extra_fields_are_left_to_strict_validation():
    class Strict(ApiModel):
        model_config = ApiModel.model_config | {"extra": "forbid"}
        name: DnsLabel

    assert "additionalProperties" not in structural_schema(Strict)


def test_a_union_is_refused_with_its_path():
    with pytest.raises(NotStructuralError, match=r"Model\.theField: a union"):
        field(int | DnsLabel)


class Tree(ApiModel):
    """Contains itself."""

    children: Annotated[list[Tree], Field(max_length=2)]


def test_a_recursive_model_is_refused():
    with pytest.raises(NotStructuralError, match="contains itself"):
        structural_schema(Tree)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One.", "One."),
        ("Version 1.33 counts. The rest does not.", "Version 1.33 counts."),
        ("No full stop\n    over two lines", "No full stop over two lines"),
    ],
)
def test_the_first_sentence_of_a_docstring(text, first):
    assert first_sentence(text) == first


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ({"type": "string"}, "$: a string without maxLength"),
        ({"description": "anything"}, "$: type is missing"),
        ({"type": ["string", "null"]}, "$: type is missing"),
        ({"type": "object"}, "$: an object without properties"),
        ({"type": "integer", "const": 1}, "$: const is not structural"),
        ({"type": "integer", "anyOf": []}, "$: anyOf is not structural"),
        (
            {"type": "array", "items": {"type": "integer"}, "x-kubernetes-list-type": "set"},
            "$: a list without maxItems",
        ),
        ({"type": "array", "maxItems": 1}, "$: a list without items"),
        (
            {"type": "array", "maxItems": 1, "items": {"type": "integer"}},
            "$: a list without x-kubernetes-list-type",
        ),
        (
            {
                "type": "array",
                "maxItems": 1,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 1}}},
            },
            "$: list-map key name is not required in its items",
        ),
        (
            {"type": "object", "properties": {"a": {"type": "object", "additionalProperties": {"type": "integer"}}}},
            "$.a: a map without maxProperties",
        ),
        (
            {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": {"type": "integer"}},
            "$: properties and additionalProperties exclude each other",
        ),
    ],
)
def test_the_lint_names_what_the_api_server_would_refuse(schema, complaint):
    assert complaint in list(lint(schema))


def test_the_lint_is_silent_about_a_bounded_structural_schema():
    assert not list(lint(structural_schema(Part)))
