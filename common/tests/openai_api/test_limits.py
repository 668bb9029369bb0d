"""Limits of one request: what is at one passes, what is beyond it is refused with field, value, limit and setting."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engineroom.errors import APIError
from engineroom.openai.capability_check import check_prompt
from engineroom.openai.limits import NO_LIMITS, RequestLimits, check_fields, check_text
from engineroom.openai.pattern_size import measure_pattern
from engineroom.openai.schema_size import count_ways, measure_schema
from engineroom.settings import WorkerSettings

CHAT, COMPLETIONS, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"
INFILL = "/infill"


def enum(n: int) -> dict[str, Any]:
    return {"enum": [f"value {number}" for number in range(n)]}


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def nested(n: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(n - 1):
        schema = {"type": "array", "items": schema}
    return schema


def strict(schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}


def tool(schema: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": schema}}


def user(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


def called(arguments: str) -> dict[str, Any]:
    function = {"name": "", "arguments": arguments}
    return {"role": "assistant", "tool_calls": [{"id": "", "type": "function", "function": function}]}


def check(path: str, body: dict[str, Any], limits: RequestLimits) -> None:
    check_prompt(body, limits)
    check_text(body, limits)
    check_fields(path, body, limits)


KINDS = [
    ("max_messages", CHAT, lambda n: {"messages": user("a") * n}, "messages"),
    ("max_messages", CHAT, lambda n: {"messages": user([{"type": "text", "text": "a"}] * (n - 1))}, "messages"),
    ("max_messages", CHAT, lambda n: {"messages": [{"role": "assistant", "tool_calls": [{}] * (n - 1)}]}, "messages"),
    ("max_messages", RESPONSES, lambda n: {"input": user("a") * n}, "input"),
    ("max_messages", "/v1/embeddings", lambda n: {"input": ["a"] * n}, "input"),
    ("max_messages", "/v1/embeddings", lambda n: {"input": [[1, 2]] * n}, "input"),
    ("max_messages", "/v1/rerank", lambda n: {"query": "", "documents": ["a"] * n}, "documents"),
    ("max_prompt_characters", CHAT, lambda n: {"messages": user("a" * n)}, "messages"),
    ("max_prompt_characters", CHAT, lambda n: {"messages": user([{"type": "text", "text": "a" * n}])}, "messages"),
    ("max_prompt_characters", COMPLETIONS, lambda n: {"prompt": "a" * n}, "prompt"),
    ("max_prompt_characters", COMPLETIONS, lambda n: {"prompt": ["a"] * n}, "prompt"),
    ("max_prompt_characters", "/v1/embeddings", lambda n: {"input": ["a"] * n}, "input"),
    ("max_prompt_characters", MESSAGES, lambda n: {"messages": user("a"), "system": "a" * (n - 1)}, "system"),
    ("max_prompt_characters", RESPONSES, lambda n: {"instructions": "a" * n}, "instructions"),
    ("max_prompt_characters", "/v1/rerank", lambda n: {"query": "", "documents": ["a" * n]}, "documents"),
    ("max_prompt_characters", "/tokenize", lambda n: {"content": "a" * n}, "content"),
    # What is read beside messages: it has to be counted only where there is much of it.
    ("max_prompt_characters", CHAT, lambda n: {"messages": [called("a" * n)]}, "messages"),
    ("max_prompt_characters", CHAT, lambda n: {"messages": [called("a")] * n}, "messages"),
    ("max_prompt_characters", CHAT, lambda n: {"messages": [{"role": "user", "name": "a" * n}]}, "messages"),
    ("max_prompt_characters", CHAT, lambda n: {"tools": [{"function": {"description": "a" * n}}]}, "tools"),
    ("max_prompt_characters", CHAT, lambda n: {"functions": [{"parameters": {"title": "a" * n}}]}, "functions"),
    (
        "max_prompt_characters",
        CHAT,
        lambda n: {"chat_template_kwargs": {"documents": [{"text": "a" * n}]}},
        "chat_template_kwargs",
    ),
    (
        "max_prompt_characters",
        MESSAGES,
        lambda n: {"messages": user([{"type": "tool_result", "content": [{"type": "text", "text": "a" * n}]}])},
        "messages",
    ),
    (
        "max_prompt_characters",
        RESPONSES,
        lambda n: {"input": [{"type": "function_call", "arguments": "a" * n}]},
        "input",
    ),
    ("max_choices", CHAT, lambda n: {"n": n}, "n"),
    ("max_choices", COMPLETIONS, lambda n: {"n": 1, "best_of": n}, "best_of"),
    ("max_choices", COMPLETIONS, lambda n: {"prompt": ["a"] * n}, "prompt"),
    ("max_top_logprobs", CHAT, lambda n: {"logprobs": True, "top_logprobs": n}, "top_logprobs"),
    ("max_top_logprobs", COMPLETIONS, lambda n: {"logprobs": n}, "logprobs"),
    ("max_top_logprobs", INFILL, lambda n: {"n_probs": n}, "n_probs"),
    ("max_stop_strings", CHAT, lambda n: {"stop": ["a"] * n}, "stop"),
    ("max_stop_strings", MESSAGES, lambda n: {"stop_sequences": ["a"] * n}, "stop_sequences"),
    ("max_stop_strings", INFILL, lambda n: {"dry_sequence_breakers": ["a"] * n}, "dry_sequence_breakers"),
    ("max_stop_length", CHAT, lambda n: {"stop": "a" * n}, "stop"),
    ("max_stop_length", CHAT, lambda n: {"stop": ["a", "a" * n]}, "stop.1"),
    ("max_list_entries", CHAT, lambda n: {"logit_bias": {str(number): 1 for number in range(n)}}, "logit_bias"),
    ("max_list_entries", COMPLETIONS, lambda n: {"stop_token_ids": [1] * n}, "stop_token_ids"),
    (
        "max_list_entries",
        CHAT,
        lambda n: {"chat_template_kwargs": {"documents": [{}] * (n - 1)}},
        "chat_template_kwargs",
    ),
    ("max_list_entries", COMPLETIONS, lambda n: {"samplers": ["top_k"] * n}, "samplers"),
    ("max_list_entries", COMPLETIONS, lambda n: {"samplers": "k" * n}, "samplers"),
    ("max_tools", CHAT, lambda n: {"tools": [tool({})] * n}, "tools"),
    ("max_tools", CHAT, lambda n: {"functions": [{"name": "f"}] * n}, "functions"),
    ("max_schema_depth", CHAT, lambda n: strict(nested(n)), "response_format.json_schema.schema"),
    ("max_schema_depth", RESPONSES, lambda n: {"text": {"format": {"schema": nested(n)}}}, "text.format.schema"),
    ("max_schema_entries", CHAT, lambda n: strict(enum(n)), "response_format.json_schema.schema"),
    (
        "max_schema_entries",
        CHAT,
        lambda n: {"tools": [tool(enum(n - 1)), tool(enum(1))]},
        "tools.1.function.parameters",
    ),
    (
        "max_schema_entries",
        CHAT,
        lambda n: strict({"required": ["a"] * n, "properties": {}}),
        "response_format.json_schema.schema",
    ),
    ("max_schema_entries", MESSAGES, lambda n: {"tools": [{"input_schema": enum(n)}]}, "tools.0.input_schema"),
    ("max_schema_entries", COMPLETIONS, lambda n: {"guided_json": json.dumps(enum(n))}, "guided_json"),
    ("max_schema_repetitions", INFILL, lambda n: {"json_schema": {"maxItems": n}}, "json_schema"),
    (
        "max_schema_repetitions",
        CHAT,
        lambda n: {"structured_outputs": {"json": {"maxLength": n}}},
        "structured_outputs.json",
    ),
    (
        "max_schema_name_length",
        CHAT,
        lambda n: strict({"items": obj(**{"-" * n: {}})} if n > 9 else {}),
        "response_format.json_schema.schema",
    ),
    ("max_schema_name_length", CHAT, lambda n: {"guided_json": {"$ref": "#" * n}}, "guided_json"),
    (
        "max_schema_name_length",
        CHAT,
        lambda n: {"tools": [{"type": "function", "function": {"name": "a" * n}}]},
        "tools.0.function.name",
    ),
    ("max_schema_name_length", MESSAGES, lambda n: {"tools": [{"name": "a" * n}]}, "tools.0.name"),
    ("max_schema_name_length", CHAT, lambda n: {"functions": [{"name": "a" * n}]}, "functions.0.name"),
    ("max_ways", CHAT, lambda n: strict(enum(n)), "response_format.json_schema.schema"),
    ("max_ways", RESPONSES, lambda n: {"text": {"format": {"schema": enum(n)}}}, "text.format.schema"),
    ("max_ways", MESSAGES, lambda n: {"output_config": {"format": {"schema": enum(n)}}}, "output_config.format.schema"),
    ("max_ways", CHAT, lambda n: {"tools": [tool({"anyOf": [obj(a={}), enum(n - 1)]})]}, "tools.0.function.parameters"),
    ("max_ways", CHAT, lambda n: {"tools": [tool(enum(4)), tool(enum(n - 4))]}, "tools.1.function.parameters"),
    (
        "max_ways",
        MESSAGES,
        lambda n: {"tools": [{"name": "f", "input_schema": enum(size)} for size in (4, n - 4)]},
        "tools.1.input_schema",
    ),
    ("max_ways", CHAT, lambda n: {"guided_choice": ["a"] * n}, "guided_choice"),
    (
        "max_ways",
        CHAT,
        lambda n: {"structured_outputs": {"regex": "|".join("ab" for _ in range(n))}},
        "structured_outputs.regex",
    ),
    ("max_pattern_length", CHAT, lambda n: {"guided_regex": f"[a-z]{{{n}}}"}, "guided_regex"),
    ("max_pattern_length", CHAT, lambda n: strict({"pattern": f"[a-z]{{{n}}}"}), "response_format.json_schema.schema"),
]


@pytest.mark.parametrize(("name", "path", "body", "param"), KINDS)
def test_a_request_beyond_a_limit_is_refused_by_field_value_and_setting(
    name: str, path: str, body: Any, param: str
) -> None:
    limits = NO_LIMITS._replace(**{name: 9})
    check(path, body(9), limits)
    check(path, body(10), NO_LIMITS)
    with pytest.raises(APIError) as caught:
        check(path, body(10), limits)
    error = caught.value
    assert (error.status, error.param, error.code) == (400, param, "request_limit_exceeded")
    assert f"'{param}'" in str(error)
    assert "at most 9 " in str(error)
    assert "10" in str(error)
    assert name.upper() in str(error)


@pytest.mark.parametrize(
    ("name", "body", "param"),
    [
        ("max_schema_kb", strict({"description": "a" * 1_900}), "response_format.json_schema.schema"),
        ("max_schema_kb", {"tools": [tool({"description": "a" * 600})] * 2}, "tools.1.function.parameters"),
        ("max_grammar_kb", {"grammar": "a" * 1_001}, "grammar"),
        ("max_grammar_kb", {"structured_outputs": {"grammar": "a" * 1_001}}, "structured_outputs.grammar"),
    ],
)
def test_sizes_are_in_kb(name: str, body: dict[str, Any], param: str) -> None:
    with pytest.raises(APIError) as caught:
        check(CHAT, body, NO_LIMITS._replace(**{name: 1}))
    assert caught.value.param == param
    assert name.upper() in str(caught.value)
    check(CHAT, body, NO_LIMITS._replace(**{name: 2}))


def test_each_choice_follows_a_schema_by_itself() -> None:
    limits = NO_LIMITS._replace(max_ways=9)
    for more in ({}, {"n": 3}):
        check(CHAT, {**strict(enum(3)), **more}, limits)
    for body in ({**strict(enum(3)), "n": 4}, {"guided_choice": ["a", "b"], "n": 5}, {"guided_regex": "ab|c", "n": 5}):
        with pytest.raises(APIError, match="MAX_WAYS"):
            check(CHAT, body, limits)
    with pytest.raises(APIError, match="MAX_WAYS"):
        check(COMPLETIONS, {"prompt": ["a", "b"], "n": 2, "json_schema": enum(3)}, limits)


def test_an_image_in_a_message_is_no_text() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000}}
    check(CHAT, {"messages": user([part])}, NO_LIMITS._replace(max_prompt_characters=10))


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": {"name": "go", "description": "data:" + "a" * 20}}]},
        {"chat_template_kwargs": {"hint": "data:" + "a" * 20}},
        {"chat_template_kwargs": {"hints": ["data:" + "a" * 20]}},
    ],
)
def test_a_text_that_begins_as_an_image_s_address_is_a_text(fields: dict[str, Any]) -> None:
    with pytest.raises(APIError, match="MAX_PROMPT_CHARACTERS"):
        check(CHAT, {"messages": user("x"), **fields}, NO_LIMITS._replace(max_prompt_characters=20))


def test_every_limit_is_a_setting_with_a_default() -> None:
    limits = RequestLimits.of(WorkerSettings())
    assert all(limits)
    for name in limits._fields:
        assert RequestLimits.of(WorkerSettings(**{name: 7}))._asdict()[name] == 7


NODE = {"$ref": "#/$defs/node"}


def recursive(*branches: Any) -> dict[str, Any]:
    return {"$defs": {"node": {"anyOf": list(branches)}}, **NODE}


@pytest.mark.parametrize(
    ("schema", "ways"),
    [
        ({}, 1),
        ({"type": "string", "minLength": 3}, 2),
        (obj(a={"type": "string"}, b={"type": "integer"}), 1),
        ({"properties": {"a": {}, "b": {}}}, 3),
        (obj(a=enum(5), b=enum(7)), 7),
        ({"anyOf": [enum(5), {"oneOf": [enum(2), {"type": "null"}]}]}, 8),
        ({"type": "array", "items": enum(4), "maxItems": 1_000}, 5),
        ({"anyOf": [{"type": "array", "items": {"type": "array"}}] * 5}, 15),
        ({"anyOf": [{"type": "array", "items": {"type": "string", "maxLength": 9}}] * 5}, 15),
        ({"anyOf": [{"type": "integer", "minimum": 0, "maximum": 99_999}] * 5}, 25),
        ({"type": ["string", "null"]}, 3),
        ({"type": ["object", "object"], "properties": {"a": enum(4)}, "required": ["a"]}, 10),
        # Nodes that hold themselves.
        ({"$defs": {"node": obj(value={}, next={"anyOf": [NODE, {"type": "null"}]})}, **NODE}, 2),
        (recursive({"type": "object", "additionalProperties": NODE}, {"type": "array", "items": NODE}), 3),
        (recursive(obj(kind={"const": "sum"}, left=NODE), obj(kind={"const": "product"}, left=NODE)), 2),
        (recursive(obj(left=NODE, kind={"const": "sum"}), obj(left=NODE, kind={"const": "product"})), float("inf")),
        (recursive(obj(a=NODE), obj(a=NODE, b={})), float("inf")),
        ({"anyOf": [obj(a={"$ref": "#"}), obj(a={"$ref": "#"}, b={})]}, float("inf")),
        # References that lead nowhere, or only to themselves.
        ({"$ref": "#/nowhere"}, 1),
        ({"$ref": "elsewhere.json"}, 1),
        ({"$ref": "#"}, 1),
    ],
)
def test_ways_of_a_schema(schema: dict[str, Any], ways: float) -> None:
    assert count_ways(schema).ways == ways


def test_ways_that_double_with_each_definition_are_counted_at_once() -> None:
    links = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    schema = {"$defs": {**links, "d40": {"type": "null"}}, "$ref": "#/$defs/d0"}
    assert count_ways(schema).ways == 2**40
    back = {"$defs": {**links, "d40": obj(a={"$ref": "#/$defs/d0"})}, "$ref": "#/$defs/d0"}
    assert count_ways(back).ways == float("inf")


def test_a_chain_of_definitions_is_as_deep_as_it_is_long() -> None:
    links = {f"d{n}": {"items": {"$ref": f"#/$defs/d{n + 1}"}} for n in range(2_000)}
    for limits in (NO_LIMITS._replace(max_schema_depth=64, max_ways=9), NO_LIMITS._replace(max_ways=9)):
        with pytest.raises(APIError, match="MAX_SCHEMA_DEPTH"):
            check(CHAT, strict({"$defs": links, "$ref": "#/$defs/d0"}), limits)


@pytest.mark.parametrize(
    ("pattern", "characters", "ways"),
    [
        ("^[a-z]{2,30}$", 32, 2),
        (r"^\d{3}-\d{4}$", 13, 1),
        (r"^(\d{1,3}\.){3}\d{1,3}$", 23, 8),
        ("(?:yes|no|maybe)", 16, 3),
        ("(a?){10}", 10, 250),
        ("(a?){ +10, x10}", 15, 250),
        ("[" + "0123456789abcdef" * 4 + "]+", 67, 5),
        ("((((a?){9}){9}){9}){9}", 9**4, 10**9),
        # Parts that may be left out, each of which may be followed by each.
        ("([a-z]{0,20}){0,20}", 400, 2_000),
        ("([a-z]{0,5}){0,12}", 60, 432),
        ("[a-z]{0,20}" * 12, 240, 432),
        ("([a-z]* ?){6}", 13, 432),
        ("((a?b?)|c?){4}", 14, 432),
        # They follow each other one after another where something between them has to be there.
        ("([a-z]{0,20}-){0,20}", 420, 100),
        ("([a-z]{1,20} ?){0,20}", 420, 100),
        (r"^https?://[a-z0-9.-]{1,253}(:[0-9]{1,5})?(/[^ ]{0,1000})?$", 1270, 7),
        (r"^P(\d+Y)?(\d+M)?(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?$", 49, 16),
        ("(x+x+)+y", 9, 3),
        ("a{99999999999999999999}", 10**9, 1),
        ("(([{\\", 5, 1),
    ],
)
def test_size_of_a_pattern(pattern: str, characters: int, ways: int) -> None:
    assert measure_pattern(pattern) == (characters, ways)


@given(st.text("ab(|)[]{}*+?,19\\^$.-", max_size=60))
def test_any_pattern_is_measured(pattern: str) -> None:
    size = measure_pattern(pattern)
    assert size.characters >= len(pattern)
    assert size.ways >= 1


KEYWORDS = [
    *("anyOf", "oneOf", "allOf", "$ref", "properties", "required", "enum", "items", "type", "pattern", "$defs"),
    *("minItems", "maxLength", "json_schema", "schema", "function", "parameters", "content", "text", "*"),
]
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(KEYWORDS),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=30,
)
FIELDS = [
    *(
        "messages",
        "input",
        "prompt",
        "tools",
        "functions",
        "response_format",
        "structured_outputs",
        "text",
        "stop",
        "n",
    ),
    *("guided_json", "guided_regex", "guided_choice", "grammar", "logit_bias", "logprobs", "output_config", "best_of"),
]


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(FIELDS), values))
def test_whatever_a_request_has_is_refused_or_passes(body: dict[str, Any]) -> None:
    refusal = None
    try:
        check(CHAT, body, RequestLimits(*([5] * len(RequestLimits._fields))))
    except APIError as error:
        refusal = error
    assert refusal is None or refusal.status == 400
    assert refusal is None or str(refusal.param).partition(".")[0] in body


@given(values)
def test_whatever_a_schema_is_it_can_be_measured(schema: Any) -> None:
    measure_schema(schema, 10**9)
    assert count_ways(schema).ways >= 0
