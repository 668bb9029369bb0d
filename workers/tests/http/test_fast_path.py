"""A stream that passes the layers by is the same stream, and leaves the same figures, as one that each layer sees."""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import time
from typing import Any

import pytest
from http_door import Door, serving
from standin_streams import StandinStreams

from engineroom import plugins
from engineroom.asgi import FastPath, Message
from engineroom.settings import Environment, Layer
from engineroom.testing import running
from engineroom_workers.http.options import Options
from engineroom_workers.http.stack import Stack

CACHED = {"CACHE_TTL": "60"}
COUNTS = (
    "engineroom_prompt_tokens_total",
    "engineroom_completion_tokens_total",
    "engineroom_time_to_first_token_seconds_count",
    "engineroom_request_seconds_count",
)


def event(text: str, **more: Any) -> bytes:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", **more}
    chunk.setdefault("choices", [{"index": 0, "delta": {"content": text}, "finish_reason": None}])
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode()


TOKENS = [event(f"{number} ü") for number in range(50)]
USAGE = event("", choices=[], usage={"prompt_tokens": 7, "completion_tokens": 90, "total_tokens": 97})
NULL_USAGE = [event(f"{number}", usage=None) for number in range(9)]
DONE = b"data: [DONE]\n\n"
HALVES = [part for token in TOKENS[:9] for part in (token[:25], token[25:])]
ERROR = b'data: {"error": {"message": "it broke", "type": "server_error", "code": null}}\n\n'
STREAMS = {
    "a token in each": [*TOKENS, USAGE, DONE],
    "without usage": [*TOKENS, DONE],
    "usage and end in one": [*TOKENS, USAGE + DONE],
    "several in each": [b"".join(TOKENS[start : start + 3]) for start in range(0, 50, 3)] + [USAGE + DONE],
    "halves between": [*TOKENS[:20], *HALVES, *TOKENS[20:], USAGE, DONE],
    "comments between": [*TOKENS[:20], b": still here\n\n", *TOKENS[20:], b":\n\n", USAGE, DONE],
    "a comment before a token": [*TOKENS[:20], b": still here\n\n" + TOKENS[20], *TOKENS[21:], DONE],
    "no usage between": [*TOKENS[:20], *NULL_USAGE, *TOKENS[20:], USAGE, DONE],
    "usage amid the stream": [*TOKENS[:20], USAGE, *TOKENS[20:], DONE],
    "a large one between": [*TOKENS[:20], event("x" * 200_000), *TOKENS[20:], USAGE, DONE],
    "lines that end otherwise": [token.replace(b"\n", b"\r\n") for token in [*TOKENS, USAGE, DONE]],
    "an error": [*TOKENS, ERROR],
    "broken off": TOKENS,
    "broken off amid an event": [*TOKENS, TOKENS[0][:20]],
}


def answered(door: Door, version: int, **fields: Any) -> tuple[bytes, str | None]:
    """A stream, and what the cache says of it. A client of HTTP/1.0 gets no chunks: each piece goes layer by layer."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True, "temperature": 0, **fields}
    host, _, port = door.url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    connection._http_vsn = version  # type: ignore[attr-defined]
    connection._http_vsn_str = f"HTTP/1.{version % 10}"  # type: ignore[attr-defined]
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read(), answer.headers["cache-status"]
    finally:
        connection.close()


def figures(door: Door) -> list[float]:
    """What the metrics count, once the request has ended there, too."""
    deadline = time.monotonic() + 30
    while not door.metric("engineroom_request_seconds_count"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return [door.metric(name) for name in COUNTS]


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize(
    ("settings", "fields"),
    [({}, {}), ({}, {"stream_options": {"include_usage": True}}), (CACHED, {})],
    ids=["by default", "with usage", "with a cache"],
)
def test_it_is_the_same_stream(name: str, settings: dict[str, str], fields: dict[str, Any]) -> None:
    with StandinStreams(pieces=STREAMS[name]) as server:
        settings = {"ENGINE": "upstream", "UPSTREAM_URLS": server.url, **settings}
        with serving(settings) as quick, serving(settings) as careful:
            assert answered(quick, 11, **fields) == answered(careful, 10, **fields)
            assert figures(quick) == figures(careful)
            # How many pieces arrive together is chance.
            assert quick.metric("engineroom_inter_token_seconds_count") > 10
            assert answered(quick, 11, **fields) == answered(careful, 10, **fields), "what is kept is the same, too"


class Client:
    """The server's end of a response. passed: pieces that came past the layers; sent: messages that came through."""

    def __init__(self) -> None:
        self.passed: list[bytes] = []
        self.sent: list[Message] = []

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def fast_path(self) -> FastPath | None:
        return FastPath(self._write)

    def _write(self, piece: bytes) -> bool:
        self.passed.append(piece)
        return True


@pytest.mark.anyio
@pytest.mark.parametrize("settings", [{}, CACHED], ids=["by default", "with a cache"])
async def test_most_pieces_pass_the_layers_by(settings: dict[str, str]) -> None:
    body = json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True, "temperature": 0}
    ).encode()

    messages = [{"type": "http.request", "body": body}]

    async def receive() -> Message:
        if not messages:
            await asyncio.sleep(60)
        return messages.pop()

    with StandinStreams(pieces=STREAMS["a token in each"]) as server:
        upstream = {"ENGINE": "upstream", "UPSTREAM_URLS": server.url}
        setup = plugins.set_up(Environment([Layer("test", {**upstream, **settings}, owned=False)]), Options.load)
        async with running(setup.engine):
            client = Client()
            headers = [(b"content-type", b"application/json")]
            scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}
            gc.collect()
            gc.disable()
            try:
                await Stack(setup).app({**scope, "query_string": b""}, receive, client.send)
                left = [each for each in gc.get_objects() if isinstance(each, FastPath)]
            finally:
                gc.enable()
    assert not left, "nothing is to wait for a collection"
    text = b"".join(message.get("body", b"") for message in client.sent) + b"".join(client.passed)
    assert all(token in text for token in TOKENS)
    assert len(client.passed) > len(TOKENS) / 2
