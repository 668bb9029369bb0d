"""What a client saw of one request: the moments of its tokens, the tokens counted, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .failure import RequestFailure


def ignore(_: Any) -> None:
    """What is done with gaps and texts that nobody asked for."""


class Measurement:
    """One request as its client saw it. Moments are seconds by `time.perf_counter`; 0 where they did not come.

    Attributes:
        due: when the request was to be sent. An open loop sends it then whether or not others are answered, and counts
            latencies from then on, so that a stalled generator or server hides nothing.
        sent: when it was handed to the network.
        first: when the first token arrived.
        last: when the last token arrived.
        ended: when the response was complete, or failed.
        events: events, or whole answers, that had text in them.
        prompt_tokens, completion_tokens, cached_tokens: by the server's own count; None where it gave none.
        finish_reason: why the answer ended, by the server's word.
        failure: why it failed; None for a success.
        extra: more that a sender knows of it, for reports, e.g. how long RunPod's queue held it.
    """

    __slots__ = (
        "cached_tokens",
        "completion_tokens",
        "due",
        "ended",
        "events",
        "extra",
        "failure",
        "finish_reason",
        "first",
        "last",
        "on_gap",
        "on_text",
        "prompt_tokens",
        "sent",
    )

    def __init__(
        self, due: float, on_gap: Callable[[float], object] = ignore, on_text: Callable[[str], object] | None = None
    ) -> None:
        """
        Args:
            on_gap: gets the seconds between two arrivals of tokens.
            on_text: gets the text of each event; costs what it costs.
        """
        self.due = due
        self.sent = due
        self.first = 0.0
        self.last = 0.0
        self.ended = 0.0
        self.events = 0
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.finish_reason = ""
        self.failure: RequestFailure | None = None
        self.extra: dict[str, float] = {}
        self.on_gap = on_gap
        self.on_text = on_text

    def tokens_arrived(self, moment: float, events: int) -> None:
        """Note that events with text arrived together."""
        if self.events:
            self.on_gap(moment - self.last)
        else:
            self.first = moment
        self.last = moment
        self.events += events

    @property
    def tokens(self) -> int:
        """Tokens of the answer: the server's count, else the events that had text."""
        return self.events if self.completion_tokens is None else self.completion_tokens

    @property
    def succeeded(self) -> bool:
        return self.failure is None

    @property
    def ttft_s(self) -> float:
        """Seconds to the first token, from when the request was due."""
        return self.first - self.due

    @property
    def end_to_end_s(self) -> float:
        """Seconds to the end of the response, from when the request was due."""
        return self.ended - self.due

    @property
    def token_s(self) -> float | None:
        """Mean seconds a token after the first; None for an answer of one token."""
        tokens = self.tokens
        return (self.last - self.first) / (tokens - 1) if tokens > 1 and self.last > self.first else None
