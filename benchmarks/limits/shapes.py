"""Requests that cost an engine more the larger they are: for each kind of limit, one of size `n`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

JSON = dict[str, Any]

_PREFIX = "every value begins with the same words and goes on "


def chat(**fields: Any) -> JSON:
    """A short chat with some more fields."""
    return {"messages": [{"role": "user", "content": "Answer."}], "max_tokens": 24, "temperature": 0, **fields}


def of_schema(schema: Mapping[str, Any]) -> JSON:
    """A chat whose answer is to be an instance of a schema."""
    return chat(response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}})


def _object(properties: JSON, required: list[str] | None = None) -> JSON:
    names = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


def _strings(n: int) -> JSON:
    return {f"p{number}": {"type": "string"} for number in range(n)}


def _nested(n: int) -> JSON:
    schema: JSON = {"type": "string"}
    for _ in range(n):
        schema = _object({"a": schema})
    return schema


def _doubling(n: int) -> JSON:
    """Each definition is one of two that are the same next one: 2^n ways to the end."""
    definitions: JSON = {
        f"d{number}": {"anyOf": [{"$ref": f"#/$defs/d{number + 1}"}, {"$ref": f"#/$defs/d{number + 1}"}]}
        for number in range(n)
    }
    definitions[f"d{n}"] = {"type": "string"}
    return {**_object({"a": {"$ref": "#/$defs/d0"}}), "$defs": definitions}


def _chain(n: int) -> JSON:
    definitions: JSON = {f"d{number}": _object({"a": {"$ref": f"#/$defs/d{number + 1}"}}, []) for number in range(n)}
    definitions[f"d{n}"] = {"type": "string"}
    return {**_object({"a": {"$ref": "#/$defs/d0"}}), "$defs": definitions}


def _ambiguous(n: int) -> JSON:
    """A node that holds itself in `n` ways that begin alike: the ways multiply with each level that is written."""
    ways = [_object({"a": {"$ref": "#/$defs/node"}, f"z{number}": {"type": "null"}}) for number in range(n)]
    return {**_object({"a": {"$ref": "#/$defs/node"}}), "$defs": {"node": {"anyOf": ways}}}


def _tools(n: int) -> JSON:
    functions = [
        {"name": f"tool_{number}", "description": "A tool.", "parameters": _object(_strings(3))} for number in range(n)
    ]
    return chat(tools=[{"type": "function", "function": function} for function in functions])


def _messages(n: int) -> JSON:
    return chat(messages=[{"role": ("user", "assistant")[number % 2], "content": "a"} for number in range(n | 1)])


def _parts(n: int) -> JSON:
    return chat(messages=[{"role": "user", "content": [{"type": "text", "text": "a"}] * n}])


SHAPES: Mapping[str, Callable[[int], JSON]] = {
    "enum values, apart": lambda n: of_schema({"enum": [f"{number * 7919 % n:x}-value" for number in range(n)]}),
    "enum values, alike": lambda n: of_schema({"enum": [f"{_PREFIX}{number}" for number in range(n)]}),
    "required properties": lambda n: of_schema(_object(_strings(n))),
    "optional properties": lambda n: of_schema(_object(_strings(n), [])),
    "required names": lambda n: of_schema(
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": [f"r{number}" for number in range(n)]}
    ),
    "anyOf branches": lambda n: of_schema(
        {"anyOf": [_object({f"p{number}": {"type": "null"}}) for number in range(n)]}
    ),
    "levels": lambda n: of_schema(_nested(n)),
    "definitions in a chain": lambda n: of_schema(_chain(n)),
    "doubling definitions": lambda n: of_schema(_doubling(n)),
    "recursion in ways alike": lambda n: of_schema(_ambiguous(n)),
    "maxItems": lambda n: of_schema({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": n}),
    "minItems": lambda n: of_schema({"type": "array", "items": {"type": "integer"}, "minItems": n}),
    "maxLength": lambda n: of_schema({"type": "string", "minLength": 9, "maxLength": n}),
    "minLength": lambda n: of_schema({"type": "string", "minLength": n}),
    "pattern, repeated": lambda n: of_schema({"type": "string", "pattern": f"^[a-z]{{{n}}}$"}),
    "pattern, optional": lambda n: of_schema({"type": "string", "pattern": f"^(a?){{{n}}}$"}),
    "pattern, branches": lambda n: of_schema(
        {"type": "string", "pattern": "^(" + "|".join(f"abc{number}" for number in range(n)) + ")$"}
    ),
    "grammar, branches": lambda n: chat(grammar="root ::= " + " | ".join(f'"{_PREFIX}{i}"' for i in range(n))),
    "grammar, repeated": lambda n: chat(grammar=f"root ::= [a-z]{{0,{n}}}"),
    "grammar, nested": lambda n: chat(grammar="root ::= " + "(" * n + "[a-z]" + "?){3}" * n),
    "grammar, ambiguous": lambda n: chat(grammar='root ::= "x" root "y" | "x" root "z" | ""', max_tokens=n),
    "stop strings": lambda n: chat(stop=[f"never{number}" for number in range(n)]),
    "characters of a stop string": lambda n: chat(stop=["n" * n]),
    "logit_bias": lambda n: chat(logit_bias={str(number): 1 for number in range(n)}),
    "samplers": lambda n: chat(samplers=["top_k"] * n),
    "dry_sequence_breakers": lambda n: chat(
        dry_multiplier=0.5, dry_sequence_breakers=[f"b{number}" for number in range(n)]
    ),
    "n_probs": lambda n: chat(n_probs=n),
    "n": lambda n: chat(n=n),
    "tools": _tools,
    "messages": _messages,
    "content parts": _parts,
    "prompt characters, one word": lambda n: chat(messages=[{"role": "user", "content": "a" * n}]),
    "prompt characters, words": lambda n: chat(messages=[{"role": "user", "content": "word " * (n // 5)}]),
}
