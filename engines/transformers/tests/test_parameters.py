"""Each parameter of a request, by what it does to real answers."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import jsonschema_rs
import pytest

from engineroom.testing import Target
from engineroom_transformers import TransformersEngine

pytestmark = [pytest.mark.real_transformers, pytest.mark.timeout(180)]

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
SUM = [{"role": "user", "content": "What is 2+2?"}]
STORY = [{"role": "user", "content": "Write a line about the sea."}]
COUNT = "1 2 3 4 5 6 7"


async def choices(target: Target, messages: Any = STORY, **fields: Any) -> list[Any]:
    """The choices of a chat, 12 tokens each."""
    status, body = await target.post(CHAT, {"messages": messages, "max_tokens": 12, **fields})
    assert status == 200, body
    found: list[Any] = body["choices"]
    return found


async def said(target: Target, messages: Any = STORY, **fields: Any) -> str:
    return str((await choices(target, messages, **fields))[0]["message"]["content"])


async def completed(target: Target, prompt: Any = COUNT, **fields: Any) -> Any:
    status, body = await target.post(COMPLETIONS, {"prompt": prompt, "max_tokens": 8, **fields})
    assert status == 200, body
    return body


def token(engine: TransformersEngine, text: str) -> int:
    """The id of a text that is one token."""
    (found,) = engine.tokenize(text)
    return found


async def test_temperature_0_is_greedy_and_repeatable(target: Target) -> None:
    assert len({await said(target) for _ in range(3)}) == 1
    assert (await completed(target))["choices"][0]["text"].startswith(" 8 9")


async def test_a_seed_repeats_a_text_and_another_gives_another(target: Target) -> None:
    hot = {"temperature": 1.5}
    texts = [await said(target, seed=seed, **hot) for seed in (1, 1, 2, 3)]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3
    assert len({await said(target, **hot) for _ in range(3)}) == 3, "without a seed each text is another"


async def test_seeds_that_are_neighbours_give_texts_of_their_own(target: Target) -> None:
    texts = [await said(target, seed=seed, temperature=1.5) for seed in (-2, -1, 0, 1)]
    assert len(set(texts)) == 4


@pytest.mark.parametrize("number", [10**9, 2**63 - 1, 2**64, 10**30], ids=str)
async def test_a_top_k_beyond_all_measure_limits_nothing(target: Target, number: int) -> None:
    """It ended the batch's thread, and with it the engine."""
    hot = {"temperature": 1.5, "seed": 3}
    assert await said(target, top_k=number, **hot) == await said(target, **hot)


async def test_a_seed_repeats_its_text_in_a_full_batch(target: Target) -> None:
    alone = await said(target, seed=7, temperature=0.8)
    others = (said(target, seed=100 + number, temperature=0.8) for number in range(7))
    together, *_ = await asyncio.gather(said(target, seed=7, temperature=0.8), *others)
    assert together == alone


async def test_the_choices_of_a_request_differ_and_its_seed_repeats_them_all(target: Target) -> None:
    runs = [await choices(target, n=3, seed=5, temperature=1.5) for _ in range(2)]
    texts = [[choice["message"]["content"] for choice in run] for run in runs]
    assert len(set(texts[0])) == 3
    assert texts[0] == texts[1]


@pytest.mark.parametrize("one", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}], ids=str)
async def test_what_leaves_only_the_likeliest_token_is_greedy(target: Target, one: dict[str, Any]) -> None:
    assert await said(target, temperature=2.0, **one) == await said(target)


@pytest.mark.parametrize("some", [{"top_k": 3}, {"top_p": 0.5}, {"min_p": 0.3}], ids=str)
async def test_what_leaves_few_tokens_draws_only_among_them(target: Target, some: dict[str, Any]) -> None:
    """What is drawn is looked up among the first token's probabilities, which are of before any sampling."""
    asked: Any = {"messages": STORY, "max_tokens": 1, "logprobs": True, "top_logprobs": 20}
    _, body = await target.post(CHAT, asked)
    top = {entry["token"]: math.exp(entry["logprob"]) for entry in _entries(body)[0]["top_logprobs"]}
    bound = {"top_k": sorted(top.values())[-3], "min_p": 0.3 * max(top.values())}.get(next(iter(some)), _nucleus(top))
    allowed = {text for text, p in top.items() if p >= bound * 0.999}
    drawn = [await target.post(CHAT, {**asked, "temperature": 1.0, "seed": seed, **some}) for seed in range(12)]
    assert {_entries(body)[0]["token"] for _, body in drawn} <= allowed


