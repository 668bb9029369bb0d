"""The tokens of a request: counted while it runs, and summed up over choices that were generated each on its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..asgi.types import Scope

_KEY = "engineroom.usage"


@dataclass(slots=True)
class TokenUsage:
    """The tokens of one request so far. They grow while its response streams.

    completion_tokens: generated, over all its choices.
    cached_tokens: those of the prompt that were not computed anew, where the engine says so.
    reasoning_tokens: those of the completion that were thinking, where the engine says so.
    reported: the engine's own `usage`, as it came; None until then, when the tokens are an estimate by the events of
        the stream.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    reported: dict[str, Any] | None = None

    def read(self, reported: Mapping[str, Any]) -> None:
        """Take over the `usage` object of a response or of an event.

        It is OpenAI's (`prompt_tokens`), or that of Responses and of Messages (`input_tokens`). A later one wins, field
        by field: Anthropic's streams tell the prompt at their start and the completion at their end.
        """
        self.reported = {**(self.reported or {}), **reported}
        for prompt, completion in (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens")):
            if isinstance(reported.get(prompt), int):
                self.prompt_tokens = reported[prompt]
                self.cached_tokens = _detail(reported, f"{prompt}_details", "cached_tokens")
            if isinstance(reported.get(completion), int):
                self.completion_tokens = reported[completion]
                self.reasoning_tokens = _detail(reported, f"{completion}_details", "reasoning_tokens")


def get_usage(scope: Scope) -> TokenUsage:
    """The usage of a scope's request, made now where there is none: whoever looks first and whoever counts share it."""
    usage: TokenUsage | None = scope.get(_KEY)
    if usage is None:
        usage = scope[_KEY] = TokenUsage()
    return usage


def requested_usage(scope: Scope) -> TokenUsage | None:
    """The usage of a scope's request where somebody has called `get_usage`; None where nobody wants it counted."""
    return scope.get(_KEY)


class ChoicesUsage:
    """The usage of all choices together.

    Args:
        n: choices of each prompt; a prompt's tokens count once.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._chat = 0
        self._sums: dict[str, Any] = {}

    def add(self, usage: Mapping[str, Any], index: int | None) -> None:
        """Take in what the engine says of one choice; `index` None where it does not say of which."""
        if index is None:
            index, self._chat = self._chat, self._chat + 1
        first = index % self._n == 0 if self._n > 1 else True
        prompt = usage["prompt_tokens"] if first else 0
        cached = _detail(usage, "prompt_tokens_details", "cached_tokens") if first else 0
        sums = self._sums
        sums["prompt_tokens"] = sums.get("prompt_tokens", 0) + prompt
        sums["completion_tokens"] = sums.get("completion_tokens", 0) + usage["completion_tokens"]
        sums["total_tokens"] = sums["prompt_tokens"] + sums["completion_tokens"]
        sums["prompt_tokens_details"] = {
            "cached_tokens": cached + _detail(sums, "prompt_tokens_details", "cached_tokens")
        }
        if reasoning := _detail(usage, "completion_tokens_details", "reasoning_tokens"):
            before = _detail(sums, "completion_tokens_details", "reasoning_tokens")
            sums["completion_tokens_details"] = {"reasoning_tokens": before + reasoning}

    @property
    def total(self) -> dict[str, Any] | None:
        return self._sums or None


def _detail(usage: Mapping[str, Any], group: str, name: str) -> int:
    """A number that many servers leave out, or say null for."""
    details = usage.get(group)
    number = details.get(name) if isinstance(details, Mapping) else None
    return number if isinstance(number, int) else 0
