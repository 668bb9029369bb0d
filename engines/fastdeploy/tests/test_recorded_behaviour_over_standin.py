"""A test for every rule learnt by running FastDeploy: the stand-in does what was recorded, the engine copes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engineroom.asgi import request
from engineroom.errors import APIError
from engineroom.jobs import GenerateRequest, generate
from engineroom.openai.sse import EventParser
from engineroom.testing import NotOffered, engine_target, running
from engineroom_fastdeploy import FastDeployEngine

from .conftest import Configure

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
SAID = "One two three 🦙 four."


def chat(fault: str = "", **fields: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": SAID}],
        **({"user": f"standin:{fault}"} if fault else {}),
        **fields,
    }


async def post(engine: FastDeployEngine, body: dict[str, Any], path: str = CHAT) -> tuple[int, Any, dict[str, str]]:
    async with request(engine.app, "POST", path, body=msgspec.json.encode(body)) as answer:
        return answer.status, msgspec.json.decode(await answer.read()), answer.headers


async def stream(engine: FastDeployEngine, body: dict[str, Any], path: str = CHAT) -> tuple[list[Any], bytes]:
    """The events of a stream and its bytes."""
    whole = b""
    async with request(engine.app, "POST", path, body=msgspec.json.encode({**body, "stream": True})) as answer:
        assert answer.status == 200, await answer.read()
        async for chunk in answer:
            whole += chunk
    return [data if data == b"[DONE]" else msgspec.json.decode(data) for data in EventParser().feed(whole)], whole


async def seen(engine: FastDeployEngine) -> dict[str, Any]:
    """What reached the stand-in: bodies, options, environment."""
    reached: dict[str, Any] = msgspec.json.decode(await engine.upstream.text("/standin/seen"))
    return reached


def text_of(events: list[Any]) -> str:
    return "".join(c["delta"].get("content") or "" for e in events if e != b"[DONE]" for c in e.get("choices", ()))


async def test_always_streamed_upstream(engine: FastDeployEngine) -> None:
    for body in (chat(), chat(stream=True), chat(stream=False)):
        await stream(engine, body) if body.get("stream") else await post(engine, body)
    status, body, _ = await post(engine, {"prompt": SAID}, COMPLETIONS)
    assert (status, body["choices"][0]["text"]) == (200, SAID)
    assert all(body["stream"] for body in (await seen(engine))["bodies"])


async def test_no_first_token_is_lost(engine: FastDeployEngine) -> None:
    """2.6 loses replies unless ZMQ_SEND_BATCH_DATA=0."""
    _, body, _ = await post(engine, chat())
    assert body["choices"][0]["message"]["content"] == SAID
    assert body["usage"]["completion_tokens"] > 1
    events, _ = await stream(engine, chat())
    assert text_of(events) == SAID


async def test_the_first_frames_stray_space_is_gone(engine: FastDeployEngine) -> None:
    _, whole = await stream(engine, chat())
    assert b" \n\n" not in whole
    assert whole.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("fault", "status", "type_", "code", "said"),
    [
        ("error-first", 500, "server_error", None, "Engine is not healthy: 8000.socket"),
        ("invalid", 400, "invalid_request_error", "context_length_exceeded", "Input text is too long"),
        ("waiting", 408, "timeout_error", "timeout", "waited too long for its turn"),
        ("internal", 500, "server_error", None, "cannot open vocab.txt"),
        ("busy", 429, "rate_limit_error", None, "Too many requests"),
        ("cleared", 503, "server_error", "engine_unavailable", "weights are not loaded"),
    ],
)
async def test_errors_have_their_own_status(
    engine: FastDeployEngine, fault: str, status: int, type_: str, code: str | None, said: str, streamed: bool
) -> None:
    """FastDeploy answers 500 for most, and 200 with an error frame; its messages carry tracebacks and paths."""
    got, body, headers = await post(engine, chat(fault, stream=streamed))
    error = body["error"]
    assert (got, error["type"], error["code"]) == (status, type_, code)
    assert said in error["message"]
    for leaked in ("Traceback", "dist-packages", "/root", "/dev/shm", "request[", "generator error"):
        assert leaked not in error["message"]
    assert ("retry-after" in headers) == (status in (408, 429, 503))


async def test_an_error_amid_a_stream(engine: FastDeployEngine) -> None:
    events, whole = await stream(engine, chat("error-mid"))
    assert text_of(events[:-1]) == "One two"
    assert events[-1]["error"]["type"] == "server_error"
    assert b"Traceback" not in whole
    status, body, _ = await post(engine, chat("error-mid"))
    assert (status, body["error"]["type"]) == (500, "server_error"), "half an answer is none"


async def test_a_stream_that_breaks_off(engine: FastDeployEngine) -> None:
    events, _ = await stream(engine, chat("cut"))
    assert "before it was complete" in events[-1]["error"]["message"]
    assert (await post(engine, chat("cut")))[0] == 502


async def test_endless_reasoning_is_an_answer(engine: FastDeployEngine) -> None:
    """Not streamed, FastDeploy answers 500 when reasoning never ends."""
    status, body, _ = await post(engine, chat("unthinking", max_tokens=3))
    choice = body["choices"][0]
    assert (status, choice["finish_reason"]) == (200, "length")
    assert choice["message"]["reasoning_content"] == "One two three"
    assert not choice["message"]["content"]


async def test_an_answer_cut_short_for_want_of_memory_says_length(engine: FastDeployEngine) -> None:
    _, body, _ = await post(engine, chat("recover"))
    assert body["choices"][0]["finish_reason"] == "length"


async def test_token_texts_are_not_counts(engine: FastDeployEngine) -> None:
    """`prompt_tokens` and `completion_tokens` of a message are text; those of the usage are numbers."""
    _, body, _ = await post(engine, chat(return_token_ids=True))
    message = body["choices"][0]["message"]
    assert (message["prompt_tokens"], message["completion_tokens"]) == (SAID, SAID)
    assert message["completion_token_ids"] == [7] * body["usage"]["completion_tokens"]
    assert isinstance(body["usage"]["prompt_tokens"], int)


async def test_one_usage_for_all_choices_of_a_completion(engine: FastDeployEngine) -> None:
    """FastDeploy tells the usage of each choice by itself, and the prompt's again with each."""
    asked = {"prompt": SAID, "n": 3, "max_tokens": 2}
    _, body, _ = await post(engine, asked, COMPLETIONS)
    told = {"prompt_tokens": 6, "completion_tokens": 6, "total_tokens": 12}
    assert {name: body["usage"][name] for name in told} == told
    events, _ = await stream(engine, {**asked, "stream_options": {"include_usage": True}}, COMPLETIONS)
    usages = [event["usage"] for event in events[:-1] if event.get("usage")]
    assert [{name: usage[name] for name in told} for usage in usages] == [told]
    assert events[-2]["choices"] == [], "and it comes last"


