"""Streams of many shapes, made shorter: the answer that they are stays the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom.openai.aggregate import CompletionAggregator
from engineroom.openai.merged_events import EventMerger
from engineroom.openai.sse import DONE, encode, payloads

HEAD = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def chunk(choice: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [choice], **fields}


def choice(index: int = 0, *, end: dict[str, Any] | None = None, **delta: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, **({"logprobs": None, "finish_reason": None} if end is None else end)}


LIKE: dict[str, Callable[[str], dict[str, Any]]] = {
    "content": lambda text: chunk(choice(content=text)),
    "content of another choice": lambda text: chunk(choice(1, content=text)),
    "reasoning": lambda text: chunk(choice(reasoning_content=text)),
    "role each time": lambda text: chunk(choice(role="assistant", content=text)),
    "nulls and numbers": lambda text: chunk(
        choice(content=text, tool_calls=None, end={"finish_reason": None, "token": 7, "stop_reason": None}), usage=None
    ),
    "the choices first": lambda text: {
        "choices": [{"finish_reason": None, "index": 0, "delta": {"content": text}}],
        **HEAD,
        "system_fingerprint": "f",
    },
    "text of a completion": lambda text: chunk({"index": 0, "text": text, "logprobs": None, "finish_reason": None}),
}
"""Events of which neighbours become one."""
UNLIKE: dict[str, Callable[[str], dict[str, Any]]] = {
    "two texts": lambda text: chunk(choice(content=text, reasoning_content="same")),
    "token ids": lambda text: chunk(choice(content=text, end={"token_ids": [5]})),
    "logprobs": lambda text: chunk(choice(content=text, end={"logprobs": {"content": [{"token": text}]}})),
    "a string beside the delta": lambda text: chunk(choice(content=text, end={"mood": "calm"})),
    "a string before the delta": lambda text: chunk({"mood": "calm", **choice(content=text)}),
    "parts": lambda text: chunk(choice(content=[{"type": "text", "text": text}])),
    "two choices": lambda text: {**HEAD, "choices": [choice(content=text), choice(1, content="same")]},
    "calls": lambda text: chunk(choice(tool_calls=[{"index": 0, "function": {"arguments": text}}])),
    "a role": lambda text: chunk(choice(role="assistant")),
    "no text": lambda text: chunk(choice(content=None)),
    "the end": lambda text: chunk(choice(content=text, end={"finish_reason": "stop"})),
    "usage": lambda text: {**HEAD, "choices": [], "usage": {"completion_tokens": len(text)}},
    "an error": lambda text: {"error": {"message": text, "type": "server_error"}},
    "not OpenAI's": lambda text: {**HEAD, "text": text},
}
"""Events that say more than a text."""
EVENTS = LIKE | UNLIKE

texts = st.text('a"\\\n{}[]:,ü😀', max_size=4)
runs = st.lists(st.tuples(st.sampled_from(sorted(EVENTS)), st.lists(texts, min_size=1, max_size=5)), max_size=6)
encodings = st.sampled_from([{"separators": (",", ":")}, {"separators": (",", ":"), "ensure_ascii": False}, {}])
framings = st.sampled_from([b"\n\n", b"\r\n\r\n", b"\n\n: ping\n\n"])
places = st.lists(st.integers(0, 10_000), max_size=30)


def answer(stream: bytes) -> Any:
    """What a stream says, as JSON in the order of its fields; the error instead, where it ends in one."""
    aggregator = CompletionAggregator()
    try:
        for data in payloads(stream):
            if data != b"[DONE]":
                aggregator.add(json.loads(data))
        return json.dumps(aggregator.response())
    except Exception as error:
        return str(error)


def merged(pieces: Iterable[bytes]) -> bytes:
    merger = EventMerger()
    for piece in pieces:
        merger.add(piece)
    return merger.events()


@given(runs, encodings, framings, st.booleans(), places)
def test_the_shorter_stream_says_the_same(
    runs: list[tuple[str, list[str]]], encoding: dict[str, Any], framing: bytes, whole: bool, places: list[int]
) -> None:
    events = [EVENTS[shape](text) for shape, texts in runs for text in texts]
    pieces = [b"data: " + json.dumps(event, **encoding).encode() + framing for event in events] + [DONE]
    stream = b"".join(pieces)
    units = pieces if whole else [stream[place : place + 1] for place in range(len(stream))]
    ends = sorted({place % (len(units) + 1) for place in places} | {0, len(units)})
    shorter = merged(b"".join(units[a:b]) for a, b in pairwise(ends))
    assert answer(shorter) == answer(stream)
    assert payloads(shorter)[-1] == b"[DONE]"


@pytest.mark.parametrize("shape", LIKE)
@pytest.mark.parametrize("together", [1, 3])
def test_events_that_differ_by_their_text_become_one(shape: str, together: int) -> None:
    texts = [f'{number}"\\\n ü' for number in range(300)]
    events = [encode(json.dumps(LIKE[shape](text), separators=(",", ":")).encode()) for text in texts]
    stream = [b"".join(events[start : start + together]) for start in range(0, len(events), together)]
    shorter = merged([*stream, DONE])
    assert answer(shorter) == answer(b"".join(events))
    # The first one cannot be known to have others like it, and the second only shows what to expect.
    assert len(payloads(shorter)) <= 2 * together + 2


def test_an_event_that_comes_amid_like_ones_in_one_piece_stays() -> None:
    like, other = (
        [encode(json.dumps(EVENTS[shape](text), separators=(",", ":")).encode()) for text in "abcd"]
        for shape in ("content", "reasoning")
    )
    stream = [like[0], like[1], like[2] + other[0] + like[3], like[0]]
    assert answer(merged(stream)) == answer(b"".join(stream))


@pytest.mark.parametrize("shape", UNLIKE)
def test_events_that_say_more_are_left_as_they_are(shape: str) -> None:
    events = [encode(json.dumps(UNLIKE[shape](str(number)), separators=(",", ":")).encode()) for number in range(30)]
    assert merged(events) == b"".join(events)
