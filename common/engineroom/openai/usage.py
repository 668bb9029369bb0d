"""The tokens of a request: counted while it runs, and summed up over choices that were generated each on its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..asgi.types import Scope

_KEY = "engineroom.usage"
_EVENT = b"\ndata: {"


class _Names(NamedTuple):
    """What an API calls the tokens of a request, and what tells more of them."""

    prompt: str
    prompt_details: str
    completion: str
    completion_details: str


_NAMES = (
    _Names("prompt_tokens", "prompt_tokens_details", "completion_tokens", "completion_tokens_details"),
    _Names("input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details"),
)
"""Those of Chat Completions, and those of Responses and Messages."""


@dataclass(slots=True)
class TokenUsage:
    """The tokens of one request so far. They grow while its response streams; whoever looks at them meanwhile calls
    `catch_up` first.

    completion_tokens: generated, over all its choices.
    cached_tokens: those of the prompt that were not computed anew, where the engine says so.
    reasoning_tokens: those of the completion that were thinking, where the engine says so.
    reported: the engine's own `usage`, as it came; None until then, when the tokens are an estimate by the events of
        the stream.
    count_more: counts what has gone by since its last call; None where nothing is counted in passing.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    reported: dict[str, Any] | None = None
    count_more: Callable[[], None] | None = field(default=None, repr=False, compare=False)

    def catch_up(self) -> None:
        """Count all that has gone by: pieces of a stream are counted many at a time, which costs less."""
        if self.count_more is not None:
            self.count_more()

    def read(self, reported: Mapping[str, Any]) -> None:
        """Take over the `usage` object of a response or of an event.

        It is OpenAI's (`prompt_tokens`), or that of Responses and of Messages (`input_tokens`). A later one wins, field
        by field: Anthropic's streams tell the prompt at their start and the completion at their end.
        """
        self.reported = {**reported} if self.reported is None else {**self.reported, **reported}
        for names in _NAMES:
            prompt = reported.get(names.prompt)
            if isinstance(prompt, int):
                self.prompt_tokens = prompt
                self.cached_tokens = _detail(reported, names.prompt_details, "cached_tokens")
            completion = reported.get(names.completion)
            if isinstance(completion, int):
                self.completion_tokens = completion
                self.reasoning_tokens = _detail(reported, names.completion_details, "reasoning_tokens")


def count_events(events: bytes) -> int:
    """How many of a stream's whole events have a JSON object as their data, as all but the last have: about as many as
    tokens."""
    # A line's end is never part of JSON.
    return (b"\n" + events).count(_EVENT)


def count_each(pieces: Iterable[bytes]) -> list[int]:
    """`count_events` of many pieces. Each is a token as a rule."""
    return [(b"\n" + piece).count(_EVENT) for piece in pieces]


def get_usage(scope: Scope) -> TokenUsage:
    """The usage of a scope's request, made now where there is none: whoever looks first and whoever counts share it."""
    usage: TokenUsage | None = scope.get(_KEY)
    if usage is None:
        usage = scope[_KEY] = TokenUsage()
    return usage


def counting(usage: TokenUsage) -> dict[str, Any]:
    """What the scope of a request in this process carries, so that its tokens are written to `usage`."""
    return {_KEY: usage}


def requested_usage(scope: Scope) -> TokenUsage | None:
    """The usage of a scope's request where somebody has called `get_usage`; None where nobody wants it counted."""
    return scope.get(_KEY)


class ChoicesUsage:
    """The usage of all choices together, where a server tells each choice's own.

    Args:
        n: choices of each prompt. Each of them counts the prompt, which is to count once.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._choices = 0
        self._prompt = self._completion = self._cached = self._reasoning = 0

    def add(self, usage: Mapping[str, Any], index: int | None = None) -> None:
        """Take in what the engine says of one choice; `index` None where it does not say of which."""
        position = self._choices if index is None else index
        self._choices += 1
        self._prompt += usage.get("prompt_tokens") or 0
        self._completion += usage.get("completion_tokens") or 0
        self._reasoning += _detail(usage, "completion_tokens_details", "reasoning_tokens")
        # The further choices of a prompt find all of it computed by the first.
        if position % self._n == 0:
            self._cached += _detail(usage, "prompt_tokens_details", "cached_tokens")

    @property
    def total(self) -> dict[str, Any] | None:
        """One `usage` object; None where no choice had any."""
        if not self._choices:
            return None
        prompt = self._prompt // self._n
        total: dict[str, Any] = {
            "prompt_tokens": prompt,
            "completion_tokens": self._completion,
            "total_tokens": prompt + self._completion,
            "prompt_tokens_details": {"cached_tokens": self._cached},
        }
        if self._reasoning:
            total["completion_tokens_details"] = {"reasoning_tokens": self._reasoning}
        return total


def _detail(usage: Mapping[str, Any], group: str, name: str) -> int:
    """A number that many servers leave out, or say null for."""
    details = usage.get(group)
    number = details.get(name) if isinstance(details, dict) else None
    return number if isinstance(number, int) else 0
