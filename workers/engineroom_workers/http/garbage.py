"""How often a process of the door looks for garbage."""

from __future__ import annotations

import gc

_YOUNG_OBJECTS = 10_000
"""How many more objects there have to be before Python looks for garbage among them. Its default of 700 is what a few
requests take while they run: it would look at them again and again for nothing, since requests leave no cycles."""


def collect_rarely() -> None:
    """Have this process's Python look for garbage more rarely than it does by default."""
    gc.set_threshold(_YOUNG_OBJECTS)
