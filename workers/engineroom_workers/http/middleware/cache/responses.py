"""From an answer that went by to one that can be kept, and from a kept one to what a client asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from engineroom.asgi import Headers, Message, Send, header, send_body
from engineroom.errors import APIError
from engineroom.openai.aggregate import Aggregator
from engineroom.openai.sse import DONE, HEADERS, encode, payloads
from engineroom.openai.usage import TokenUsage

_DELTA_LATER = frozenset({"index", "message", "finish_reason"})


class Recorder:
    """Passes an answer on and remembers it, as long as it is a good one of at most `limit` bytes.

    Args:
        usage: of this request, where it is counted: a stream does not tell it to a client that did not ask, and the
            answer is kept with it all the same.
        keep: gets the whole answer as JSON, if there is one to keep, before the client has the last of it: whoever asks
            the same again then finds it.

    whole: whether it has come to its end, good or not.
    """

    def __init__(
        self, send: Send, limit: int, usage: TokenUsage | None, keep: Callable[[bytes], Awaitable[None]]
    ) -> None:
        self._send = send
        self._usage = usage
        self._keep = keep
        self._room = limit
        self._parts: list[bytes] = []
        self._streamed = False
        self._good = False
        self.whole = False
        self.send: Send = self._record

    async def _record(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = header(message, b"content-type") or b""
            self._streamed = kind.startswith(b"text/event-stream")
            self._good = message["status"] == 200 and (self._streamed or kind.startswith(b"application/json"))
        else:
            self.whole = not message.get("more_body")
            if self._good:
                body = message.get("body", b"")
                self._parts.append(body)
                self._room -= len(body)
                self._good = self._room >= 0
            if self._good and self.whole and (answer := self._answer()) is not None:
                await self._keep(answer)
        await self._send(message)

    def _answer(self) -> bytes | None:
        body = b"".join(self._parts)
        if not self._streamed:
            return body
        return _joined(body, None if self._usage is None else self._usage.reported)


def _joined(events: bytes, usage: Mapping[str, Any] | None) -> bytes | None:
    aggregator = Aggregator()
    *chunks, last = payloads(events) or [b""]
    if last != b"[DONE]":
        return None
    try:
        for chunk in chunks:
            aggregator.add(msgspec.json.decode(chunk))
    except (APIError, msgspec.DecodeError):
        return None  # It ended in an error, which the client has seen.
    answer = aggregator.answer()
    if usage is not None:
        answer.setdefault("usage", usage)
    return msgspec.json.encode(answer)


def suits(body: bytes, request: Mapping[str, Any]) -> bool:
    """Whether a kept answer has all that is asked for: one that was streamed may lack its usage."""
    options = request.get("stream_options") or {}
    needs_usage = not request.get("stream") or (isinstance(options, dict) and options.get("include_usage"))
    return not needs_usage or b'"usage":' in body


async def send_answer(send: Send, body: bytes, request: Mapping[str, Any], headers: Headers) -> None:
    """Send a kept answer, streamed if that is what the request asks for."""
    if not request.get("stream"):
        await send_body(send, 200, body, b"application/json", headers)
        return
    await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *headers]})
    await send({"type": "http.response.body", "body": _events(msgspec.json.decode(body), request)})


def _events(answer: dict[str, Any], request: Mapping[str, Any]) -> bytes:
    chat = answer.get("object") == "chat.completion"
    usage = answer.get("usage")
    tell_usage = bool((request.get("stream_options") or {}).get("include_usage"))
    head = {name: value for name, value in answer.items() if name not in ("choices", "usage")}
    if chat:
        head["object"] = "chat.completion.chunk"
    tail: dict[str, Any] = {"usage": None} if tell_usage else {}
    chunks: list[dict[str, Any]] = []
    for choice in answer.get("choices", ()):
        if not chat:
            chunks.append({**head, "choices": [choice], **tail})
            continue
        others = {name: value for name, value in choice.items() if name not in _DELTA_LATER}
        delta = {name: value for name, value in choice.get("message", {}).items() if value is not None}
        first = {"index": choice["index"], "delta": delta, **others, "finish_reason": None}
        last = {"index": choice["index"], "delta": {}, "finish_reason": choice.get("finish_reason")}
        chunks += [{**head, "choices": [first], **tail}, {**head, "choices": [last], **tail}]
    if tell_usage:
        chunks.append({**head, "choices": [], "usage": usage})
    return b"".join(encode(msgspec.json.encode(chunk)) for chunk in chunks) + DONE
