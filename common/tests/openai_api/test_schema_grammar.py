"""A JSON schema as a grammar: what is written, and what is refused. engines/openvino/tests tries it on real answers."""

from __future__ import annotations

from typing import Any

import pytest

from engineroom.errors import APIError
from engineroom.openai.serving.schema_grammar import schema_grammar


def rules(schema: dict[str, Any]) -> dict[str, str]:
    return dict(line.split(" ::= ", 1) for line in schema_grammar(schema).splitlines())


def test_a_literal_ends_behind_a_letter_beyond_ascii() -> None:
    """The reader of such grammars takes the letter together with a hexadecimal digit behind it."""
    assert rules({"const": "Größe"})["root"] == r'"\"Größ" "e\""'
    assert rules({"const": "éa"})["root"] == r'"\"é" "a\""'


def test_an_empty_schema_is_any_object() -> None:
    assert rules({})["root"] == "object"


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {
            "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}, {"type": "null"}]}, "b": {"$ref": "#/$defs/a"}},
            "$ref": "#/$defs/b",
        },
        {"type": "object", "patternProperties": {"a": {}}},
        {"type": "array", "prefixItems": [{}], "minItems": 2},
        {"allOf": [{}, {}]},
        {"enum": [1], "minimum": 3},
        {"properties": 3},
        {"type": "string", "minLength": "x"},
        {"type": 3},
        {"items": {"items": {"items": 3}}},
        {"required": [3]},
        {"type": "integer", "minimum": "a", "maximum": 3},
        {"enum": "abc"},
        {"$ref": 3},
    ],
    ids=str,
)
def test_what_cannot_be_kept_is_a_clients_error(schema: dict[str, Any]) -> None:
    with pytest.raises(APIError) as refused:
        schema_grammar(schema)
    assert (refused.value.status, refused.value.code) == (400, "unsupported_schema")


def test_a_deep_schema_that_refers_to_itself_is_written_once() -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}
    assert len(schema_grammar(tree)) < 2000
