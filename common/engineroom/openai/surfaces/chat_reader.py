"""A chat's stream read as what its answer consists of, whatever order and quirks the server's chunks have."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from ...errors import APIError
from ..stop_strings import TextCutter
from ..upstream_errors import from_upstream


class TextPiece(msgspec.Struct):
    """More of the text; `logprobs` as a chat's entries have them, where they were asked for."""

    text: str
    logprobs: list[dict[str, Any]] = []


class ReasoningPiece(msgspec.Struct):
    """More of what the model thinks before it answers."""

    text: str


class RefusalPiece(msgspec.Struct):
    """More of a refusal to answer."""

    text: str


class CallStart(msgspec.Struct):
    """A tool call begins, and any before it is over; `call_id` is the chat's own."""

    call_id: str
    name: str


class CallArguments(msgspec.Struct):
    """More of the JSON text of the last call's arguments."""

    text: str


AnswerPiece: TypeAlias = TextPiece | ReasoningPiece | RefusalPiece | CallStart | CallArguments


class _PendingCall:
    """A tool call whose name may still have to come."""

    def __init__(self) -> None:
        self.call_id = ""
        self.name = ""
        self.arguments = ""
        self.started = False


class ChatReader:
    """Reads the first choice of one streamed chat.

    White space before a text is held back until there is more of it: models write line feeds before their tool calls,
    and those are no text.

    Args:
        stops: stop strings that the engine leaves at the end of the text, where it is to be seen which one ended it.

    finish_reason: the chat's; None until it has come.
    stop_sequence: the stop string that ended the text, where that is known.
    usage: the chat's, where an event had it.
    called: whether there was a tool call.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self.finish_reason: str | None = None
        self.stop_sequence: str | None = None
        self.usage: dict[str, Any] | None = None
        self.called = False
        self._cutter = TextCutter(stops) if stops else None
        self._space = TextPiece("")
        self._in_text = False
        self._silent = True
        self._calls: dict[int, _PendingCall] = {}
        self._current: _PendingCall | None = None

    def read(self, event: Mapping[str, Any]) -> Iterator[AnswerPiece]:
        """What one chunk adds.

        Raises:
            APIError: the chunk is an error, or the server goes on with a tool call after the next has begun.
        """
        if event.get("error"):
            raise from_upstream(500, msgspec.json.encode(event))
        if event.get("usage"):
            self.usage = event["usage"]
        for choice in event.get("choices") or ():
            if not choice.get("index"):
                yield from self._read_choice(choice)

    def finish(self) -> Iterator[AnswerPiece]:
        """What was held back, once the last chunk is read."""
        if self._cutter is not None and not self._cutter.stopped:
            yield from self._read_text(self._cutter.finish(), [])
        if self._silent and self._space.text:
            yield self._space
        for call in self._calls.values():
            if not call.started:
                yield from self._start(call)

    def _read_choice(self, choice: Mapping[str, Any]) -> Iterator[AnswerPiece]:
        delta = choice.get("delta") or {}
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if reasoning and isinstance(reasoning, str):
            self._leave_text()
            yield ReasoningPiece(reasoning)
        yield from self._read_text(self._cut(_text_of(delta.get("content"))), _logprobs_of(choice))
        if delta.get("refusal"):
            self._leave_text()
            yield RefusalPiece(delta["refusal"])
        for position, call in enumerate(delta.get("tool_calls") or ()):
            self._leave_text()
            yield from self._read_call(call, position)
        if choice.get("finish_reason"):
            self.finish_reason = choice["finish_reason"]
        stop = choice.get("stop_reason", choice.get("matched_stop"))
        if isinstance(stop, str):
            self.stop_sequence = stop

    def _cut(self, text: str) -> str:
        if self._cutter is None or not text:
            return text
        if self._cutter.stopped:
            return ""
        text = self._cutter.feed(text.encode())
        self.stop_sequence = self._cutter.stop or self.stop_sequence
        return text

    def _read_text(self, text: str, logprobs: list[dict[str, Any]]) -> Iterator[AnswerPiece]:
        if not text:
            return
        piece = TextPiece(self._space.text + text, [*self._space.logprobs, *logprobs])
        if self._in_text or piece.text.strip():
            self._space = TextPiece("")
            self._in_text = True
            self._silent = False
            yield piece
        else:
            self._space = piece

    def _leave_text(self) -> None:
        self._in_text = False
        self._silent = False
        self._space = TextPiece("")

    def _read_call(self, part: Mapping[str, Any], position: int) -> Iterator[AnswerPiece]:
        index = part.get("index")
        index = position if index is None else index
        function = part.get("function") or {}
        call = self._calls.get(index)
        another = call is not None and function.get("name") and part.get("id") not in (None, "", call.call_id)
        if call is None or another:
            call = self._calls[index] = _PendingCall()
        call.call_id = call.call_id or part.get("id") or ""
        call.name = call.name or function.get("name") or ""
        arguments = function.get("arguments") or ""
        if call.started:
            if call is not self._current:
                raise APIError("The engine mixed up its tool calls.", status=502, code="engine_error")
            if arguments:
                yield CallArguments(arguments)
            return
        call.arguments += arguments
        if call.name:
            yield from self._start(call)

    def _start(self, call: _PendingCall) -> Iterator[AnswerPiece]:
        self.called = True
        self._current = call
        call.started = True
        yield CallStart(call.call_id or f"call_{secrets.token_hex(12)}", call.name)
        if call.arguments:
            yield CallArguments(call.arguments)


def _text_of(content: Any) -> str:
    """A delta's text; some servers send it as parts."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, Mapping))
    return content or ""


def _logprobs_of(choice: Mapping[str, Any]) -> list[dict[str, Any]]:
    return (choice.get("logprobs") or {}).get("content") or []
