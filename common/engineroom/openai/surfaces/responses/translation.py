"""One Responses request over a chat: the request, its events, and the response."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from typing_extensions import Self

from ....errors import APIError
from ...usage import TokenUsage
from ..chat_reader import AnswerPiece, CallStart, ChatReader, ReasoningPiece, TextPiece
from ..translation import Translation, encode, event_bytes, surface_id
from .items import FunctionName
from .output_items import FunctionCallOutput, MessageOutput, OutputItem, ReasoningOutput
from .request import checked_request, to_chat, to_items
from .schema import ResponsesRequest
from .store import ResponseStore, StoredResponse

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""A chat's reasons to end early -> those of Responses."""


class ResponsesTranslation(Translation):
    """One POST /v1/responses.

    Args:
        request: checked.
        json: the same as it came.
        earlier: the items of the conversation that it goes on from.
        items: those of its own input.
        store: gets the response.

    Raises:
        APIError: the request asks for what is not served.
    """

    def __init__(
        self,
        request: ResponsesRequest,
        json: dict[str, Any],
        earlier: Sequence[dict[str, Any]],
        items: Sequence[dict[str, Any]],
        store: ResponseStore,
    ) -> None:
        self._request = request
        self._store = store
        self._items = items
        self._kept: tuple[StoredResponse, bytes] | None = None
        self.chat, self.paths, self._functions = to_chat(request, json, earlier, items)
        self.stream = bool(request.stream)
        self._sequence = 0
        self._item: OutputItem | None = None
        self._response = {"id": surface_id("resp"), **_fields(request, json)}
        self._output: list[dict[str, Any]] = []

    @classmethod
    async def of(cls, json: dict[str, Any], store: ResponseStore) -> Self:
        """The translation of a request; `store` has the responses that it may go on from, and gets its own.

        Raises:
            APIError: the request is wrong, or asks for what is not served, or goes on from what is not kept.
        """
        request = checked_request(json)
        items = await to_items(request, store.item)
        previous = request.previous_response_id
        earlier = await store.conversation(previous) if previous else []
        return cls(request, json, earlier, items, store)

    def begin(self, usage: TokenUsage) -> bytes:
        return self._events(self._beginning())

    def add(self, pieces: Iterable[AnswerPiece]) -> bytes:
        return self._events(event for piece in pieces for event in self._piece(piece))

    def end(self, reader: ChatReader, usage: TokenUsage) -> bytes:
        return self._events(self._ending(reader, usage))

    def fail(self, error: APIError) -> bytes:
        details = {"type": error.type, "code": error.code, "message": error.message, "param": error.param}
        event = {**details, "type": "error", "error": details}
        self._response |= {
            "status": "failed",
            "error": {"code": error.code or "server_error", "message": error.message},
            "output": self._output,
        }
        return self._events([event, {"type": "response.failed", "response": self._response}])

    def body(self) -> bytes:
        return encode(self._response)

    async def keep(self) -> None:
        if self._kept is not None:
            await self._store.put(*self._kept)

    def shortened(self) -> dict[str, Any] | None:
        messages = self.chat["messages"]
        first = 1 if messages[0]["role"] == "system" else 0
        # A conversation may only begin with what a user says: else a tool's output would lack its call.
        turns = [at for at in range(first + 1, len(messages)) if messages[at]["role"] == "user"]
        if self._request.truncation != "auto" or not turns:
            return None
        half = next((at for at in turns if at >= (first + len(messages)) // 2), turns[-1])
        self.chat = {**self.chat, "messages": [*messages[:first], *messages[half:]]}
        return self.chat

    def _events(self, events: Iterable[dict[str, Any]]) -> bytes:
        return b"".join(map(event_bytes, self._numbered(events)))

    def _numbered(self, events: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for event in events:
            yield {"type": event["type"], "sequence_number": self._sequence, **event}
            self._sequence += 1

    def _beginning(self) -> Iterator[dict[str, Any]]:
        for kind in ("response.created", "response.in_progress"):
            yield {"type": kind, "response": self._response}

    def _piece(self, piece: AnswerPiece) -> Iterator[dict[str, Any]]:
        if self._item is None or not self._item.takes(piece):
            yield from self._close_item("completed")
            self._item = self._new_item(piece)
            yield self._item.open()
        if not isinstance(piece, CallStart):
            yield from self._item.add(piece)

    def _new_item(self, piece: AnswerPiece) -> OutputItem:
        index = len(self._output)
        if isinstance(piece, CallStart):
            return FunctionCallOutput(index, piece, self._functions.get(piece.name) or FunctionName(piece.name))
        if isinstance(piece, ReasoningPiece):
            reasoning = self._request.reasoning
            summarise = bool(reasoning and (reasoning.summary or reasoning.generate_summary))
            return ReasoningOutput(index, summarise, "reasoning.encrypted_content" in (self._request.include or ()))
        return MessageOutput(index)

    def _close_item(self, status: str) -> Iterator[dict[str, Any]]:
        if self._item is not None:
            yield from self._item.close(status)
            self._output.append(self._item.item(status))
            self._item = None

    def _ending(self, reader: ChatReader, usage: TokenUsage) -> Iterator[dict[str, Any]]:
        reason = _INCOMPLETE.get(reader.finish_reason or "")
        status = "incomplete" if reason else "completed"
        if self._item is None and not self._output:
            # Also who has nothing to say says it in a message.
            yield from self._piece(TextPiece(""))
        yield from self._close_item(status)
        self._response |= {
            "status": status,
            "incomplete_details": {"reason": reason} if reason else None,
            "completed_at": None if reason else int(time.time()),
            "output": self._output,
            "usage": _usage(usage),
        }
        if self._request.store is not False:
            stored = StoredResponse(self._response, [_with_id(item) for item in self._items])
            encoded = self._store.encode(stored)
            # The response says it where it was too large to be kept.
            self._response["store"] = encoded is not None
            self._kept = None if encoded is None else (stored, encoded)
        yield {"type": f"response.{status}", "response": self._response}


def _fields(request: ResponsesRequest, json: Mapping[str, Any]) -> dict[str, Any]:
    """A response's fields before there is an answer: most say how it was asked for."""
    reasoning = json.get("reasoning") or {}
    text = {"format": {"type": "text"}, **{name: value for name, value in (json.get("text") or {}).items() if value}}
    return {
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "frequency_penalty": json.get("frequency_penalty") or 0.0,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "metadata": request.metadata or {},
        "model": request.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "presence_penalty": json.get("presence_penalty") or 0.0,
        "previous_response_id": request.previous_response_id,
        "prompt_cache_key": request.prompt_cache_key,
        "prompt_cache_retention": request.prompt_cache_retention,
        "reasoning": {"effort": None, "summary": None, **reasoning},
        "safety_identifier": request.safety_identifier,
        "service_tier": "default",
        "store": request.store is not False,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "text": text,
        "tool_choice": "auto" if request.tool_choice is None else request.tool_choice,
        "tools": [_echoed(tool) for tool in request.tools or ()],
        "top_logprobs": request.top_logprobs or 0,
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "truncation": request.truncation or "disabled",
        "usage": None,
        "user": request.user,
    }


def _echoed(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool as a response repeats it."""
    if tool.get("type") != "function":
        return tool
    return {"strict": None, "description": None, "parameters": None, **tool}


def _usage(usage: TokenUsage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _with_id(item: dict[str, Any]) -> dict[str, Any]:
    """An input item as it is listed: with a type and an id, which clients may leave out."""
    return {"type": "message", **item, "id": item.get("id") or surface_id("msg")}
