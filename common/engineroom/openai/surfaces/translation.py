"""What a surface makes of one request: a chat request, and of the chat's answer its own."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ...errors import APIError
from ..usage import TokenUsage
from .chat_reader import AnswerPiece, ChatReader
from .field_paths import FieldPaths

encode = msgspec.json.Encoder().encode


class Translation(ABC):
    """One request of a surface over chat completions.

    The app calls `begin`, `add` for each chunk's pieces, and `end`; or `fail` in place of what is left. Each returns
    the bytes of the events that a streaming client gets; `body` is the whole response once `end` was called.

    chat: the chat request.
    paths: for the chat's errors.
    stream: whether the client asked for events.
    stops: stop strings that the engine leaves in the text.
    """

    chat: dict[str, Any]
    paths: FieldPaths
    stream: bool
    stops: Sequence[str] = ()

    @abstractmethod
    def begin(self, usage: TokenUsage) -> bytes:
        """The events before the answer; `usage` has the prompt's tokens where they are known by now."""

    @abstractmethod
    def add(self, pieces: Iterable[AnswerPiece]) -> bytes:
        """The events of the next pieces."""

    @abstractmethod
    def end(self, reader: ChatReader, usage: TokenUsage) -> bytes:
        """The events that end the answer."""

    @abstractmethod
    def fail(self, error: APIError) -> bytes:
        """The events that end a stream which an error breaks off."""

    @abstractmethod
    def body(self) -> bytes:
        """The whole response."""

    async def keep(self) -> None:  # noqa: B027 - most keep nothing
        """Keep what clients may come back to; called after `end`, before they hear of it."""

    def shortened(self) -> dict[str, Any] | None:
        """The chat request with less of the conversation, where the client allows that; None where it does not."""
        return None


def event_bytes(event: Mapping[str, Any]) -> bytes:
    """One event as both surfaces frame theirs: named by its type."""
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), encode(event))


def surface_id(prefix: str) -> str:
    """A new id, e.g. `msg_…`."""
    return f"{prefix}_{secrets.token_hex(24)}"
