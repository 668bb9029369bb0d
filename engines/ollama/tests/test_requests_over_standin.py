"""What becomes of a request on its way to Ollama, seen where it arrives. No Ollama in it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from real_engine import opened

from engineroom.settings import Environment
from engineroom.testing import running
from engineroom_ollama import OllamaEngine

from .conftest import COMPLETIONS, EMBEDDINGS, MODEL, ask, sent, settings, standin

USER = {"role": "user", "content": "x"}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
PIXEL = base64.b64encode(b"a picture").decode()
PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}


def serving(model: str) -> Any:
    """A fixture: one engine for a module, over the stand-in with that model."""

    @pytest.fixture(scope="module")
    async def engine(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OllamaEngine]:
        variables = settings(tmp_path_factory.mktemp("ollama"), MODEL_NAME=model, OLLAMA_CONTEXT_LENGTH="64")
        async with running(opened(OllamaEngine, Environment.of(variables))) as engine:
            yield engine

    return engine


plain = serving(MODEL)
thinking = serving("qwen3:0.6b")
seeing = serving("gemma3:4b")
inserting = serving("coder")
embedding = serving("all-minilm")


async def test_fields_are_ollama_s_options_and_nothing_is_to_be_cut(plain: OllamaEngine) -> None:
    got = await sent(
        plain, temperature=0.5, top_p=0.9, seed=-1, stop="end", max_completion_tokens=7, presence_penalty=1, top_k=-1
    )
    options = got["options"]
    assert options == {
        "temperature": 0.5, "top_p": 0.9, "seed": 2**32 - 2, "stop": ["end"], "num_predict": 7, "presence_penalty": 1,
        "top_k": 0,
    }  # fmt: skip
    assert (got["truncate"], got["shift"], got["stream"], got["model"]) == (False, False, True, MODEL)
    own = await sent(plain, repetition_penalty=1.1, repeat_last_n=64, typical_p=0.9, min_p=0.1)
    assert own["options"] == {"repeat_penalty": 1.1, "repeat_last_n": 64, "typical_p": 0.9, "min_p": 0.1}
    assert (await sent(plain, repetition_penalty=1.1))["options"] == {"repeat_penalty": 1.1, "repeat_last_n": -1}
    for nothing in ({}, {"stop": ""}, {"stop": []}, {"temperature": None}):
        assert (await sent(plain, **nothing))["options"] == {}, "the model's own parameters count"


async def test_a_completion_s_prompt_goes_to_the_model_as_it_is(plain: OllamaEngine) -> None:
    got = await sent(plain, COMPLETIONS, prompt="One, two,", logprobs=2)
    assert (got["prompt"], got["raw"], got["options"]["num_predict"]) == ("One, two,", True, 16)
    assert (got["logprobs"], got["top_logprobs"]) == (True, 2)
    _, answer = await ask(plain, COMPLETIONS, prompt="One, two,", max_tokens=3, logprobs=1)
    [choice] = answer["choices"]
    assert choice["text"] == "One, two"
    assert choice["logprobs"]["tokens"] == ["One", ",", " two"]
    assert choice["logprobs"]["text_offset"] == [0, 3, 4]
    assert choice["logprobs"]["top_logprobs"][1] == {",": -0.5, "x": -1.0}


async def test_several_prompts_and_choices(plain: OllamaEngine) -> None:
    _, answer = await ask(plain, COMPLETIONS, prompt=["a", "b"], n=2, max_tokens=1)
    assert [choice["text"] for choice in answer["choices"]] == ["a", "a", "b", "b"]
    seen = await standin(plain)
    assert {"n", "best_of"}.isdisjoint(seen["asked"][-1])


async def test_messages_in_ollama_s_words(plain: OllamaEngine) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Pärnu"}'}}
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "short."}]},
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "Hm."},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        USER,
    ]
    got = (await sent(plain, messages=messages))["messages"]
    assert got[0] == {"role": "system", "content": "Be\nshort."}
    assert got[1]["thinking"] == "Hm."
    assert got[1]["tool_calls"] == [{"id": "call_1", "function": {"name": "weather", "arguments": {"city": "Pärnu"}}}]
    assert got[2] == {"role": "tool", "content": "rain", "tool_call_id": "call_1", "tool_name": "weather"}


async def test_a_tool_is_called_whole_and_streamed(plain: OllamaEngine) -> None:
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "weather in Pärnu?"}], "tools": [WEATHER]}
    _, answer = await ask(plain, **asked)
    [choice] = answer["choices"]
    [call] = choice["message"]["tool_calls"]
    assert (choice["finish_reason"], call["function"]) == (
        "tool_calls",
        {"name": "weather", "arguments": '{"city":"Pärnu"}'},
    )
    _, events = await ask(plain, stream=True, **asked)
    assert '"finish_reason":"tool_calls"' in events
    assert events.endswith("data: [DONE]\n\n")
    assert "tools" not in await sent(plain, **asked, tool_choice="none")
    for choice in ("required", {"type": "function", "function": {"name": "weather"}}):
        status, answer = await ask(plain, **asked, tool_choice=choice)
        assert (status, answer["error"]["param"]) == (400, "tool_choice")


async def test_formats(plain: OllamaEngine) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Zürich"]}}}
    by_schema = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema}}
    assert (await sent(plain, response_format=by_schema))["format"] == schema
    assert (await sent(plain, response_format={"type": "json_object"}))["format"] == "json"
    assert "format" not in await sent(plain, response_format={"type": "text"})


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("chat/completions", {"logit_bias": {"5": 1}}, "logit_bias"),
        ("chat/completions", {"options": {"num_ctx": 9}}, "options"),
        ("chat/completions", {"keep_alive": 0}, None),
        ("chat/completions", {"keep_alive": "9m"}, "keep_alive"),
        ("chat/completions", {"think": True}, "think"),
        ("chat/completions", {"format": "json"}, "format"),
        ("chat/completions", {"unheard_of": 1}, "unheard_of"),
        ("chat/completions", {"top_k": "many"}, "top_k"),
        ("chat/completions", {"min_p": 2}, "min_p"),
        ("chat/completions", {"parallel_tool_calls": False}, "parallel_tool_calls"),
        ("chat/completions", {"reasoning_effort": "high"}, "reasoning_effort"),
        ("chat/completions", {"chat_template_kwargs": {"x": 1}}, "chat_template_kwargs.x"),
        ("chat/completions", {"messages": [{**USER, "name": "Ada"}]}, "messages.0.name"),
        ("chat/completions", {"messages": [{"role": "user", "content": [PICTURE]}]}, "messages.0.content.0"),
        ("completions", {"prompt": [1, 2]}, "prompt"),
        ("completions", {"prompt": [[1], [2]]}, "prompt"),
        ("completions", {"echo": True}, "echo"),
        ("completions", {"prompt": ""}, "prompt"),
        ("completions", {"prompt": ["a", ""]}, "prompt"),
        ("completions", {"max_tokens": 0}, "max_tokens"),
        ("completions", {"typical_p": 0}, "typical_p"),
        ("completions", {"best_of": 3}, "best_of"),
        ("completions", {"suffix": "x"}, "suffix"),
    ],
)
async def test_what_ollama_would_pass_over_is_refused(
    plain: OllamaEngine, path: str, fields: dict[str, Any], param: str | None
) -> None:
    status, answer = await ask(plain, f"/v1/{path}", **fields)
    if param is None:
        assert status == 200, "nothing is asked for"
    else:
        assert (status, answer["error"]["param"]) == (400, param), answer


@pytest.mark.parametrize("path", ["/v1/rerank", "/v1/embeddings"])
async def test_a_route_that_it_has_not(plain: OllamaEngine, path: str) -> None:
    status, answer = await ask(plain, path, query="x", documents=["y"], input="x")
    assert status == 404
    assert path in answer["error"]["message"]
    assert "`engineroom engines` lists the engines that do" in answer["error"]["message"]


async def test_a_prompt_that_is_too_long_is_an_error_with_its_code(plain: OllamaEngine) -> None:
    for path in ("/v1/chat/completions", COMPLETIONS):
        text = "one two " * 64
        body: dict[str, Any] = {"messages": [{**USER, "content": text}]} if "chat" in path else {"prompt": text}
        for stream in (False, True):
            status, answer = await ask(plain, path, stream=stream, **body)
            assert status == 400
            assert "context_length_exceeded" in str(answer)
            assert "exceeds the available context size (64 tokens)" in str(answer)


async def test_thoughts_come_apart(thinking: OllamaEngine) -> None:
    _, answer = await ask(thinking, reasoning_effort="minimal")
    message = answer["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("Well, then.", "x")
    assert (await standin(thinking))["asked"][-1]["think"] == "low"
    assert (await sent(thinking, reasoning_effort="none"))["think"] is False
    assert (await sent(thinking, chat_template_kwargs={"enable_thinking": False}))["think"] is False
    assert "think" not in await sent(thinking)
    _, answer = await ask(thinking, COMPLETIONS, prompt="one two", max_tokens=2)
    assert answer["choices"][0]["text"] == "one two", "a completion's text is all of it"


async def test_pictures(seeing: OllamaEngine) -> None:
    parts = [{"type": "text", "text": "What"}, PICTURE, {"type": "text", "text": "is this?"}]
    got = await sent(seeing, messages=[{"role": "user", "content": parts}])
    assert got["messages"] == [{"role": "user", "content": "What\nis this?", "images": [PIXEL]}]
    remote = {"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}
    status, answer = await ask(seeing, messages=[{"role": "user", "content": [remote]}])
    assert (status, answer["error"]["param"]) == (400, "messages.0.content.0")
    status, answer = await ask(seeing, tools=[WEATHER])
    assert (status, answer["error"]["param"]) == (400, "tools")


async def test_a_suffix_where_the_model_can(inserting: OllamaEngine) -> None:
    got = await sent(inserting, COMPLETIONS, prompt="def f(", suffix="return x")
    assert (got["suffix"], "raw" in got) == ("return x", False)


async def test_embeddings(embedding: OllamaEngine) -> None:
    got = await sent(embedding, EMBEDDINGS, input=["one two", "three"], dimensions=2)
    assert (got["input"], got["dimensions"], got["truncate"]) == (["one two", "three"], 2, False)
    _, answer = await ask(embedding, EMBEDDINGS, input=["one two", "three"])
    assert [item["embedding"] for item in answer["data"]] == [[0.5, -0.25, 7.0, 1.0], [0.5, -0.25, 5.0, 1.0]]
    assert answer["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    _, packed = await ask(embedding, EMBEDDINGS, input="one two", encoding_format="base64")
    assert base64.b64decode(packed["data"][0]["embedding"])[:4] == b"\x00\x00\x00\x3f"
    status, answer = await ask(embedding, EMBEDDINGS, input="one two " * 64)
    assert (status, answer["error"]["code"]) == (400, "context_length_exceeded")
    status, answer = await ask(embedding, EMBEDDINGS, input=[[1, 2]])
    assert (status, answer["error"]["param"]) == (400, "input")
    for wrong, param in (({"input": "x", "dimensions": 5}, "dimensions"), ({"input": ["a", ""]}, "input")):
        status, answer = await ask(embedding, EMBEDDINGS, **wrong)
        assert (status, answer["error"]["param"]) == (400, param)
    assert (await ask(embedding))[0] == 404, "it only makes vectors"
