"""Chat completions over a TokenSource."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..messages import AnyMessage, AssistantMessage, Part, RefusalPart, TextPart
from ..schemas import ChatRequest, JSONObjectFormat, JSONSchemaFormat, TextFormat
from ..validation import check, invalid
from . import logprobs
from .response import (
    Answer,
    Envelope,
    check_streaming,
    completion_budget,
    encode,
    engine_params,
    sampling,
    stop_strings,
    usage_object,
)
from .tokens import TokenRequest
from .tool_calls import schema
from .tool_choice import Tools, choose

if TYPE_CHECKING:
    from .generation import Piece
    from .tokens import TokenSource
    from .tool_calls import ToolCallPiece


class _Call(msgspec.Struct):
    name: str
    arguments: list[str]


class _Message(msgspec.Struct):
    """One choice of an answer that is not streamed."""

    text: list[str]
    calls: dict[int, _Call]
    logprobs: list[dict[str, Any]] | None
    finish_reason: str = "stop"


class ChatAnswer(Answer):
    """The answer to one POST /v1/chat/completions.

    Raises:
        APIError: for a request that is wrong, or that a model of text cannot serve.
    """

    def __init__(self, engine: TokenSource, json: Mapping[str, Any]) -> None:
        request = check(json, ChatRequest)
        check_streaming(request)
        _check_text_only(request)
        self.stream = bool(request.stream)
        self.stops = stop_strings(request.stop)
        self._tools = tools = choose(request, json) if _names_tools(request) else Tools()
        messages = _text_messages(request.messages, json["messages"])
        prompt = engine.chat_prompt(messages, {**json, "messages": messages, "tools": list(tools.tools)})
        asked = request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens
        common: dict[str, Any] = {
            "prompt": prompt,
            "max_tokens": completion_budget(len(prompt), asked, engine.max_model_len, "messages"),
            "logprobs": (request.top_logprobs or 0) if request.logprobs else None,
            "schema": _schema(request, tools),
            "tools": tools.tools,
            "parallel_tool_calls": request.parallel_tool_calls is not False and not tools.legacy,
            "params": engine_params(json, chat=True),
            **sampling(request),
        }
        self.requests = [TokenRequest(choice=choice, **common) for choice in range(request.n or 1)]
        self.prompt_tokens = len(prompt)
        self._with_usage = bool(request.stream_options and request.stream_options.include_usage)
        self._envelope = Envelope("chatcmpl", "chat.completion.chunk", request.model, self._with_usage)
        self._text_heads = [
            self._envelope.head + b'%d,"delta":{"content":' % choice for choice in range(len(self.requests))
        ]
        self._text_tail = b'},"logprobs":null,"finish_reason":null' + self._envelope.tail
        self._begun: set[int] = set()
        self._called: set[int] = set()
        self._messages = [_Message([], {}, [] if request.logprobs else None) for _ in self.requests]

    def events(self, pieces: Sequence[Piece]) -> bytes:
        out: list[bytes] = []
        for piece in pieces:
            index = piece.index
            if index not in self._begun:
                self._begun.add(index)
                content = None if piece.call else ""
                out.append(self._event(index, {"role": "assistant", "content": content, "refusal": None}))
            if piece.logprobs:
                out.append(self._event(index, {"content": piece.text}, piece))
            elif piece.text:
                out += (self._text_heads[index], encode(piece.text), self._text_tail)
            if piece.call is not None:
                out.append(self._event(index, self._call_delta(index, piece.call)))
            if piece.finish_reason is not None:
                out.append(self._event(index, {}, finish_reason=self._finish_reason(index, piece.finish_reason)))
        return b"".join(out)

    def last_events(self, completion_tokens: int) -> bytes:
        if not self._with_usage:
            return b""
        return self._envelope.usage_event(usage_object(self.prompt_tokens, completion_tokens))

    def add(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            message = self._messages[piece.index]
            message.text.append(piece.text)
            if message.logprobs is not None and piece.logprobs:
                message.logprobs += logprobs.chat(piece.logprobs)
            if piece.call is not None:
                self._called.add(piece.index)
                call = message.calls.setdefault(piece.call.call, _Call(piece.call.name or "", []))
                call.arguments.append(piece.call.arguments)
            if piece.finish_reason is not None:
                message.finish_reason = self._finish_reason(piece.index, piece.finish_reason)

    def body(self, completion_tokens: int) -> bytes:
        return encode(
            {
                **self._envelope.fields,
                "object": "chat.completion",
                "choices": [self._choice(index, message) for index, message in enumerate(self._messages)],
                "usage": usage_object(self.prompt_tokens, completion_tokens),
            }
        )

    def _event(
        self, index: int, delta: Mapping[str, Any], piece: Piece | None = None, finish_reason: str | None = None
    ) -> bytes:
        probs = {"content": logprobs.chat(piece.logprobs), "refusal": None} if piece and piece.logprobs else None
        rest = encode({"delta": delta, "logprobs": probs, "finish_reason": finish_reason})
        return b"%s%d,%s%s" % (self._envelope.head, index, rest[1:-1], self._envelope.tail)

    def _call_delta(self, index: int, piece: ToolCallPiece) -> dict[str, Any]:
        self._called.add(index)
        function: dict[str, Any] = {"arguments": piece.arguments}
        if piece.name is not None:
            function = {"name": piece.name, "arguments": piece.arguments}
        if self._tools.legacy:
            return {"function_call": function}
        call: dict[str, Any] = {"index": piece.call, "function": function}
        if piece.name is not None:
            call = {"index": piece.call, "id": _call_id(), "type": "function", "function": function}
        return {"tool_calls": [call]}

    def _finish_reason(self, index: int, reason: str) -> str:
        if reason != "stop" or index not in self._called:
            return reason
        return "function_call" if self._tools.legacy else "tool_calls"

    def _choice(self, index: int, message: _Message) -> dict[str, Any]:
        text = "".join(message.text)
        answer: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if message.calls:
            answer["content"] = text or None
            calls = [
                {"name": call.name, "arguments": "".join(call.arguments)} for _, call in sorted(message.calls.items())
            ]
            if self._tools.legacy:
                answer["function_call"] = calls[0]
            else:
                answer["tool_calls"] = [{"id": _call_id(), "type": "function", "function": call} for call in calls]
        probs = None if message.logprobs is None else {"content": message.logprobs, "refusal": None}
        return {"index": index, "message": answer, "logprobs": probs, "finish_reason": message.finish_reason}


def _call_id() -> str:
    return f"call_{secrets.token_hex(12)}"


def _check_text_only(request: ChatRequest) -> None:
    if request.audio is not None or "audio" in (request.modalities or ()):
        param = "modalities" if "audio" in (request.modalities or ()) else "audio"
        raise invalid("This model answers in text only; audio is not supported.", param, "unsupported_value")
    for param in ("web_search_options", "moderation"):
        if getattr(request, param) is not None:
            raise invalid(f"'{param}' is not supported by this model.", param, "unsupported_parameter")
    if request.top_logprobs and not request.logprobs:
        raise invalid("'logprobs' must be true when 'top_logprobs' is given.", "top_logprobs")


def _names_tools(request: ChatRequest) -> bool:
    """Whether a request says anything of tools; one that does not needs no choice among them."""
    return request.tools is not None or request.functions is not None or request.tool_choice is not None


def _schema(request: ChatRequest, tools: Tools) -> Mapping[str, Any] | None:
    if tools.forced and request.response_format and not isinstance(request.response_format, TextFormat):
        raise invalid("A demanded tool call leaves no room for 'response_format'.", "response_format")
    if tools.forced:
        return schema(tools.tools)
    if isinstance(request.response_format, JSONSchemaFormat):
        return request.response_format.json_schema.schema or {}
    return {} if isinstance(request.response_format, JSONObjectFormat) else None


def _text_messages(messages: Sequence[AnyMessage], json: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages as sent, but each content one string (its parts joined by line feeds) or None.

    Raises:
        APIError: for a part that is not text, and for an assistant's message that says nothing at all.
    """
    plain: list[dict[str, Any]] = []
    for number, (message, sent) in enumerate(zip(messages, json, strict=True)):
        where = f"messages.{number}"
        if isinstance(message, AssistantMessage):
            _check_assistant(message, where)
        content = message.content
        if isinstance(content, list):
            content = "\n".join(_text(part, f"{where}.content.{at}") for at, part in enumerate(content))
        plain.append({**sent, "content": content})
    return plain


def _check_assistant(message: AssistantMessage, where: str) -> None:
    if message.audio is not None:
        raise invalid(f"Invalid '{where}.audio': this model has no audio.", f"{where}.audio", "unsupported_value")
    parts = (message.content, message.refusal, message.tool_calls, message.function_call)
    if all(part is None for part in parts):
        raise invalid(
            f"Invalid value for '{where}.content': expected a string, got null.", f"{where}.content", "invalid_type"
        )


def _text(part: Part, where: str) -> str:
    if isinstance(part, TextPart):
        return part.text
    if isinstance(part, RefusalPart):
        return part.refusal
    kind = type(part).__struct_config__.tag
    raise invalid(
        f"Invalid '{where}': this model takes text only, and '{kind}' is not.", where, "unsupported_content_type"
    )
