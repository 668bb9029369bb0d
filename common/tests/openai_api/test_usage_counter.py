"""Tokens counted beside an engine while its responses go by, whatever API they are of."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engineroom.asgi import Message, Receive, Scope, Send
from engineroom.errors import APIError
from engineroom.openai.body import Request, checked_request, with_request
from engineroom.openai.routes import CHAT_COMPLETIONS, EMBEDDINGS, MESSAGES, RESPONSES
from engineroom.openai.sse import MAX_EVENT, EventTooLargeError
from engineroom.openai.usage import TokenUsage, get_usage
from engineroom.openai.usage_counter import UsageCounter

USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def event(data: dict[str, Any], name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: " + msgspec.json.encode(data) + b"\n\n"


def delta(text: str) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text}}]})


class Responding:
    """An inner app that sends pieces of a body, and notes what is counted once each is sent.

    Args:
        looks: whether it asks for what has not been counted yet.
    """

    def __init__(
        self, pieces: list[bytes], kind: str = "text/event-stream", refuses: str = "", looks: bool = True
    ) -> None:
        self.pieces = pieces
        self.looks = looks
        self.kind = kind
        self.refuses = refuses
        self.requests: list[dict[str, Any] | None] = []
        self.counted: list[int] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        json = checked_request(scope).json
        self.requests.append(json)
        if self.refuses and json is not None and self.refuses in json:
            raise APIError(f"Extra inputs are not permitted: {self.refuses}", status=422)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", self.kind.encode())]})
        for piece in self.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            usage = get_usage(scope)
            if self.looks:
                usage.catch_up()
            self.counted.append(usage.completion_tokens)
        await send({"type": "http.response.body", "body": b""})


async def ask(app: Responding | UsageCounter, path: str, json: dict[str, Any]) -> tuple[TokenUsage, bytes]:
    """What is counted, and what the client gets."""
    body = bytearray()

    async def receive() -> Message:
        raise AssertionError("nothing is to be received")

    async def send(message: Message) -> None:
        body.extend(message.get("body", b""))

    scope = with_request({"type": "http", "path": path}, Request(msgspec.json.encode(json), json))
    usage = get_usage(scope)
    counter = app if isinstance(app, UsageCounter) else UsageCounter(app)
    await counter(scope, receive, send)
    return usage, bytes(body)


@pytest.mark.parametrize("size", [1, 30, 10_000])
async def test_a_chat_is_counted_as_it_streams_and_exact_in_the_end(size: int) -> None:
    role, words = event({"choices": [{"index": 0, "delta": {"role": "assistant"}}]}), [delta("a"), delta("b")] * 3
    stream = b"".join([role, *words, event({"choices": [], "usage": USAGE}), b"data: [DONE]\n\n"])
    app = Responding([stream[at : at + size] for at in range(0, len(stream), size)])
    usage, body = await ask(app, CHAT_COMPLETIONS, {"stream": True})
    assert app.requests == [{"stream": True, "stream_options": {"include_usage": True}}]
    assert (usage.prompt_tokens, usage.completion_tokens) == (7, 5)
    assert (usage.cached_tokens, usage.reasoning_tokens) == (4, 2)
    assert body == b"".join([role, *words, b"data: [DONE]\n\n"])
    if size == 30:
        assert len(set(app.counted)) > 3


async def test_a_client_that_asks_for_usage_gets_the_bytes_as_they_are() -> None:
    stream = [delta("a"), event({"choices": [], "usage": USAGE}), b"data: [DONE]\n\n"]
    json = {"stream": True, "stream_options": {"include_usage": True}}
    usage, body = await ask(Responding(stream), CHAT_COMPLETIONS, json)
    assert usage.reported == USAGE
    assert body == b"".join(stream)


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": True}}], ids=["left out", "asked for"])
async def test_the_usage_is_there_when_the_last_piece_goes_out(options: dict[str, Any]) -> None:
    """The cache keeps it with the answer at that moment."""
    pieces = [delta("a"), event({"choices": [], "usage": USAGE}) + b"data: [DONE]\n\n"]
    json = {"stream": True, **options}
    scope = with_request({"type": "http", "path": CHAT_COMPLETIONS}, Request(msgspec.json.encode(json), json))
    usage = get_usage(scope)
    seen: list[Any] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            seen.append(usage.reported)

    async def receive() -> Message:
        raise AssertionError("nothing is to be received")

    await UsageCounter(Responding(pieces))(scope, receive, send)
    assert seen == [USAGE]


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": True}}], ids=["left out", "asked for"])
async def test_a_long_stream_that_nobody_looks_at_is_counted_on_the_way(options: dict[str, Any]) -> None:
    """What is not counted is kept, which must not become the whole response."""
    app = Responding([delta("a")] * 200, looks=False)
    usage, _ = await ask(app, CHAT_COMPLETIONS, {"stream": True, **options})
    assert usage.completion_tokens == 198
    assert all(counted > pieces - 50 for pieces, counted in enumerate(app.counted))


async def test_who_looks_does_not_get_the_error_of_a_broken_stream() -> None:
    """An event without end breaks its own stream, and not the metrics."""
    app = Responding([b"data: " + b"x" * (MAX_EVENT + 1)])
    with pytest.raises(EventTooLargeError):
        await ask(app, CHAT_COMPLETIONS, {"stream": True, "stream_options": {"include_usage": True}})
    assert app.counted == [0], "it has been looked at before the stream broke"


async def test_a_stream_that_never_tells_is_counted_by_its_events() -> None:
    usage, _ = await ask(Responding([delta("a")] * 10), CHAT_COMPLETIONS, {"stream": True})
    assert (usage.completion_tokens, usage.reported) == (8, None)


async def test_a_server_that_does_not_know_the_field_is_asked_once() -> None:
    app = Responding([delta("a")], refuses="stream_options")
    counter = UsageCounter(app)
    for _ in range(2):
        await ask(counter, CHAT_COMPLETIONS, {"stream": True})
    assert ["stream_options" in (json or {}) for json in app.requests] == [True, False, False]
    with pytest.raises(APIError):
        await ask(Responding([], refuses="other"), CHAT_COMPLETIONS, {"stream": True, "other": 1})


async def test_whole_responses() -> None:
    body = msgspec.json.encode({"data": [{"embedding": [0.1] * 9}], "usage": {"prompt_tokens": 3, "total_tokens": 3}})
    usage, same = await ask(Responding([body[:20], body[20:]], "application/json"), EMBEDDINGS, {"input": "a"})
    assert (usage.prompt_tokens, usage.completion_tokens, same) == (3, 0, body)


async def test_messages_and_responses() -> None:
    message = [
        event(
            {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}}, "message_start"
        ),
        *[event({"type": "content_block_delta", "delta": {}}, "content_block_delta")] * 4,
        event({"type": "message_delta", "usage": {"output_tokens": 5}}, "message_delta"),
    ]
    app = Responding(message)
    usage, _ = await ask(app, MESSAGES, {"stream": True})
    assert (usage.prompt_tokens, app.counted) == (9, [1, 1, 2, 3, 4, 5])

    response = {"usage": {"input_tokens": 4, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 1}}}
    text = [event({"type": "response.output_text.delta"}, "response.output_text.delta")] * 2
    app = Responding([*text, event({"type": "response.completed", "response": response}, "response.completed")])
    usage, _ = await ask(app, RESPONSES, {"stream": True})
    assert (usage.prompt_tokens, usage.cached_tokens, app.counted) == (4, 1, [1, 2, 3])


async def test_where_nobody_wants_it_nothing_is_asked() -> None:
    app = Responding([delta("a")])
    json = {"stream": True}
    parts: list[Message] = []

    async def send(message: Message) -> None:
        parts.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is to be received")

    scope = with_request({"type": "http", "path": CHAT_COMPLETIONS}, Request(None, json))
    await UsageCounter(app)(scope, receive, send)
    assert app.requests == [json]
