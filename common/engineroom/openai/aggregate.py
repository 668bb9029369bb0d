"""Streams and whole responses, made of one another: for chat completions and completions.

For engines whose path without streaming is broken or missing, and for doors that keep one and serve both. The order of
a server's events is not trusted: the first may lack `role` or `content`, or be without an id; usage may come anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..errors import incomplete_stream
from .upstream_errors import from_upstream

_CHAT_CHUNK = "chat.completion.chunk"
_CHAT = "chat.completion"
_ENVELOPE = frozenset({"id", "created", "model", "object"})
"""What all chunks of a stream have in common; the first that says it counts."""
_WHOLE_STRINGS = frozenset({"role", "id", "type", "name"})
"""Strings that some servers repeat in every delta, and that never come in pieces."""
_REASONS = frozenset({"finish_reason", "stop_reason", "matched_stop"})
"""What a choice says whole, once, at its end."""
_NOT_IN_FIRST_CHUNK = frozenset({"index", "message", "finish_reason"})


class CompletionAggregator:
    """Takes in the chunks of one chat completion or completion, in order; gives the response without streaming.

    Strings and lists of a choice or its delta are concatenated, also those that OpenAI does not have
    (`reasoning_content`, `completion_token_ids`); tool calls are merged by their index; of anything else the last
    value that is not null counts. `[DONE]` is not an event: whoever reads the stream looks for it.
    """

    def __init__(self) -> None:
        self._envelope: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def add(self, event: Mapping[str, Any]) -> None:
        """Take in one decoded event.

        Raises:
            APIError: the event is an error, as an engine sends it when it fails amid a stream.
        """
        if event.get("error"):
            raise from_upstream(500, msgspec.json.encode(event))
        envelope = self._envelope
        for name, value in event.items():
            if name == "choices":
                continue
            if name in _ENVELOPE:
                envelope[name] = envelope.get(name) or value
            elif value is not None or name not in envelope:
                envelope[name] = value
        for part in event.get("choices") or ():
            index = part.get("index") or 0
            choice = self._choices.get(index)
            if choice is None:
                choice = self._choices[index] = {"index": index}
            _add_choice(choice, part)

    def response(self) -> dict[str, Any]:
        """The whole response.

        Raises:
            APIError: 502, events are missing at its end.
        """
        if not self._choices:
            raise incomplete_stream()
        kind = self._envelope.get("object") or ""
        chat = kind == _CHAT_CHUNK
        choices = [_finished(choice, chat) for _, choice in sorted(self._choices.items())]
        response = {**self._envelope, "object": _CHAT if chat else kind, "choices": choices}
        if response.get("usage", response) is None:
            del response["usage"]
        return response


def to_chunks(response: Mapping[str, Any], include_usage: bool) -> list[dict[str, Any]]:
    """A whole chat completion or completion as the chunks of a stream, without `[DONE]`.

    Args:
        include_usage: whether a last chunk has the usage, as `stream_options` asks for it.
    """
    chat = response.get("object") == _CHAT
    head = {name: value for name, value in response.items() if name not in ("choices", "usage")}
    if chat:
        head["object"] = _CHAT_CHUNK
    tail: dict[str, Any] = {"usage": None} if include_usage else {}
    chunks: list[dict[str, Any]] = []
    for choice in response.get("choices", ()):
        parts = _chat_parts(choice) if chat else [choice]
        chunks += [{**head, "choices": [part], **tail} for part in parts]
    if include_usage:
        chunks.append({**head, "choices": [], "usage": response.get("usage")})
    return chunks


def _chat_parts(choice: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A choice of a chat completion in two: its message, and its end."""
    others = {name: value for name, value in choice.items() if name not in _NOT_IN_FIRST_CHUNK}
    delta = {name: value for name, value in choice.get("message", {}).items() if value is not None}
    if "tool_calls" in delta:
        delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(delta["tool_calls"])]
    return [
        {"index": choice["index"], "delta": delta, **others, "finish_reason": None},
        {"index": choice["index"], "delta": {}, "finish_reason": choice.get("finish_reason")},
    ]


def _add_choice(choice: dict[str, Any], part: Mapping[str, Any]) -> None:
    for name, value in part.items():
        if name == "delta":
            _add_delta(choice.setdefault("message", {}), value or {})
        elif value is None:
            choice.setdefault(name, None)
        elif name == "logprobs":
            _add_logprobs(choice, value)
        elif name in _REASONS:
            choice[name] = value
        else:
            _add_piece(choice, name, value)


def _add_delta(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            calls = message.setdefault("tool_calls", {})
            for position, call in enumerate(value or ()):
                index = call.get("index")
                _add_delta(calls.setdefault(position if index is None else index, {}), call)
        elif isinstance(value, str) and name in _WHOLE_STRINGS and isinstance(message.get(name), str):
            message[name] = message[name] or value
        elif isinstance(value, dict):
            known = message.get(name)
            if not isinstance(known, dict):
                known = message[name] = {}
            _add_delta(known, value)
        else:
            _add_piece(message, name, value)


def _add_piece(known: dict[str, Any], name: str, value: Any) -> None:
    """Strings and lists come in pieces; of anything else the last value that is not null counts."""
    whole = known.get(name)
    if isinstance(whole, str) and isinstance(value, str):
        # Python appends in place to a string that nobody else has; else each piece would copy all those before it.
        known[name] = None
        whole += value
        known[name] = whole
    elif isinstance(whole, list) and isinstance(value, list):
        whole += value
    elif value is not None or name not in known:
        known[name] = value


def _add_logprobs(choice: dict[str, Any], value: Mapping[str, Any] | None) -> None:
    known = choice.setdefault("logprobs", None)
    if value is None:
        return
    if known is None:
        known = choice["logprobs"] = {}
    for name, entries in value.items():
        if isinstance(entries, list) and isinstance(known.get(name), list):
            known[name] += entries
        elif entries is not None or name not in known:
            known[name] = list(entries) if isinstance(entries, list) else entries


def _finished(choice: Mapping[str, Any], chat: bool) -> dict[str, Any]:
    if not chat and "message" not in choice:
        return {"text": "", "logprobs": None, **choice}
    message = {"role": "assistant", "content": None, "refusal": None, **choice.get("message", {})}
    message["role"] = message["role"] or "assistant"
    calls = message.pop("tool_calls", None)
    if calls:
        message["tool_calls"] = [
            {key: value for key, value in call.items() if key != "index"} for _, call in sorted(calls.items())
        ]
    if calls or "function_call" in message:
        message["content"] = message["content"] or None
    elif message["content"] is None and not message["refusal"]:
        message["content"] = ""
    return {"logprobs": None, **choice, "message": message}