async def test_usage_only_where_asked_for(engine: FastDeployEngine) -> None:
    """FastDeploy counts unasked as soon as there are stream options."""
    events, _ = await stream(engine, chat(stream_options={}))
    assert not any(event.get("usage") for event in events[:-1])


async def test_logprobs_are_put_together(engine: FastDeployEngine) -> None:
    _, body, _ = await post(engine, {"prompt": SAID, "logprobs": 1, "max_tokens": 3}, COMPLETIONS)
    assert body["choices"][0]["logprobs"]["tokens"] == ["One", " two", " three"]


async def test_guided_decoding_by_both_names(engine: FastDeployEngine) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    for wanted in ({"guided_json": schema}, {"guided_decoding": {"json": schema}}):
        _, body, _ = await post(engine, chat(**wanted))
        assert msgspec.json.decode(body["choices"][0]["message"]["content"]) == {"city": "Paris"}


async def test_parts_go_through_untouched(engine: FastDeployEngine) -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
        {"type": "video_url", "video_url": {"url": "https://example.org/a.mp4"}},
        {"type": "text", "text": "What is it?"},
    ]
    messages = [{"role": "user", "content": parts}]
    status, _, _ = await post(engine, {"messages": messages, "mm_hashes": ["a", "b"]})
    assert status == 200
    body = (await seen(engine))["bodies"][-1]
    assert (body["messages"], body["mm_hashes"]) == (messages, ["a", "b"])


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_choice": "required"},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"logit_bias": {"50256": -100}},
        {"n": 0},
        {"n": 2.5},
        {"stream_options": [1]},
        {"guided_decoding": "json"},
    ],
)
async def test_what_fastdeploy_would_ignore_is_refused(engine: FastDeployEngine, fields: dict[str, Any]) -> None:
    status, body, _ = await post(engine, chat(**fields))
    assert (status, body["error"]["param"]) == (400, next(iter(fields)))


