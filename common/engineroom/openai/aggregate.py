"""A streamed answer as one: chunks of a chat completion or a completion become the answer they would have been.

For engines whose path without streaming is broken or missing, and for doors that must answer in one piece.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .upstream_errors import from_upstream

_WHOLE = {"chat.completion.chunk": "chat.completion"}
_ONCE = frozenset({"role", "id", "type", "name"})
"""Strings that some servers repeat in every delta, and that are never said in pieces."""
_REASONS = frozenset({"finish_reason", "stop_reason", "matched_stop"})
"""What a choice says whole, once, at its end."""


class Aggregator:
    """Takes in the chunks of one answer, in order.

    Strings and lists of a choice or its delta are concatenated, also those that OpenAI does not have
    (`reasoning_content`, `completion_token_ids`); tool calls are merged by their index; of anything else the last
    value that is not null counts.
    """

    def __init__(self) -> None:
        self._answer: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take in one decoded chunk.

        Raises:
            APIError: the chunk is an error, as an engine sends it when it fails amid a stream.
        """
        if "error" in chunk:
            raise from_upstream(500, msgspec.json.encode(chunk))
        for name, value in chunk.items():
            if name == "choices" or (value is None and name in self._answer):
                continue
            if name in ("id", "created", "model", "object"):
                self._answer.setdefault(name, value)
            else:
                self._answer[name] = value
        for part in chunk.get("choices") or ():
            index = part.get("index", 0)
            _add_choice(self._choices.setdefault(index, {"index": index}), part)

    def answer(self) -> dict[str, Any]:
        """The whole answer so far, as the API gives it without streaming."""
        kind = self._answer.get("object", "")
        choices = [_finished(choice) for _, choice in sorted(self._choices.items())]
        answer = {**self._answer, "object": _WHOLE.get(kind, kind), "choices": choices}
        if answer.get("usage", answer) is None:
            del answer["usage"]
        return answer


def _add_choice(choice: dict[str, Any], part: Mapping[str, Any]) -> None:
    for name, value in part.items():
        if name == "delta":
            _add_delta(choice.setdefault("message", {}), value or {})
        elif name == "logprobs":
            _add_logprobs(choice, value)
        elif name in _REASONS:
            choice[name] = choice.get(name) if value is None else value
        else:
            _add_piece(choice, name, value)


def _add_delta(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for name, value in delta.items():
        known = message.get(name)
        if name == "tool_calls":
            calls = message.setdefault("tool_calls", {})
            for position, call in enumerate(value or ()):
                _add_delta(calls.setdefault(call.get("index", position), {}), call)
        elif isinstance(value, str) and isinstance(known, str) and name in _ONCE:
            message[name] = known or value
        elif isinstance(value, Mapping):
            if not isinstance(known, dict):
                known = message[name] = {}
            _add_delta(known, value)
        else:
            _add_piece(message, name, value)


def _add_piece(known: dict[str, Any], name: str, value: Any) -> None:
    """Strings and lists come in pieces; of anything else the last value that is not null counts."""
    if isinstance(known.get(name), (str, list)) and type(value) is type(known[name]):
        known[name] += value
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


def _finished(choice: Mapping[str, Any]) -> dict[str, Any]:
    if "message" not in choice:
        return {"text": "", "logprobs": None, **choice}
    message = {"role": "assistant", "content": None, "refusal": None, **choice["message"]}
    calls = message.pop("tool_calls", None)
    if calls:
        message["tool_calls"] = [
            {key: value for key, value in call.items() if key != "index"} for _, call in sorted(calls.items())
        ]
        message["content"] = message["content"] or None
    elif message["content"] is None and not message["refusal"] and "function_call" not in message:
        message["content"] = ""
    return {"logprobs": None, **choice, "message": message}
