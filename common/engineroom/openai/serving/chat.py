"""Chat completions over a TokenSource."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..messages import AnyMessage, AssistantMessage, Part, RefusalPart, TextPart
from ..schemas import ChatRequest, JSONObjectFormat, JSONSchemaFormat
from ..stop_strings import RETURN_STOP_REASON
from ..validation import check, invalid
from . import logprobs
from .response import (
    Envelope,
    ServingResponse,
    check_streaming,
    completion_budget,
    encode,
    engine_params,
    sampling,
    stop_strings,
)
from .tokens import TokenRequest
from .tool_calls import schema
from .tool_choice import Tools, choose

if TYPE_CHECKING:
    from .generation import ChoiceChunk
    from .tokens import TokenSource
    from .tool_calls import ToolCallChunk


class ChatResponse(ServingResponse):
    """The response to one POST /v1/chat/completions.

    Raises:
        APIError: for a request that is wrong, or that a model of text cannot serve.
    """

    def __init__(self, engine: TokenSource, json: Mapping[str, Any]) -> None:
        request = check(json, ChatRequest)
        check_streaming(request)
        _check_text_only(request)
        self.stream = bool(request.stream)
        self.stops = stop_strings(request.stop)
        self._tells_stop = bool(json.get(RETURN_STOP_REASON))
        self._tools = tools = choose(request, json) if _names_tools(request) else Tools()
        messages = _text_messages(engine, request.messages, json["messages"])
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
        if tools.forced:
            self.schema_field = "functions" if tools.legacy else "tools"
        self.requests = [TokenRequest(choice=choice, **common) for choice in range(request.n or 1)]
        self.prompt_tokens = len(prompt)
        null_usage = bool(request.stream_options and request.stream_options.include_usage)
        envelope = Envelope("chatcmpl", "chat.completion.chunk", request.model, null_usage)
        self._text_heads = [
            envelope.head + b'{"index":%d,"delta":{"content":' % choice for choice in range(len(self.requests))
        ]
        self._text_tail = b'},"logprobs":null,"finish_reason":null}' + envelope.tail
        self._begun: set[int] = set()
        self._called: set[int] = set()
        super().__init__(request, envelope, {"content": [], "refusal": None} if request.logprobs else None)

    def choices(self, chunk: ChoiceChunk) -> Iterator[dict[str, Any]]:
        index = chunk.index
        if index not in self._begun:
            self._begun.add(index)
            yield _choice(index, {"role": "assistant", "content": None if chunk.call else "", "refusal": None})
        if chunk.logprobs:
            probs = {"content": logprobs.chat(chunk.logprobs), "refusal": None}
            yield {**_choice(index, {"content": chunk.text}), "logprobs": probs}
        elif chunk.text:
            yield _choice(index, {"content": chunk.text})
        if chunk.call is not None:
            yield _choice(index, self._call_delta(index, chunk.call))
        if chunk.finish_reason is not None:
            stop = {"stop_reason": chunk.stop} if self._tells_stop else {}
            yield {**_choice(index, {}), "finish_reason": self._finish_reason(index, chunk.finish_reason), **stop}

    def events(self, chunks: Sequence[ChoiceChunk]) -> bytes:
        out: list[bytes] = []
        for chunk in chunks:
            plain = chunk.finish_reason is None and chunk.call is None and not chunk.logprobs
            if plain and chunk.text and chunk.index in self._begun:
                out += (self._text_heads[chunk.index], encode(chunk.text), self._text_tail)
            else:
                out += map(self._envelope.event, self.choices(chunk))
        return b"".join(out)

    def _call_delta(self, index: int, chunk: ToolCallChunk) -> dict[str, Any]:
        self._called.add(index)
        function: dict[str, Any] = {"arguments": chunk.arguments}
        if chunk.name is not None:
            function = {"name": chunk.name, "arguments": chunk.arguments}
        if self._tools.legacy:
            return {"function_call": function}
        call: dict[str, Any] = {"index": chunk.call, "function": function}
        if chunk.name is not None:
            call = {"index": chunk.call, "id": _call_id(), "type": "function", "function": function}
        return {"tool_calls": [call]}

    def _finish_reason(self, index: int, reason: str) -> str:
        if reason != "stop" or index not in self._called:
            return reason
        return "function_call" if self._tools.legacy else "tool_calls"


def _choice(index: int, delta: Mapping[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}


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
    if tools.forced:
        # `response_format` is about the text of an answer, and such an answer has none: OpenAI takes both.
        return schema(tools.tools)
    if isinstance(request.response_format, JSONSchemaFormat):
        return request.response_format.json_schema.schema or {}
    if isinstance(request.response_format, JSONObjectFormat):
        return request.response_format.schema or {}
    return None


def _text_messages(
    engine: TokenSource, messages: Sequence[AnyMessage], json: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The messages as sent, but each content one string (its parts joined by line feeds) or None.

    Templates look for what an assistant refused with in the content alone.

    Raises:
        APIError: for a part that the engine has no text for, and for an assistant's message that says nothing at all.
    """
    plain: list[dict[str, Any]] = []
    for number, (message, sent) in enumerate(zip(messages, json, strict=True)):
        where = f"messages.{number}"
        if isinstance(message, AssistantMessage):
            _check_assistant(message, where)
        content = message.content
        if isinstance(content, list):
            content = "\n".join(
                _text(engine, part, sent["content"][at], f"{where}.content.{at}") for at, part in enumerate(content)
            )
        refusal = message.refusal if isinstance(message, AssistantMessage) else None
        if refusal:
            content = f"{content}\n{refusal}" if content else refusal
        plain.append({**sent, "content": content})
    return plain


def _check_assistant(message: AssistantMessage, where: str) -> None:
    if message.audio is not None:
        raise invalid(
            f"Invalid '{where}.audio': this model does not support audio.", f"{where}.audio", "unsupported_value"
        )
    parts = (message.content, message.refusal, message.tool_calls, message.function_call)
    if all(part is None for part in parts):
        raise invalid(
            f"Invalid value for '{where}.content': expected a string, got null.", f"{where}.content", "invalid_type"
        )


def _text(engine: TokenSource, part: Part, json: Mapping[str, Any], where: str) -> str:
    if isinstance(part, TextPart):
        return part.text
    if isinstance(part, RefusalPart):
        return part.refusal
    in_place = engine.part_text(json)
    if in_place is not None:
        return in_place
    kind = type(part).__struct_config__.tag
    raise invalid(f"Invalid '{where}': this model accepts text only, not '{kind}'.", where, "unsupported_content_type")
