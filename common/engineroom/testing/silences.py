"""Checks that heartbeats and an engine's streams go together, as in a door that makes its clients wait."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from ..asgi.client import request
from ..asgi.types import Receive, Scope, Send
from ..openai.heartbeats import COMMENT, HeartbeatStream
from ..openai.routes import CHAT_COMPLETIONS
from ..openai.sse import payloads
from .responses import QUESTION, error_of
from .target import Target

_HEARTBEAT_S = 0.05
_WAIT_S = 0.2


async def a_silent_stream_has_heartbeats(target: Target) -> None:
    """A stream that waits for its first event has heartbeats until then, and all of its events."""
    stream = await _stream_late(target, {"messages": QUESTION, "max_tokens": 8})
    assert stream.startswith(COMMENT), f"a stream that is silent begins with a heartbeat: {stream[:100]!r}"
    *events, last = payloads(stream)
    assert last == b"[DONE]", f"a stream with heartbeats goes on to [DONE]; it ended: {stream[-100:]!r}"
    for event in events:
        assert isinstance(_decoded(event), dict), f"heartbeats stand between events, not in them: {event!r}"


async def a_late_refusal_is_an_event(target: Target) -> None:
    """What is refused after a heartbeat is an event of the stream, with all that the refusal would have."""
    refused: dict[str, Any] = {"model": "no/such-model", "messages": QUESTION}
    expected = error_of(*await target.post(CHAT_COMPLETIONS, {**refused, "stream": True}), 404)
    stream = await _stream_late(target, refused)
    events = [_decoded(event) for event in payloads(stream)]
    assert events == [{"error": expected}], f"a refusal in a stream is the same as one with a status: {stream!r}"


async def _stream_late(target: Target, fields: Mapping[str, Any]) -> bytes:
    """A stream whose request reaches the engine only after a while."""
    body = {"model": await target.model(), **target.expects.fields, **fields, "stream": True}

    async def wait_and_ask(scope: Scope, receive: Receive, send: Send) -> None:
        stream = HeartbeatStream(CHAT_COMPLETIONS, send, _HEARTBEAT_S)
        try:
            await asyncio.sleep(_WAIT_S)
            async with target.call("POST", CHAT_COMPLETIONS, msgspec.json.encode(body)) as answer:
                headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
                await stream.send({"type": "http.response.start", "status": answer.status, "headers": headers})
                async for chunk in answer:
                    await stream.send({"type": "http.response.body", "body": chunk, "more_body": True})
                await stream.send({"type": "http.response.body", "body": b""})
        finally:
            await stream.close()

    async with request(wait_and_ask, "POST", CHAT_COMPLETIONS) as response:
        stream = await response.read()
        assert response.status == 200, f"a stream that waits has begun with 200; it was {response.status}: {stream!r}"
    return stream


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


CHECKS = (a_silent_stream_has_heartbeats, a_late_refusal_is_an_event)
