"""The blocks of a message while they are made, each with the events that tell a client of it."""

from __future__ import annotations

import base64
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import msgspec

from ..chat_reader import AnswerPiece, CallArguments, ReasoningPiece, RefusalPiece, TextPiece
from ..translation import surface_id


class ContentBlock(ABC):
    """One block; `index` is its place in the message."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._text = ""

    @abstractmethod
    def takes(self, piece: AnswerPiece) -> bool:
        """Whether a piece goes on with this block; if not, the block is over."""

    @abstractmethod
    def block(self) -> dict[str, Any]:
        """The block as it is now."""

    @abstractmethod
    def _delta(self, text: str) -> dict[str, Any]:
        """What a delta event says of more text."""

    def open(self) -> dict[str, Any]:
        """The event that it begins with."""
        return {"type": "content_block_start", "index": self._index, "content_block": self.block()}

    def add(self, text: str) -> Iterator[dict[str, Any]]:
        """The events of more of its text."""
        self._text += text
        yield self._event(self._delta(text))

    def close(self) -> Iterator[dict[str, Any]]:
        """The events that it ends with."""
        yield {"type": "content_block_stop", "index": self._index}

    def _event(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}


class TextBlockOutput(ContentBlock):
    """What the model says."""

    def takes(self, piece: AnswerPiece) -> bool:
        return isinstance(piece, (TextPiece, RefusalPiece))

    def block(self) -> dict[str, Any]:
        # Anthropic's specification demands the field, and the AI SDK takes no null for it.
        return {"type": "text", "text": self._text, "citations": []}

    def _delta(self, text: str) -> dict[str, Any]:
        return {"type": "text_delta", "text": text}


class ThinkingBlockOutput(ContentBlock):
    """What the model thinks. Clients leave out blocks without a signature; this one's vouches for nothing."""

    def takes(self, piece: AnswerPiece) -> bool:
        return isinstance(piece, ReasoningPiece)

    def block(self) -> dict[str, Any]:
        return {"type": "thinking", "thinking": self._text, "signature": self._signature() if self._text else ""}

    def _delta(self, text: str) -> dict[str, Any]:
        return {"type": "thinking_delta", "thinking": text}

    def close(self) -> Iterator[dict[str, Any]]:
        yield self._event({"type": "signature_delta", "signature": self._signature()})
        yield from super().close()

    def _signature(self) -> str:
        return base64.b64encode(hashlib.sha256(self._text.encode()).digest()).decode()


class ToolUseBlockOutput(ContentBlock):
    """A tool that the model wants to have used."""

    def __init__(self, index: int, name: str) -> None:
        super().__init__(index)
        self._id = surface_id("toolu")
        self._name = name

    def takes(self, piece: AnswerPiece) -> bool:
        return isinstance(piece, CallArguments)

    def open(self) -> dict[str, Any]:
        return {"type": "content_block_start", "index": self._index, "content_block": {**self.block(), "input": {}}}

    def block(self) -> dict[str, Any]:
        caller = {"type": "direct"}
        return {"type": "tool_use", "id": self._id, "name": self._name, "input": _object(self._text), "caller": caller}

    def _delta(self, text: str) -> dict[str, Any]:
        return {"type": "input_json_delta", "partial_json": text}


def _object(text: str) -> dict[str, Any]:
    """A tool's input. A whole message cannot hold one that `max_tokens` cut off."""
    try:
        value = msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}
