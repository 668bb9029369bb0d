"""Smallest instances, held against a real JSON schema validator."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engineroom.errors import APIError
from engineroom_echo.instance import minimal_instance
from engineroom_echo.mentions import Mentions

bounds = st.integers(-20, 20)
numbers = st.fixed_dictionaries(
    {"type": st.sampled_from(["integer", "number"])},
    optional={
        "minimum": bounds,
        "maximum": bounds,
        "exclusiveMinimum": bounds,
        "exclusiveMaximum": bounds,
        "multipleOf": st.sampled_from([1, 2, 3, 0.5]),
    },
)
strings = st.fixed_dictionaries(
    {"type": st.just("string")},
    optional={
        "minLength": st.integers(0, 5),
        "maxLength": st.integers(0, 50),
        "format": st.sampled_from(["date-time", "date", "time", "email", "uuid", "ipv4", "ipv6", "uri", "hostname"]),
    },
)
leaves = st.one_of(
    numbers,
    strings,
    st.just({"type": "boolean"}),
    st.just({"type": ["string", "null"]}),
    st.just({"type": "null"}),
    st.builds(lambda value: {"const": value}, st.one_of(st.none(), st.text(), st.integers())),
    st.builds(lambda values: {"enum": values}, st.lists(st.text(), min_size=1, unique=True)),
)


def nested(schemas: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(st.sampled_from("abc"), schemas)
    return st.one_of(
        st.builds(
            lambda properties, required: {"type": "object", "properties": properties, "required": required},
            properties,
            st.lists(st.sampled_from("abc"), unique=True),
        ),
        st.builds(lambda items, size: {"type": "array", "items": items, "minItems": size}, schemas, st.integers(0, 3)),
        st.builds(lambda options: {"anyOf": options}, st.lists(schemas, min_size=1, max_size=3)),
    )


@settings(max_examples=300)
@given(st.recursive(leaves, nested, max_leaves=8))
def test_an_instance_or_a_clear_refusal(schema: dict[str, Any]) -> None:
    try:
        instance = minimal_instance(schema)
    except APIError:
        return
    jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(instance)


@pytest.mark.parametrize(
    ("schema", "instance"),
    [
        ({}, {}),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, {}),
        ({"$ref": "#/$defs/node", "$defs": {"node": {"type": "integer", "minimum": 4}}}, 4),
        (
            {
                "$defs": {
                    "node": {
                        "type": "object",
                        "properties": {"next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}},
                        "required": ["next"],
                    }
                },
                "$ref": "#/$defs/node",
            },
            {"next": None},
        ),
        ({"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"required": ["a"]}]}, {"a": 1}),
        ({"type": "array", "prefixItems": [{"const": 1}], "items": {"const": 2}, "minItems": 3}, [1, 2, 2]),
        ({"type": "string", "pattern": "^x+$", "minLength": 2}, "xx"),
        ({"type": "string", "pattern": "^[A-Z]{3}$", "default": "ABC"}, "ABC"),
        ({"oneOf": [{"type": "string", "pattern": "^[A-Z]$"}, {"type": "integer"}]}, 0),
    ],
)
def test_an_instance(schema: dict[str, Any], instance: Any) -> None:
    assert minimal_instance(schema) == instance
    jsonschema_rs.Draft202012Validator(schema).validate(json.loads(json.dumps(instance)))


@pytest.mark.parametrize(
    "schema",
    [
        {"not": {"type": "string"}},
        {"type": "string", "pattern": "^[A-Z]{3}$"},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"$ref": "#/$defs/missing"},
        {"$ref": "https://example.com/schema"},
        {
            "$defs": {"a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"]}},
            "$ref": "#/$defs/a",
        },
        {"$ref": "#"},
        {"type": "string", "minLength": 10**12},
        {"type": "array", "minItems": 10**6},
        {"type": "array", "items": {"type": "array", "minItems": 5000}, "minItems": 5000},
        {"type": "colour"},
        {"type": "object", "properties": 3, "required": ["a"]},
        {"type": "string", "pattern": "("},
        {"properties": {"a": False}, "required": ["a"]},
    ],
)
def test_a_schema_that_is_too_much(schema: dict[str, Any]) -> None:
    with pytest.raises(APIError) as caught:
        minimal_instance(schema)
    assert (caught.value.status, caught.value.code) == (400, "unsupported_schema")


CHAIN = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
BRANCHES = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
BACKTRACKED = ["a" * 5_000 + "!"]


@pytest.mark.parametrize(
    "schema",
    [
        # Python's own regular expressions would be at each for hours.
        {"type": "string", "pattern": "^(a+)+$", "examples": BACKTRACKED},
        {"type": "string", "pattern": "^(a|a)*$", "examples": BACKTRACKED, "minLength": 9},
        {"type": "string", "pattern": "^" + "a*" * 30 + "$", "examples": BACKTRACKED, "minLength": 9},
        {"type": "string", "pattern": "^(?=(a+)+$)", "examples": BACKTRACKED},
        {"type": "string", "pattern": "(((((a{99}){99}){99}){99}){99})"},
        {"$ref": "#/$defs/d0", "$defs": {**CHAIN, "d40": {"type": "integer"}}},
        {"$ref": "#/$defs/d0", "$defs": {**BRANCHES, "d40": {"type": "integer", "minimum": 3, "maximum": 2}}},
    ],
)
def test_a_schema_that_would_take_for_ever_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(APIError) as caught:
        minimal_instance(schema, Mentions("“" * 100_000))
    assert caught.value.code == "unsupported_schema"