async def test_fields_of_newer_versions(engine: FastDeployEngine) -> None:
    for name, since in (("response_max_tokens", (2, 4)), ("reasoning_effort", (2, 5)), ("video_fps", (2, 6))):
        status, body, _ = await post(engine, chat(**{name: 1}))
        if engine.version >= since:
            assert status == 200
        else:
            assert (status, body["error"]["param"]) == (400, name)
            assert f"needs FastDeploy {since[0]}.{since[1]}" in body["error"]["message"]


async def test_what_messages_say_stands_where_templates_look(engine: FastDeployEngine) -> None:
    refused = [{"role": "assistant", "content": None, "refusal": "No."}, {"role": "user", "content": "Why?"}]
    status, _, _ = await post(engine, {"messages": refused})
    assert status == 200
    assert (await seen(engine))["bodies"][-1]["messages"][0] == {"role": "assistant", "content": "No."}
    status, body, _ = await post(engine, {"messages": [{"role": "user", "content": "Why?", "unheard_of": 1}]})
    assert (status, body["error"]["param"]) == (400, "messages.0.unheard_of")


async def test_empty_stop_strings_are_none(engine: FastDeployEngine) -> None:
    for stop, sent in (("", []), (["", "five"], ["five"])):
        status, _, _ = await post(engine, chat(stop=stop))
        assert (status, (await seen(engine))["bodies"][-1]["stop"]) == (200, sent)


async def test_tool_choice_none_offers_no_tools(engine: FastDeployEngine) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    status, _, _ = await post(engine, chat(tools=tools, tool_choice="none"))
    body = (await seen(engine))["bodies"][-1]
    assert status == 200
    assert not {"tools", "tool_choice"} & set(body)


async def test_the_model_is_called_default_too(engine: FastDeployEngine) -> None:
    status, body, _ = await post(engine, chat(model="default"))
    assert (status, body["model"]) == (200, "tiny-model"), "and never by its path"


async def test_native_requests(engine: FastDeployEngine) -> None:
    wanted = GenerateRequest(prompt=SAID, sampling_params={"top_k": 5, "repetition_penalty": 1.1, "max_tokens": 3})
    deltas = [delta async for delta in generate(engine, wanted)]
    assert "".join(delta.text for delta in deltas) == "One two three"
    assert deltas[-1].finish_reason == "length"
    assert deltas[-1].usage is not None
    assert (deltas[-1].usage.prompt_tokens, deltas[-1].usage.completion_tokens) == (6, 3)
    body = (await seen(engine))["bodies"][-1]
    assert (body["top_k"], body["repetition_penalty"]) == (5, 1.1)
    assert {"top_k", "repetition_penalty", "guided_decoding", "reasoning_max_tokens"} <= engine.sampling_params
    with pytest.raises(APIError) as failed:
        async for _ in generate(engine, GenerateRequest(prompt=SAID, sampling_params={"user": "standin:invalid"})):
            pass
    assert failed.value.status == 400


