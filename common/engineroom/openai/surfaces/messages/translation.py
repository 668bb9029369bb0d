"""One Messages request over a chat: the request, its events, and the message."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from ....errors import APIError
from ...errors import error_event
from ...routes import MESSAGES
from ...usage import TokenUsage
from ..chat_reader import AnswerPiece, CallStart, ChatReader, ReasoningPiece, TextPiece
from ..translation import Translation, encode, event_bytes, surface_id
from .content_blocks import ContentBlock, TextBlockOutput, ThinkingBlockOutput, ToolUseBlockOutput
from .request import INCLUDE_STOP, checked_messages_request, to_chat_request
from .schema import ThinkingOff

_REASONS = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
"""A chat's reasons to end -> those of Messages; `end_turn` for any other."""


_NO_USAGE = {"cache_creation": None, "inference_geo": None, "service_tier": "standard"}
"""What a message's usage tells beside tokens, and what an event's does not."""


class MessagesTranslation(Translation):
    """One POST /v1/messages.

    Args:
        json: the request.
        known: the engine's parameters beyond OpenAI's.

    Raises:
        APIError: the request is wrong, or asks for what is not served.
    """

    def __init__(self, json: dict[str, Any], known: Collection[str]) -> None:
        request = checked_messages_request(json)
        self.chat, self.paths = to_chat_request(request, json, known)
        self.stream = bool(request.stream)
        self._stops = request.stop_sequences or []
        self.stops = self._stops if INCLUDE_STOP in self.chat else ()
        # Who did not ask for thinking expects the text in the first block.
        thinking = request.thinking
        omitted = thinking is None or isinstance(thinking, ThinkingOff)
        self._shows_thinking = not omitted and getattr(thinking, "display", None) != "omitted"
        self._block: ContentBlock | None = None
        self._content: list[dict[str, Any]] = []
        self._message: dict[str, Any] = {
            "id": surface_id("msg"),
            "type": "message",
            "role": "assistant",
            "model": request.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "container": None,
        }

    def begin(self, usage: TokenUsage) -> bytes:
        message = {**self._message, "usage": {**_usage(usage), **_NO_USAGE, "output_tokens": 0}}
        return event_bytes({"type": "message_start", "message": message})

    def add(self, pieces: Iterable[AnswerPiece]) -> bytes:
        return b"".join(event_bytes(event) for piece in pieces for event in self._piece(piece))

    def end(self, reader: ChatReader, usage: TokenUsage) -> bytes:
        return b"".join(map(event_bytes, self._ending(reader, usage)))

    def fail(self, error: APIError) -> bytes:
        return error_event(error, MESSAGES)

    def body(self) -> bytes:
        return encode(self._message)

    def _piece(self, piece: AnswerPiece) -> Iterator[dict[str, Any]]:
        if isinstance(piece, ReasoningPiece) and not self._shows_thinking:
            return
        if self._block is None or not self._block.takes(piece):
            yield from self._close_block()
            first = not self._content
            self._block = self._new_block(piece)
            yield self._block.open()
            if first:
                yield {"type": "ping"}
        if not isinstance(piece, CallStart) and piece.text:
            yield from self._block.add(piece.text)

    def _new_block(self, piece: AnswerPiece) -> ContentBlock:
        index = len(self._content)
        if isinstance(piece, CallStart):
            return ToolUseBlockOutput(index, piece.name)
        return ThinkingBlockOutput(index) if isinstance(piece, ReasoningPiece) else TextBlockOutput(index)

    def _close_block(self) -> Iterator[dict[str, Any]]:
        if self._block is not None:
            yield from self._block.close()
            self._content.append(self._block.block())
            self._block = None

    def _ending(self, reader: ChatReader, usage: TokenUsage) -> Iterator[dict[str, Any]]:
        if self._block is None and not self._content:
            # Also who has nothing to say says it in a block: clients read the first one.
            yield from self._piece(TextPiece(""))
        yield from self._close_block()
        reason = _REASONS.get(reader.finish_reason or "", "end_turn")
        sequence = reader.stop_sequence if reader.stop_sequence in self._stops else None
        if reason == "end_turn" and reader.called:
            reason = "tool_use"
        elif reason == "end_turn" and sequence is not None:
            reason = "stop_sequence"
        stop = {"stop_reason": reason, "stop_sequence": sequence if reason == "stop_sequence" else None}
        self._message |= {"content": self._content, **stop, "usage": {**_usage(usage), **_NO_USAGE}}
        yield {"type": "message_delta", "delta": stop, "usage": _usage(usage)}
        yield {"type": "message_stop"}


def _usage(usage: TokenUsage) -> dict[str, Any]:
    """Anthropic counts what came from a cache apart from the rest of the prompt."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
        "server_tool_use": None,
    }
