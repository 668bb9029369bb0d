"""Streams of other servers taken together; that ours give the whole answer is tested beside them."""

from __future__ import annotations

from typing import Any

import pytest

from engineroom.errors import APIError
from engineroom.openai.aggregate import CompletionAggregator, make_aggregator, to_chunks
from engineroom.openai.routes import CHAT_COMPLETIONS, MESSAGES, RESPONSES


def chunk(*choices: dict[str, Any], **fields: Any) -> dict[str, Any]:
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**base, "choices": list(choices), **fields}


def delta(index: int = 0, finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"index": index, "delta": fields, "finish_reason": finish_reason}


def together(*chunks: dict[str, Any]) -> dict[str, Any]:
    aggregator = CompletionAggregator()
    for part in chunks:
        aggregator.add(part)
    return aggregator.response()


def test_reasoning_and_other_strings_are_joined() -> None:
    answer = together(
        chunk(delta(role="assistant", content="")),
        chunk(delta(role="assistant", reasoning_content="I th", mood="ca")),
        chunk(delta(reasoning_content="ink", mood="lm", content=None)),
        chunk(delta(content="Hello")),
        chunk(delta(content=" you", finish_reason="stop"), usage=None),
        chunk(usage={"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5}),
    )
    assert answer["object"] == "chat.completion"
    assert answer["usage"]["completion_tokens"] == 4
    assert answer["choices"] == [
        {
            "index": 0,
            "logprobs": None,
            "finish_reason": "stop",
            "message": {
                "role": "assistant",
                "content": "Hello you",
                "refusal": None,
                "reasoning_content": "I think",
                "mood": "calm",
            },
        }
    ]


def test_a_server_that_repeats_a_call_s_name_and_id() -> None:
    def call(arguments: str, index: int = 0) -> dict[str, Any]:
        function = {"name": f"f{index}", "arguments": arguments}
        return {"index": index, "id": f"c{index}", "type": "function", "function": function}

    answer = together(
        chunk(delta(role="assistant", content=None, tool_calls=[call('{"a"')])),
        chunk(delta(tool_calls=[call("", 1), call(": 1}")])),
        chunk(delta(tool_calls=[{"index": 1, "function": {"arguments": "{}"}}])),
        chunk(delta(finish_reason="tool_calls")),
    )
    message = answer["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "c0", "type": "function", "function": {"name": "f0", "arguments": '{"a": 1}'}},
        {"id": "c1", "type": "function", "function": {"name": "f1", "arguments": "{}"}},
    ]


def test_choices_in_any_order() -> None:
    answer = together(
        chunk(delta(1, content="b")),
        chunk(delta(0, content="a"), delta(1, content="b", finish_reason="length")),
        chunk(delta(0, finish_reason="stop")),
    )
    choices = [(c["index"], c["message"]["content"], c["finish_reason"]) for c in answer["choices"]]
    assert choices == [(0, "a", "stop"), (1, "bb", "length")]


def test_logprobs_are_put_end_to_end() -> None:
    parts = [{"content": [{"token": token}], "refusal": None} for token in "ab"]
    chunks = [chunk({**delta(content="x"), "logprobs": part}) for part in parts]
    answer = together(*chunks, chunk({**delta(finish_reason="stop"), "logprobs": None}))
    assert answer["choices"][0]["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}], "refusal": None}
    assert parts[0]["content"] == [{"token": "a"}], "what was given is left as it was"


def test_an_answer_of_nothing() -> None:
    answer = together(chunk(delta(role="assistant")), chunk(delta(finish_reason="length")))
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "", "refusal": None}


def test_a_refusal() -> None:
    answer = together(chunk(delta(role="assistant", refusal="I ")), chunk(delta(refusal="won't", finish_reason="stop")))
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": None, "refusal": "I won't"}


def test_an_error_amid_the_stream() -> None:
    with pytest.raises(APIError, match="out of memory") as caught:
        together(chunk(delta(content="x")), {"error": {"message": "out of memory", "type": "server_error"}})
    assert caught.value.status == 500


def test_a_chunk_without_choices_or_index() -> None:
    text = {"object": "text_completion", "id": "cmpl-1", "created": 1, "model": "m"}
    answer = together(
        {**text, "choices": [{"text": "a"}]}, {**text, "choices": [{"text": "b", "finish_reason": "stop"}]}, text
    )
    assert answer["choices"] == [{"index": 0, "text": "ab", "logprobs": None, "finish_reason": "stop"}]


def test_a_first_event_without_anything_and_usage_in_the_middle() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    answer = together(
        {"id": "", "object": "", "model": "", "choices": []},
        {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m", "choices": [{"finish_reason": None}]},
        chunk({"index": None, "delta": {"content": "a"}}, usage=usage),
        chunk({"index": 0, "delta": {"role": "assistant", "content": "b"}, "finish_reason": "stop"}, usage=None),
    )
    assert (answer["id"], answer["object"], answer["model"]) == ("chatcmpl-1", "chat.completion", "m")
    assert answer["usage"] == usage
    assert [(c["index"], c["message"]["content"]) for c in answer["choices"]] == [(0, "ab")]


def test_nothing_at_all_is_no_answer() -> None:
    for path in (CHAT_COMPLETIONS, RESPONSES, MESSAGES):
        with pytest.raises(APIError, match="before it was complete"):
            make_aggregator(path).response()


def test_a_whole_answer_as_chunks_and_back() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    whole = together(
        chunk(delta(role="assistant", content=None, tool_calls=[{"index": 0, **call}], finish_reason="tool_calls")),
        chunk(usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}),
    )
    chunks = to_chunks(whole, include_usage=True)
    assert chunks[0]["choices"][0]["delta"]["tool_calls"] == [{"index": 0, **call}]
    assert together(*chunks) == whole


def test_a_response_is_the_last_event_s() -> None:
    for ending in ("completed", "incomplete"):
        aggregator = make_aggregator(RESPONSES)
        aggregator.add({"type": "response.created", "response": {"status": "in_progress", "error": None}})
        aggregator.add({"type": f"response.{ending}", "response": {"status": ending, "output": []}})
        assert aggregator.response() == {"status": ending, "output": []}
    with pytest.raises(APIError, match=r"Oh\."):
        aggregator.add({"type": "response.failed", "response": {"status": "failed", "error": {"message": "Oh."}}})


def test_a_message_in_an_order_of_its_own() -> None:
    aggregator = make_aggregator(MESSAGES)
    for event in (
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a"'}},
        {"type": "message_start", "message": {"id": "m", "content": [], "usage": {"input_tokens": 3}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "a"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "b"}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "name": "f", "input": {}}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": ": 1}"}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ):
        aggregator.add(event)
    assert aggregator.response() == {
        "id": "m",
        "content": [{"type": "text", "text": "ab"}, {"type": "tool_use", "name": "f", "input": {"a": 1}}],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3, "output_tokens": 5},
    }