async def test_aborts_arrive_or_are_said_not_to(engine: FastDeployEngine) -> None:
    """Only 2.5, where asked for, and 2.6 stop when the client goes."""
    from engineroom.testing import CHECKS, Expectations

    assert engine.capabilities.abort == (engine.version >= (2, 5))
    target = engine_target(engine, Expectations(running_metric="fastdeploy:num_requests_running"))
    for check in CHECKS:
        if "frees_the_engine" in check.name:
            try:
                await check(target)
                assert engine.capabilities.abort
            except NotOffered:
                assert not engine.capabilities.abort


@pytest.mark.parametrize("version", ["2.4", "2.5", "2.6"])
async def test_a_stream_that_hangs_is_given_up(configure: Configure) -> None:
    async with running(configure(FASTDEPLOY_IDLE_TIMEOUT=2)) as engine:
        status, body, _ = await post(engine, chat("silent"))
        assert (status, body["error"]["code"]) == (504, "timeout")
        events, _ = await stream(engine, chat("hang"))
        assert text_of(events[:-1]) == "One two"
        assert events[-1]["error"]["code"] == "timeout"


@pytest.mark.parametrize("version", ["2.6"])
async def test_batched_replies_would_be_lost(configure: Configure) -> None:
    """What ZMQ_SEND_BATCH_DATA=0 is for: with 1, as somebody may insist, immediate errors hang for ever."""
    async with running(configure(ZMQ_SEND_BATCH_DATA="1", FASTDEPLOY_IDLE_TIMEOUT=2)) as engine:
        _, body, _ = await post(engine, chat())
        assert body["choices"][0]["message"]["content"] == SAID.removeprefix("One")
        assert (await post(engine, chat("error-first")))[0] == 504


@pytest.mark.parametrize("version", ["2.5", "2.6"])
@pytest.mark.parametrize(
    "settings", [{"FD_ENABLE_REQUEST_DISCONNECT_STOP_INFERENCE": "0"}, {"ENABLE_V1_KVCACHE_SCHEDULER": "0"}]
)
def test_cannot_abort_is_said_where_it_is_switched_off(configure: Configure, settings: dict[str, str]) -> None:
    assert not configure(**settings).capabilities.abort


@pytest.mark.parametrize("version", ["2.4", "2.6"])
async def test_its_api_key_is_known(configure: Configure) -> None:
    async with running(configure(FD_API_KEY="secret,other")) as engine:
        assert (await post(engine, chat()))[0] == 200


@pytest.mark.parametrize("version", ["2.3", "2.6"])
async def test_tools_with_a_parser(configure: Configure) -> None:
    async with running(configure(TOOL_CALL_PARSER="ernie-x1")) as engine:
        tools = [{"type": "function", "function": {"name": "say", "parameters": {"type": "object"}}}]
        _, body, _ = await post(engine, chat(tools=tools, tool_choice="auto"))
        choice = body["choices"][0]
        assert choice["finish_reason"] == "tool_calls"
        call = choice["message"]["tool_calls"][0]
        assert (call["type"], call["function"]) == ("function", {"name": "say", "arguments": '{"said": "hello"}'})
        assert not choice["message"]["content"]


@pytest.mark.parametrize("version", ["2.3", "2.6"])
async def test_reasoning_is_kept_apart(configure: Configure) -> None:
    async with running(configure(REASONING_PARSER="ernie-x1")) as engine:
        _, body, _ = await post(engine, chat())
        message = body["choices"][0]["message"]
        assert (message["reasoning_content"], message["content"]) == ("One", SAID.removeprefix("One"))


@pytest.mark.parametrize("version", ["2.3", "2.6"])
async def test_a_pooling_model(configure: Configure) -> None:
    """Its routes, and its errors, which come under 200."""
    async with running(configure(RUNNER="pooling", CONVERT="embed")) as engine:
        for path in ("/v1/embeddings", "/v1/reward"):
            status, body, _ = await post(engine, {"input": "one two"}, path)
            assert (status, body["data"][0]["embedding"], body["model"]) == (200, [0.1, -0.2], "tiny-model")
            status, body, _ = await post(engine, {"input": "one two", "user": "standin:invalid"}, path)
            assert (status, body["error"]["code"]) == (400, "context_length_exceeded")
        assert (await post(engine, chat()))[0] == 404
