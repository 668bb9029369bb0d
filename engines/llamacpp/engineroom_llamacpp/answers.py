"""llama.cpp's streams: put together for clients that want the whole answer, and its deviations put right.

What deviates from OpenAI's API: a whole answer lacks `refusal` and `logprobs`; each choice is counted on its own; a
streamed completion carries its usage with the last text, begins with `data: null` for several prompts, and gives
logprobs in chat completions' shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from engineroom.errors import APIError

from . import forced
from .requests import CHAT, COMPLETIONS, MESSAGES, RESPONSES


class Usage:
    """The usage of all choices together.

    Args:
        n: choices of each prompt; a prompt's tokens count once.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._chat = 0
        self._sums: dict[str, Any] = {}

    def add(self, usage: Mapping[str, Any], index: int | None) -> None:
        """Take in what llama.cpp says of one choice; `index` None where it does not say of which."""
        if index is None:
            index, self._chat = self._chat, self._chat + 1
        first = index % self._n == 0 if self._n > 1 else True
        prompt = usage["prompt_tokens"] if first else 0
        cached = usage.get("prompt_tokens_details", {}).get("cached_tokens", 0) if first else 0
        sums = self._sums
        sums["prompt_tokens"] = sums.get("prompt_tokens", 0) + prompt
        sums["completion_tokens"] = sums.get("completion_tokens", 0) + usage["completion_tokens"]
        sums["total_tokens"] = sums["prompt_tokens"] + sums["completion_tokens"]
        before = sums.get("prompt_tokens_details", {}).get("cached_tokens", 0)
        sums["prompt_tokens_details"] = {"cached_tokens": before + cached}

    @property
    def total(self) -> dict[str, Any] | None:
        return self._sums or None


class Events:
    """A client's stream of chat completions or completions, event by event.

    Args:
        path: the route.
        json: the request as the client sent it.
    """

    def __init__(self, path: str, json: Mapping[str, Any]) -> None:
        self._path = path
        self._wants_usage = bool((json.get("stream_options") or {}).get("include_usage"))
        self._usage = Usage(json.get("n") or 1)
        self._alternatives = alternatives(path, json)
        self._offsets: dict[int, int] = {}

    def rewrite(self, data: bytes) -> list[bytes]:
        """The data of the events to send for one of llama.cpp's."""
        if data == b"null":
            return []
        if data == b"[DONE]":
            return [data]
        if self._alternatives is None and b'"usage":' not in data:
            return [data]
        event = msgspec.json.decode(data)
        usage = event.pop("usage", None)
        for choice in event.get("choices", ()):
            if choice.get("logprobs"):
                choice["logprobs"] = logprobs(self._path, choice, self._alternatives or 0, self._offsets)
        if usage is None:
            return [msgspec.json.encode(event)]
        index = event["choices"][0]["index"] if event["choices"] else None
        self._usage.add(usage, index)
        self._template = {**event, "choices": []}
        return [msgspec.json.encode(event)] if event["choices"] else []

    def usage_event(self) -> list[bytes]:
        """What comes before `[DONE]`: the usage, where the client asked for it."""
        if not self._wants_usage or self._usage.total is None:
            return []
        return [msgspec.json.encode({**self._template, "usage": self._usage.total})]


