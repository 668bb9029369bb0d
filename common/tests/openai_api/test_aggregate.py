"""Streams of other servers taken together; that ours give the whole answer is tested beside them."""

from __future__ import annotations

from typing import Any

import pytest

from engineroom.errors import APIError
from engineroom.openai.aggregate import CompletionAggregator, to_chunks


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
    with pytest.raises(APIError, match="before it was complete"):
        CompletionAggregator().response()


def test_a_whole_answer_as_chunks_and_back() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    whole = together(
        chunk(delta(role="assistant", content=None, tool_calls=[{"index": 0, **call}], finish_reason="tool_calls")),
        chunk(usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}),
    )
    chunks = to_chunks(whole, include_usage=True)
    assert chunks[0]["choices"][0]["delta"]["tool_calls"] == [{"index": 0, **call}]
    assert together(*chunks) == whole
