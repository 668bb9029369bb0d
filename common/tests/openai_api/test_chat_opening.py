"""Streams whose server skips the chunk with the role, as some do where the first token is half a character."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engineroom.openai.chat_opening import ChatOpening
from engineroom.openai.sse import payloads


def chunk(delta: dict[str, Any], index: int = 0) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": None}
    event = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"


def sent(opening: ChatOpening, stream: bytes, step: int) -> bytes:
    pieces = [stream[at : at + step] for at in range(0, len(stream), step)]
    return b"".join(piece if opening.complete else opening.feed(piece) for piece in pieces) + opening.finish()


def deltas(stream: bytes) -> list[tuple[int, dict[str, Any]]]:
    events = [json.loads(data) for data in payloads(stream) if data != b"[DONE]"]
    return [(choice["index"], choice["delta"]) for event in events for choice in event["choices"]]


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_stream_without_the_role_gets_it(step: int) -> None:
    stream = b": waiting\n\n" + chunk({"content": "ж"}) + chunk({"content": "!"}) + b"data: [DONE]\n\n"
    opened = sent(ChatOpening(None), stream, step)
    assert deltas(opened) == [
        (0, {"role": "assistant", "content": ""}),
        (0, {"content": "ж"}),
        (0, {"content": "!"}),
    ]
    assert opened.startswith(b": waiting\n\n"), "comments keep a connection open, and are passed on"
    assert opened.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "delta",
    [{"content": 'say \\"role\\" or "role"'}, {"content": "{"}, {"tool_calls": [{"index": 0}]}, {"content": None}],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_the_role_comes_in_the_envelope_of_the_first_event(delta: dict[str, Any], separators: tuple[str, str]) -> None:
    """Most first events are not decoded for it; the rest are, and nobody sees the difference."""
    event = json.loads(chunk(delta)[6:]) | {"system_fingerprint": "fp_1"}
    choices = event.pop("choices")
    first = b"data: " + json.dumps({**event, "choices": choices}, separators=separators).encode() + b"\n\n"
    opening, *rest = payloads(ChatOpening(None).feed(first))
    choice = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    assert json.loads(opening) == {**event, "choices": [choice]}
    assert rest == payloads(first)


@pytest.mark.parametrize("step", [1, 10_000])
def test_a_stream_with_the_role_stays_byte_for_byte(step: int) -> None:
    stream = chunk({"role": "assistant", "content": None}) + chunk({"content": "ж"}) + b"data: [DONE]\n\n"
    assert sent(ChatOpening(1), stream, step) == stream


def test_each_of_several_choices_opens_with_the_role() -> None:
    stream = chunk({"content": "a"}, 1) + chunk({"role": "assistant"}, 0) + chunk({"content": "b"}, 2)
    assert deltas(sent(ChatOpening(3), stream, 5)) == [
        (1, {"role": "assistant", "content": ""}),
        (1, {"content": "a"}),
        (0, {"role": "assistant"}),
        (2, {"role": "assistant", "content": ""}),
        (2, {"content": "b"}),
    ]


def test_an_empty_answer_opens_with_the_role_too() -> None:
    assert deltas(sent(ChatOpening(1), chunk({}), 10_000)) == [(0, {"role": "assistant", "content": ""}), (0, {})]
