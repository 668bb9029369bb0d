"""One answer: its pieces as they come, and what was measured on the way."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import NamedTuple


class Piece(NamedTuple):
    """A piece of an answer. reasoning: whether the model only thinks aloud."""

    text: str
    reasoning: bool = False


@dataclass(slots=True)
class Answer:
    """What has come of an answer so far.

    text: what counts as the answer, without reasoning.
    first_token_s: seconds to the first piece (TTFT); None before it.
    seconds: from the request to the last piece.
    completion_tokens: as the server reports them; where it does not, the pieces are counted.
    counted: whether the server reported its tokens.
    finish_reason: `stop`, `length`, …; empty where the answer did not end.
    """

    model: str = ""
    text: str = ""
    reasoning: str = ""
    first_token_s: float | None = None
    seconds: float = 0.0
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int = 0
    counted: bool = False
    finish_reason: str = ""
    _began: float = field(default_factory=time.perf_counter)

    def add(self, piece: Piece) -> None:
        """Note a piece."""
        self.seconds = time.perf_counter() - self._began
        if self.first_token_s is None:
            self.first_token_s = self.seconds
        if piece.reasoning:
            self.reasoning += piece.text
        else:
            self.text += piece.text
        if not self.counted:
            self.completion_tokens += 1

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens a second after the first; None where there are too few to say."""
        if self.first_token_s is None or self.completion_tokens < 2 or self.seconds <= self.first_token_s:
            return None
        return (self.completion_tokens - 1) / (self.seconds - self.first_token_s)
