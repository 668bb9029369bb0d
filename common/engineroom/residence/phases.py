"""The phases of a model on a worker, and what leads from one to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

Phase: TypeAlias = Literal["absent", "loading", "resident", "draining", "unloading"]
"""absent: nothing of it runs. loading: its engine starts. resident: it serves. draining: what it is at ends, and
nothing new begins. unloading: its engine stops; its memory counts as taken until it is absent."""

Step: TypeAlias = Literal["load", "loaded", "load failed", "drain", "resume", "unload", "died", "unloaded"]

TRANSITIONS: Mapping[Phase, Mapping[Step, Phase]] = {
    "absent": {"load": "loading"},
    # What failed, or has died, is cleaned up like what is unloaded.
    "loading": {"loaded": "resident", "load failed": "absent"},
    "resident": {"drain": "draining", "unload": "unloading", "died": "unloading"},
    "draining": {"resume": "resident", "unload": "unloading", "died": "unloading"},
    "unloading": {"unloaded": "absent"},
}

TAKES_MEMORY: frozenset[Phase] = frozenset({"loading", "resident", "draining", "unloading"})
"""The phases in which a model's memory counts as taken."""


class PhaseError(Exception):
    """A step that a phase does not have: a mistake in the run loop."""


def after(phase: Phase, step: Step) -> Phase:
    """The phase that a step leads to.

    Raises:
        PhaseError: the phase has no such step.
    """
    try:
        return TRANSITIONS[phase][step]
    except KeyError:
        raise PhaseError(f"a model that is {phase} cannot take the step {step!r}") from None
