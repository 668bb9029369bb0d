"""The chunk with the role, with which each choice of a streamed chat opens, put in where a server sends none.

Some servers skip it where the first token is half a character. Clients rely on it: OpenAI's own for Node ends a stream
without it as broken.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from .sse import EventSplitter, encode, payloads, split_events

_FIRST = {0}
_OPENED = re.compile(rb'data: ?\{[^\n]*"delta": ?\{[^{}\n]*"role": ?"[^\n]*\}\r?\n\r?\n')
"""A first event, whole, whose choice has its role: what most streams begin with, known without decoding it. Within a
JSON string the quotes would be escaped."""
_UNOPENED = re.compile(rb'data: ?(\{[^{}\[\]\n]*"choices": ?\[\{"index": ?0, ?"delta": ?)\{[^{}\n]*\}')
"""What most of the others begin with: the event up to its choice's delta, and that, where nothing else is inside it."""
_ROLE = b'"role"'
_ROLE_CHOICE = b'{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}'


class ChatOpening:
    """One stream on its way to the client, until all its choices have opened.

    Args:
        choices: how many the request asks for.

    complete: whether all have opened; what comes then needs to be looked at no more.
    """

    def __init__(self, choices: Any) -> None:
        self._splitter = EventSplitter()
        self._closed = set(range(choices)) if isinstance(choices, int) and choices > 1 else {0}

    @property
    def complete(self) -> bool:
        return not self._closed

    def feed(self, chunk: bytes) -> bytes:
        """The bytes to send for a piece of the stream: whole events, until all choices have opened."""
        if self._closed == _FIRST and not self._splitter.rest:
            if chunk.find(_ROLE) >= 0:
                if _OPENED.match(chunk):
                    self._closed = set()
                    return chunk
            elif unopened := _UNOPENED.match(chunk):
                self._closed = set()
                return encode(unopened[1] + _ROLE_CHOICE) + chunk
        events = self._splitter.feed(chunk)
        body = b""
        looked_at = 0
        for event in split_events(events):
            for data in payloads(event):
                body += b"".join(map(encode, self.openings(data)))
            body += event
            looked_at += len(event)
            if self.complete:
                return body + events[looked_at:] + self._splitter.rest
        return body

    def finish(self) -> bytes:
        """What is left where the stream ends before all choices have opened."""
        return b"" if self.complete else self._splitter.rest

    def openings(self, data: bytes) -> list[bytes]:
        """What to send before an event: an opening chunk for each choice that begins with it and lacks the role."""
        if self.complete:
            return []
        try:
            event = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return []  # `[DONE]`, or something for others to judge.
        choices = event.get("choices") if isinstance(event, dict) else None
        return [_opening(event, index) for index in self._unopened(choices)]

    def _unopened(self, choices: Any) -> list[int]:
        """The choices that begin with this event and lack a role."""
        begun: list[int] = []
        for choice in choices if isinstance(choices, list) else ():
            index = choice.get("index") or 0
            if index in self._closed:
                self._closed.discard(index)
                if not (choice.get("delta") or {}).get("role"):
                    begun.append(index)
        return begun


def _opening(event: dict[str, Any], index: int) -> bytes:
    envelope = {name: event[name] for name in event if name in ("id", "object", "created", "model")}
    if "system_fingerprint" in event:
        envelope["system_fingerprint"] = event["system_fingerprint"]
    choice = {"index": index, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    return msgspec.json.encode({**envelope, "choices": [choice]})
