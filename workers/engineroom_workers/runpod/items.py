"""What is sent for an OpenAI answer: items of whole events for a stream, one JSON value for anything else."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from engineroom.asgi import Response
from engineroom.openai.sse import EventSplitter, payloads

LARGEST_ITEM = 1_000_000
"""Bytes of JSON; RunPod takes at most 1 MB for one item of a stream."""

_JSON_BYTES = 6
"""The most that one character takes in JSON."""

_EVENT = re.compile(rb".*?\n\r?\n", re.DOTALL)


class Events:
    """The whole events of a streamed response, as they come: a `Source` of bytes.

    Args:
        single: whether each piece is one event; otherwise a piece is all that there is, which costs less.
    """

    def __init__(self, response: Response, single: bool) -> None:
        self._response = response
        self._single = single
        self._splitter = EventSplitter()
        self._whole = b""

    @property
    def ended(self) -> bool:
        return self._response.ended

    async def wait(self) -> bool:
        while not self._whole:
            if not await self._response.wait():
                # A stream that was cut off amid an event: what there is of it is for the client to judge.
                self._whole = self._splitter.feed(b"\n\n") if self._splitter.rest.strip() else b""
                return bool(self._whole)
            self._collect()
        return True

    def drain(self) -> list[bytes]:
        self._collect()
        whole, self._whole = self._whole, b""
        return _EVENT.findall(whole) if self._single else [whole]

    def _collect(self) -> None:
        if chunks := self._response.drain():
            self._whole += self._splitter.feed(b"".join(chunks))


def text_items(events: bytes) -> Iterator[str]:
    """Whole events as text, for RunPod's OpenAI route, which puts the items of a stream together verbatim."""
    return within(events.decode("utf-8", "replace"), LARGEST_ITEM)


def object_items(events: bytes) -> Iterator[list[Any]]:
    """Whole events as one list of their objects; `[DONE]` is not one."""
    if found := [msgspec.json.decode(data) for data in payloads(events) if data != b"[DONE]"]:
        yield found


def within(text: str, limit: int) -> Iterator[str]:
    """`text` in pieces of at most `limit` bytes of JSON: cut between events, inside one only where it is larger."""
    if len(text) * _JSON_BYTES <= limit or len(msgspec.json.encode(text)) <= limit:
        yield text
        return
    middle = len(text) // 2
    cut = text.rfind("\n\n", 0, middle) + 2
    if cut < 2:
        cut = text.find("\n\n", middle) + 2
    if cut < 2 or cut >= len(text):
        cut = middle
    yield from within(text[:cut], limit)
    yield from within(text[cut:], limit)


def whole_item(content_type: str, body: bytes) -> Any:
    """An answer that is not a stream: JSON as its value, text as a string, anything else in base64."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json":
        return msgspec.json.decode(body)
    if kind.startswith("text/"):
        return body.decode("utf-8", "replace")
    return {"content_type": kind, "base64": base64.b64encode(body).decode()} if body else None
