"""Orders in which models are asked for."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

SEED = 18


def uniform(count: int, models: int) -> list[int]:
    """Each model as often as any other, in random order."""
    return random.Random(SEED).choices(range(models), k=count)


def zipf(count: int, models: int) -> list[int]:
    """The model of rank k asked for 1/k as often as the first, in random order."""
    return random.Random(SEED).choices(range(models), [1 / rank for rank in range(1, models + 1)], k=count)


ORDERS: Mapping[str, Callable[[int, int], list[int]]] = {"random": uniform, "Zipf's": zipf}