def _nucleus(top: dict[str, float]) -> float:
    total = 0.0
    for p in sorted(top.values(), reverse=True):
        total += p
        if total >= 0.5:
            return p
    raise AssertionError("the twenty likeliest have half of the weight")


def _entries(body: Any) -> list[Any]:
    entries: list[Any] = body["choices"][0]["logprobs"]["content"]
    return entries


@pytest.mark.parametrize("penalty", [{"repetition_penalty": 5.0}, {"frequency_penalty": 2.0}], ids=str)
async def test_penalties_keep_from_repeating(target: Target, penalty: dict[str, Any]) -> None:
    prompt = "1 1 1 1 1 1 1 1 1 1"
    plain, changed = [
        (await completed(target, prompt, max_tokens=24, **more))["choices"][0]["text"] for more in ({}, penalty)
    ]
    assert plain.split() == ["1"] * 12
    assert changed.split() != ["1"] * 12


async def test_a_bias_forces_a_token_or_forbids_it(target: Target, engine: TransformersEngine) -> None:
    forced = await completed(target, max_tokens=3, logit_bias={str(token(engine, "cat")): 100})
    assert forced["choices"][0]["text"] == "catcatcat"
    first = (await completed(target, "The capital of France is", max_tokens=1))["choices"][0]["text"]
    without = await completed(
        target, "The capital of France is", max_tokens=1, logit_bias={str(token(engine, first)): -100}
    )
    assert without["choices"][0]["text"] != first


async def test_control_tokens_are_not_shown(target: Target, engine: TransformersEngine) -> None:
    """Those that only the tokenizer's file calls special, too."""
    for text in ("<|im_start|>", "<file_sep>"):
        answer = await completed(target, max_tokens=3, logit_bias={str(token(engine, text)): 100})
        assert answer["choices"][0]["text"] == ""
        assert answer["usage"]["completion_tokens"] == 3


async def test_an_answer_is_as_long_as_it_is_asked_to_be(target: Target) -> None:
    short = await target.post(CHAT, {"messages": SUM, "max_tokens": 40})
    assert short[1]["choices"][0]["finish_reason"] == "stop"
    length = short[1]["usage"]["completion_tokens"]
    assert length < 30
    longer = await target.post(CHAT, {"messages": SUM, "max_tokens": 40, "min_tokens": 30})
    assert longer[1]["usage"]["completion_tokens"] >= 30
    through = await target.post(CHAT, {"messages": SUM, "max_tokens": 40, "ignore_eos": True})
    assert through[1]["usage"]["completion_tokens"] == 40
    assert through[1]["choices"][0]["finish_reason"] == "length"


async def test_token_ids_and_strings_stop_it(target: Target, engine: TransformersEngine) -> None:
    plain = (await completed(target))["choices"][0]["text"]
    assert "10" in plain
    by_id = (await completed(target, stop_token_ids=engine.tokenize("9")))["choices"][0]
    assert by_id["finish_reason"] == "stop"
    assert by_id["text"] == plain[: plain.index("9")]
    by_text = (await completed(target, stop=["9 1", "no such thing"]))["choices"][0]
    assert (by_text["text"], by_text["finish_reason"]) == (plain[: plain.index("9 1")], "stop")


async def test_logprobs_are_those_of_the_model(target: Target) -> None:
    asked = {"messages": SUM, "max_tokens": 6, "logprobs": True, "top_logprobs": 5}
    _, whole = await target.post(CHAT, asked)
    entries = _entries(whole)
    assert "".join(entry["token"] for entry in entries) == whole["choices"][0]["message"]["content"]
    for entry in entries:
        top = entry["top_logprobs"]
        assert len(top) == 5
        assert sum(math.exp(other["logprob"]) for other in top) <= 1 + 1e-5
        assert (entry["token"], entry["logprob"]) == (top[0]["token"], top[0]["logprob"]), "it is greedy"
        assert [o["logprob"] for o in top] == sorted((o["logprob"] for o in top), reverse=True)
    events = await target.stream(CHAT, asked)
    told = [e for event in events for c in event["choices"] for e in (c.get("logprobs") or {}).get("content") or []]
    assert [entry["token"] for entry in told] == [entry["token"] for entry in entries]
    assert [e["logprob"] for e in told] == pytest.approx([e["logprob"] for e in entries], abs=1e-3)


