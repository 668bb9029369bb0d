"""What only a person knows of the engine and the model behind the doors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class DoorExpectations:
    """What is behind the doors; what is left out is not compared, or its test is skipped.

    models: the served names, the one to ask for first.
    running_metric: the gauge of running generations in the engine's metrics.
    max_model_len: tokens of context, so that a prompt can be made too long.
    answer: what the model says to "What is 2+2?" at temperature 0 within 20 tokens.
    continuation: how a completion of "1 2 3 4 5 6 7" begins at temperature 0.
    sampling_params: parameters beyond OpenAI's that the engine takes, with harmless values.
    endless: fields that make a generation last for as long as a test looks at it.
    shared: whether both doors have one and the same server, whose gauge counts the queue's jobs, too.
    """

    models: tuple[str, ...]
    running_metric: str | None = None
    max_model_len: int | None = None
    answer: str | None = None
    continuation: str | None = None
    sampling_params: Mapping[str, Any] = field(default_factory=dict)
    endless: Mapping[str, Any] = field(default_factory=lambda: {"max_tokens": 1500, "ignore_eos": True})
    shared: bool = False

    @property
    def fields(self) -> Any:
        """The fields of an ordinary request."""
        return {"model": self.models[0], "temperature": 0, "max_tokens": 20}
