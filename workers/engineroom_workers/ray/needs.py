"""What each replica needs, and how much it takes on, as far as the settings of its engines tell."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from engineroom.plugins import EngineChoice
from engineroom.settings import usual_settings

_MORE_GPUS = ("PIPELINE_PARALLEL_SIZE", "DATA_PARALLEL_SIZE")
"""Settings by which engines take that many times more GPUs than for tensor parallelism alone."""


class ReplicaNeeds(NamedTuple):
    """What the engine of a replica needs, or the engines of its models together.

    gpus: 0 where no engine computes on this machine's GPUs; 1 where one may, and its settings ask for no more.
    concurrency: requests that the engines work on at the same time; None where none of them says.
    """

    gpus: int
    concurrency: int | None


def needs_of(choices: Sequence[EngineChoice]) -> ReplicaNeeds:
    """What a replica needs.

    Args:
        choices: its engine; of several models each one's. These take turns on the GPUs.
    """
    gpus = [math.prod(_gpu_factors(choice)) for choice in choices if choice.engine.memory is not None]
    concurrency = [number for choice in choices for number in _parallel_requests(choice)]
    return ReplicaNeeds(max(gpus, default=0), sum(concurrency) or None)


def _gpu_factors(choice: EngineChoice) -> Iterator[int]:
    names = (choice.engine.usual_settings.get(usual_settings.TENSOR_PARALLEL), *_MORE_GPUS)
    return _numbers(choice, names)


def _parallel_requests(choice: EngineChoice) -> Iterator[int]:
    return _numbers(choice, (choice.engine.usual_settings.get(usual_settings.PARALLEL_REQUESTS),))


def _numbers(choice: EngineChoice, names: Sequence[str | None]) -> Iterator[int]:
    """The values in force of those settings that are whole numbers."""
    for group in choice.engine.settings(choice.env):
        for setting in group.describe():
            value = setting.in_force(choice.env)[0] if setting.name in names else None
            if value and value.isdigit() and int(value):
                yield int(value)