async def test_logprobs_of_a_drawn_token_are_of_before_the_sampling(target: Target) -> None:
    asked = {"messages": STORY, "max_tokens": 1, "logprobs": True, "top_logprobs": 1}
    _, greedy = await target.post(CHAT, asked)
    _, narrowed = await target.post(CHAT, {**asked, "temperature": 2.0, "top_k": 1})
    assert _entries(narrowed)[0]["logprob"] == pytest.approx(_entries(greedy)[0]["logprob"], abs=1e-3)


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Z][a-z]{2,8}$"},
        "age": {"type": "integer", "minimum": 18, "maximum": 99},
        "tags": {"type": "array", "items": {"enum": ["red", "blue"]}, "minItems": 2, "maxItems": 3},
        "address": {"anyOf": [{"$ref": "#/$defs/place"}, {"type": "null"}]},
    },
    "required": ["name", "age", "tags", "address"],
    "additionalProperties": False,
    "$defs": {
        "place": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}},
            "required": ["city"],
            "additionalProperties": False,
        }
    },
}


@pytest.mark.parametrize("heat", [{}, {"temperature": 1.5, "seed": 3}], ids=["greedy", "hot"])
async def test_a_json_schema_is_kept_whatever_the_sampling(target: Target, heat: dict[str, Any]) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}
    found = (await choices(target, max_tokens=150, response_format=wanted, **heat))[0]
    assert found["finish_reason"] == "stop"
    assert jsonschema_rs.is_valid(SCHEMA, json.loads(found["message"]["content"]))


@pytest.mark.parametrize("more", [{"ignore_eos": True}, {"min_tokens": 25}], ids=str)
async def test_what_makes_longer_does_not_lead_out_of_a_schema(target: Target, more: dict[str, Any]) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "yes", "schema": {"enum": ["yes", "no"]}}}
    _, body = await target.post(CHAT, {"messages": STORY, "max_tokens": 30, "response_format": wanted, **more})
    assert json.loads(body["choices"][0]["message"]["content"]) in ("yes", "no")
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["completion_tokens"] < 10


async def test_a_schema_that_is_too_much_on_the_way_is_an_error_and_no_answer(target: Target) -> None:
    """It was cut off with `stop`, which passes for an answer. What was said already stays said in a stream."""
    many = [
        {"type": "object", "properties": {"a": {"type": "integer"}, f"b{n}": {"type": "integer"}}, "required": ["a"]}
        for n in range(3000)
    ]
    schema = {"type": "object", "properties": {"x": {"enum": [1]}, "y": {"anyOf": many}}, "required": ["x", "y"]}
    wanted = {"response_format": {"type": "json_schema", "json_schema": {"name": "many", "schema": schema}}}
    status, body = await target.post(CHAT, {"messages": STORY, "max_tokens": 30, **wanted})
    assert (status, body["error"]["code"]) == (400, "unsupported_schema")
    assert await said(target, SUM)


async def test_a_json_object_is_one(target: Target) -> None:
    asked = [{"role": "user", "content": 'Answer as JSON like {"answer": 4}: what is 2+2?'}]
    found = (await choices(target, asked, max_tokens=120, response_format={"type": "json_object"}))[0]
    assert found["message"]["content"].lstrip().startswith("{")
    if found["finish_reason"] == "stop":
        assert isinstance(json.loads(found["message"]["content"]), dict)


TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"The {name} in a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "maxLength": 20}, "days": {"enum": [1, 2, 3]}},
                "required": ["city", "days"],
                "additionalProperties": False,
            },
        },
    }
    for name in ("weather", "traffic")
]
WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "traffic"}}], ids=str)
async def test_a_demanded_tool_is_called(tools: Target, choice: Any) -> None:
    asked = {"messages": WEATHER, "tools": TOOLS, "tool_choice": choice, "max_tokens": 100}
    _, body = await tools.post(CHAT, asked)
    found = body["choices"][0]
    call = found["message"]["tool_calls"][0]["function"]
    assert call["name"] in ({"traffic"} if isinstance(choice, dict) else {"weather", "traffic"})
    assert jsonschema_rs.is_valid(TOOLS[0]["function"]["parameters"], json.loads(call["arguments"]))
    events = await tools.stream(CHAT, asked)
    pieces = [p for e in events for c in e["choices"] for p in c["delta"].get("tool_calls") or []]
    assert pieces[0]["function"]["name"] == call["name"]
    assert "".join(piece["function"].get("arguments") or "" for piece in pieces) == call["arguments"]


