"""llama.cpp's streams of chat completions and completions, their deviations from OpenAI's API put right.

Each choice is counted on its own; a streamed completion carries its usage with the last text, and gives logprobs in
chat completions' shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engineroom.openai.event_stream import wants_usage_event
from engineroom.openai.routes import CHAT_COMPLETIONS, COMPLETIONS
from engineroom.openai.usage import ChoicesUsage
from engineroom.server import StreamRewriter

from . import forced


class LlamaCppRewriter(StreamRewriter):
    """One response.

    Args:
        path: the route.
        json: the request as the client sent it.
        adapter: the adapter that the request names as its model; llama.cpp calls it by the model's own name.
    """

    def __init__(self, path: str, json: Mapping[str, Any], adapter: str | None = None) -> None:
        self._path = path
        self._adapter = adapter
        self._tells_usage = not json.get("stream") or wants_usage_event(json)
        self._usage = ChoicesUsage(json.get("n") or 1)
        self._alternatives = _alternatives(path, json)
        self._offsets: dict[int, int] = {}
        self._last_usage: dict[str, Any] = {}
        # Only once its text is whole it can be told that it is the tool call which the request demands.
        self.at_once = demands_call(path, json)

    def concerns(self, data: bytes) -> bool:
        if self._adapter is not None or self._alternatives is not None:
            return True
        return b'"usage":' in data or b'"__verbose":' in data

    def rewrite(self, event: dict[str, Any]) -> dict[str, Any] | None:
        if self._adapter is not None:
            event["model"] = self._adapter
        choices = event.get("choices") or []
        usage = event.pop("usage", None)
        stop = event.pop("__verbose", {}).get("stopping_word")
        for choice in choices:
            if choice.get("logprobs"):
                choice["logprobs"] = self._logprobs(choice)
            if stop and choice.get("finish_reason"):
                choice["stop_reason"] = stop
        if usage is None:
            return event
        self._usage.add(usage, choices[0]["index"] if choices else None)
        self._last_usage = {**event, "choices": []}
        return event if choices else None

    def last_event(self) -> dict[str, Any] | None:
        usage = self._usage.total
        return {**self._last_usage, "usage": usage} if usage and (self._tells_usage or self.at_once) else None

    def finish(self, response: dict[str, Any]) -> None:
        if self.at_once:
            for choice in response["choices"]:
                forced.finish(choice)

    def _logprobs(self, choice: Mapping[str, Any]) -> dict[str, Any]:
        """A choice's logprobs in the route's shape, with as many alternatives as were asked for."""
        content = choice["logprobs"]["content"]
        for entry in content:
            entry["top_logprobs"] = entry["top_logprobs"][: self._alternatives or 0]
        if self._path == CHAT_COMPLETIONS:
            return {"content": content, "refusal": None}
        # Where the choice's text goes on, in characters.
        offset = self._offsets.get(choice["index"], 0)
        offsets = []
        for entry in content:
            offsets.append(offset)
            offset += len(entry["token"])
        self._offsets[choice["index"]] = offset
        return {
            "tokens": [entry["token"] for entry in content],
            "token_logprobs": [entry["logprob"] for entry in content],
            "top_logprobs": [
                {other["token"]: other["logprob"] for other in [entry, *entry["top_logprobs"]]} for entry in content
            ],
            "text_offset": offsets,
        }


def demands_call(path: str, json: Mapping[str, Any]) -> bool:
    """Whether a request leaves the model no way around a tool call."""
    return path == CHAT_COMPLETIONS and bool(json.get("tools")) and forced.is_forced(json.get("tool_choice"))


def _alternatives(path: str, json: Mapping[str, Any]) -> int | None:
    """How many alternatives to each token the client asked for; None where it asked for no logprobs."""
    if path == COMPLETIONS:
        number: int | None = json.get("logprobs")
        return number
    return (json.get("top_logprobs") or 0) if json.get("logprobs") else None
