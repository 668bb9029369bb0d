"""Requests that cost an engine more the larger they are: for each kind of limit, one of size `n`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

JSON = dict[str, Any]

_PREFIX = "every value begins with the same words and goes on "
LLAMACPP = frozenset({"llamacpp"})
VLLM = frozenset({"vllm"})
ALL = frozenset({"llamacpp", "vllm", "transformers"})
"""Engines that have what a kind of request asks for, with the small model of the tests."""


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


def _ambiguous() -> JSON:
    """A node that holds itself in two ways that begin alike: the ways double with each level that is written."""
    ways = [_object({"a": {"$ref": "#/$defs/node"}, **extra}) for extra in ({}, {"z": {"type": "null"}})]
    return {**_object({"a": {"$ref": "#/$defs/node"}}), "$defs": {"node": {"anyOf": ways}}}


def _tools(n: int, properties: int) -> JSON:
    functions = [{"name": f"tool_{k}", "parameters": _object(_strings(properties))} for k in range(n)]
    return chat(tools=[{"type": "function", "function": each} for each in functions], tool_choice="required")


def _alike(n: int) -> list[str]:
    return [f"{_PREFIX}{k}" for k in range(n)]


def _apart(n: int) -> list[str]:
    return [f"{k * 7919 % n:x}-value" for k in range(n)]


def _null(k: int) -> JSON:
    return {f"p{k}": {"type": "null"}}


def _array(**bounds: int) -> JSON:
    return {"type": "array", "items": {"type": "integer"}, **bounds}


def _text(**bounds: int) -> JSON:
    return {"type": "string", **bounds}


def _branches(n: int) -> str:
    return "root ::= " + " | ".join(f'"{text}"' for text in _alike(n))


def _literals(n: int) -> str:
    return "root ::= " + '"word " ' * (n // 8)


class Shape(NamedTuple):
    """Requests of one kind.

    setting: the limit that they are held to.
    make: one of size `n`, as that limit counts.
    engines: those that have what it asks for.
    unit: what `n` is of one unit of the limit.
    """

    name: str
    setting: str
    make: Callable[[int], JSON]
    engines: frozenset[str] = ALL
    unit: int = 1


def _pattern(pattern: str) -> JSON:
    return of_schema({"type": "string", "pattern": pattern})


SHAPES = (
    Shape("an `enum` of values that begin alike", "max_ways", lambda n: of_schema({"enum": _alike(n)})),
    Shape("an `enum` of values that begin apart", "max_ways", lambda n: of_schema({"enum": _apart(n)})),
    Shape("`anyOf` of objects", "max_ways", lambda n: of_schema({"anyOf": [_object(_null(k)) for k in range(n)]})),
    Shape("optional properties of an object", "max_ways", lambda n: of_schema(_object(_strings(n - 1), []))),
    Shape("a pattern of branches", "max_ways", lambda n: _pattern(f"^({'|'.join(f'abc{k}' for k in range(n))})$")),
    Shape(
        "a pattern of optional parts", "max_ways", lambda n: _pattern(f"^([a-z]?){{{int((4 * n + 1) ** (1 / 3))}}}$")
    ),
    Shape("definitions, each of two that are the next", "max_ways", lambda n: of_schema(_doubling(n.bit_length() - 1))),
    Shape("a node that holds itself in two ways", "max_ways", lambda n: of_schema(_ambiguous())),
    Shape("a grammar of branches", "max_ways", lambda n: chat(grammar=_branches(n)), LLAMACPP),
    Shape("required properties", "max_schema_entries", lambda n: of_schema(_object(_strings(n // 2)))),
    Shape("required names", "max_schema_entries", lambda n: of_schema(_object({"a": {}}, [f"r{k}" for k in range(n)]))),
    Shape(
        "properties of 128 tools, of which one has to be called", "max_schema_entries", lambda n: _tools(128, n // 256)
    ),
    Shape("tools that have to be called", "max_tools", lambda n: _tools(n, 3)),
    Shape("a long description", "max_schema_kb", lambda n: of_schema({"description": "a" * n, "enum": [1]}), unit=980),
    Shape("levels", "max_schema_depth", lambda n: of_schema(_nested(n // 2))),
    Shape("definitions, each in the one before", "max_schema_depth", lambda n: of_schema(_chain(n // 2))),
    Shape("`maxItems`", "max_schema_repetitions", lambda n: of_schema(_array(minItems=1, maxItems=n))),
    Shape("`minItems`", "max_schema_repetitions", lambda n: of_schema(_array(minItems=n))),
    Shape("`maxLength`", "max_schema_repetitions", lambda n: of_schema(_text(minLength=9, maxLength=n))),
    Shape("`minLength`", "max_schema_repetitions", lambda n: of_schema(_text(minLength=n))),
    Shape("a pattern that repeats a class", "max_pattern_length", lambda n: _pattern(f"^[a-z]{{{n - 2}}}$")),
    Shape("a grammar of literals", "max_grammar_kb", lambda n: chat(grammar=_literals(n)), LLAMACPP, 990),
    Shape("stop strings", "max_stop_strings", lambda n: chat(stop=[f"never{k}" for k in range(n)]), VLLM),
    Shape("characters of a stop string", "max_stop_length", lambda n: chat(stop=["n" * n])),
    Shape("`logit_bias`", "max_list_entries", lambda n: chat(logit_bias={str(k): 1 for k in range(n)})),
    Shape("`samplers`", "max_list_entries", lambda n: chat(samplers=["top_k"] * n), LLAMACPP),
    Shape("`n_probs`", "max_top_logprobs", lambda n: chat(n_probs=n), LLAMACPP),
    Shape("`n`", "max_choices", lambda n: chat(n=n)),
)


def all_at_once(limits: Mapping[str, int], engine: str) -> JSON:
    """A chat that is near every limit of the engine's at once, and within each."""
    ways, entries = limits["max_ways"], limits["max_schema_entries"]
    field = {"enum": _alike(ways)}
    # Nine tenths of the size: names and braces count, too.
    by_size = int(900 * limits["max_schema_kb"] / len(json.dumps(field)))
    fields = {f"p{k}": field for k in range(max(1, min(by_size, entries // (ways + 2))))}
    request = of_schema(_object(fields))
    request |= {"logit_bias": {str(k): 1 for k in range(limits["max_list_entries"])}, "logprobs": True}
    request |= {"top_logprobs": min(20, limits["max_top_logprobs"]), "stop": ["n" * limits["max_stop_length"]] * 4}
    if engine == "llamacpp":
        request |= {"dry_multiplier": 0.5, "dry_sequence_breakers": [f"b{k}" for k in range(8)]}
        request |= {"samplers": ["top_k"] * limits["max_list_entries"], "n_probs": limits["max_top_logprobs"]}
    return request