class Whole:
    """A chat completion or completion, put together from its stream.

    Args:
        demanded: whether its text is the tool call that the request demands.
    """

    def __init__(self, path: str, json: Mapping[str, Any], *, demanded: bool) -> None:
        self._path = path
        self._usage = Usage(json.get("n") or 1)
        self._alternatives = alternatives(path, json)
        self._demanded = demanded
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
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
        choices, usage = event.pop("choices"), event.pop("usage", None)
        self._head.update(event)
        for choice in choices:
            self._add_choice(choice)
        if usage is not None:
            self._usage.add(usage, choices[0]["index"] if choices else None)

    def _add_choice(self, piece: dict[str, Any]) -> None:
        chat = self._path == CHAT
        empty: dict[str, Any] = {"index": piece["index"], "logprobs": None, "finish_reason": None}
        content = {"message": {"role": "assistant", "content": "", "refusal": None}} if chat else {"text": ""}
        choice = self._choices.setdefault(piece["index"], {**empty, **content})
        choice["finish_reason"] = piece.get("finish_reason") or choice["finish_reason"]
        if chat:
            _add_delta(choice["message"], piece["delta"])
        else:
            choice["text"] += piece["text"]
        if piece.get("logprobs"):
            found: dict[str, Any]
            found = choice["logprobs"] = choice["logprobs"] or {"content": []} | ({"refusal": None} if chat else {})
            found["content"] += piece["logprobs"]["content"]

    def body(self) -> dict[str, Any]:
        """The answer. Raises APIError where the stream was cut off."""
        if not self._complete or not self._choices:
            raise cut_off()
        kind = "chat.completion" if self._path == CHAT else "text_completion"
        choices = [choice for _, choice in sorted(self._choices.items())]
        for choice in choices:
            if choice["logprobs"]:
                choice["logprobs"] = logprobs(self._path, choice, self._alternatives or 0, {})
            if self._demanded:
                forced.finish(choice)
        return {**self._head, "object": kind, "choices": choices, "usage": self._usage.total}

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
            self._message["content"][index]["input"] = msgspec.json.decode(text or "{}")
        return self._message


def whole(path: str, json: Mapping[str, Any], *, demanded: bool) -> Whole | WholeResponse | WholeMessage:
    """What puts an answer of `path` together; `json` is the client's request."""
    if path == RESPONSES:
        return WholeResponse()
    return WholeMessage() if path == MESSAGES else Whole(path, json, demanded=demanded)


def alternatives(path: str, json: Mapping[str, Any]) -> int | None:
    """How many alternatives to each token the client asked for; None where it asked for no logprobs."""
    if path == COMPLETIONS:
        number: int | None = json.get("logprobs")
        return number
    return (json.get("top_logprobs") or 0) if json.get("logprobs") else None


def logprobs(path: str, choice: Mapping[str, Any], top: int, offsets: dict[int, int]) -> dict[str, Any]:
    """A choice's logprobs in the route's shape.

    Args:
        top: how many alternatives were asked for.
        offsets: where each choice's text goes on, in characters.
    """
    content = choice["logprobs"]["content"]
    for entry in content:
        entry["top_logprobs"] = entry["top_logprobs"][:top]
    if path == CHAT:
        return {"content": content, "refusal": None}
    at, starts = offsets.get(choice["index"], 0), []
    for entry in content:
        starts.append(at)
        at += len(entry["token"])
    offsets[choice["index"]] = at
    return {
        "tokens": [entry["token"] for entry in content],
        "token_logprobs": [entry["logprob"] for entry in content],
        "top_logprobs": [
            {other["token"]: other["logprob"] for other in [entry, *entry["top_logprobs"]]} for entry in content
        ],
        "text_offset": starts,
    }


def _add_delta(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            for piece in value:
                _add_call(message.setdefault("tool_calls", []), piece)
        elif isinstance(value, str) and name != "role":
            message[name] = (message.get(name) or "") + value
    if message.get("tool_calls"):
        message["content"] = message["content"] or None


def _add_call(calls: list[dict[str, Any]], piece: Mapping[str, Any]) -> None:
    while len(calls) <= piece["index"]:
        calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
    call = calls[piece["index"]]
    call["id"] = piece.get("id") or call["id"]
    for name, text in (piece.get("function") or {}).items():
        call["function"][name] += text


def raise_error(error: Mapping[str, Any]) -> None:
    """An error that llama.cpp sent inside a stream. Raises APIError."""
    from .errors import normalise

    raise normalise(int(error.get("code") or 500), msgspec.json.encode({"error": error}))


def cut_off() -> APIError:
    return APIError("The engine ended its answer before it was complete.", status=502, code="engine_error")
