"""Whole answers, put together from llama.cpp's streams; see `requests` for why it is never asked for a whole one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from engineroom.errors import APIError
from engineroom.openai.aggregate import Aggregator
from engineroom.openai.usage import ChoicesUsage

from . import forced
from .answers import alternatives, logprobs
from .errors import normalise
from .requests import MESSAGES, RESPONSES


class Whole:
    """A chat completion or completion, put together from its stream.

    Args:
        demanded: whether its text is the tool call that the request demands.
    """

    def __init__(self, path: str, json: Mapping[str, Any], *, demanded: bool) -> None:
        self._path = path
        self._usage = ChoicesUsage(json.get("n") or 1)
        self._alternatives = alternatives(path, json)
        self._demanded = demanded
        self._answer = Aggregator()
        self._complete = False

    def add(self, data: bytes) -> None:
        """Take in one event."""
        if data == b"[DONE]":
            self._complete = True
            return
        event = msgspec.json.decode(data)
        if event is None:
            return
        if "error" in event:
            raise_error(event["error"])
        usage = event.pop("usage", None)
        if usage is not None:
            self._usage.add(usage, event["choices"][0]["index"] if event["choices"] else None)
        self._answer.add(event)

    def body(self) -> dict[str, Any]:
        """The answer. Raises APIError where the stream was cut off."""
        answer = self._answer.answer()
        if not self._complete or not answer["choices"]:
            raise cut_off()
        for choice in answer["choices"]:
            if choice["logprobs"]:
                choice["logprobs"] = logprobs(self._path, choice, self._alternatives or 0, {})
            if self._demanded:
                forced.finish(choice)
        return {**answer, "usage": self._usage.total}

    def events(self, include_usage: bool) -> list[bytes]:
        """The answer as a stream of one event for each choice."""
        body = self.body()
        head = {**body, "object": "chat.completion.chunk", "choices": []}
        usage = head.pop("usage")
        events: list[dict[str, Any]] = []
        for choice in body["choices"]:
            calls = [{**call, "index": i} for i, call in enumerate(choice["message"]["tool_calls"])]
            delta = {"role": "assistant", "content": None, "tool_calls": calls}
            events.append({**head, "choices": [{"index": choice["index"], "delta": delta, "finish_reason": None}]})
            last = {"index": choice["index"], "delta": {}, "finish_reason": choice["finish_reason"]}
            events.append({**head, "choices": [last]})
        if include_usage:
            events.append({**head, "usage": usage})
        return [*map(msgspec.json.encode, events), b"[DONE]"]


class WholeResponse:
    """A response of the Responses API: its stream's last event has it."""

    def __init__(self) -> None:
        self._response: dict[str, Any] | None = None

    def add(self, data: bytes) -> None:
        event = msgspec.json.decode(data)
        if "error" in event:
            raise_error(event["error"])
        if event["type"] == "response.completed":
            self._response = event["response"]

    def body(self) -> dict[str, Any]:
        if self._response is None:
            raise cut_off()
        return self._response


class WholeMessage:
    """A message of Anthropic's Messages API (https://docs.anthropic.com/en/api/messages-streaming)."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._inputs: dict[int, str] = {}
        self._complete = False

    def add(self, data: bytes) -> None:
        event = msgspec.json.decode(data)
        kind = event.get("type")
        if "error" in event:
            raise_error(event["error"])
        if kind == "message_start":
            self._message = event["message"]
        elif kind == "content_block_start":
            self._message["content"].append(event["content_block"])
        elif kind == "content_block_delta":
            self._delta(event["index"], event["delta"])
        elif kind == "message_delta":
            self._message.update(event["delta"])
            self._message["usage"] |= event["usage"]
        elif kind == "message_stop":
            self._complete = True

    def _delta(self, index: int, delta: dict[str, Any]) -> None:
        kind = delta.pop("type")
        if kind == "input_json_delta":
            self._inputs[index] = self._inputs.get(index, "") + delta["partial_json"]
            return
        block = self._message["content"][index]
        for name, text in delta.items():
            block[name] = block.get(name, "") + text

    def body(self) -> dict[str, Any]:
        if not self._complete:
            raise cut_off()
        for index, text in self._inputs.items():
            self._message["content"][index]["input"] = _input(text)
        return self._message


def of_route(path: str, json: Mapping[str, Any], *, demanded: bool) -> Whole | WholeResponse | WholeMessage:
    """What puts an answer of `path` together; `json` is the client's request."""
    if path == RESPONSES:
        return WholeResponse()
    return WholeMessage() if path == MESSAGES else Whole(path, json, demanded=demanded)


def _input(text: str) -> Any:
    """A tool's input; nothing of one that `max_tokens` cut off can be said in a whole message."""
    try:
        return msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return {}


def raise_error(error: Mapping[str, Any]) -> None:
    """An error that llama.cpp sent inside a stream. Raises APIError."""
    raise normalise(int(error.get("code") or 500), msgspec.json.encode({"error": error}))


def cut_off() -> APIError:
    return APIError("The engine ended its answer before it was complete.", status=502, code="engine_error")
