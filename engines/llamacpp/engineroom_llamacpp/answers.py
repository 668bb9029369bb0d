"""llama.cpp's streams, their deviations from OpenAI's API put right.

Each choice is counted on its own; a streamed completion carries its usage with the last text, begins with
`data: null` for several prompts, and gives logprobs in chat completions' shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from engineroom.openai.usage import ChoicesUsage

from .requests import CHAT, COMPLETIONS


class Events:
    """A client's stream of chat completions or completions, event by event.

    Args:
        path: the route.
        json: the request as the client sent it.
    """

    def __init__(self, path: str, json: Mapping[str, Any]) -> None:
        self._path = path
        self._wants_usage = bool((json.get("stream_options") or {}).get("include_usage"))
        self._usage = ChoicesUsage(json.get("n") or 1)
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
