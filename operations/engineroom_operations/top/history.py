"""Since when a target is what it is: a state, its reason, and how long."""

from __future__ import annotations

import time

from .reading import TargetState


class StateHistory:
    """The state of a target over time."""

    def __init__(self) -> None:
        self.state: TargetState = "unknown"
        self._since = time.monotonic()
        self._changes = 0

    def note(self, state: TargetState) -> float | None:
        """The state at this moment; seconds for which it has been so, None where it was never seen in another."""
        now = time.monotonic()
        if state != self.state:
            self._changes += self.state != "unknown"
            self.state = state
            self._since = now
        return now - self._since if self._changes or state != "up" else None
