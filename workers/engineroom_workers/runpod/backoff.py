"""Backoff: how long to wait before the next attempt, longer each time, never for ever."""

from __future__ import annotations

import random


class Backoff:
    """Delays that double from `first` to `longest` seconds, each shortened at random by up to a half.

    The chance keeps the workers of an endpoint from coming back all at once.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = self._next = first
        self._longest = longest

    def next(self) -> float:
        """The next delay in seconds."""
        delay, self._next = self._next, min(2 * self._next, self._longest)
        return delay * random.uniform(0.5, 1)

    def reset(self) -> None:
        """Begin again at `first`."""
        self._next = self._first
