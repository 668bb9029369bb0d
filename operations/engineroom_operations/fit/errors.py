"""What can go wrong when one asks whether a model fits."""

from __future__ import annotations

from engineroom.errors import EngineroomError


class ModelReadingError(EngineroomError):
    """A model's size or shape cannot be read; the text says what is missing and where."""


class FitError(EngineroomError):
    """What is asked for cannot be: an engine without a memory profile, a number of GPUs that cannot share the model."""