async def test_a_tool_that_may_not_be_called_is_not(tools: Target) -> None:
    _, body = await tools.post(
        CHAT, {"messages": WEATHER, "tools": TOOLS, "tool_choice": "none", "max_tokens": 12, "temperature": 0}
    )
    assert not body["choices"][0]["message"].get("tool_calls")
    assert body["choices"][0]["message"]["content"]


async def test_the_model_sees_the_tools_and_their_results(tools: Target, target: Target) -> None:
    plain = {"messages": WEATHER, "max_tokens": 2}
    _, without = await tools.post(CHAT, plain)
    _, with_them = await tools.post(CHAT, {**plain, "tools": TOOLS})
    assert with_them["usage"]["prompt_tokens"] > without["usage"]["prompt_tokens"] + 50
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    told = [
        *WEATHER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "It rains."},
    ]
    status, body = await tools.post(CHAT, {"messages": told, "tools": TOOLS, "max_tokens": 2})
    assert status == 200, body
    assert body["usage"]["prompt_tokens"] > with_them["usage"]["prompt_tokens"]


async def test_the_template_is_given_what_it_is_asked_to(target: Target) -> None:
    told = [{"role": "user", "content": "Count"}, {"role": "assistant", "content": "1, 2, 3,"}]
    on = {"add_generation_prompt": False, "continue_final_message": True}
    assert (await said(target, told, **on)).lstrip().startswith("4")
    usage = [
        (await target.post(CHAT, {"messages": SUM, "max_tokens": 1, "chat_template_kwargs": more}))[1]["usage"]
        for more in ({}, {"add_generation_prompt": False})
    ]
    assert usage[1]["prompt_tokens"] < usage[0]["prompt_tokens"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"mirostat": 2}, "mirostat"),
        ({"top_k": "many"}, "top_k"),
        ({"min_p": 1.5}, "min_p"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"logit_bias": {"999999": 1}}, "token ids go from 0 to 49151"),
        ({"stop_token_ids": [-1]}, "stop_token_ids"),
        ({"stop_token_ids": [49152]}, "token ids go from 0 to 49151"),
        ({"logit_bias": {"cat": 1}}, "logit_bias"),
        ({"ignore_eos": "maybe"}, "ignore_eos"),
        ({"best_of": 2}, "best_of"),
        ({"echo": True}, "echo"),
        ({"chat_template_kwargs": "thinking"}, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"chat_template": "{% for i in range(99999) %}{% endfor %}"}}, "chat_template"),
        ({"chat_template_kwargs": {"tokenize": True}}, "tokenize"),
        ({"tools": TOOLS}, "chat template has no place for tools"),
        ({"tools": TOOLS, "tool_choice": "required"}, "chat template has no place for tools"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "strin"}}}},
            "schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#"}}}},
            "schema",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
            "image",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}
                ]
            },
            "audio",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_what_cannot_be_is_refused_and_named(
    target: Target, fields: dict[str, Any], told: str, stream: bool
) -> None:
    status, body = await target.post(CHAT, {"messages": SUM, "max_tokens": 4, **fields, "stream": stream})
    assert status == 400, body
    assert told in body["error"]["message"]
    assert body["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("prompt", [[0, 49152], [-1], [[1, 2], [1, 50000]]], ids=str)
async def test_token_ids_out_of_the_vocabulary_are_refused(target: Target, prompt: Any) -> None:
    status, body = await target.post(COMPLETIONS, {"prompt": prompt, "max_tokens": 2})
    assert status == 400, body


async def test_token_ids_are_a_prompt(target: Target, engine: TransformersEngine) -> None:
    by_text, by_ids = [await completed(target, prompt) for prompt in (COUNT, engine.tokenize(COUNT))]
    assert by_text["choices"][0]["text"] == by_ids["choices"][0]["text"]


@pytest.mark.parametrize("empty", ["", [], ["Hello", ""]], ids=str)
async def test_an_empty_prompt_is_refused_and_breaks_nothing(target: Target, empty: Any) -> None:
    """It did: a batch without a token ended the generation's thread."""
    status, body = await target.post(COMPLETIONS, {"prompt": empty, "max_tokens": 2})
    assert status == 400, body
    assert await said(target, SUM)
